"""Genomes that leave: PyTorch, ONNX and neat-python give what rlkit's own networks give."""

from __future__ import annotations

import json
import random
import sys
import types
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from by_hand import evolved, genome
from gymnasium import spaces

from rlkit.agents.neat import NEAT, NEATConfig
from rlkit.config import AccelConfig, NetConfig
from rlkit.errors import UserError
from rlkit.neat.export import bundle, peer
from rlkit.neat.export.module import Network, Policy, PolicyData
from rlkit.neat.export.onnx import onnx_model
from rlkit.neat.export.portable import graph, plain, policy_data
from rlkit.neat.export.source import python_source
from rlkit.neat.network import build
from rlkit.neat.reproduction import Evolution
from rlkit.neat.settings import ACTIVATIONS, AGGREGATIONS, Number, Settings
from rlkit.nets.encoders import Encoder
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import AgentSetup

onnx = pytest.importorskip("onnx", reason='pip install "rlkit-lab[export]"')
library = pytest.importorskip("neat", reason='pip install "rlkit-lab[neat]"')
from onnx.reference import ReferenceEvaluator  # noqa: E402

WILD = Settings(
    node_add_prob=0.3, conn_add_prob=0.5, node_delete_prob=0.05, conn_delete_prob=0.05,
    enabled_mutate_rate=0.05, activation_mutate_rate=0.1, aggregation_mutate_rate=0.1,
    response=Number(init_mean=1.0, init_stdev=0.0, mutate_rate=0.1, mutate_power=0.2, replace_rate=0.0),
)  # fmt: skip
STEEP = {"exp", "square", "cube", "inv", "log"}  # values beyond float32 within a few layers
KINDS = {
    "sums": WILD,
    "everything": replace(
        WILD, activations=[a for a in ACTIVATIONS if a not in STEEP], aggregations=list(AGGREGATIONS)
    ),
    "recurrent sums": replace(WILD, feed_forward=False, weight=Number(mutate_power=0.2)),
    "recurrent everything": replace(
        WILD, feed_forward=False, activations=["clamped", "hat"], aggregations=list(AGGREGATIONS),
        weight=Number(mutate_power=0.2),
    ),
}  # fmt: skip
STEPS, BATCH, INPUTS, OUTPUTS = 4, 3, 4, 2
TOLERANCE = 1e-5


@pytest.fixture(params=KINDS, scope="module")
def evolution(request: pytest.FixtureRequest) -> Evolution:
    """A population with deleted and disabled genes, and nodes that lead nowhere."""
    found = evolved(KINDS[request.param], 30, INPUTS, OUTPUTS, 15)
    assert not bool((found.genomes.enabled | ~found.genomes.has_connection).all())
    assert int(found.genomes.has_node.sum(1).max()) > OUTPUTS + 3
    return found


def sequences(evolution: Evolution) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Inputs [steps, B, I], and of each genome rlkit's outputs [steps, B, O]."""
    x = torch.randn(STEPS, BATCH, INPUTS, generator=torch.Generator().manual_seed(1))
    nets = build(evolution.genomes, INPUTS, OUTPUTS, evolution.settings)
    found = []
    for row in range(evolution.size):
        one, state, outputs = nets.take(torch.tensor([row] * BATCH)), None, []
        for t in range(STEPS):
            y, state = one(x[t], state)
            outputs.append(y)
        found.append(torch.stack(outputs))
    return x, found


def far(ours: Any, theirs: Any) -> float:
    """The largest difference, relative above 1."""
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    assert ours.shape == theirs.shape
    return float((np.abs(ours - theirs) / np.maximum(1.0, np.abs(ours))).max())


def line(length: int) -> tuple[ObsSpec, ActionSpec]:
    return ObsSpec.of(spaces.Box(-9, 9, (length,), np.float32)), ActionSpec.of(spaces.Discrete(OUTPUTS))


def data_of(evolution: Evolution, row: int) -> PolicyData:
    obs, action = line(INPUTS)
    network = graph(evolution.genomes, INPUTS, OUTPUTS, evolution.settings, row)
    return policy_data(network, Encoder(obs, NetConfig()), obs, action)


# ---------------------------------------------------------------------- the same numbers


def test_the_module_computes_the_same(evolution: Evolution) -> None:
    x, expected = sequences(evolution)
    for row in range(evolution.size):
        network = Network(graph(evolution.genomes, INPUTS, OUTPUTS, evolution.settings, row))
        state = None
        for t in range(STEPS):
            with torch.no_grad():
                outputs, state = network(x[t], state)
            assert far(expected[row][t], outputs) < TOLERANCE
        assert (state is None) == evolution.settings.feed_forward


def test_onnx_computes_the_same(evolution: Evolution) -> None:
    x, expected = sequences(evolution)
    feed_forward = evolution.settings.feed_forward
    for row in range(0, evolution.size, 3):
        session = ReferenceEvaluator(onnx_model(data_of(evolution, row), {}))
        state: dict[str, Any] = {}
        if not feed_forward:
            nodes = session.proto_.graph.input[1].type.tensor_type.shape.dim[1].dim_value
            state["state"] = np.zeros((BATCH, nodes), dtype=np.float32)
        for t in range(STEPS):
            _, outputs, *after = session.run(None, {"obs": x[t].numpy(), **state})
            state = {} if feed_forward else {"state": after[0]}
            assert far(expected[row][t], outputs) < TOLERANCE


def test_every_activation_of_onnx_is_ours() -> None:
    """Alone, so that the steep ones stay where float32 can follow."""
    x = np.array([[-3.0], [-0.5], [0.0], [0.3], [1.7]], dtype=np.float32)
    for name in ACTIVATIONS:
        settings = Settings(activations=[name])
        one = genome([0], [(0, -1, 0, 1.0, True)])
        obs, action = ObsSpec.of(spaces.Box(-9, 9, (1,), np.float32)), ActionSpec.of(spaces.Discrete(1))
        data = policy_data(graph(one, 1, 1, settings), Encoder(obs, NetConfig()), obs, action)
        ours = build(one, 1, 1, settings).take(torch.zeros(5, dtype=torch.int64))(torch.from_numpy(x))[0]
        outputs = ReferenceEvaluator(onnx_model(data, {})).run(None, {"obs": x})[1]
        assert far(ours, outputs) < TOLERANCE, name


def test_neat_pythons_objects_compute_the_same(evolution: Evolution) -> None:
    x, expected = sequences(evolution)
    config = peer.config_object(evolution.settings, INPUTS, OUTPUTS, evolution.size)
    feed_forward = evolution.settings.feed_forward
    kind = library.nn.FeedForwardNetwork if feed_forward else library.nn.RecurrentNetwork
    for row in range(evolution.size):
        one = peer.genome_object(plain(evolution.genomes, evolution.settings, row), row)
        network = kind.create(one, config)
        outputs = [network.activate(x[t, 0].tolist()) for t in range(STEPS)]
        assert far(expected[row][:, 0], outputs) < TOLERANCE


def test_objects_come_back_as_they_went(evolution: Evolution) -> None:
    rows = range(evolution.size)
    objects = [peer.genome_object(plain(evolution.genomes, evolution.settings, row), row) for row in rows]
    back = peer.from_objects(objects, evolution.settings).trimmed()
    went = evolution.genomes.trimmed()
    there = {"node": went.has_node, "innovation": went.has_connection}
    for item in fields(went):
        ours, theirs = getattr(went, item.name), getattr(back, item.name)
        mask = there["node" if ours.shape == went.node.shape else "innovation"]
        assert torch.equal(ours[mask], theirs[mask]), item.name
        assert item.name not in there or torch.equal(ours, theirs)
    with pytest.raises(UserError, match="settings know only"):
        peer.from_objects(objects, replace(evolution.settings, activations=["exp"]))


def test_our_json_is_what_neat_python_writes(evolution: Evolution) -> None:
    settings = evolution.settings
    config = peer.config_object(settings, INPUTS, OUTPUTS, evolution.size)
    kind = library.nn.FeedForwardNetwork if settings.feed_forward else library.nn.RecurrentNetwork
    export = pytest.importorskip("neat.export", reason="neat-python 2 writes JSON")
    for row in range(evolution.size):
        facts = {"genome_id": row, "generation": 3, "fitness": 1.5}
        network = kind.create(peer.genome_object(plain(evolution.genomes, settings, row), row), config)
        with pytest.warns(DeprecationWarning, match="utcnow") if sys.version_info >= (3, 12) else _nothing():
            theirs = json.loads(export.export_network_json(network, metadata=facts))
        ours = json.loads(json.dumps(
            peer.network_json(evolution.genomes, INPUTS, OUTPUTS, settings, facts, row)
        ))  # fmt: skip
        export.validate_json(ours)
        for one in (ours, theirs):
            assert one["metadata"].pop("created_timestamp").endswith("Z")
            one["nodes"].sort(key=lambda node: node["id"])
            one["connections"].sort(key=lambda link: (link["from"], link["to"]))
        theirs["metadata"].pop("neat_python_version")
        assert ours == theirs


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_neat_python_evolves_our_population_on(evolution: Evolution, tmp_path: Path) -> None:
    """No id twice: neither genome, nor node, nor innovation number."""
    following = evolution.innovations
    obs, action = line(INPUTS)
    what = bundle.Bundle(evolution, Encoder(obs, NetConfig()), obs, action, "test")
    path = tmp_path / "checkpoint"
    path.write_bytes(bundle.checkpoint_of(what))
    restored = library.Checkpointer.restore_checkpoint(str(path))
    assert sorted(restored.population) == sorted(evolution.ids.tolist())
    assert restored.generation == evolution.generation
    judge = random.Random(0)

    def fitness(genomes: list[Any], config: Any) -> None:
        for _, one in genomes:
            one.fitness = judge.random()

    restored.run(fitness, 3)
    newest = [one for key, one in restored.population.items() if key > int(evolution.ids.max())]
    assert len(restored.population) == evolution.size
    assert len(newest) > evolution.size // 2
    meaning: dict[int, tuple[int, int]] = {}
    for row in range(evolution.size):
        for gene in plain(evolution.genomes, evolution.settings, row).genes:
            meaning[gene.innovation] = (gene.source, gene.target)
    for one in newest:
        for ends, gene in one.connections.items():
            assert meaning.setdefault(gene.innovation, ends) == ends
    numbers = [gene.innovation for one in newest for gene in one.connections.values()]
    assert max(numbers) >= following.next_number
    assert max(max(one.nodes) for one in newest) >= following.next_node


# ---------------------------------------------------------------------- every space


def policy_of(
    obs_space: spaces.Space, action_space: spaces.Space, feed_forward: bool
) -> tuple[NEAT, PolicyData]:
    """ "clamped" answers exactly ±1 where it is saturated: equal outputs are equal for everybody."""
    evolution = replace(WILD, feed_forward=feed_forward, activations=["clamped"])
    config = NEATConfig(population=8, evolution=evolution)
    obs, action = ObsSpec.of(obs_space), ActionSpec.of(action_space)
    setup = AgentSetup(obs, action, 4, 1_000, torch.device("cpu"), 1, NetConfig(), AccelConfig())
    agent = NEAT(config, setup)
    judge = torch.Generator().manual_seed(5)
    for _ in range(8):
        agent.evolution.advance(torch.rand(8, generator=judge))
    what = bundle.Bundle(agent.evolution, agent.encoder, obs, action, "test")
    return agent, bundle.policy_of(what, bundle.champion(agent.evolution))


DISCRETE = spaces.Discrete(3)
SPACES = {
    "box, discrete": (spaces.Box(-1, 1, (3,), np.float32), DISCRETE),
    "counting from 5": (spaces.Discrete(4, start=5), spaces.Discrete(3, start=-1)),
    "several choices": (spaces.MultiDiscrete([2, 3], start=[1, 0]), spaces.MultiDiscrete([[2], [4]])),
    "switches": (spaces.MultiBinary((2, 2)), spaces.MultiBinary(3)),
    "pixels, numbers": (spaces.Box(0, 255, (2, 3), np.uint8), spaces.Box(-2, 6, (2,), np.float32)),
    "numbers of all kinds": (
        spaces.Box(-5, 5, (2, 2), np.float64),
        spaces.Tuple([
            spaces.Box(-np.inf, np.inf, (1,), np.float32), spaces.Box(-3, 4, (2, 2), np.int64), DISCRETE,
            spaces.Box(np.array([0.0, -1.0]), np.array([np.inf, 2.0]), dtype=np.float64),
        ]),
    ),
    "names on both sides": (
        spaces.Dict({"action": spaces.Box(0, 1, (2,), np.float32), "deep": spaces.Dict({"n": DISCRETE})}),
        spaces.Discrete(2),
    ),
    "a mask": (
        spaces.Dict({"x": spaces.Box(-1, 1, (2,), np.float32), "action_mask": spaces.MultiBinary(3)}),
        DISCRETE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("feed_forward", [True, False], ids=["feed-forward", "recurrent"])
@pytest.mark.parametrize("case", SPACES)
def test_observation_in_action_out(case: str, feed_forward: bool) -> None:
    """The environment's own observations in, its own actions out: as the agent's actor, for every space."""
    obs_space, action_space = SPACES[case]
    agent, data = policy_of(obs_space, action_space, feed_forward)
    policy = Policy(data)
    written = types.ModuleType("written")
    sys.modules["written"] = written  # dataclasses look their module up
    try:
        exec(python_source(data, "written", "A policy."), written.__dict__)
    finally:
        del sys.modules["written"]
    other = written.load()
    session = ReferenceEvaluator(onnx_model(data, {}))
    names = [value.name for value in session.proto_.graph.output]
    nodes = sum(map(len, data.graph.layers))
    fed: dict[str, Any] = {} if feed_forward else {"state": np.zeros((5, nodes), np.float32)}

    actor, first = agent.actor(), torch.ones(5, dtype=torch.bool)
    states: list[Any] = [None, None]
    obs_space.seed(3)
    for _ in range(4):
        batch = gym.vector.utils.concatenate(
            obs_space, [obs_space.sample() for _ in range(5)],
            gym.vector.utils.create_empty_array(obs_space, 5),
        )  # fmt: skip
        expected = agent.setup.action.to_env(actor(agent.setup.obs.to_tensors(batch), first))
        first = torch.zeros(5, dtype=torch.bool)
        leaves = agent.setup.obs.leaves
        arrays = {leaf.name: np.asarray(_at(batch, leaf.path)) for leaf in leaves}
        tensors = {leaf.name: torch.from_numpy(arrays[leaf.name]).to(leaf.dtype) for leaf in leaves}
        given = tensors if len(tensors) > 1 or leaves[0].path else tensors["obs"]
        for k, one in enumerate((policy, other)):
            with torch.no_grad():
                actions, states[k] = one(given, states[k])
            _same(agent.setup.action, expected, actions if isinstance(actions, dict) else {"action": actions})
        found = dict(zip(names, session.run(None, {
            **{name: tensor.numpy() for name, tensor in tensors.items()}, **fed
        }), strict=True))  # fmt: skip
        if not feed_forward:
            fed["state"] = found["next_state"]
        known = set(tensors) | set(fed)
        renamed = {leaf.name: leaf.name + "_" * (leaf.name in known) for leaf in agent.setup.action.leaves}
        _same(agent.setup.action, expected, {name: found[other] for name, other in renamed.items()})


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _same(spec: ActionSpec, expected: Any, actions: dict[str, Any]) -> None:
    for leaf in spec.leaves:
        ours, theirs = np.asarray(_at(expected, leaf.path)), np.asarray(actions[leaf.name])
        assert theirs.dtype == ours.dtype
        assert far(ours, theirs) < TOLERANCE
