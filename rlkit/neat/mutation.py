"""Mutation: values change, nodes and connections are added and taken away (the paper, p. 107)."""

from __future__ import annotations

import torch
from torch import Tensor

from rlkit.neat.draws import Draws
from rlkit.neat.genes import NONE, Genomes, widened
from rlkit.neat.innovation import Innovations
from rlkit.neat.network import adjacency
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
    genomes = genomes.trimmed()
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
    # Rows are sorted and new numbers are higher than all before: behind the last gene is their place.
    _put_node(genomes, rows, node, {name: value[rows] for name, value in new_value.items()})
    ones = torch.ones_like(weight)
    _put_connection(genomes, rows, into, source, node, ones)
    _put_connection(genomes, rows, out, node, target, weight)
    return genomes


def add_connection(genomes: Genomes, chosen: Tensor, settings: Settings, inputs: int, outputs: int,
                   innovations: Innovations, draws: Draws) -> Genomes:  # fmt: skip
    """Join two nodes of the chosen genomes [P] that no gene joins yet, uniformly among all such pairs.

    Never into an input, and, in feed-forward networks, never so that a cycle arises, nor out of an output.
    """
    rows = chosen.nonzero().flatten()
    if not len(rows):
        return genomes
    part = genomes.take(rows)
    place, there = draws.choice(_joinable(part, settings, inputs, outputs).flatten(1))
    weight = fresh(settings.weight, draws, len(rows))
    rows, place, weight, part = rows[there], place[there], weight[there], part.take(there)
    if not len(rows):
        return genomes
    across = inputs + part.node.shape[1]
    target = part.node.gather(1, (place // across)[:, None])[:, 0]
    source_at = place % across
    from_node = part.node.gather(1, (source_at - inputs).clamp(min=0)[:, None])[:, 0]
    source = torch.where(source_at < inputs, -1 - source_at, from_node)
    number = innovations.connections(source, target)
    genomes = widened(genomes, genomes.node.shape[1], genomes.innovation.shape[1] + 1)
    _put_connection(genomes, rows, number, source, target, weight)
    return genomes


def _joinable(genomes: Genomes, settings: Settings, inputs: int, outputs: int) -> Tensor:
    """[P, M, I + M] bool: a gene may be added from value k (inputs, then nodes) to node m."""
    joined = adjacency(genomes, genomes.has_connection, inputs)
    nodes = genomes.has_node
    free = ~joined & nodes[:, :, None]
    free[:, :, inputs:] &= nodes[:, None, :]
    if settings.feed_forward:
        hidden = nodes & (genomes.node >= outputs)
        itself = torch.eye(nodes.shape[1], dtype=torch.bool, device=nodes.device)
        free[:, :, inputs:] &= hidden[:, None, :] & ~(reachable(joined[:, :, inputs:]).mT | itself)
    return free


def reachable(linked: Tensor) -> Tensor:
    """[P, M, M] (a connection leads from node k to node m) → a path of any length leads from k to m."""
    while True:
        further = linked.float()
        more = linked | (torch.bmm(further, further) > 0)  # paths twice as long
        if bool((more == linked).all()):
            return linked
        linked = more


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
