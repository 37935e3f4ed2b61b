"""Genomes as networks: P different graphs, evaluated together as dense layers.

Exactly what neat-python's FeedForwardNetwork and RecurrentNetwork compute: a node is
activation(bias + response · aggregation(weight · input)); nodes that no output depends on are left out; a
feed-forward node without inputs is activation(bias).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlkit.neat.functions import activate, aggregate
from rlkit.neat.genes import NONE, Genomes
from rlkit.neat.settings import Settings


@dataclass
class Networks:
    """P networks in layers: slot k of the value vector is input k, or node k − I in the order of layers.

    A feed-forward network has as many layers as its longest path; a recurrent one has a single layer, whose
    nodes see the values of the step before.
    """

    inputs: int
    layers: list[int]  # width of each layer: the widest genome's
    matrix: Tensor  # [P, S, I + S] weights, 0 where there is no connection; S slots
    linked: Tensor  # [P, S, I + S] bool: there is an enabled connection
    bias: Tensor  # [P, S]
    response: Tensor  # [P, S]
    activation: Tensor  # [P, S]
    aggregation: Tensor  # [P, S]
    output: Tensor  # [P, O] slots of the outputs, in the value vector
    used: Tensor  # [P, S] bool: a node of this genome that an output depends on
    recurrent: bool
    activations: list[str]
    aggregations: list[str]

    @property
    def size(self) -> int:
        return self.matrix.shape[0]

    def take(self, rows: Tensor) -> Networks:
        """The networks numbered `rows`."""
        parts = ("matrix", "linked", "bias", "response", "activation", "aggregation", "output", "used")
        return Networks(
            inputs=self.inputs, layers=self.layers, recurrent=self.recurrent, activations=self.activations,
            aggregations=self.aggregations, **{name: getattr(self, name)[rows] for name in parts},
        )  # fmt: skip

    def to(self, dtype: torch.dtype) -> Networks:
        """The same networks in another precision."""
        parts = {name: getattr(self, name).to(dtype) for name in ("matrix", "bias", "response")}
        return replace(self, **parts)

    def zero_state(self) -> Tensor:
        """[P, S] what recurrent nodes hold when an episode begins."""
        return torch.zeros_like(self.bias)

    def __call__(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x [P, I] (network p sees row p), state [P, S] → outputs [P, O] and the new state [P, S]."""
        if self.recurrent:
            values = torch.cat([x, self.zero_state() if state is None else state], dim=1)
            new = self._layer(values, 0, self.matrix.shape[1])
            values = torch.cat([x, new], dim=1)
            return values.gather(1, self.output), new
        values = torch.cat([x, torch.zeros_like(self.bias)], dim=1)
        begin = 0
        for width in self.layers:
            end = begin + width
            values[:, self.inputs + begin : self.inputs + end] = self._layer(
                values[:, : self.inputs + begin], begin, end
            )
            begin = end
        return values.gather(1, self.output), values[:, self.inputs :]

    def _layer(self, values: Tensor, begin: int, end: int) -> Tensor:
        """Slots begin … end from all values before them: [P, end − begin]."""
        reach = values.shape[1]
        weighted = self.matrix[:, begin:end, :reach] * values[:, None, :]  # [P, w, reach]
        kinds = self.aggregation[:, begin:end]
        summed = aggregate(weighted, self.linked[:, begin:end, :reach], kinds, self.aggregations)
        before = self.bias[:, begin:end] + self.response[:, begin:end] * summed
        result = activate(before, self.activation[:, begin:end], self.activations)
        return torch.where(self.used[:, begin:end], result, 0.0)


def build(genomes: Genomes, inputs: int, outputs: int, settings: Settings) -> Networks:
    """The networks of P genomes; shapes follow the largest of them."""
    live = genomes.enabled & genomes.has_connection
    linked = adjacency(genomes, live, inputs)  # [P, M, I + M], in order of ids
    needed = _needed(linked, outputs, inputs)
    linked = linked & needed[:, :, None]
    # neat-python: a recurrent node without inputs keeps 0, a feed-forward one is activation(bias)
    used = needed if settings.feed_forward else needed & linked.any(2)
    depth = _depth(linked, inputs) if settings.feed_forward else torch.zeros_like(genomes.node)
    slot, layers = _slots(depth, needed)
    return _placed(genomes, live, used, slot, layers, inputs, outputs, settings)


def adjacency(genomes: Genomes, live: Tensor, inputs: int) -> Tensor:
    """[P, M, I + M] bool: an enabled connection leads from value k to node m."""
    p, m = genomes.node.shape
    row, source, found = _ends(genomes, live, inputs)
    linked = torch.zeros(p, m + 1, inputs + m, dtype=torch.bool, device=genomes.device)
    linked.view(p, -1).scatter_(
        1, torch.where(found, row, m) * (inputs + m) + torch.where(found, source, 0), True
    )
    return linked[:, :m]


def _ends(genomes: Genomes, live: Tensor, inputs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of each connection [P, C]: target's place among the nodes, source's among the values, whether live."""
    row, there = _place(genomes.node, genomes.target)
    at, known = _place(genomes.node, genomes.source)
    source = torch.where(genomes.source < 0, -1 - genomes.source, at + inputs)
    return row, source, live & there & (known | (genomes.source < 0))


def _place(nodes: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Where each id [P, C] stands among the ascending node ids [P, M]."""
    place = torch.searchsorted(nodes, ids.contiguous()).clamp_(max=nodes.shape[1] - 1)
    return place, (nodes.gather(1, place) == ids) & (ids < NONE)


def _needed(linked: Tensor, outputs: int, inputs: int) -> Tensor:
    """[P, M] outputs, and every node that one of them depends on."""
    needed = torch.zeros(linked.shape[:2], dtype=torch.bool, device=linked.device)
    needed[:, :outputs] = True
    while True:
        more = needed | (linked[:, :, inputs:] & needed[:, :, None]).any(1)
        if bool((more == needed).all()):
            return needed
        needed = more


def _depth(linked: Tensor, inputs: int) -> Tensor:
    """[P, M] length of the longest path that leads to a node from an input or a node without inputs."""
    between = linked[:, :, inputs:]
    depth = torch.zeros(linked.shape[:2], dtype=torch.int64, device=linked.device)
    for _ in range(linked.shape[1] + 1):
        more = torch.where(between, depth[:, None, :] + 1, 0).amax(2)
        if bool((more == depth).all()):
            return depth
        depth = more
    raise ValueError("a feed-forward genome has a cycle")


def _slots(depth: Tensor, used: Tensor) -> tuple[Tensor, list[int]]:
    """Each node's slot [P, M] in the order of layers (the number of slots if it has none), layer widths."""
    deepest = int(depth[used].max()) if bool(used.any()) else 0
    begin, slot, layers = 0, torch.zeros_like(depth), []
    for layer in range(deepest + 1):
        here = used & (depth == layer)
        rank = here.cumsum(1) - 1
        width = int(here.sum(1).max())
        slot = torch.where(here, begin + rank, slot)
        layers.append(width)
        begin += width
    return torch.where(used, slot, begin), layers


def _placed(genomes: Genomes, live: Tensor, used: Tensor, slot: Tensor, layers: list[int],
            inputs: int, outputs: int, settings: Settings) -> Networks:  # fmt: skip
    """Attributes and weights at their slots; the last slot collects what is left out, and is cut off."""
    p, slots = genomes.size, sum(layers)

    def scatter(value: Tensor) -> Tensor:
        out = torch.zeros(p, slots + 1, dtype=value.dtype, device=value.device)
        return out.scatter_(1, slot, value)[:, :slots]

    row, source, found = _ends(genomes, live, inputs)
    node_slot = slot.gather(1, row)
    source_slot = torch.where(
        source < inputs, source, inputs + slot.gather(1, (source - inputs).clamp(min=0))
    )
    width = inputs + slots + 1
    kept = found & (node_slot < slots) & (source_slot < inputs + slots)
    index = torch.where(kept, node_slot * width + source_slot, slots * width)
    matrix = torch.zeros(p, (slots + 1) * width, device=genomes.device)
    matrix.scatter_(1, index, torch.where(kept, genomes.weight, 0.0))
    link = torch.zeros(p, (slots + 1) * width, dtype=torch.bool, device=genomes.device)
    link.scatter_(1, index, kept)
    shape = (p, slots + 1, width)
    output = inputs + slot[:, :outputs]
    return Networks(
        inputs=inputs,
        layers=layers,
        matrix=matrix.view(shape)[:, :slots, : inputs + slots].contiguous(),
        linked=link.view(shape)[:, :slots, : inputs + slots].contiguous(),
        bias=scatter(genomes.bias),
        response=scatter(genomes.response),
        activation=scatter(genomes.activation),
        aggregation=scatter(genomes.aggregation),
        output=output.clamp(max=inputs + max(slots - 1, 0)),
        used=scatter(used),
        recurrent=not settings.feed_forward,
        activations=settings.activations,
        aggregations=settings.aggregations,
    )
