"""Genomes written by hand, read back as plain numbers, and handed to neat-python."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from rlkit.neat.draws import Draws
from rlkit.neat.genes import NONE, Genomes, stacked
from rlkit.neat.reproduction import Evolution
from rlkit.neat.settings import Settings

Gene = tuple[int, int, int, float, bool]  # innovation, source, target, weight, enabled


def genome(nodes: list[int], genes: list[Gene]) -> Genomes:
    """One genome; every bias is a tenth of the node's id."""
    m, c = max(len(nodes), 1), max(len(genes), 1)
    filled = genes or [(NONE, 0, 0, 0.0, False)]
    return Genomes(
        node=torch.tensor([nodes]),
        bias=torch.tensor([nodes]) / 10,
        response=torch.ones(1, m),
        activation=torch.zeros(1, m, dtype=torch.int64),
        aggregation=torch.zeros(1, m, dtype=torch.int64),
        innovation=torch.tensor([[gene[0] for gene in filled]]),
        source=torch.tensor([[gene[1] for gene in filled]]),
        target=torch.tensor([[gene[2] for gene in filled]]),
        weight=torch.tensor([[gene[3] for gene in filled]]).view(1, c),
        enabled=torch.tensor([[gene[4] for gene in filled]]),
    )


def population(*genomes: Genomes) -> Genomes:
    return stacked(list(genomes))


def nodes_of(genomes: Genomes, row: int = 0) -> list[int]:
    return [node for node in genomes.node[row].tolist() if node < NONE]


def genes_of(genomes: Genomes, row: int = 0) -> list[Gene]:
    columns = (genomes.innovation, genomes.source, genomes.target, genomes.weight, genomes.enabled)
    rows = zip(*(column[row].tolist() for column in columns), strict=True)
    return [gene for gene in rows if gene[0] < NONE]


def draws(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed))


def evolved(
    settings: Settings, size: int, inputs: int, outputs: int, generations: int, seed: int = 0
) -> Evolution:
    """A population after some generations of random fitness."""
    evolution = Evolution(size, inputs, outputs, settings, draws(seed))
    random = torch.Generator().manual_seed(seed + 1)
    for _ in range(generations):
        evolution.advance(torch.rand(size, generator=random))
    return evolution


def check(genomes: Genomes, inputs: int) -> None:
    """What every population owes: sorted rows, no gene twice, ends that exist, one meaning per number."""
    meaning: dict[int, tuple[int, int]] = {}
    for row in range(genomes.size):
        nodes, genes = nodes_of(genomes, row), genes_of(genomes, row)
        numbers = [gene[0] for gene in genes]
        assert nodes == sorted(set(nodes))
        assert numbers == sorted(set(numbers))
        pairs = [gene[1:3] for gene in genes]
        assert len(set(pairs)) == len(pairs), "two genes join the same nodes"
        for number, source, target, *_ in genes:
            assert source in nodes or -inputs <= source < 0
            assert target in nodes
            assert meaning.setdefault(number, (source, target)) == (source, target), "one number, two genes"


def has_cycle(genomes: Genomes, row: int) -> bool:
    """By taking away, again and again, the nodes that nothing leads into."""
    edges = [(source, target) for _, source, target, *_ in genes_of(genomes, row) if source >= 0]
    while edges:
        targets = {target for _, target in edges}
        rest = [(source, target) for source, target in edges if source in targets]
        if len(rest) == len(edges):
            return True
        edges = rest
    return False


def theirs(library: Any, evolution: Evolution, row: int) -> Any:
    """The same genome as a network of neat-python."""
    genomes, settings = evolution.genomes, evolution.settings
    keys = SimpleNamespace(
        input_keys=[-1 - i for i in range(evolution.inputs)],
        output_keys=list(range(evolution.outputs)),
        activation_defs=library.activations.ActivationFunctionSet(),
        aggregation_function_defs=library.aggregations.AggregationFunctionSet(),
    )
    nodes = {
        node: SimpleNamespace(
            bias=float(genomes.bias[row, place]),
            response=float(genomes.response[row, place]),
            activation=settings.activations[int(genomes.activation[row, place])],
            aggregation=settings.aggregations[int(genomes.aggregation[row, place])],
        )
        for place, node in enumerate(nodes_of(genomes, row))
    }
    connections = {
        (source, target): SimpleNamespace(key=(source, target), enabled=enabled, weight=weight)
        for _, source, target, weight, enabled in genes_of(genomes, row)
    }
    network = library.nn.FeedForwardNetwork if settings.feed_forward else library.nn.RecurrentNetwork
    return network.create(
        SimpleNamespace(nodes=nodes, connections=connections), SimpleNamespace(genome_config=keys)
    )
