"""A policy as a plain `nn.Module`: observations in, actions in the environment's own units out.

This file needs torch alone; an exported policy is a copy of it with the numbers of one genome below.
Shapes: B observations at once, I numbers of an encoded observation, O outputs, S nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rlkit.neat.functions import activate, aggregate


@dataclass
class Node:
    id: int  # outputs count from 0, hidden nodes on from there; inputs are −1, −2, …
    bias: float
    response: float = 1.0
    activation: str = "tanh"
    aggregation: str = "sum"


@dataclass
class Graph:
    """A network: in layers, each of which sees the inputs and all layers before it.

    A recurrent one is a single layer, whose nodes see the inputs and all nodes of the step before.
    """

    inputs: int
    outputs: int
    recurrent: bool
    layers: list[list[Node]]
    links: list[tuple[int, int, float]]  # source id, target id, weight


@dataclass
class Reading:
    """How one leaf of the observation becomes numbers: as they are, or `one_hot`."""

    name: str
    shape: tuple[int, ...]  # without the batch
    dtype: str
    unit: float = 1.0  # numbers are divided by it
    start: list[int] = field(default_factory=list)  # what is taken off integers first
    one_hot: list[tuple[int, int]] = field(default_factory=list)  # (entry, value) that each input stands for


@dataclass
class Acting:
    """How outputs become one leaf of the action.

    "choice": the greatest of each n outputs, counted from `start`; "switch": whether an output is above 0;
    "number": output · scale + shift, kept within low … high, rounded where the dtype is an integer.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    n: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    shift: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    @property
    def outputs(self) -> int:
        return sum(self.n) or len(self.scale)


@dataclass
class PolicyData:
    """All that a policy is. mask: the leaf of the observation that is 0 where a choice is invalid, if any."""

    graph: Graph
    observation: list[Reading]
    action: list[Acting]
    mask: Reading | None = None

    @property
    def seen(self) -> list[Reading]:
        """Every leaf of the observation that is looked at."""
        return self.observation if self.mask is None else [*self.observation, self.mask]


class Layer(nn.Module):
    """activation(bias + response · aggregation(weight · value)) of w nodes that see k values."""

    linked: Tensor
    activation: Tensor
    aggregation: Tensor

    def __init__(self, nodes: list[Node], seen: list[int], links: list[tuple[int, int, float]]) -> None:
        super().__init__()
        row = {node.id: place for place, node in enumerate(nodes)}
        column = {identity: place for place, identity in enumerate(seen)}
        weight = torch.zeros(len(nodes), len(seen))
        linked = torch.zeros(len(nodes), len(seen), dtype=torch.bool)
        for source, target, value in links:
            if target in row:
                weight[row[target], column[source]] = value
                linked[row[target], column[source]] = True
        self.weight = nn.Parameter(weight)  # [w, k]
        self.bias = nn.Parameter(torch.tensor([node.bias for node in nodes]))
        self.response = nn.Parameter(torch.tensor([node.response for node in nodes]))
        self.register_buffer("linked", linked, persistent=False)
        self.activations = sorted({node.activation for node in nodes})
        self.aggregations = sorted({node.aggregation for node in nodes})
        activation = torch.tensor([self.activations.index(node.activation) for node in nodes])
        aggregation = torch.tensor([self.aggregations.index(node.aggregation) for node in nodes])
        self.register_buffer("activation", activation, persistent=False)
        self.register_buffer("aggregation", aggregation, persistent=False)

    def forward(self, values: Tensor) -> Tensor:  # [B, k] → [B, w]
        weighted = self.weight * self.linked * values[:, None, :]  # training leaves the other places alone
        summed = aggregate(weighted, self.linked.expand_as(weighted), self.aggregation, self.aggregations)
        return activate(self.bias + self.response * summed, self.activation, self.activations)


class Network(nn.Module):
    """x [B, I], state [B, S] → outputs [B, O], state. State is for recurrent networks; None begins anew."""

    output: Tensor

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.recurrent = graph.recurrent
        ids = [-1 - number for number in range(graph.inputs)]
        nodes = [node.id for layer in graph.layers for node in layer]
        layers = []
        seen = ids + nodes if graph.recurrent else list(ids)
        for layer in graph.layers:
            layers.append(Layer(layer, seen, graph.links))
            if not graph.recurrent:
                seen = seen + [node.id for node in layer]
        self.layers = nn.ModuleList(layers)
        self.nodes = len(nodes)
        output = torch.tensor([(ids + nodes).index(number) for number in range(graph.outputs)])
        self.register_buffer("output", output, persistent=False)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        values = x
        if self.recurrent:
            before = x.new_zeros(len(x), self.nodes) if state is None else state
            state = self.layers[0](torch.cat([x, before], dim=1))
            values = torch.cat([x, state], dim=1)
        else:
            for layer in self.layers:
                values = torch.cat([values, layer(values)], dim=1)
        return values[:, self.output], state


class Policy(nn.Module):
    """Observations of B environments → actions, each in its environment's own form.

    A space of a single leaf goes in and comes out as a tensor [B, ...], any other as a dict of them. Call it
    without a gradient (`with torch.no_grad()`); to train on, use `policy.network(policy.encode(obs))`.
    """

    def __init__(self, data: PolicyData) -> None:
        super().__init__()
        self.network = Network(data.graph)
        self.observation, self.action, self.mask = data.observation, data.action, data.mask

    def forward(
        self, obs: Tensor | dict[str, Tensor], state: Tensor | None = None
    ) -> tuple[Tensor | dict[str, Tensor], Tensor | None]:
        """The action, and the state to hand in at the next step (None: the network keeps none)."""
        leaves = self.leaves(obs)
        outputs, state = self.network(self.encode(leaves), state)
        if self.mask is not None:
            outputs = torch.where(leaves[self.mask.name] != 0, outputs, torch.finfo(outputs.dtype).min)
        actions, at = {}, 0
        for leaf in self.action:
            actions[leaf.name] = decide(leaf, outputs[:, at : at + leaf.outputs])
            at += leaf.outputs
        return (next(iter(actions.values())) if len(actions) == 1 else actions), state

    def leaves(self, obs: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
        return obs if isinstance(obs, dict) else {self.observation[0].name: obs}

    def encode(self, obs: Tensor | dict[str, Tensor]) -> Tensor:
        """[B, I] what the network sees."""
        leaves = self.leaves(obs)
        return torch.cat([numbers(leaf, leaves[leaf.name]) for leaf in self.observation], dim=1)


def numbers(leaf: Reading, x: Tensor) -> Tensor:
    """[B, *shape] of one leaf → [B, inputs] float32."""
    x = x.reshape(len(x), -1)
    if leaf.start:
        x = x - x.new_tensor(leaf.start)
    if leaf.one_hot:
        entry, value = torch.tensor(leaf.one_hot, device=x.device).T
        return (x[:, entry] == value).float()
    return x.float() / leaf.unit


def decide(leaf: Acting, outputs: Tensor) -> Tensor:
    """[B, outputs] → [B, *shape]."""
    if leaf.kind == "choice":
        action = torch.stack([part.argmax(1) for part in torch.split(outputs, leaf.n, 1)], dim=1)
        action = action + action.new_tensor(leaf.start)
    elif leaf.kind == "switch":
        action = outputs > 0
    else:
        action = outputs * outputs.new_tensor(leaf.scale) + outputs.new_tensor(leaf.shift)
        action = action.clamp(outputs.new_tensor(leaf.low), outputs.new_tensor(leaf.high))
        if not leaf.dtype.startswith("float"):
            action = action.round()
    return action.to(getattr(torch, leaf.dtype)).reshape(len(outputs), *leaf.shape)
