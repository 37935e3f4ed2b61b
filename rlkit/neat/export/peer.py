"""Genomes as neat-python has them: its JSON, its genome objects, its configuration, its checkpoints.

Node ids, innovation numbers and all genes, disabled ones included, are the same on both sides; so are the
networks' outputs. What neat-python cannot do (interspecies mating, a threshold that follows the number of
species, excess genes that count otherwise than disjoint ones) is left out of the configuration.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import tempfile
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import torch

from rlkit.errors import UserError
from rlkit.neat.export.module import Node
from rlkit.neat.export.portable import Gene, Plain, graph, plain, required
from rlkit.neat.genes import NONE, Genomes, stacked
from rlkit.neat.settings import Number, Settings

INITIAL = {
    "full": "full_direct", "full_nodirect": "full_nodirect", "none": "unconnected",
    "one_input": "fs_neat_nohidden", "one_input_hidden": "fs_neat_hidden",
    "partial": "partial_direct {}", "partial_nodirect": "partial_nodirect {}",
}  # fmt: skip
SWITCH = {"enabled": "True", "disabled": "False", "random": "random"}


def library() -> Any:
    """The package neat-python."""
    try:
        import neat
    except ModuleNotFoundError:
        raise UserError('This needs the package neat-python: pip install "rlkit-lab[neat]".') from None
    return neat


# ---------------------------------------------------------------------- JSON


def network_json(
    genomes: Genomes, inputs: int, outputs: int, settings: Settings, facts: dict[str, Any], row: int = 0
) -> dict[str, Any]:
    """Genome `row` in the format 1.0 of `neat.export`: the nodes and connections that take part.

    Without neat-python. facts: fitness, generation, genome_id, as far as they are known.
    """
    one = plain(genomes, settings, row)
    nodes, genes = _taking_part(one, genomes, inputs, outputs, settings, row)
    input_keys, output_keys = [-1 - i for i in range(inputs)], list(range(outputs))
    kinds = dict.fromkeys(output_keys, "output")
    shown = [
        {"id": n.id, "type": kinds.get(n.id, "hidden"), "activation": _function(n.activation),
         "aggregation": _function(n.aggregation), "bias": n.bias, "response": n.response}
        for n in nodes
    ]  # fmt: skip
    shown += [
        {"id": key, "type": "input", "activation": _function("identity"), "aggregation": _function("none"),
         "bias": 0.0, "response": 1.0}
        for key in input_keys
    ]  # fmt: skip
    now = datetime.now(UTC).replace(tzinfo=None).isoformat() + "Z"
    return {
        "format_version": "1.0",
        "network_type": "feedforward" if settings.feed_forward else "recurrent",
        "metadata": {"created_timestamp": now, **facts},
        "topology": {
            "num_inputs": inputs, "num_outputs": outputs,
            "input_keys": input_keys, "output_keys": output_keys,
        },
        "nodes": shown,
        "connections": [
            {"from": gene.source, "to": gene.target, "weight": gene.weight, "enabled": True} for gene in genes
        ],
    }  # fmt: skip


def _function(name: str) -> dict[str, Any]:
    return {"name": name, "custom": False}


def _taking_part(
    one: Plain, genomes: Genomes, inputs: int, outputs: int, settings: Settings, row: int
) -> tuple[list[Node], list[Gene]]:
    """Nodes and enabled connections that neat-python's networks keep.

    A recurrent network of neat-python looks for what outputs depend on through disabled connections, too,
    and has no node that nothing leads to.
    """
    live = [gene for gene in one.genes if gene.enabled]
    if settings.feed_forward:
        layers = graph(genomes, inputs, outputs, settings, row).layers
        nodes = [one.nodes[node.id] for layer in layers for node in layer]
        kept = {node.id for node in nodes}
        return nodes, [gene for gene in live if gene.target in kept]
    needed = required(one.genes, outputs)
    genes = [gene for gene in live if gene.target in needed or gene.source in needed]
    fed = dict.fromkeys(gene.target for gene in genes)
    return [one.nodes[key] for key in fed], genes


# ---------------------------------------------------------------------- objects


def genome_object(one: Plain, key: int, fitness: float | None = None) -> Any:
    """A `neat.DefaultGenome`."""
    neat = library()
    genome = neat.DefaultGenome(key)
    genome.fitness = fitness
    for node in one.nodes.values():
        gene = neat.DefaultNodeGene(node.id)
        gene.bias, gene.response, gene.time_constant = node.bias, node.response, 1.0
        gene.activation, gene.aggregation = node.activation, node.aggregation
        genome.nodes[node.id] = gene
    for link in one.genes:
        ends = (link.source, link.target)
        connection = neat.DefaultConnectionGene(ends, innovation=link.innovation)
        connection.weight, connection.enabled = link.weight, link.enabled
        genome.connections[ends] = connection
    return genome


def from_objects(objects: list[Any], settings: Settings) -> Genomes:
    """The way back: `neat.DefaultGenome` objects as a population, in their order."""
    return stacked([_from_object(one, settings) for one in objects])


def _from_object(one: Any, settings: Settings) -> Genomes:
    def place(names: list[str], name: str) -> int:
        if name not in names:
            raise UserError(f"genome {one.key} has a node with {name!r}, and the settings know only {names}.")
        return names.index(name)

    nodes = [one.nodes[key] for key in sorted(one.nodes)]
    genes = sorted(one.connections.values(), key=lambda gene: int(gene.innovation))

    def row(values: list[Any], kind: torch.dtype, empty: float = 0) -> torch.Tensor:
        return torch.tensor([values or [empty]], dtype=kind)

    return Genomes(
        node=row([node.key for node in nodes], torch.int64),
        bias=row([node.bias for node in nodes], torch.float32),
        response=row([node.response for node in nodes], torch.float32),
        activation=row([place(settings.activations, node.activation) for node in nodes], torch.int64),
        aggregation=row([place(settings.aggregations, node.aggregation) for node in nodes], torch.int64),
        innovation=row([gene.innovation for gene in genes], torch.int64, NONE),
        source=row([gene.key[0] for gene in genes], torch.int64),
        target=row([gene.key[1] for gene in genes], torch.int64),
        weight=row([gene.weight for gene in genes], torch.float32),
        enabled=row([gene.enabled for gene in genes], torch.bool),
    )


def config_object(settings: Settings, inputs: int, outputs: int, population: int) -> Any:
    """A `neat.Config` under which genomes of these settings are built and evolve on."""
    neat = library()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.txt"
        path.write_text(config_text(settings, inputs, outputs, population), encoding="utf-8")
        parts = (neat.DefaultGenome, neat.DefaultReproduction, neat.DefaultSpeciesSet, neat.DefaultStagnation)
        return neat.Config(*parts, str(path))


def config_text(settings: Settings, inputs: int, outputs: int, population: int) -> str:
    """The configuration file. It ends no run: what fitness is enough, the file's user knows."""
    s = settings
    sections: dict[str, dict[str, Any]] = {
        "NEAT": {
            "fitness_criterion": "max", "fitness_threshold": 0.0, "no_fitness_termination": True,
            "pop_size": population, "reset_on_extinction": True,
        },
        "DefaultGenome": {
            "num_inputs": inputs, "num_outputs": outputs, "num_hidden": s.num_hidden,
            "feed_forward": s.feed_forward,
            "initial_connection": INITIAL[s.initial_connection].format(s.initial_fraction),
            "compatibility_disjoint_coefficient": s.disjoint_coefficient,
            "compatibility_weight_coefficient": s.weight_coefficient,
            "conn_add_prob": s.conn_add_prob, "conn_delete_prob": s.conn_delete_prob,
            "node_add_prob": s.node_add_prob, "node_delete_prob": s.node_delete_prob,
            "single_structural_mutation": s.single_structural_mutation,
            "structural_mutation_surer": s.structural_mutation_surer,
            "enabled_default": SWITCH[s.enabled_default], "enabled_mutate_rate": s.enabled_mutate_rate,
            "enabled_rate_to_true_add": s.enabled_rate_to_true_add,
            "enabled_rate_to_false_add": s.enabled_rate_to_false_add,
            "activation_default": s.activation_default, "activation_options": " ".join(s.activations),
            "activation_mutate_rate": s.activation_mutate_rate,
            "aggregation_default": s.aggregation_default, "aggregation_options": " ".join(s.aggregations),
            "aggregation_mutate_rate": s.aggregation_mutate_rate,
            **_number("weight", s.weight, s.weights_mutate_prob),
            **_number("bias", s.bias, s.weights_mutate_prob),
            **_number("response", s.response, s.weights_mutate_prob),
        },
        "DefaultSpeciesSet": {"compatibility_threshold": s.compatibility_threshold},
        "DefaultStagnation": {
            "species_fitness_func": s.species_fitness, "max_stagnation": s.max_stagnation,
            "species_elitism": s.species_elitism,
        },
        "DefaultReproduction": {
            "elitism": s.elitism, "survival_threshold": s.survival_threshold,
            "min_species_size": s.min_species_size,
        },
    }  # fmt: skip
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
        for name, keys in sections.items()
    )


def _number(name: str, number: Number, chance: float) -> dict[str, Any]:
    """neat-python draws for every number of every child, rlkit first for the child: rates are products."""
    return {
        f"{name}_init_mean": number.init_mean, f"{name}_init_stdev": number.init_stdev,
        f"{name}_init_type": number.init_type, f"{name}_max_value": number.max_value,
        f"{name}_min_value": number.min_value, f"{name}_mutate_power": number.mutate_power,
        f"{name}_mutate_rate": round(chance * number.mutate_rate, 9),
        f"{name}_replace_rate": round(chance * number.replace_rate, 9),
    }  # fmt: skip


def champion_pickle(genome: Any, config: Any) -> bytes:
    """(genome, config), for pickle.load where neat-python is installed."""
    return pickle.dumps((genome, config))


def checkpoint(
    objects: list[Any], config: Any, generation: int, next_innovation: int, next_node: int
) -> bytes:
    """A file for `neat.Checkpointer.restore_checkpoint`: the population, from where evolution goes on there.

    Its species are made by neat-python's own distance, so they are others than in the run.
    """
    neat = library()
    tracker = neat.InnovationTracker(start_number=next_innovation - 1)  # the last that was given away
    config.genome_config.innovation_tracker = tracker
    config.genome_config.node_indexer = count(next_node)
    species = neat.DefaultSpeciesSet(config.species_set_config, neat.reporting.ReporterSet())
    population = {one.key: one for one in objects}
    species.speciate(config, population, generation)
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder) / "checkpoint-")
        with contextlib.redirect_stdout(io.StringIO()):  # it says where it writes
            neat.Checkpointer(1, filename_prefix=prefix).save_checkpoint(
                config, population, species, generation
            )
        return Path(f"{prefix}{generation}").read_bytes()
