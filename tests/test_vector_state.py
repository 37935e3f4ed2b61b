"""Environment state as data: lanes stand exactly where they stood, or the difference is told."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces as S
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rlkit.config import EnvConfig
from rlkit.envs.engines import make_envs
from rlkit.envs.lanes import Lanes
from rlkit.envs.vector import VectorEnvs
from rlkit.trees import tree_equal
from rlkit.types import Decision, Episode, State, TimeStep


def through_a_file(state: State) -> State:
    """As a checkpoint does it; refuses anything but plain data."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: State = torch.load(buffer, weights_only=True)
    return loaded


def play(envs: VectorEnvs, generator: torch.Generator, steps: int) -> list[TimeStep]:
    seen = []
    for _ in range(steps):
        envs.send(Decision(envs.action_spec.sample(envs.num_envs, generator)))
        seen.append(envs.recv())
    return seen


def assert_same(one: list[TimeStep], other: list[TimeStep]) -> None:
    for a, b in zip(one, other, strict=True):
        assert tree_equal(a.obs, b.obs)
        assert tree_equal(a.next_obs, b.next_obs)
        for name in ("action", "reward", "terminated", "truncated", "valid"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        assert (a.count, a.ended_lanes, a.truncated_lanes) == (b.count, b.ended_lanes, b.truncated_lanes)


def told(episode: Episode) -> tuple[Any, ...]:
    actions = None if episode.actions is None else episode.actions.tolist()
    return (*(getattr(episode, name) for name in Episode.__slots__ if name != "actions"), actions)


def make(name: str, engine: str = "sync", wrappers: Any = None, lanes: int = 3) -> VectorEnvs:
    config = EnvConfig(name, num_envs=lanes, engine=engine)
    return make_envs(config, wrappers or {}, seed=9, with_actions=tuple(range(lanes)))


CASES: dict[str, tuple[str, str, Any]] = {
    "cartpole": ("CartPole-v1", "sync", None),
    "cartpole_async": ("CartPole-v1", "async", None),
    "taxi": ("Taxi-v4", "sync", None),
    "frozenlake": ("FrozenLake-v1", "sync", None),
    "pendulum": ("Pendulum-v1", "sync", None),
    "blackjack": ("Blackjack-v1", "sync", None),
    "random_action": ("FrozenLake-v1", "sync", {"random_action": {"epsilon": 0.5}}),
    "reward_and_frames": (
        "MountainCarContinuous-v0",
        "sync",
        {"time_limit": {"max_episode_steps": 37}, "clip_reward": {}, "frame_stack": {"size": 3}},
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("steps", [0, 1, 57])
def test_loaded_lanes_continue_exactly(case: str, steps: int) -> None:
    envs = make(*CASES[case])
    generator = torch.Generator().manual_seed(steps)
    envs.reset()
    play(envs, generator, steps)
    envs.drain()
    state, random = through_a_file(envs.state_dict()), generator.get_state()
    expected, episodes = play(envs, generator, 200), envs.drain()
    envs.close()

    again = make(*CASES[case])
    again.load_state_dict(state)
    assert again.resume_inexact is None
    assert tree_equal(again.obs, state["obs"])
    generator.set_state(random)
    assert_same(play(again, generator, 200), expected)
    assert [told(episode) for episode in again.drain()] == [told(episode) for episode in episodes]
    again.close()
    assert episodes or case == "pendulum"


@pytest.mark.parametrize("name", ["Pendulum-v1", "Taxi-v4", "CartPole-v1"])
def test_lanes_of_every_age_and_parked_ones(name: str) -> None:
    """Lanes with many actions, five and none behind them; lane 3 is parked, and called after the load."""

    def start() -> VectorEnvs:
        envs = make(name, lanes=5)
        envs.reset([3, -1, -1, -1, 4])
        return envs

    def continued(envs: VectorEnvs) -> list[TimeStep]:
        generator = torch.Generator().manual_seed(2)
        later = play(envs, generator, 30)
        action = envs.action_spec.sample(5, generator)
        envs.send(Decision(action, seeds=torch.tensor([-1, -1, 50, 51, 52])))  # lane 3 is called now
        return [*later, envs.recv(), *play(envs, generator, 200)]

    envs = start()
    action = envs.action_spec.sample(5, torch.Generator().manual_seed(1))
    for t in range(13):
        calls = [60 if t == 0 else -1, 61 if t == 7 else -1, 62 if t == 12 else -1, -1, -1]
        envs.send(Decision(action, seeds=torch.tensor(calls)))
        envs.recv()
    envs.drain()
    state = through_a_file(envs.state_dict())
    ages = [len(actions) for actions in state["actions"]]
    assert ages[1:4] == [5, 0, 0]
    assert state["idle"][1:4] == [False, False, True]
    expected, episodes = continued(envs), envs.drain()

    again = make(name, lanes=5)
    again.load_state_dict(state)
    assert again.resume_inexact is None
    assert again.state_dict()["first_step"] == state["first_step"]
    assert again.state_dict()["seeds"] == state["seeds"]
    found = continued(again)
    for a, b in zip(found, expected, strict=True):  # what a parked lane observes means nothing
        assert torch.equal(a.valid, b.valid)
        assert tree_equal(*({k: v[s.valid] for k, v in s.next_obs.items()} for s in (a, b)))
        assert torch.equal(a.reward, b.reward)
    assert [told(episode) for episode in again.drain()] == [told(episode) for episode in episodes]
    envs.close()
    again.close()


def test_a_state_taken_from_a_loaded_state_is_the_same() -> None:
    envs = make("CartPole-v1")
    envs.reset()
    play(envs, torch.Generator().manual_seed(0), 41)
    state = envs.state_dict()
    again = make("CartPole-v1")
    again.load_state_dict(state)
    second = again.state_dict()
    assert second.keys() == state.keys()
    for name in state.keys() - {"actions", "obs"}:
        assert second[name] == state[name], name
    assert all(torch.equal(a, b) for a, b in zip(second["actions"], state["actions"], strict=True))
    assert tree_equal(second["obs"], state["obs"])


def test_a_state_loads_into_lanes_that_were_used() -> None:
    envs, used = make("CartPole-v1"), make("CartPole-v1")
    for e, seed in ((envs, 0), (used, 1)):
        e.reset()
        play(e, torch.Generator().manual_seed(seed), 30 + seed)
    envs.drain()
    used.load_state_dict(envs.state_dict())
    one, other = (play(e, torch.Generator().manual_seed(5), 50) for e in (envs, used))
    assert_same(one, other)
    assert [told(episode) for episode in used.drain()] == [told(episode) for episode in envs.drain()]


def test_lanes_that_wait_for_their_turn_are_never_stepped_after_an_end() -> None:
    """Gymnasium's own engine in DISABLED mode refuses that. Lane 1 has 60 actions behind it, lane 0 a few."""

    def build() -> VectorEnvs:
        makers = [partial(gym.make, "CartPole-v1")] * 3
        return VectorEnvs(SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED), seed=1)

    envs, again = build(), build()
    envs.reset([1, 2, -1])
    angle, speed = 2, 3
    for t in range(60):
        obs = envs.obs["obs"]
        balanced = (obs[:, angle] + 0.3 * obs[:, speed] > 0).long()
        balanced[0] = 0  # lane 0 falls again and again
        envs.send(Decision(balanced[:, None], seeds=torch.tensor([10 + t, 20 + t, -1])))
        envs.recv()
    state = through_a_file(envs.state_dict())
    ages = [len(actions) for actions in state["actions"]]
    assert ages[1] == 60
    assert 0 < ages[0] < 12
    again.load_state_dict(state)
    assert again.resume_inexact is None
    assert tree_equal(*({k: v[:2] for k, v in e.obs.items()} for e in (envs, again)))


def test_lanes_parked_since_the_reset() -> None:
    envs, again = make("CartPole-v1"), make("CartPole-v1")
    envs.reset([5, -1, -1])
    again.load_state_dict(through_a_file(envs.state_dict()))
    assert again.resume_inexact is None
    assert again.state_dict()["seeds"] == [5, None, None]
    assert [step.valid.tolist() for step in play(again, torch.Generator(), 2)] == [[True, False, False]] * 2


# ---------------------------------------------------------------------- what cannot be exact is told


class Careless(gym.Env):
    """Ignores the seed: in its observations, in its rewards, or not at all."""

    observation_space = S.Box(-10, 10, (1,), np.float32)
    action_space = S.Discrete(2)

    def __init__(self, where: str) -> None:
        self.where, self.own = where, np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        return self._obs(), self.own.random() if self.where == "reward" else 1.0, False, False, {}

    def _obs(self) -> np.ndarray:
        source = self.own if self.where == "obs" else self.np_random
        return source.random(1).astype(np.float32)


@pytest.mark.parametrize("where", ["obs", "reward", "nowhere"])
def test_an_environment_that_ignores_its_seed_is_told(where: str) -> None:
    makers = [partial(Careless, where)] * 2
    envs, again = (VectorEnvs(Lanes(makers), seed=0) for _ in range(2))
    envs.reset()
    play(envs, torch.Generator().manual_seed(0), 5)
    again.load_state_dict(envs.state_dict())
    if where == "nowhere":
        assert again.resume_inexact is None
    else:
        assert again.resume_inexact is not None
        assert "replayed episode differs" in again.resume_inexact
    play(again, torch.Generator().manual_seed(0), 5)  # it goes on all the same


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_engines_that_reset_by_themselves_start_new_episodes(mode: AutoresetMode) -> None:
    def build() -> VectorEnvs:
        return VectorEnvs(SyncVectorEnv([partial(gym.make, "CartPole-v1")] * 2, autoreset_mode=mode), seed=0)

    envs, again = build(), build()
    envs.reset()
    play(envs, torch.Generator().manual_seed(0), 45)
    finished = envs.drain()
    state = envs.state_dict()
    again.load_state_dict(through_a_file(state))
    assert again.resume_inexact is not None
    assert "start new episodes" in again.resume_inexact
    step = play(again, torch.Generator().manual_seed(1), 1)[0]
    assert step.valid.all()
    play(again, torch.Generator().manual_seed(1), 60)
    later = again.drain()
    assert later
    assert not {episode.id for episode in later} & {episode.id for episode in finished}
    assert min(episode.first_step for episode in later) == state["now"]


def test_another_number_of_lanes_is_refused() -> None:
    envs = make("CartPole-v1")
    envs.reset()
    with pytest.raises(ValueError, match="3 lanes, these environments 2"):
        make("CartPole-v1", lanes=2).load_state_dict(envs.state_dict())


@pytest.mark.parametrize("engine", ["sync", "async"])
def test_parked_lanes_take_part_when_another_state_is_restored(engine: str) -> None:
    envs = make("CartPole-v1", engine)
    generator = torch.Generator().manual_seed(0)
    envs.reset()
    play(envs, generator, 3)
    state = envs.state_dict()
    envs.reset([1, -1, 3])
    envs.send(Decision(envs.action_spec.sample(3, generator), seeds=torch.tensor([4, -1, 6])))
    envs.recv()
    envs.load_state_dict(state)
    assert envs.resume_inexact is None
    envs.close()
