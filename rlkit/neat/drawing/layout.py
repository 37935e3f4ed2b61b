"""One genome as plain numbers, and where its nodes stand: inputs left, outputs right, the others by depth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rlkit.neat.drawing.scene import Point
from rlkit.neat.genes import NONE, Genomes
from rlkit.neat.naming import Names, count

_PLACES = 33  # heights that are tried for a hidden node
_CROWD = 400  # links beyond which nobody sees whether one passes behind a node


@dataclass(frozen=True)
class Link:
    source: int
    target: int
    weight: float
    enabled: bool


@dataclass(frozen=True)
class Node:
    id: int
    bias: float
    activation: str
    aggregation: str


@dataclass
class Graph:
    """Inputs are −1 … −I, outputs 0 … O−1, hidden nodes from O on."""

    inputs: int
    outputs: int
    nodes: dict[int, Node]  # outputs and hidden nodes
    links: list[Link]
    depth: dict[int, int] = field(default_factory=dict)  # of every node; inputs 0, outputs the highest
    backward: set[tuple[int, int]] = field(default_factory=set)  # links that do not lead to greater depth
    used: set[int] = field(default_factory=set)  # nodes and inputs that some output depends on

    @staticmethod
    def of(genomes: Genomes, names: Names, row: int = 0) -> Graph:
        """Genome `row` of P."""
        rows = (genomes.node, genomes.bias, genomes.activation, genomes.aggregation)
        nodes = {
            node: Node(node, bias, names.activations[a], names.aggregations[g])
            for node, bias, a, g in zip(*(each[row].tolist() for each in rows), strict=True)
            if node < NONE
        }
        genes = (genomes.innovation, genomes.source, genomes.target, genomes.weight, genomes.enabled)
        links = [
            Link(source, target, weight, enabled)
            for number, source, target, weight, enabled in zip(
                *(each[row].tolist() for each in genes), strict=True
            )
            if number < NONE
        ]
        graph = Graph(count(names.inputs), count(names.outputs), nodes, links)
        graph._find_used()
        graph._find_depth()
        return graph

    @property
    def hidden(self) -> list[int]:
        return [node for node in self.nodes if node >= self.outputs]

    @property
    def live(self) -> list[Link]:
        return [link for link in self.links if link.enabled]

    def _find_used(self) -> None:
        sources: dict[int, list[int]] = {}
        for link in self.live:
            sources.setdefault(link.target, []).append(link.source)
        todo = list(range(self.outputs))
        while todo:
            node = todo.pop()
            if node not in self.used:
                self.used.add(node)
                todo += sources.get(node, [])

    def _find_depth(self) -> None:
        """The longest way from an input, links that close a cycle left out."""
        targets: dict[int, list[int]] = {}
        for link in self.live:
            if link.source < 0 or link.source >= self.outputs:  # nothing stands to the right of an output
                targets.setdefault(link.source, []).append(link.target)
            else:
                self.backward.add((link.source, link.target))
        order = self._visit(targets)
        self.depth = {node: 1 for node in order if node >= 0} | {-1 - k: 0 for k in range(self.inputs)}
        for node in reversed(order):
            for target in targets.get(node, ()):
                if (node, target) not in self.backward:
                    self.depth[target] = max(self.depth[target], self.depth[node] + 1)
        last = max((self.depth[node] for node in self.hidden), default=0) + 1
        self.depth |= dict.fromkeys(range(self.outputs), last)

    def _visit(self, targets: dict[int, list[int]]) -> list[int]:
        """Depth first from the inputs: every node after all that it leads to; notes what leads back."""
        order: list[int] = []
        state: dict[int, bool] = {}  # True while it is on the way
        for start in [*sorted({link.source for link in self.live if link.source < 0}), *self.nodes]:
            stack = [] if start in state else [(start, iter(targets.get(start, ())))]
            if stack:
                state[start] = True
            while stack:
                node, rest = stack[-1]
                for target in rest:
                    if target not in state:
                        state[target] = True
                        stack.append((target, iter(targets.get(target, ()))))
                        break
                    if state[target]:
                        self.backward.add((node, target))
                else:
                    state[node] = False
                    order.append(node)
                    stack.pop()
        return order


def heights(graph: Graph, fixed: dict[int, Point], columns: list[float], low: float, high: float,
            radius: float) -> dict[int, Point]:  # fmt: skip
    """Where hidden nodes stand: near the mean height of what they are linked to, and not on a passing link.

    fixed: places of inputs and outputs. columns: x of each depth. low … high: the heights that are free.
    """
    layers: dict[int, list[int]] = {}
    for node in graph.hidden:
        layers.setdefault(graph.depth[node], []).append(node)
    places = dict(fixed)
    for depth, nodes in layers.items():
        for k, node in enumerate(nodes):
            places[node] = columns[depth], low + (high - low) * (k + 0.5) / len(nodes)
    near: dict[int, list[int]] = {}
    for link in graph.live:
        near.setdefault(link.source, []).append(link.target)
        near.setdefault(link.target, []).append(link.source)
    for _ in range(3):
        for depth in sorted(layers):
            wanted = {
                node: sum(places[other][1] for other in near.get(node, [node])) / len(near.get(node, [node]))
                for node in layers[depth]
            }
            nodes = sorted(layers[depth], key=lambda node: (wanted[node], node))
            if len(nodes) * (2 * radius + 14) > 0.7 * (high - low):
                for k, node in enumerate(nodes):
                    places[node] = columns[depth], low + (high - low) * (k + 0.5) / len(nodes)
            else:
                _spread(graph, nodes, wanted, places, low, high, radius)
    return places


def _spread(graph: Graph, nodes: list[int], wanted: dict[int, float], places: dict[int, Point],
            low: float, high: float, radius: float) -> None:  # fmt: skip
    """Give each node of one layer the free height that costs least."""
    x = places[nodes[0]][0]
    largest = max((abs(link.weight) for link in graph.live), default=1.0) or 1.0
    crossing = [
        (y0 + (y1 - y0) * (x - x0) / (x1 - x0), abs(link.weight) / largest)
        for link in (graph.live if len(graph.links) <= _CROWD else [])
        for (x0, y0), (x1, y1) in [(places[link.source], places[link.target])]
        if x0 < x < x1
    ]
    tried = low + (high - low) * (np.arange(_PLACES) + 0.5) / _PLACES  # [K]
    lines, sizes = np.array(crossing).reshape(-1, 2).T
    below = lines - tried[:, None]  # [K, lines]; under a node stands its bias
    hidden = (below > -radius - 5) & (below < radius + 14)  # a link passes behind the node
    cost = (hidden * (0.2 + 0.6 * sizes)).sum(1)  # [K]
    for node in nodes:
        best = tried[np.argmin(cost + np.abs(tried - wanted[node]) / (high - low))]
        cost += 10.0 * (np.abs(tried - best) < 2 * radius + 14)
        places[node] = x, float(best)
