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
    value = draws.normal(*shape).mul_(number.init_stdev).add_(number.init_mean)
    return value.clamp_(number.min_value, number.max_value)


def perturbed(value: Tensor, number: Number, draws: Draws, chosen: Tensor | float = 1.0) -> Tensor:
    """Each value perturbed, drawn anew, or left as it is; left where `chosen` [P, 1] is 0."""
    if not (number.mutate_rate or number.replace_rate):
        return value
    which = draws.uniform(*value.shape)
    moved = draws.normal(*value.shape).mul_(number.mutate_power).add_(value)
    moved.clamp_(number.min_value, number.max_value)
    replaced = which < (number.mutate_rate + number.replace_rate) * chosen
    value = torch.where(replaced, fresh(number, draws, *value.shape), value)
    return torch.where(which < number.mutate_rate * chosen, moved, value)


def mutate_values(genomes: Genomes, settings: Settings, draws: Draws) -> None:
    """Weights, biases, responses, switches, activations and aggregations, in place."""
    chosen = draws.coin(settings.weights_mutate_prob, genomes.size, 1).float()
    for name in ("weight", "bias", "response"):
        setattr(genomes, name, perturbed(getattr(genomes, name), getattr(settings, name), draws, chosen))
    rate, on, off = (
        settings.enabled_mutate_rate, settings.enabled_rate_to_true_add, settings.enabled_rate_to_false_add,
    )  # fmt: skip
    if rate or on or off:
        which = draws.uniform(*genomes.enabled.shape)
        limit = torch.where(genomes.enabled, rate + off, rate + on) if on or off else rate
        genomes.enabled = (genomes.enabled & (which >= limit)) | (which < limit / 2)
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
    rows = (chosen & _any(genomes.enabled & genomes.has_connection)).nonzero().flatten()
    n = len(rows)
    if not n:
        return genomes
    part = genomes.take(rows)
    place, _ = draws.choice(part.enabled & part.has_connection)
    new_value = {
        "activation": first_choice(settings.activations, settings.activation_default, draws, n),
        "aggregation": first_choice(settings.aggregations, settings.aggregation_default, draws, n),
        "response": fresh(settings.response, draws, n),
    }
    split, source, target, weight = (
        column.gather(1, place[:, None])[:, 0]
        for column in (part.innovation, part.source, part.target, part.weight)
    )
    node, into, out = innovations.splits(split)
    # Rows are sorted and new numbers are higher than all before: behind the last gene is their place.
    nodes, connections = part.has_node.sum(1), part.has_connection.sum(1)
    genomes = widened(genomes, int(nodes.max()) + 1, int(connections.max()) + 2)
    genomes.enabled[rows, place] = False
    genomes.node[rows, nodes] = node
    genomes.bias[rows, nodes] = 0.0
    for name, value in new_value.items():
        getattr(genomes, name)[rows, nodes] = value
    ones, on = torch.ones_like(weight), torch.ones_like(rows, dtype=torch.bool)
    _put_connection(genomes, rows, connections, into, source, node, ones, on)
    _put_connection(genomes, rows, connections + 1, out, node, target, weight, on)
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
    across = inputs + part.node.shape[1]
    target = part.node.gather(1, (place // across)[:, None])[:, 0]
    source_at = place % across
    from_node = part.node.gather(1, (source_at - inputs).clamp(min=0)[:, None])[:, 0]
    source = torch.where(source_at < inputs, ~source_at, from_node)  # ~0 is input −1
    at = part.has_connection.sum(1)
    found = there.nonzero().flatten()
    if not len(found):
        return genomes
    rows, at, source, target, weight, enabled = (
        column[found] for column in (rows, at, source, target, weight, enabled)
    )
    number = innovations.connections(source, target)
    genomes = widened(genomes, 0, int(at.max()) + 1)
    _put_connection(genomes, rows, at, number, source, target, weight, enabled)
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


def _any(flags: Tensor) -> Tensor:
    """flags [P, K] → [P]; of bools a sum takes a third of the time that `any` takes."""
    return flags.sum(1) > 0


def _put_connection(genomes: Genomes, rows: Tensor, at: Tensor, number: Tensor, source: Tensor,
                    target: Tensor, weight: Tensor, enabled: Tensor) -> None:  # fmt: skip
    genomes.innovation[rows, at] = number
    genomes.source[rows, at], genomes.target[rows, at] = source, target
    genomes.weight[rows, at], genomes.enabled[rows, at] = weight, enabled
