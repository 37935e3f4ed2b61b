"""How often things happen: the arithmetic of the configuration, whatever the number of lanes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gymnasium import spaces as S

from rlkit.agents.dqn import DQN, DQNConfig
from rlkit.agents.ppo import PPO, PPOConfig
from rlkit.config import AccelConfig, NetConfig
from rlkit.runs import Run
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import AgentSetup, TimeStep

LANES = [1, 4, 7, 64]
every_lanes = pytest.mark.parametrize("lanes", LANES)


def setup(lanes: int) -> AgentSetup:
    return AgentSetup(
        ObsSpec.of(S.Box(-1, 1, (2,))),
        ActionSpec.of(S.Discrete(2)),
        lanes,
        10_000,
        torch.device("cpu"),
        0,
        NetConfig(hidden=[4]),
        AccelConfig(),
    )


class Dull:
    """An agent in a world where nothing ends; it counts decisions as the trainer does."""

    def __init__(self, agent: Any, lanes: int) -> None:
        self.agent, self.lanes, self.now, self.learnt = agent, lanes, 0, 0
        self.obs = {"obs": torch.zeros(lanes, 2)}

    def run(self, until: int) -> None:
        no, yes = torch.zeros(self.lanes, dtype=torch.bool), torch.ones(self.lanes, dtype=torch.bool)
        while self.now < until:
            decision = self.agent.act(self.obs, self.now)
            step = TimeStep(
                self.obs, decision.action, torch.zeros(self.lanes), no, no, self.obs, yes, self.lanes
            )
            self.agent.observe(self.obs, decision, step)
            self.now += self.lanes
            self.learnt += self.agent.learn(self.now) is not None


def counted(agent: DQN, calls: dict[str, int]) -> DQN:
    """The agent with its gradient steps and target copies counted instead of done."""

    def count(name: str, answer: Any) -> Callable[..., Any]:
        def called(*given: Any) -> Any:
            calls[name] += 1
            return dict(answer) if answer is not None else None

        return called

    agent._update = count("updates", {"loss/td": torch.zeros(())})
    agent._target.lerp_from = count("copies", None)  # type: ignore[method-assign]
    return agent


@every_lanes
@pytest.mark.parametrize("learning_starts", [0, 130, 1_070])
@pytest.mark.parametrize(("train_every", "gradient_steps"), [(1, 1), (4, 1), (10, 3), (256, 7)])
def test_dqn_updates_and_copies(
    lanes: int, learning_starts: int, train_every: int, gradient_steps: int
) -> None:
    calls = {"updates": 0, "copies": 0}
    config = DQNConfig(
        batch_size=2,
        buffer_size=500,
        n_step=1,
        learning_starts=learning_starts,
        train_every=train_every,
        gradient_steps=gradient_steps,
        target_every=100,
    )
    world = Dull(counted(DQN(config, setup(lanes)), calls), lanes)
    world.run(2_500)
    crossed = world.now // train_every - learning_starts // train_every
    assert calls["updates"] == crossed * gradient_steps
    assert calls["copies"] == world.now // 100 - learning_starts // 100
    assert 0 < world.learnt <= crossed


@every_lanes
def test_dqn_waits_for_a_whole_window_and_catches_up(lanes: int) -> None:
    calls = {"updates": 0, "copies": 0}
    config = DQNConfig(batch_size=2, buffer_size=900, learning_starts=0, train_every=2, n_step=5)
    world = Dull(counted(DQN(config, setup(lanes)), calls), lanes)
    world.run(4 * lanes)
    assert calls["updates"] == 0
    world.run(1_000)
    assert calls["updates"] == world.now // 2


@every_lanes
def test_dqn_soft_targets_follow_every_update(lanes: int) -> None:
    config = DQNConfig(
        batch_size=2, buffer_size=500, learning_starts=100, train_every=8, target_every=0, target_tau=0.1
    )
    agent, copies = DQN(config, setup(lanes)), []
    agent._target.lerp_from = lambda other, weight: copies.append(weight)  # type: ignore[method-assign]
    world = Dull(agent, lanes)
    world.run(600)
    assert len(copies) == world.now // 8 - 100 // 8
    assert set(copies) == {0.1}


@every_lanes
@pytest.mark.parametrize("stop", [90, 500, 777])
def test_dqn_counts_on_after_a_checkpoint(lanes: int, stop: int) -> None:
    calls = {"updates": 0, "copies": 0}
    config = DQNConfig(
        batch_size=2, buffer_size=500, n_step=1, learning_starts=100, train_every=10, target_every=128
    )
    world = Dull(counted(DQN(config, setup(lanes)), calls), lanes)
    world.run(stop)
    state = world.agent.state_dict()
    rows = world.agent.replay.read_rows(world.agent.replay.oldest, world.agent.replay.total)
    agent = counted(DQN(config, setup(lanes)), calls)
    agent.load_state_dict(state)
    agent.replay.write_rows(agent.replay.oldest, rows)
    world.agent = agent
    world.run(2_000)
    assert calls["updates"] == world.now // 10 - 100 // 10
    assert calls["copies"] == world.now // 128


@every_lanes
@pytest.mark.parametrize(("horizon", "minibatch", "epochs"), [(8, 16, 3), (5, 64, 1), (6, 9, 2)])
def test_ppo_updates(lanes: int, horizon: int, minibatch: int, epochs: int) -> None:
    agent = PPO(PPOConfig(horizon=horizon, minibatch_size=minibatch, epochs=epochs), setup(lanes))
    calls = []
    agent._update = lambda *batch: calls.append(1) or torch.zeros(6)  # type: ignore[func-returns-value]
    world = Dull(agent, lanes)
    world.run(horizon * lanes * 5)
    rows = horizon * lanes
    assert world.learnt == 5
    assert len(calls) == 5 * epochs * -(-rows // min(minibatch, rows))


# ---------------------------------------------------------------------- the trainer's own intervals


@every_lanes
def test_rows_evaluations_and_checkpoints_of_a_run(lanes: int, short_run: Callable[..., Run]) -> None:
    total, log, evaluate, save = 1_000, 90, 250, 300
    run = short_run(
        "agent=random",
        "env=cartpole",
        f"env.num_envs={lanes}",
        f"trainer.total_steps={total}",
        f"trainer.log_every={log}",
        f"trainer.eval_every={evaluate}",
        f"trainer.checkpoint_every={save}",
        "trainer.eval_episodes=2",
        "trainer.eval_envs=2",
        "trainer.keep_checkpoints=50",
    )
    steps = list(range(lanes, total + lanes, lanes))  # the step counts at which anything can happen
    end = steps[-1]

    def due(interval: int) -> set[int]:
        return {now for now in steps if now // interval > (now - lanes) // interval}

    evaluations = due(evaluate) | {end}
    rows = run.metrics()
    found = [int(row["step"]) for row in rows]
    assert found == sorted(due(log) | evaluations)
    assert {int(row["step"]) for row in rows if row.get("eval/return_mean") is not None} == evaluations
    folders = (run.path / "checkpoints").glob("step-*")
    assert {int(folder.name.split("-")[1]) for folder in folders} == due(save) | {end}
    assert run.info["steps"] == end


@pytest.mark.parametrize("key", ["eval_every", "checkpoint_every"])
def test_interval_zero_means_never_but_for_the_last_checkpoint(
    key: str, short_run: Callable[..., Run]
) -> None:
    run = short_run("agent=random", "trainer.total_steps=300", "trainer.log_every=100", f"trainer.{key}=0")
    assert [int(row["step"]) for row in run.metrics()] == [100, 200, 300]
    assert not any("eval/return_mean" in row for row in run.metrics())
    assert [folder.name for folder in (run.path / "checkpoints").glob("step-*")] == ["step-000000300"]
