"""Mutation: values change, nodes and connections are added and taken away (the paper, p. 107)."""

from __future__ import annotations

import torch
from torch import Tensor

from rlkit.neat.draws import Draws
from rlkit.neat.genes import NONE, Genomes, widened
from rlkit.neat.innovation import Innovations
from rlkit.neat.settings import Number, Settings


def mutate(genomes: Genomes, settings: Settings, inputs: int, outputs: int,
           innovations: Innovations, draws: Draws) -> Genomes:  # fmt: skip
    """Every kind of mutation with its own probability; changes `genomes` and returns them, sorted."""
    p = genomes.size
    if settings.node_add_prob:
        genomes = add_node(genomes, draws.coin(settings.node_add_prob, p), settings, innovations, draws)
    if settings.node_delete_prob:
        genomes = delete_node(genomes, draws.coin(settings.node_delete_prob, p), outputs, draws)
    if settings.conn_add_prob:
        chosen = draws.coin(settings.conn_add_prob, p)
        genomes = add_connection(genomes, chosen, settings, inputs, outputs, innovations, draws)
    if settings.conn_delete_prob:
        genomes = delete_connection(genomes, draws.coin(settings.conn_delete_prob, p), draws)
    genomes = genomes.sorted()
    mutate_values(genomes, settings, draws)
    return genomes


# ---------------------------------------------------------------------- values


def fresh(number: Number, draws: Draws, *shape: int) -> Tensor:
    """New values of one attribute."""
    return (number.init_mean + number.init_stdev * draws.normal(*shape)).clamp(
        number.min_value, number.max_value
    )


def perturbed(value: Tensor, number: Number, draws: Draws) -> Tensor:
    """Each value perturbed, drawn anew, or left as it is."""
    if not (number.mutate_rate or number.replace_rate):
        return value
    which = draws.uniform(*value.shape)
    moved = (value + number.mutate_power * draws.normal(*value.shape)).clamp(
        number.min_value, number.max_value
    )
    replaced = which < number.mutate_rate + number.replace_rate
    value = torch.where(replaced, fresh(number, draws, *value.shape), value)
    return torch.where(which < number.mutate_rate, moved, value)


def mutate_values(genomes: Genomes, settings: Settings, draws: Draws) -> None:
    """Weights, biases, responses, switches, activations and aggregations, in place."""
    chosen = draws.coin(settings.weights_mutate_prob, genomes.size, 1)
    for name in ("weight", "bias", "response"):
        before = getattr(genomes, name)
        after = perturbed(before, getattr(settings, name), draws)
        setattr(genomes, name, torch.where(chosen, after, before))
    if settings.enabled_mutate_rate:
        shape = genomes.enabled.shape
        switched = draws.coin(settings.enabled_mutate_rate, *shape)
        genomes.enabled = torch.where(switched, draws.coin(0.5, *shape), genomes.enabled)
    genomes.activation = _redrawn(
        genomes.activation, settings.activation_mutate_rate, len(settings.activations), draws
    )
    genomes.aggregation = _redrawn(
        genomes.aggregation, settings.aggregation_mutate_rate, len(settings.aggregations), draws
    )


def _redrawn(value: Tensor, rate: float, choices: int, draws: Draws) -> Tensor:
    if not rate or choices < 2:
        return value
    return torch.where(draws.coin(rate, *value.shape), draws.below(choices, *value.shape), value)


# ---------------------------------------------------------------------- structure


def add_node(genomes: Genomes, chosen: Tensor, settings: Settings, innovations: Innovations,
             draws: Draws) -> Genomes:  # fmt: skip
    """Split an enabled connection of the chosen genomes [P].

    The old connection is disabled, the one into the new node weighs 1, the one out of it the old weight, so
    that the network changes as little as it can.
    """
    place, there = draws.choice(genomes.enabled & genomes.has_connection)
    new_value = {
        "activation": draws.below(len(settings.activations), genomes.size),
        "aggregation": draws.below(len(settings.aggregations), genomes.size),
        "response": fresh(settings.response, draws, genomes.size),
    }
    rows = (chosen & there).nonzero().flatten()
    if not len(rows):
        return genomes
    place = place[rows]
    split, weight = genomes.innovation[rows, place], genomes.weight[rows, place]
    source, target = genomes.source[rows, place], genomes.target[rows, place]
    node, into, out = innovations.splits(split)
    genomes = widened(genomes, genomes.node.shape[1] + 1, genomes.innovation.shape[1] + 2)
    genomes.enabled[rows, place] = False
    # Rows are sorted, so the slots behind the last gene are free; sorting comes after all of a mutation.
    _put_node(genomes, rows, node, {name: value[rows] for name, value in new_value.items()})
    ones = torch.ones_like(weight)
    _put_connection(genomes, rows, into, source, node, ones)
    _put_connection(genomes, rows, out, node, target, weight)
    return genomes.sorted()


def add_connection(genomes: Genomes, chosen: Tensor, settings: Settings, inputs: int, outputs: int,
                   innovations: Innovations, draws: Draws) -> Genomes:  # fmt: skip
    """Join two nodes of the chosen genomes [P] that are not joined yet; a joined pair is enabled again.

    Never into an input, and, in feed-forward networks, never so that a cycle arises, nor out of an output.
    """
    p, m = genomes.node.shape
    nodes = genomes.has_node
    target_at, there = draws.choice(nodes)
    target = genomes.node.gather(1, target_at[:, None])[:, 0]
    hidden = nodes & (genomes.node >= outputs) if settings.feed_forward else nodes
    pins = torch.ones(p, inputs, dtype=torch.bool, device=genomes.device)
    source_at, found = draws.choice(torch.cat([pins, hidden], dim=1))
    from_node = genomes.node.gather(1, (source_at - inputs).clamp(min=0)[:, None])[:, 0]
    source = torch.where(source_at < inputs, -1 - source_at, from_node)
    weight = fresh(settings.weight, draws, p)

    same = (genomes.source == source[:, None]) & (genomes.target == target[:, None]) & genomes.has_connection
    exists = same.any(1)
    wanted = chosen & there & found
    genomes.enabled = genomes.enabled | (same & (wanted & exists)[:, None])
    rows = (wanted & ~exists).nonzero().flatten()
    if settings.feed_forward and len(rows):
        part = genomes.take(rows)
        rows = rows[~reaches(part, target[rows], source[rows])]
    if not len(rows):
        return genomes
    number = innovations.connections(source[rows], target[rows])
    genomes = widened(genomes, m, genomes.innovation.shape[1] + 1)
    _put_connection(genomes, rows, number, source[rows], target[rows], weight[rows])
    return genomes.sorted()


def delete_node(genomes: Genomes, chosen: Tensor, outputs: int, draws: Draws) -> Genomes:
    """Take a hidden node and all its connections from the chosen genomes [P]."""
    place, there = draws.choice(genomes.has_node & (genomes.node >= outputs))
    rows = (chosen & there).nonzero().flatten()
    if not len(rows):
        return genomes
    gone = genomes.node[rows, place[rows]]
    touched = (genomes.source[rows] == gone[:, None]) | (genomes.target[rows] == gone[:, None])
    genomes.innovation[rows] = torch.where(touched, NONE, genomes.innovation[rows])
    genomes.node[rows, place[rows]] = NONE
    return genomes.sorted()


def delete_connection(genomes: Genomes, chosen: Tensor, draws: Draws) -> Genomes:
    """Take a connection from the chosen genomes [P]."""
    place, there = draws.choice(genomes.has_connection)
    rows = (chosen & there).nonzero().flatten()
    genomes.innovation[rows, place[rows]] = NONE
    return genomes.sorted()


def reaches(genomes: Genomes, start: Tensor, goal: Tensor) -> Tensor:
    """[P] whether a path of connections, disabled ones too, leads from node `start` [P] to `goal` [P]."""
    live = genomes.has_connection
    source_seen = (genomes.source == start[:, None]) & live
    reached = start == goal
    while True:
        targets = torch.where(source_seen, genomes.target, NONE)  # nodes one step further
        hit = (targets == goal[:, None]).any(1)
        # a connection leads on when its source is a target that was reached
        ordered, _ = targets.sort(dim=1)
        place = torch.searchsorted(ordered, genomes.source).clamp_(max=ordered.shape[1] - 1)
        more = source_seen | ((ordered.gather(1, place) == genomes.source) & live)
        done = bool((more == source_seen).all())
        reached = reached | hit
        source_seen = more
        if done:
            return reached


def _put_node(genomes: Genomes, rows: Tensor, node: Tensor, values: dict[str, Tensor]) -> None:
    at = genomes.has_node[rows].sum(1)
    genomes.node[rows, at] = node
    genomes.bias[rows, at] = 0.0
    for name, value in values.items():
        getattr(genomes, name)[rows, at] = value


def _put_connection(genomes: Genomes, rows: Tensor, number: Tensor, source: Tensor, target: Tensor,
                    weight: Tensor) -> None:  # fmt: skip
    at = genomes.has_connection[rows].sum(1)
    genomes.innovation[rows, at] = number
    genomes.source[rows, at], genomes.target[rows, at] = source, target
    genomes.weight[rows, at], genomes.enabled[rows, at] = weight, True
