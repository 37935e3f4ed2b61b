"""A genome, and how its environment is read and acted upon, as the plain data that exports are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from rlkit.errors import UserError
from rlkit.neat.export.module import Acting, Graph, Node, PolicyData, Reading
from rlkit.neat.genes import NONE, Genomes
from rlkit.neat.settings import Settings
from rlkit.nets.encoders import Encoder, Flat, OneHot
from rlkit.spaces import MASK_NAME, ActionLeaf, ActionSpec, ObsLeaf, ObsSpec

KINDS = {"discrete": "choice", "multidiscrete": "choice", "multibinary": "switch", "box": "number"}


@dataclass
class Gene:
    """A connection gene in plain numbers."""

    innovation: int
    source: int
    target: int
    weight: float
    enabled: bool


@dataclass
class Plain:
    """One genome in plain numbers: all its genes, the disabled and the useless ones, too."""

    nodes: dict[int, Node]
    genes: list[Gene]


def plain(genomes: Genomes, settings: Settings, row: int = 0) -> Plain:
    """Genome `row`, numbers exactly as they are."""
    columns = (genomes.node, genomes.bias, genomes.response, genomes.activation, genomes.aggregation)
    nodes = {
        number: Node(number, bias, response, settings.activations[act], settings.aggregations[agg])
        for number, bias, response, act, agg in zip(*(c[row].tolist() for c in columns), strict=True)
        if number < NONE
    }
    columns = (genomes.innovation, genomes.source, genomes.target, genomes.weight, genomes.enabled)
    rows = zip(*(c[row].tolist() for c in columns), strict=True)
    return Plain(nodes, [Gene(*values) for values in rows if values[0] < NONE])


def graph(genomes: Genomes, inputs: int, outputs: int, settings: Settings, row: int = 0) -> Graph:
    """The network of genome `row`: enabled connections, and the nodes that an output depends on."""
    one = plain(genomes, settings, row)
    live = [gene for gene in one.genes if gene.enabled]
    needed = required(live, outputs)
    links = [(gene.source, gene.target, _short(gene.weight)) for gene in live if gene.target in needed]
    nodes = {n: _shortened(one.nodes[n]) for n in sorted(needed)}
    if settings.feed_forward:
        return Graph(inputs, outputs, False, _layers(nodes, links), links)
    fed = {target for _, target, _ in links}
    # A recurrent node that nothing leads to keeps its 0.
    layer = [node if n in fed else Node(n, 0.0, 0.0, "identity", "sum") for n, node in nodes.items()]
    return Graph(inputs, outputs, True, [layer], links)


def required(genes: list[Gene], outputs: int) -> set[int]:
    """The outputs, and every node from which these genes lead to one."""
    found, new = set(range(outputs)), set(range(outputs))
    while new:
        new = {gene.source for gene in genes if gene.target in new and gene.source >= 0} - found
        found |= new
    return found


def _layers(nodes: dict[int, Node], links: list[tuple[int, int, float]]) -> list[list[Node]]:
    """Nodes by the length of the longest path to them."""
    layers: list[list[Node]] = []
    known: set[int] = set()
    while len(known) < len(nodes):
        waiting = {target for source, target, _ in links if source >= 0 and source not in known}
        ready = [n for n in nodes if n not in known and n not in waiting]
        if not ready:
            raise ValueError("a feed-forward genome has a cycle")
        layers.append([nodes[n] for n in ready])
        known |= set(ready)
    return layers


def _short(value: float) -> float:
    """The shortest decimal number that is the same float32."""
    return float(str(np.float32(value)))


def _shortened(node: Node) -> Node:
    return Node(node.id, _short(node.bias), _short(node.response), node.activation, node.aggregation)


# ---------------------------------------------------------------------- the spaces around it


def policy_data(graph: Graph, encoder: Encoder, obs: ObsSpec, action: ActionSpec) -> PolicyData:
    """A network with the leaves that `encoder` reads and the action that its outputs mean."""
    leaves = {leaf.name: leaf for leaf in obs.leaves}
    modules = zip(encoder.names, encoder.encoders, strict=True)
    reading = [_reading(leaves[name], module) for name, module in modules]
    masks = action.is_single_discrete and MASK_NAME in leaves
    mask = _plainly(leaves[MASK_NAME]) if masks else None
    return PolicyData(graph, reading, [_acting(leaf) for leaf in action.leaves], mask)


def _plainly(leaf: ObsLeaf) -> Reading:
    """A leaf whose numbers are read as they are."""
    start = [] if leaf.start is None else leaf.start.reshape(-1).tolist()
    return Reading(leaf.name, leaf.shape, str(leaf.dtype).removeprefix("torch."), start=start)


def _reading(leaf: ObsLeaf, module: nn.Module) -> Reading:
    reading = _plainly(leaf)
    if isinstance(module, OneHot):
        reading.one_hot = list(zip(module.column.tolist(), module.value.tolist(), strict=True))
    elif isinstance(module, Flat):
        reading.unit = module.unit
    elif not isinstance(module, nn.Identity):
        raise UserError(
            f"The observation leaf {leaf.name!r} is read by {type(module).__name__}, which has no export: "
            "use a Box, Discrete, MultiDiscrete or MultiBinary."
        )
    return reading


def _acting(leaf: ActionLeaf) -> Acting:
    shape = tuple(int(side) for side in leaf.space.shape)
    dtype = str(leaf.space.dtype)
    kind = KINDS[leaf.kind]
    if kind == "choice":
        start = [0] * leaf.width if leaf.start is None else leaf.start.tolist()
        return Acting(leaf.name, kind, shape, dtype, n=list(leaf.n), start=start)
    if kind == "switch":
        return Acting(leaf.name, kind, shape, dtype, n=[1] * leaf.width)
    bounds = {name: getattr(leaf, name).tolist() for name in ("scale", "shift", "low", "high")}
    return Acting(leaf.name, kind, shape, dtype, **bounds)
