"""Mutation: values change, nodes and connections are added and taken away (the paper, p. 107)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor

from rlkit.neat.draws import Draws
from rlkit.neat.genes import NONE, Genomes, widened
from rlkit.neat.innovation import Innovations
from rlkit.neat.network import adjacency
from rlkit.neat.settings import RANDOM, Number, Settings

STRUCTURAL = ("node_add_prob", "node_delete_prob", "conn_add_prob", "conn_delete_prob")


def mutate(genomes: Genomes, settings: Settings, inputs: int, outputs: int,
           innovations: Innovations, draws: Draws) -> Genomes:  # fmt: skip
    """Every kind of mutation with its own probability; changes `genomes` and returns them, sorted."""
    chosen = _structural(genomes.size, settings, draws)
    if settings.node_add_prob:
        rows = chosen("node_add_prob")
        if settings.structural_mutation_surer:
            bare = rows & ~(genomes.enabled & genomes.has_connection).any(1)
            genomes = add_connection(genomes, bare, settings, inputs, outputs, innovations, draws)
            rows &= ~bare
        genomes = add_node(genomes, rows, settings, innovations, draws)
    if settings.node_delete_prob:
        genomes = delete_node(genomes, chosen("node_delete_prob"), outputs, draws)
    if settings.conn_add_prob:
        rows = chosen("conn_add_prob")
        genomes = add_connection(genomes, rows, settings, inputs, outputs, innovations, draws)
    if settings.conn_delete_prob:
        genomes = delete_connection(genomes, chosen("conn_delete_prob"), draws)
    genomes = genomes.trimmed()
    mutate_values(genomes, settings, draws)
    return genomes


def _structural(size: int, settings: Settings, draws: Draws) -> Callable[[str], Tensor]:
    """Which genomes [P] meet a structural mutation, by the name of its probability."""
    if not settings.single_structural_mutation:
        return lambda name: draws.coin(getattr(settings, name), size)
    # One number per genome falls into at most one of four intervals; neat-python shrinks them to fit into 1.
    edges = [0.0, *accumulate(getattr(settings, name) for name in STRUCTURAL)]
    which = draws.uniform(size) * max(1.0, edges[-1])

    def chosen(name: str) -> Tensor:
        place = STRUCTURAL.index(name)
        return (edges[place] <= which) & (which < edges[place + 1])

    return chosen


# ---------------------------------------------------------------------- values


def first_choice(names: list[str], default: str, draws: Draws, *shape: int) -> Tensor:
    """Places in `names` for new nodes: the default's, or any where that is random."""
    if default == RANDOM:
        return draws.below(len(names), *shape)
    return torch.full(shape, names.index(default), device=draws.device)


def first_switch(default: str, draws: Draws, *shape: int) -> Tensor:
    """Whether new connections are enabled."""
    if default == RANDOM:
        return draws.coin(0.5, *shape)
    return torch.full(shape, default == "enabled", device=draws.device)


def fresh(number: Number, draws: Draws, *shape: int) -> Tensor:
    """New values of one attribute."""
    if number.init_type == "uniform":
        low = max(number.min_value, number.init_mean - 2 * number.init_stdev)
        high = min(number.max_value, number.init_mean + 2 * number.init_stdev)
        return low + (high - low) * draws.uniform(*shape)
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
    rate, on, off = (
        settings.enabled_mutate_rate, settings.enabled_rate_to_true_add, settings.enabled_rate_to_false_add,
    )  # fmt: skip
    if rate or on or off:
        shape = genomes.enabled.shape
        which, limit = draws.uniform(*shape), torch.where(genomes.enabled, rate + off, rate + on)
        genomes.enabled = torch.where(which < limit, which < limit / 2, genomes.enabled)
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
    rows = (chosen & (genomes.enabled & genomes.has_connection).any(1)).nonzero().flatten()
    n = len(rows)
    if not n:
        return genomes
    place, _ = draws.choice(genomes.enabled[rows] & genomes.has_connection[rows])
    new_value = {
        "activation": first_choice(settings.activations, settings.activation_default, draws, n),
        "aggregation": first_choice(settings.aggregations, settings.aggregation_default, draws, n),
        "response": fresh(settings.response, draws, n),
    }
    split, weight = genomes.innovation[rows, place], genomes.weight[rows, place]
    source, target = genomes.source[rows, place], genomes.target[rows, place]
    node, into, out = innovations.splits(split)
    genomes = _with_room(genomes, rows, 1, 2)
    genomes.enabled[rows, place] = False
    # Rows are sorted and new numbers are higher than all before: behind the last gene is their place.
    _put_node(genomes, rows, node, new_value)
    ones, on = torch.ones_like(weight), torch.ones_like(rows, dtype=torch.bool)
    _put_connection(genomes, rows, into, source, node, ones, on)
    _put_connection(genomes, rows, out, node, target, weight, on)
    return genomes


def add_connection(genomes: Genomes, chosen: Tensor, settings: Settings, inputs: int, outputs: int,
                   innovations: Innovations, draws: Draws) -> Genomes:  # fmt: skip
    """Join two nodes of the chosen genomes [P] that no gene joins yet, uniformly among all such pairs.

    Never into an input, and, in feed-forward networks, never so that a cycle arises, nor out of an output.
    Where no pair is left, `structural_mutation_surer` enables a gene instead.
    """
    rows = chosen.nonzero().flatten()
    if not len(rows):
        return genomes
    part = genomes.take(rows)
    place, there = draws.choice(_joinable(part, settings, inputs, outputs).flatten(1))
    weight = fresh(settings.weight, draws, len(rows))
    enabled = first_switch(settings.enabled_default, draws, len(rows))
    if settings.structural_mutation_surer:
        gene, off = draws.choice(part.has_connection & ~part.enabled)
        full = ~there & off
        genomes.enabled[rows[full], gene[full]] = True
    rows, place, weight, part = rows[there], place[there], weight[there], part.take(there)
    enabled = enabled[there]
    if not len(rows):
        return genomes
    across = inputs + part.node.shape[1]
    target = part.node.gather(1, (place // across)[:, None])[:, 0]
    source_at = place % across
    from_node = part.node.gather(1, (source_at - inputs).clamp(min=0)[:, None])[:, 0]
    source = torch.where(source_at < inputs, -1 - source_at, from_node)
    number = innovations.connections(source, target)
    genomes = _with_room(genomes, rows, 0, 1)
    _put_connection(genomes, rows, number, source, target, weight, enabled)
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


def _with_room(genomes: Genomes, rows: Tensor, nodes: int, connections: int) -> Genomes:
    """The genomes, wide enough for so many genes more in these rows."""
    most = (int(there[rows].sum(1).max()) for there in (genomes.has_node, genomes.has_connection))
    return widened(genomes, next(most) + nodes, next(most) + connections)


def _put_node(genomes: Genomes, rows: Tensor, node: Tensor, values: dict[str, Tensor]) -> None:
    at = genomes.has_node[rows].sum(1)
    genomes.node[rows, at] = node
    genomes.bias[rows, at] = 0.0
    for name, value in values.items():
        getattr(genomes, name)[rows, at] = value


def _put_connection(genomes: Genomes, rows: Tensor, number: Tensor, source: Tensor, target: Tensor,
                    weight: Tensor, enabled: Tensor) -> None:  # fmt: skip
    at = genomes.has_connection[rows].sum(1)
    genomes.innovation[rows, at] = number
    genomes.source[rows, at], genomes.target[rows, at] = source, target
    genomes.weight[rows, at], genomes.enabled[rows, at] = weight, enabled
