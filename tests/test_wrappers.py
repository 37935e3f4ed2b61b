"""Wrappers behind the boundary: what was executed, and what the environment itself paid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces as S
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from rlkit.config import EnvConfig
from rlkit.envs.engines import make_envs
from rlkit.envs.lanes import Lanes
from rlkit.envs.vector import VectorEnvs
from rlkit.envs.wrappers import ClipReward, RandomAction, RawReturn
from rlkit.types import Decision, Episode, TimeStep

ENGINES: dict[str, Callable[[list], VectorEnv]] = {
    "lanes": Lanes,
    "async": lambda fns: AsyncVectorEnv(fns, autoreset_mode=AutoresetMode.DISABLED),
    "same_step": lambda fns: SyncVectorEnv(fns, autoreset_mode=AutoresetMode.SAME_STEP),
    "next_step": lambda fns: SyncVectorEnv(fns, autoreset_mode=AutoresetMode.NEXT_STEP),
}
every_engine = pytest.mark.parametrize("engine", ENGINES)

ACTIONS: dict[str, S.Space] = {
    "discrete": S.Discrete(4, start=3),
    "multidiscrete": S.MultiDiscrete([2, 5]),
    "box": S.Box(-3, 5, (2,), np.float32),
    "tuple": S.Tuple((S.Discrete(4), S.Box(-1, 1, (2,), np.float32))),
    "dict": S.Dict({"move": S.Discrete(4), "aim": S.Dict({"at": S.Box(-1, 2, (2,), np.float32)})}),
}


class Echo(gym.Env):
    """Observes the action that reached it, flattened; an episode has five steps, each worth 2.

    Every instance has the very same action space object, as where it is an attribute of the class.
    """

    def __init__(self, kind: str) -> None:
        self.action_space = ACTIONS[kind]
        self.observation_space = S.flatten_space(self.action_space)
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(self.observation_space.shape, self.observation_space.dtype), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.t += 1
        return S.flatten(self.action_space, action), 2.0, False, self.t == 5, {}


def echo(engine: str, kind: str, epsilon: float, lanes: int = 3, seed: int = 0) -> VectorEnvs:
    def make() -> gym.Env:
        return RandomAction(Echo(kind), epsilon)

    return VectorEnvs(ENGINES[engine]([make] * lanes), seed=seed, with_actions=range(lanes))


def play(envs: VectorEnvs, steps: int) -> tuple[list[torch.Tensor], list[TimeStep], list[Episode]]:
    """What was asked, what happened, and the episodes, with the same requests every time."""
    generator = torch.Generator().manual_seed(5)
    envs.reset()
    asked, seen = [], []
    for _ in range(steps):
        asked.append(envs.action_spec.sample(envs.num_envs, generator))
        envs.send(Decision(asked[-1]))
        seen.append(envs.recv())
    episodes = envs.drain()
    envs.close()
    return asked, seen, episodes


@every_engine
@pytest.mark.parametrize("kind", ACTIONS)
def test_a_time_step_tells_the_executed_action(engine: str, kind: str) -> None:
    envs = echo(engine, kind, 0.5)
    spec = envs.action_spec
    asked, seen, episodes = play(envs, 24)
    replaced = checked = 0
    for wanted, step in zip(asked, seen, strict=True):
        assert step.action.dtype == wanted.dtype
        for lane in range(3):
            if not step.valid[lane]:
                continue
            executed = S.flatten(spec.space, spec.to_env_single(step.action[lane]))
            np.testing.assert_allclose(step.next_obs["obs"][lane].numpy(), executed, atol=1e-5)
            replaced += not torch.allclose(step.action[lane], wanted[lane])
            checked += 1
    assert 0.2 < replaced / checked < 0.65
    # A record keeps what was asked for: the seed and the requests make the same episode again.
    first = next(episode for episode in episodes if episode.lane == 1)
    assert first.actions is not None
    np.testing.assert_array_equal(first.actions, torch.stack(asked)[:5, 1].numpy())


def test_how_often_an_action_is_replaced() -> None:
    for epsilon in (0.0, 0.1, 1.0):
        asked, seen, _ = play(echo("lanes", "discrete", epsilon, lanes=4), 1_000)
        changed = sum(int((a != s.action).sum()) for a, s in zip(asked, seen, strict=True))
        p = epsilon * 3 / 4  # one of four samples is what was asked for
        assert abs(changed - 4_000 * p) <= 3 * (4_000 * p * (1 - p)) ** 0.5


@pytest.mark.parametrize("kind", ["discrete", "box"])
def test_the_same_seed_replaces_the_same_actions(kind: str) -> None:
    _, one, episodes = play(echo("lanes", kind, 0.5), 20)
    _, again, _ = play(echo("lanes", kind, 0.5), 20)
    _, other, _ = play(echo("lanes", kind, 0.5, seed=1), 20)
    assert all(torch.equal(a.action, b.action) for a, b in zip(one, again, strict=True))
    assert not all(torch.equal(a.action, b.action) for a, b in zip(one, other, strict=True))

    # Alone, without the other lanes, each episode goes the same way.
    executed = torch.stack([step.action for step in one])
    for episode in episodes:
        alone = echo("lanes", kind, 0.5, lanes=1)
        alone.reset([episode.seed or 0])
        number = episode.id // 3
        assert episode.actions is not None
        for t, row in enumerate(episode.actions):
            alone.send(Decision(torch.from_numpy(row)[None]))
            assert torch.equal(alone.recv().action[0], executed[5 * number + t, episode.lane])
        alone.close()


def test_epsilon_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.1"):
        RandomAction(Echo("discrete"), 1.5)


# ---------------------------------------------------------------------- returns


@every_engine
def test_the_own_return_and_the_one_that_was_trained_on(engine: str) -> None:
    def make() -> gym.Env:
        return ClipReward(RawReturn(Echo("discrete")), -0.5, 0.5)

    envs = VectorEnvs(ENGINES[engine]([make] * 2), seed=0)
    _, seen, episodes = play(envs, 18)
    assert len(episodes) == 6
    for episode in episodes:
        assert episode.length == 5
        assert episode.reward == 10.0
        assert episode.reward_train == 2.5
    assert {float(step.reward.max()) for step in seen} <= {0.5, 0.0}


@pytest.mark.parametrize("order", ["limit_outside", "limit_inside", "clip_only", "none"])
def test_returns_by_configuration(order: str) -> None:
    """Also where a wrapper outside the reward's ends the episode, which the environment never hears of."""
    clip, limit = {"low": -0.25, "high": 0.25}, {"max_episode_steps": 4}
    wrappers = {
        "limit_outside": {"clip_reward": clip, "time_limit": limit},
        "limit_inside": {"time_limit": limit, "clip_reward": clip},
        "clip_only": {"clip_reward": clip},
        "none": {},
    }[order]
    envs = make_envs(EnvConfig("CartPole-v1", num_envs=2), wrappers, seed=0)
    _, _, episodes = play(envs, 100)
    assert len(episodes) > 3
    for episode in episodes:
        assert episode.reward == episode.length
        assert episode.reward_train == episode.length * (0.25 if wrappers else 1.0)
        assert not order.startswith("limit") or episode.truncated
    assert not order.startswith("limit") or {episode.length for episode in episodes} == {4}


def test_evaluation_goes_without_what_is_for_training_only() -> None:
    wrappers = {"random_action": {"epsilon": 1.0}, "clip_reward": {"low": 0.0, "high": 0.1}}
    for training in (True, False):
        envs = make_envs(EnvConfig("CartPole-v1", num_envs=2), wrappers, seed=0, training=training)
        asked, seen, _ = play(envs, 30)
        same = all(torch.equal(a, s.action) for a, s in zip(asked, seen, strict=True))
        assert same is not training
        assert float(seen[0].reward[0]) == pytest.approx(0.1 if training else 1.0)


def test_a_wrapper_that_does_not_fit_is_one_sentence() -> None:
    with pytest.raises(Exception, match="wrapper grayscale does not fit CartPole-v1"):
        make_envs(EnvConfig("CartPole-v1"), {"grayscale": {}}, seed=0)


def test_frames_are_stacked_oldest_first() -> None:
    envs = make_envs(EnvConfig("CartPole-v1", num_envs=2), {"frame_stack": {"size": 3}}, seed=0)
    first = envs.reset().obs["obs"]
    assert first.shape == (2, 3, 4)
    assert torch.equal(first[:, 0], first[:, 2])  # the first frame is repeated
    envs.send(Decision(torch.ones(2, 1, dtype=torch.int64)))
    second = envs.recv().obs["obs"]
    assert torch.equal(second[:, :2], first[:, 1:])
    assert not torch.equal(second[:, 2], first[:, 2])
    envs.close()
