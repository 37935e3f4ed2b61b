"""The agent: the same generations whatever the lanes, trials dealt out once each, actions for every space."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import evolved
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Tuple

from rlkit.agents.neat import NEAT, NEATConfig, greedy, outputs_of
from rlkit.config import AccelConfig, EnvConfig, NetConfig
from rlkit.envs.engines import make_envs
from rlkit.neat.functions import ACTIVATE
from rlkit.neat.lanes import LaneNetworks
from rlkit.neat.network import build
from rlkit.neat.settings import Settings
from rlkit.neat.trials import Trials, trial_seeds
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import AgentSetup, Decision, TimeStep

SMALL = NEATConfig(population=12, trials=2, evolution=Settings(node_add_prob=0.3, conn_add_prob=0.5))
RECURRENT = replace(
    SMALL, evolution=replace(SMALL.evolution, feed_forward=False, activations=["tanh", "sigmoid"])
)
BLOCKS = replace(SMALL, evolution=replace(SMALL.evolution, aggregations=["sum", "mean", "product"],
                                          aggregation_mutate_rate=0.3))  # fmt: skip


def generations(
    config: NEATConfig, lanes: int, *, engine: str = "sync", count: int = 3, seeded: bool = True,
    env: str = "CartPole-v1",
) -> tuple[list[dict[str, float]], list[int], NEAT]:  # fmt: skip
    """The reports of the first generations, the step at which each ended, and the agent."""
    envs = make_envs(EnvConfig(id=env, max_episode_steps=60), {}, seed=1, num_envs=lanes, engine=engine)
    setup = AgentSetup(envs.obs_spec, envs.action_spec, lanes, 1_000, torch.device("cpu"), 1, NetConfig(),
                       AccelConfig())  # fmt: skip
    agent = NEAT(config, setup)
    obs = envs.reset(agent.first_seeds() if seeded else None).obs
    reports: list[dict[str, float]] = []
    ends: list[int] = []
    now = 0
    while len(ends) < count:
        decision = agent.act(obs, now)
        envs.send(decision)
        step = envs.recv()
        agent.observe(obs, decision, step)
        obs, now = step.obs, now + step.count
        metrics = agent.learn(now)
        if metrics:
            reports.append({name: float(value) for name, value in metrics.items()})
            ends.append(now)
    envs.close()
    return reports, ends, agent


@pytest.mark.parametrize(
    "config", [SMALL, RECURRENT, BLOCKS], ids=["feed-forward", "recurrent", "aggregations"]
)
def test_lanes_and_engines_change_nothing(config: NEATConfig) -> None:
    """24 trials in 1, 7 and 64 lanes: fitness, steps and genomes are equal."""
    reports, ends, agent = generations(config, 1)
    assert ends[0] > 24 * 5
    for lanes, engine in ((7, "sync"), (64, "sync"), (3, "async"))[: 3 if config is SMALL else 2]:
        other_reports, other_ends, other = generations(config, lanes, engine=engine)
        assert other_reports == reports
        assert other_ends == ends
        assert torch.equal(other.evolution.genomes.weight, agent.evolution.genomes.weight)
        assert other.evolution.best == agent.evolution.best


def test_lanes_of_the_batched_engine_change_nothing() -> None:
    reports, ends, _ = generations(SMALL, 5, engine="torch")
    for lanes in (24, 64):
        others, later, _ = generations(SMALL, lanes, engine="torch")
        assert others == reports
        assert later == ends


def test_a_device_that_does_not_tell_what_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines on a device leave the host's flags None: the tensors say the same."""
    reports, ends, _ = generations(RECURRENT, 7)
    original = NEAT.observe

    def untold(agent: NEAT, obs: Any, decision: Decision, step: TimeStep) -> None:
        original(
            agent, obs, decision, replace(step, ended_lanes=None, begun_lanes=None, truncated_lanes=None)
        )

    monkeypatch.setattr(NEAT, "observe", untold)
    assert generations(RECURRENT, 7)[:2] == (reports, ends)


def test_episodes_that_ran_before_are_not_judged() -> None:
    """An environment that chose its own first seeds: the same fitness, some steps more."""
    reports, ends, _ = generations(SMALL, 5)
    others, later, _ = generations(SMALL, 5, seeded=False)
    assert others == reports
    assert later[0] > ends[0]


def test_fitness_is_what_replaying_a_genome_gives() -> None:
    """One genome by itself, on the seeds of the generation, in an environment of its own."""
    config = replace(SMALL, fitness="min")
    envs = make_envs(EnvConfig(id="CartPole-v1", max_episode_steps=60), {}, seed=9, num_envs=1, engine="sync")
    agent = NEAT(config, AgentSetup(envs.obs_spec, envs.action_spec, 12, 1_000, torch.device("cpu"), 1,
                                    NetConfig(), AccelConfig()))  # fmt: skip
    one = LaneNetworks(build(agent.evolution.genomes, 4, 2, config.evolution), 1)
    fitness = []
    for genome in range(12):
        one.assign(torch.tensor([genome]))
        returns = []
        for seed in trial_seeds(1, 0, 12, 2, True)[[0, 12]].tolist():
            step, total = envs.reset([seed]), 0.0
            while not bool((step.terminated | step.truncated).any()):
                outputs, _ = one(step.obs["obs"], one.zero_memory())
                envs.send(Decision(greedy(envs.action_spec, outputs, step.obs)))
                step = envs.recv()
                total += float(step.reward)
            returns.append(total)
        fitness.append(min(returns))
    envs.close()
    reports, _, _ = generations(config, 7, count=1)
    assert reports[0]["neat/best"] == max(fitness)
    assert reports[0]["neat/worst"] == min(fitness)
    assert reports[0]["neat/mean"] == pytest.approx(float(np.mean(fitness)))


def test_a_box_and_a_discrete_observation() -> None:
    for env, inputs, outputs in (("Pendulum-v1", 3, 1), ("FrozenLake-v1", 16, 4)):
        reports, ends, agent = generations(SMALL, 5, count=2, env=env)
        assert (agent.inputs, agent.outputs) == (inputs, outputs)
        assert ends == generations(SMALL, 24, count=2, env=env)[1]
        assert reports[0]["neat/worst"] <= reports[0]["neat/mean"] <= reports[0]["neat/best"]


def test_the_champion_acts_as_it_did_and_disturbs_nobody() -> None:
    _, _, agent = generations(RECURRENT, 4, count=2)
    before = agent.state_dict()
    actor = agent.actor()
    obs = {"obs": torch.randn(3, 4, generator=torch.Generator().manual_seed(0))}
    yes, no = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)
    first = actor(obs, yes)
    for _ in range(5):
        actor({"obs": obs["obs"] * 3}, no)
    assert torch.equal(actor(obs, yes), first)  # `first` clears the memory
    after = agent.state_dict()
    assert torch.equal(before["memory"], after["memory"])
    assert torch.equal(before["trials"]["task"], after["trials"]["task"])
    copy = NEAT(RECURRENT, agent.setup)
    copy.load_state_dict(after, policy_only=True)
    assert torch.equal(copy.actor()(obs, yes), first)


def test_the_memory_of_a_lane_begins_empty() -> None:
    _, _, agent = generations(RECURRENT, 4, count=1)
    assert agent.nets.networks.recurrent
    decision = agent.act({"obs": torch.zeros(4, 4)}, 0)
    agent._after = torch.ones_like(agent._memory)
    flags = torch.tensor([True, False, False, False])
    step = TimeStep({}, torch.zeros(4, 1), torch.zeros(4), flags, flags.roll(1), {}, ~flags.roll(2), 3,
                    ended_lanes=(0, 1))  # fmt: skip
    agent.observe({}, decision, step)  # ended, cut off, resetting, and one that goes on
    assert agent._memory.tolist() == [[0.0, 0.0, 0.0, 1.0]] * agent.nets.slots


# ---------------------------------------------------------------------- trials


def play(trials: Trials, seed: int, parks: bool = True) -> dict[int, int]:
    """Lanes that end at random, as the boundary treats them; returns how often each seed was played."""
    random = np.random.default_rng(seed)
    n = len(trials.task)
    running = np.array(trials.first_seeds())
    played: dict[int, int] = {}
    for _ in range(10_000):
        if trials.complete:
            return played
        valid = running >= 0
        ended = valid & (random.random(n) < 0.3)
        for lane in np.flatnonzero(ended):
            played[int(running[lane])] = played.get(int(running[lane]), 0) + 1
        following = trials.seeds.numpy().copy()
        reward = torch.from_numpy(np.where(valid, 1.0, 0.0)).float()
        flags = torch.from_numpy(ended)
        ended_lanes = tuple(np.flatnonzero(ended).tolist())
        step = TimeStep({}, torch.zeros(n, 1), reward, flags, torch.zeros_like(flags), {},
                        torch.from_numpy(valid), int(valid.sum()), ended_lanes=ended_lanes)  # fmt: skip
        trials.observe(step)
        running = np.where(ended | ~valid, following, running)
        assert (trials.task.numpy() >= 0).tolist() == (running >= 0).tolist()
    raise AssertionError("the trials never end")


@pytest.mark.parametrize("lanes", [1, 3, 20, 50])
def test_every_trial_is_played_once(lanes: int) -> None:
    for seed in range(5):
        trials = Trials(10, 2, lanes, torch.arange(20) + 100, torch.device("cpu"))
        assert play(trials, seed) == {100 + k: 1 for k in range(20)}
        assert float(trials.fitness("min").min()) >= 1


def test_fitness_by_criterion() -> None:
    trials = Trials(2, 3, 1, torch.arange(6), torch.device("cpu"))
    trials._score[:6] = torch.tensor([1.0, 10.0, 2.0, 20.0, 6.0, 0.0])
    assert trials.fitness("mean").tolist() == [3.0, 10.0]
    assert trials.fitness("median").tolist() == [2.0, 10.0]
    assert trials.fitness("min").tolist() == [1.0, 0.0]


def test_seeds_are_shared_or_not() -> None:
    shared, own = trial_seeds(7, 3, 5, 2, True), trial_seeds(7, 3, 5, 2, False)
    assert [len(set(shared[:5].tolist())), len(set(shared.tolist())), len(set(own.tolist()))] == [1, 2, 10]
    assert not set(shared.tolist()) & set(trial_seeds(7, 4, 5, 2, True).tolist())


# ---------------------------------------------------------------------- networks in lanes


@pytest.mark.parametrize("name", ACTIVATE)
def test_an_activations_last_bit_does_not_depend_on_the_batch(name: str) -> None:
    z = 2 * torch.randn(300, generator=torch.Generator().manual_seed(0))
    whole = ACTIVATE[name](z)
    for n in (1, 3, 7, 8, 31, 64):
        parts = torch.cat([ACTIVATE[name](part.clone()) for part in z.split(n)])
        assert torch.equal(parts, whole)


@pytest.mark.parametrize("feed_forward", [True, False])
@pytest.mark.parametrize("aggregations", [["sum"], ["sum", "max"]], ids=["terms", "blocks"])
def test_lanes_equal_the_networks_bit_for_bit_in_any_number(
    feed_forward: bool, aggregations: list[str]
) -> None:
    settings = replace(SMALL.evolution, feed_forward=feed_forward, aggregations=aggregations,
                       activations=["tanh", "sigmoid", "relu"], activation_mutate_rate=0.2)  # fmt: skip
    evolution = evolved(settings, 70, 3, 2, 10)
    nets = build(evolution.genomes, 3, 2, settings)
    x = torch.randn(2, 70, 3, generator=torch.Generator().manual_seed(0))
    expected, state = nets(x[0])
    if not feed_forward:
        expected, _ = nets(x[1], state)

    def run(n: int) -> torch.Tensor:
        found = []
        for part in torch.arange(70).split(n):
            lanes = LaneNetworks(nets, len(part))
            lanes.assign(part)
            outputs, memory = lanes(x[0, part], lanes.zero_memory())
            if not feed_forward:
                outputs, _ = lanes(x[1, part], memory)
            found.append(outputs.T)
        return torch.cat(found)

    whole = run(70)
    assert torch.allclose(whole, expected, atol=1e-5)
    for n in (1, 7, 64):
        assert torch.equal(run(n), whole)


def test_a_changed_lane_alone_is_enough() -> None:
    evolution = evolved(SMALL.evolution, 20, 3, 2, 6)
    nets = build(evolution.genomes, 3, 2, SMALL.evolution)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    a, b = LaneNetworks(nets, 4), LaneNetworks(nets, 4)
    a.assign(torch.tensor([3, 9, 9, 17]))
    b.assign(torch.tensor([3, 0, 9, 5]))
    before = b(x, b.zero_memory())[0].clone()
    b.assign(torch.tensor([3, 9, 9, 17]), torch.tensor([1, 3]))
    assert torch.equal(a(x, a.zero_memory())[0], b(x, b.zero_memory())[0])
    assert not torch.equal(before, b(x, b.zero_memory())[0])


# ---------------------------------------------------------------------- spaces


def test_actions_from_outputs() -> None:
    space = Tuple((Discrete(3), MultiDiscrete([2, 2]), MultiBinary(2), Box(-2.0, 2.0, (2,))))
    spec = ActionSpec.of(space)
    assert outputs_of(spec) == 3 + 4 + 2 + 2
    outputs = torch.tensor([[0.0, 2.0, 2.0, 1.0, 1.0, 0.0, 3.0, 0.5, -0.5, 0.25, 9.0]]).T
    assert greedy(spec, outputs, {}).tolist() == [[1.0, 0.0, 1.0, 1.0, 0.0, 0.25, 1.0]]
    mask: dict[str, Any] = {"action_mask": torch.tensor([[1, 0, 1]])}
    single = ActionSpec.of(Discrete(3))
    assert greedy(single, outputs[:3], mask).tolist() == [[2]]
    assert greedy(single, outputs[:3], mask).dtype == torch.int64


def test_images_are_refused_with_a_way_out() -> None:
    action = ActionSpec.of(Discrete(2))
    reason = NEAT.serves(action, ObsSpec.of(Box(0, 255, (84, 84, 3), np.uint8)))
    assert reason is not None
    assert "wrappers=[grayscale,resize,flatten]" in reason
    assert NEAT.serves(action, ObsSpec.of(Box(0, 255, (128,), np.uint8))) is None
