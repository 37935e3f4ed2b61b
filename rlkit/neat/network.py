"""Genomes as networks: P different graphs, evaluated together as dense layers.

Exactly what neat-python's FeedForwardNetwork and RecurrentNetwork compute: a node is
activation(bias + response · aggregation(weight · input)); nodes that no output depends on are left out; a
feed-forward node without inputs is activation(bias).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from rlkit.neat.functions import activate, aggregate
from rlkit.neat.genes import Genomes
from rlkit.neat.settings import Settings

_WORD = 52  # nodes in one mask: the sum of so many bits is exact in a float64


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
        return replace(self, **{name: getattr(self, name).index_select(0, rows) for name in parts})

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


@torch.inference_mode()  # evolved, never trained: autograd's bookkeeping only takes time
def build(genomes: Genomes, inputs: int, outputs: int, settings: Settings) -> Networks:
    """The networks of P genomes; shapes follow the largest of them."""
    live = genomes.enabled & genomes.has_connection
    target, node = _ends(genomes)
    from_input = genomes.source < 0
    nodes, between = genomes.node.shape[1], live & ~from_input
    used = needed = _needed(_masks(node, target, between, nodes), outputs)
    if settings.feed_forward:
        slot, layers = _slots(needed, _masks(target, node, between, nodes))
    else:  # neat-python: a recurrent node without inputs keeps 0, a feed-forward one is activation(bias)
        slot, layers = _slots(needed, None)
        fed = torch.zeros(len(live), nodes + 1, dtype=torch.bool, device=live.device)
        used = needed & fed.scatter_(1, torch.where(live, target, nodes), True)[:, :nodes]

    p, slots = genomes.size, sum(layers)
    rest = (inputs + slots) * slots * p
    # Genomes last: lanes read this memory so. Behind it a place for all that no output depends on.
    column = torch.arange(p, device=live.device)[:, None] + slot * p
    row = ((slot + inputs) * (slots * p)).gather(1, node)
    row = torch.where(from_input, ~genomes.source * (slots * p), row)  # ~id is the input's number
    place = torch.where(live & needed.gather(1, target), row + column.gather(1, target), rest).flatten()

    def spread(values: Tensor | bool, dtype: torch.dtype) -> Tensor:
        numbers = torch.zeros(rest + 1, dtype=dtype, device=live.device)
        numbers.scatter_(0, place, values.flatten() if isinstance(values, Tensor) else values)
        return numbers[:rest].view(inputs + slots, slots, p).permute(2, 1, 0)

    def scatter(value: Tensor) -> Tensor:
        out = torch.zeros(p, slots + 1, dtype=value.dtype, device=value.device)
        return out.scatter_(1, slot, value)[:, :slots]

    return Networks(
        inputs=inputs,
        layers=layers,
        matrix=spread(genomes.weight, torch.float32),
        linked=spread(True, torch.bool),
        bias=scatter(genomes.bias),
        response=scatter(genomes.response),
        activation=scatter(genomes.activation),
        aggregation=scatter(genomes.aggregation),
        output=(inputs + slot[:, :outputs]).clamp(max=inputs + max(slots - 1, 0)),
        used=scatter(used),
        recurrent=not settings.feed_forward,
        activations=settings.activations,
        aggregations=settings.aggregations,
    )


def adjacency(genomes: Genomes, live: Tensor, inputs: int) -> Tensor:
    """[P, M, I + M] bool: one of the `live` connections leads from value k (inputs, then nodes) to node m."""
    p, m = genomes.node.shape
    target, node = _ends(genomes)
    source = torch.where(genomes.source < 0, ~genomes.source, node + inputs)
    linked = torch.zeros(p, m + 1, inputs + m, dtype=torch.bool, device=genomes.device)
    linked.view(p, -1).scatter_(1, torch.where(live, target, m) * (inputs + m) + source, True)
    return linked[:, :m]


def _ends(genomes: Genomes) -> tuple[Tensor, Tensor]:
    """Of each connection [P, C]: its target's and its source's place among the nodes.

    Of an input 0, of empty slots any place that there is.
    """
    last = genomes.node.shape[1] - 1
    target = torch.searchsorted(genomes.node, genomes.target).clamp_(max=last)
    return target, torch.searchsorted(genomes.node, genomes.source).clamp_(max=last)


def _masks(at: Tensor, of: Tensor, live: Tensor, nodes: int) -> list[Tensor]:
    """Words of [P, M] int64: node `of` [P, C] as a bit of node `at` [P, C], for the connections that live."""
    words = []
    for first in range(0, nodes, _WORD):
        bit = of - first if first else of
        if nodes > _WORD:
            here = live & (bit >= 0) & (bit < _WORD)
            bit = bit.clamp(0, _WORD - 1)
        else:
            here = live
        mask = torch.zeros(len(at), nodes, dtype=torch.int64, device=at.device)
        words.append(mask.scatter_add_(1, at, here.long().bitwise_left_shift_(bit)))
    return words


def _bits(device: torch.device) -> Tensor:
    """The number of each bit of a word."""
    return (1 << torch.arange(_WORD, device=device)).double()


def _meets(masks: list[Tensor], flags: Tensor, bits: Tensor) -> Tensor:
    """[P, M] bool: a node's mask holds one of the nodes `flags` [P, M]."""
    found: list[Tensor] = []
    for number, mask in enumerate(masks):
        some = flags[:, number * _WORD : (number + 1) * _WORD].double()
        found.append(mask & (some @ bits[: some.shape[1]]).long()[:, None])
    return reduce(torch.bitwise_or, found).bool()


def _needed(feeds: list[Tensor], outputs: int) -> Tensor:
    """[P, M] outputs, and every node that one of them depends on; feeds: words of whom a node leads to."""
    needed = torch.zeros(feeds[0].shape, dtype=torch.bool, device=feeds[0].device)
    needed[:, :outputs] = True
    before, count, bits = 0, outputs * len(needed), _bits(needed.device)
    while before < count:  # until no node is new
        needed |= _meets(feeds, needed, bits)
        before, count = count, int(needed.sum())
    return needed


def _slots(needed: Tensor, sources: list[Tensor] | None) -> tuple[Tensor, list[int]]:
    """Each node's slot [P, M] in the order of layers (the number of slots if it has none), layer widths.

    A layer holds the nodes all of whose sources (words) stand in earlier ones; None: there is but one.
    """
    slot, layers, left = torch.zeros_like(needed, dtype=torch.int64), list[int](), needed
    bits = _bits(needed.device)
    while int(left.sum()):
        here = left if sources is None else left & ~_meets(sources, left, bits)
        counted = here.cumsum(1)
        width = int(counted[:, -1].max())
        if not width:
            raise ValueError("a feed-forward genome has a cycle")
        slot = torch.where(here, counted + (sum(layers) - 1), slot)
        layers.append(width)
        left = left & ~here
    return torch.where(needed, slot, sum(layers)), layers
