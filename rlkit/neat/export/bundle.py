"""What a run's agent has to give: its champion or its whole population, as files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rlkit.neat.export import peer
from rlkit.neat.export.module import PolicyData
from rlkit.neat.export.onnx import onnx_model
from rlkit.neat.export.portable import graph, plain, policy_data
from rlkit.neat.export.source import python_source
from rlkit.neat.genes import Genomes
from rlkit.neat.reproduction import Evolution
from rlkit.nets.encoders import Encoder
from rlkit.spaces import ActionSpec, ObsSpec

SUFFIX = {"onnx": ".onnx", "torch": ".py", "json": ".json", "neat-python": ".pkl"}


@dataclass
class Bundle:
    """An evolution, and how its environment is read and acted upon. env: its name, for titles."""

    evolution: Evolution
    encoder: Encoder
    obs: ObsSpec
    action: ActionSpec
    env: str


@dataclass
class One:
    """A genome, by its number, and what is known of it."""

    genomes: Genomes
    row: int
    outputs: int
    facts: dict[str, Any] = field(default_factory=dict)  # genome_id, generation, fitness

    def __str__(self) -> str:
        nodes, connections = (int(count[self.row]) for count in self.genomes.counts())
        hidden = nodes - self.outputs
        fitness = f", fitness {self.facts['fitness']:g}" if "fitness" in self.facts else ""
        return (
            f"genome {self.facts['genome_id']} of generation {self.facts['generation']}{fitness}, "
            f"{hidden} hidden node{'' if hidden == 1 else 's'}, {connections} connections"
        )


def champion(evolution: Evolution) -> One:
    """The genome that evaluation plays."""
    one = evolution.champion()
    if evolution.champions is None:  # no generation was finished: the first genome of all
        return One(
            one,
            0,
            evolution.outputs,
            {"genome_id": int(evolution.ids[0]), "generation": evolution.generation},
        )
    facts = {
        "genome_id": evolution.champion_ids[-1], "generation": evolution.champions.size - 1,
        "fitness": evolution.best[-1],
    }  # fmt: skip
    return One(one, 0, evolution.outputs, facts)


def population(evolution: Evolution) -> Iterator[One]:
    """All genomes of the present generation, which are not judged yet."""
    for row, identity in enumerate(evolution.ids.tolist()):
        facts = {"genome_id": identity, "generation": evolution.generation}
        yield One(evolution.genomes, row, evolution.outputs, facts)


def file_of(bundle: Bundle, one: One, form: str, name: str) -> bytes:
    """The genome in one of the forms onnx, torch, json, neat-python; the file is called `name`."""
    evolution = bundle.evolution
    inputs, outputs, settings = evolution.inputs, evolution.outputs, evolution.settings
    if form == "json":
        data = peer.network_json(one.genomes, inputs, outputs, settings, one.facts, one.row)
        return json.dumps(data, indent=2).encode()
    if form == "neat-python":
        config = peer.config_object(settings, inputs, outputs, evolution.size)
        return peer.champion_pickle(_object(one, evolution), config)
    policy = policy_of(bundle, one)
    title = f"{bundle.env} by NEAT: {one}."
    if form == "torch":
        return python_source(policy, name.removesuffix(".py"), title).encode()
    facts = {"title": title, **{key: str(value) for key, value in one.facts.items()}}
    return bytes(onnx_model(policy, facts).SerializeToString())


def policy_of(bundle: Bundle, one: One) -> PolicyData:
    evolution = bundle.evolution
    network = graph(one.genomes, evolution.inputs, evolution.outputs, evolution.settings, one.row)
    return policy_data(network, bundle.encoder, bundle.obs, bundle.action)


def checkpoint_of(bundle: Bundle) -> bytes:
    """The population as neat-python's checkpoint: evolution can go on there."""
    evolution = bundle.evolution
    objects = [_object(one, evolution) for one in population(evolution)]
    config = peer.config_object(evolution.settings, evolution.inputs, evolution.outputs, evolution.size)
    following = evolution.innovations
    return peer.checkpoint(objects, config, evolution.generation, following.next_number, following.next_node)


def _object(one: One, evolution: Evolution) -> Any:
    numbers = plain(one.genomes, evolution.settings, one.row)
    return peer.genome_object(numbers, one.facts["genome_id"], one.facts.get("fitness"))


def how_to_load(bundle: Bundle, one: One, form: str, name: str) -> str:
    """One line of Python that opens the file `name`, and uses it."""
    policy = policy_of(bundle, one)
    recurrent = policy.graph.recurrent
    if form == "onnx":
        given = [leaf.name for leaf in policy.seen] + ["state"] * recurrent
        fed = ", ".join(f"{leaf!r}: …" for leaf in given)
        return f"onnxruntime.InferenceSession({name!r}).run(None, {{{fed}}})"
    if form == "torch":
        return f"from {name.removesuffix('.py')} import load; action, state = load()(obs)"
    if form == "json":
        return f"json.load(open({name!r})): neat-python's export format"
    network = "RecurrentNetwork" if recurrent else "FeedForwardNetwork"
    return f"genome, config = pickle.load(open({name!r}, 'rb')); neat.nn.{network}.create(genome, config)"
