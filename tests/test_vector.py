"""The vector boundary: true successors, flags, episodes and seeds, whatever the engine does at an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces as S
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from rlkit.envs.infos import READ
from rlkit.envs.lanes import Lanes
from rlkit.envs.vector import VectorEnvs
from rlkit.seeding import episode_seed
from rlkit.types import Decision, Episode, TimeStep

Script = tuple[tuple[int, str], ...]
SCRIPTS: tuple[Script, ...] = (  # by lane: length of each episode and how it ends, over and over
    ((3, "terminated"), (1, "truncated"), (4, "both")),
    ((2, "truncated"), (5, "terminated")),
    ((4, "truncated"), (1, "terminated"), (1, "truncated")),
)
STEADY = tuple(script[:1] for script in SCRIPTS)  # every episode of a lane is like its first
N = len(SCRIPTS)


class Counting(gym.Env):
    """Observes [lane, episode, t, seed mod 1009 or −1]; reward = 100 · episode + t + action / 8."""

    observation_space = S.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = S.Discrete(5)

    def __init__(self, lane: int, script: Script) -> None:
        self.lane, self.script, self.episode, self.t, self.seed = lane, script, -1, 0, -1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.episode, self.t, self.seed = self.episode + 1, 0, -1 if seed is None else seed % 1_009
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        length, end = self.script[self.episode % len(self.script)]
        assert self.t < length, "stepped after the end"
        self.t += 1
        over = self.t == length
        reward = 100.0 * self.episode + self.t + float(action) / 8
        return self._obs(), reward, over and end != "truncated", over and end != "terminated", {}

    def _obs(self) -> np.ndarray:
        return np.array([self.lane, self.episode, self.t, self.seed], np.float32)


def sync(mode: AutoresetMode) -> Callable[[list], VectorEnv]:
    return lambda fns: SyncVectorEnv(fns, copy=False, autoreset_mode=mode)


def asynchronous(fns: list) -> VectorEnv:
    return AsyncVectorEnv(fns, shared_memory=True, copy=False, autoreset_mode=AutoresetMode.DISABLED)


ENGINES: dict[str, Callable[[list], VectorEnv]] = {
    "lanes": Lanes,
    "disabled": sync(AutoresetMode.DISABLED),
    "async": asynchronous,
    "same_step": sync(AutoresetMode.SAME_STEP),
    "next_step": sync(AutoresetMode.NEXT_STEP),
}
every_engine = pytest.mark.parametrize("engine", ENGINES)
own_resets = pytest.mark.parametrize("engine", ["lanes", "disabled", "async"])


@contextmanager
def counting(engine: str, scripts: tuple[Script, ...] = SCRIPTS, **given: Any) -> Iterator[VectorEnvs]:
    fns = [partial(Counting, lane, script) for lane, script in enumerate(scripts)]
    envs = VectorEnvs(ENGINES[engine](fns), seed=7, **given)
    try:
        yield envs
    finally:
        envs.close()


def advance(envs: VectorEnvs, action: list[int], seeds: list[int] | None = None) -> TimeStep:
    wanted = None if seeds is None else torch.tensor(seeds)
    envs.send(Decision(torch.tensor(action)[:, None], seeds=wanted))
    return envs.recv()


def own_seed(lane: int, episode: int) -> int:
    return episode_seed(7, "train", lane, episode)


# ---------------------------------------------------------------------- against a plain simulation


class Oracle:
    """What the lanes should do, written out with Python numbers: one dict of lists for each step."""

    def __init__(self, engine: str) -> None:
        self.next_step, self.seeded = engine == "next_step", engine not in ("next_step", "same_step")
        self.episode, self.t, self.resetting = [0] * N, [0] * N, [False] * N
        self.now, self.first_step, self.total = 0, [0] * N, [0.0] * N
        self.actions: list[list[int]] = [[] for _ in range(N)]
        self.episodes: list[dict[str, Any]] = []

    def seed(self, lane: int) -> int | None:
        return own_seed(lane, self.episode[lane]) if self.seeded or self.episode[lane] == 0 else None

    def obs(self, lane: int) -> list[float]:
        seed = self.seed(lane)
        return [lane, self.episode[lane], self.t[lane], -1 if seed is None else seed % 1_009]

    def begin(self, lane: int) -> None:
        self.episode[lane] += 1
        self.t[lane], self.total[lane], self.actions[lane] = 0, 0.0, []
        self.first_step[lane], self.resetting[lane] = self.now, False

    def step(self, action: list[int]) -> dict[str, list]:
        valid = [not waiting for waiting in self.resetting]
        self.now += sum(valid)
        out: dict[str, list] = {"valid": valid, **{k: [] for k in ("reward", "end", "next_obs", "obs")}}
        for lane in range(N):
            reward, end = 0.0, ""
            if not valid[lane]:
                self.begin(lane)
            else:
                self.t[lane] += 1
                length, how = SCRIPTS[lane][self.episode[lane] % len(SCRIPTS[lane])]
                reward = 100 * self.episode[lane] + self.t[lane] + action[lane] / 8
                self.total[lane] += reward
                self.actions[lane].append(action[lane])
                end = how if self.t[lane] == length else ""
            out["reward"].append(reward)
            out["end"].append(end)
            out["next_obs"].append(self.obs(lane))
            if end:
                self.close(lane, end)
            out["obs"].append(self.obs(lane))
        return out

    def close(self, lane: int, end: str) -> None:
        self.episodes.append(
            {
                "id": lane + N * self.episode[lane],
                "lane": lane,
                "seed": self.seed(lane),
                "reward": self.total[lane],
                "reward_train": self.total[lane],
                "length": self.t[lane],
                "terminated": end != "truncated",
                "truncated": end != "terminated",
                "first_step": self.first_step[lane],
                "last_step": self.now,
                "actions": self.actions[lane] if lane != 1 else None,
                "facts": {},
            }
        )
        if self.next_step:
            self.resetting[lane] = True
        else:
            self.begin(lane)


def as_dict(episode: Episode) -> dict[str, Any]:
    found = {name: getattr(episode, name) for name in Episode.__slots__}
    if episode.actions is not None:
        assert episode.actions.shape == (episode.length, 1)
        found["actions"] = episode.actions[:, 0].tolist()
    return found


@every_engine
def test_every_step_equals_a_plain_simulation(engine: str) -> None:
    random = np.random.default_rng(0)
    oracle = Oracle(engine)
    with counting(engine, with_actions=(0, 2)) as envs:
        first = envs.reset()
        assert first.count == 0
        assert not first.valid.any()
        assert first.obs["obs"].tolist() == [oracle.obs(lane) for lane in range(N)]
        assert envs.drain() == []
        quiet = 0
        for _ in range(60):
            action = random.integers(0, 5, N).tolist()
            step, expected = advance(envs, action), oracle.step(action)
            ends = expected["end"]
            assert step.valid.tolist() == expected["valid"]
            assert step.count == sum(expected["valid"])
            assert step.action[:, 0].tolist() == action
            assert step.reward.tolist() == expected["reward"]
            assert step.reward.dtype == torch.float32
            assert step.terminated.tolist() == [end in ("terminated", "both") for end in ends]
            assert step.truncated.tolist() == [end in ("truncated", "both") for end in ends]
            assert step.next_obs["obs"].tolist() == expected["next_obs"]
            assert step.obs["obs"].tolist() == expected["obs"]
            assert step.ended_lanes == tuple(lane for lane in range(N) if ends[lane])
            assert step.truncated_lanes == tuple(lane for lane in range(N) if ends[lane] == "truncated")
            assert step.obs is envs.obs
            if not any(ends):
                assert step.next_obs is step.obs
                quiet += 1
        assert quiet > 5
        assert [as_dict(episode) for episode in envs.drain()] == oracle.episodes
        assert len(oracle.episodes) > 40
        assert envs.drain() == []


@every_engine
def test_a_second_reset_starts_over(engine: str) -> None:
    with counting(engine) as envs:
        envs.reset()
        for _ in range(7):
            advance(envs, [0, 1, 2])
        again = envs.reset()
        assert again.obs["obs"][:, 3].tolist() == [own_seed(lane, 0) % 1_009 for lane in range(N)]
        assert envs.drain() == []
        assert advance(envs, [0, 0, 0]).valid.all()


@every_engine
def test_what_was_handed_out_stays_as_it_was(engine: str) -> None:
    """Engines write into the same arrays again, and a caller may write into its action buffer."""
    with counting(engine, with_actions=(0, 1, 2)) as envs:
        envs.reset()
        buffer = torch.zeros(N, 1, dtype=torch.int64)
        kept, copies, asked = [], [], []
        for t in range(12):
            buffer.fill_(t % 5)
            envs.send(Decision(buffer))
            step = envs.recv()
            kept.append(step)
            copies.append((step.obs["obs"].clone(), step.next_obs["obs"].clone(), step.terminated.clone()))
            asked.append(t % 5)
        buffer.fill_(4)
        for step, copy in zip(kept, copies, strict=True):
            assert torch.equal(step.obs["obs"], copy[0])
            assert torch.equal(step.next_obs["obs"], copy[1])
            assert torch.equal(step.terminated, copy[2])
        first = next(episode for episode in envs.drain() if episode.lane == 0)
        assert first.actions is not None
        assert first.actions[:, 0].tolist() == asked[:3]


class Bytes(gym.Env):
    """Pictures that count the steps."""

    observation_space = gym.spaces.Box(0, 255, (2, 2), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.steps = 0
        return np.zeros((2, 2), np.uint8), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return np.full((2, 2), self.steps, np.uint8), 0.0, False, False, {}


@every_engine
def test_pictures_that_were_handed_out_stay_as_they_were(engine: str) -> None:
    """Bytes need no conversion, so nothing but a copy keeps them."""
    envs = VectorEnvs(ENGINES[engine]([Bytes, Bytes]), seed=0)
    kept = [envs.reset().obs["obs"]]
    kept += [advance(envs, [0, 1]).obs["obs"] for _ in range(5)]
    assert [obs.unique().tolist() for obs in kept] == [[t] for t in range(6)]
    envs.close()


class Telling(gym.Wrapper):
    """Tells its return in every second step, and something that nobody reads."""

    def step(self, action: Any) -> Any:
        *outcome, info = super().step(action)
        steps = self.get_wrapper_attr("steps_beyond_terminated")
        told = {"raw_return": 2.0} if float(outcome[0][0]) > 0 else {}
        return *outcome, {**info, **told, "beyond": steps is not None}


def read(outcome: tuple[Any, ...]) -> str:
    """What a step or a reset returned, with the infos that the boundary reads."""
    *rest, info = outcome
    return str((rest, {name: info[name] for name in sorted(info) if name.removeprefix("_") in READ}))


def test_the_own_engine_equals_gymnasiums() -> None:
    """`Lanes` is SyncVectorEnv in DISABLED mode, for every kind of space and with the infos that are read."""
    makers = [
        lambda: gym.make("CartPole-v1"), lambda: gym.make("Taxi-v4"), lambda: gym.make("Blackjack-v1"),
        lambda: Telling(gym.make("CartPole-v1")),
    ]  # fmt: skip
    for make in makers:
        ours, theirs = Lanes([make] * 3), ENGINES["disabled"]([make] * 3)
        theirs.action_space.seed(0)
        one, other = ours.reset(seed=[1, 2, 3]), theirs.reset(seed=[1, 2, 3])
        assert read(one) == read(other)
        for t in range(60):
            action = theirs.action_space.sample()
            one, other = ours.step(action), theirs.step(action)
            assert read(one) == read(other)
            assert [x.dtype for x in one[1:4]] == [x.dtype for x in other[1:4]]
            mask = other[2] | other[3]
            if mask.any():
                given = {"seed": [t, None, t + 2], "options": {"reset_mask": mask}}
                assert str(ours.reset(**given)[0]) == str(
                    theirs.reset(seed=[t, None, t + 2], options={"reset_mask": mask})[0]
                )
                if mask[1]:  # it was reset without a seed, differently in each
                    ours.reset(seed=[0, t, 0], options={"reset_mask": np.array([False, True, False])})
                    theirs.reset(seed=[0, t, 0], options={"reset_mask": np.array([False, True, False])})
        ours.close()
        theirs.close()
    assert "raw_return" in one[-1]
    assert "beyond" in other[-1]
    assert "beyond" not in one[-1]


# ---------------------------------------------------------------------- seeds by decision, parked lanes


@own_resets
def test_decisions_choose_seeds_park_and_call_lanes(engine: str) -> None:
    """Lane 1 is parked from the start; lane 0 is parked at its end; both are called again."""
    scripts = (
        SCRIPTS[0],
        STEADY[1],
        SCRIPTS[2],
    )  # a parked lane may play meanwhile
    with counting(engine, scripts, with_actions=(0, 1, 2)) as envs:
        start = envs.reset([11, -1, 13])
        assert start.obs["obs"][[0, 2], 3].tolist() == [11, 13]
        seeds = [-1, -1, 23]
        for t in range(1, 4):  # lane 0 ends at 3
            step = advance(envs, [t, 0, 0], seeds)
            assert step.valid.tolist() == [True, False, True]
            assert step.count == 2
            assert step.reward[1] == 0
        assert step.ended_lanes == (0,)
        step = advance(envs, [1, 1, 1], [-1, 31, 23])  # lane 2 ends and goes on with 23; lane 1 is called
        assert step.valid.tolist() == [False, False, True]
        assert step.ended_lanes == (2,)
        assert step.obs["obs"][1, 2:].tolist() == [0, 31]
        assert step.obs["obs"][2, 2:].tolist() == [0, 23]
        step = advance(envs, [1, 2, 1], [41, -1, -1])  # lane 0 is called; lane 2, of length 1, is parked
        assert step.valid.tolist() == [False, True, True]
        assert step.ended_lanes == (2,)
        assert step.obs["obs"][0, 2:].tolist() == [0, 41]
        step = advance(envs, [3, 4, 1])  # without seeds: parked lanes stay, others take their own
        assert step.valid.tolist() == [True, True, False]
        assert step.count == 2
        played = {(episode.lane, episode.seed): episode for episode in envs.drain()}
        assert set(played) == {(0, 11), (1, 31), (2, 13), (2, 23)}
        assert played[0, 11].actions is not None
        assert played[0, 11].actions[:, 0].tolist() == [1, 2, 3]
        for _ in range(5):
            step = advance(envs, [0, 0, 0])
            assert not step.valid[2]
        later = {(episode.lane, episode.seed) for episode in envs.drain()}
        assert (0, 41) in later
        assert all(lane != 2 for lane, _ in later)
        assert {seed for lane, seed in later if lane == 0} <= {41, *(own_seed(0, k) for k in range(1, 9))}


@own_resets
def test_all_lanes_parked_is_a_step_in_which_nothing_happens(engine: str) -> None:
    with counting(engine, STEADY) as envs:
        envs.reset([-1, -1, -1])
        for _ in range(12):
            step = advance(envs, [0, 0, 0])
            assert step.count == 0
            assert step.ended_lanes == ()
        assert envs.drain() == []
        step = advance(envs, [0, 0, 0], [5, 6, 7])
        assert step.obs["obs"][:, 3].tolist() == [5, 6, 7]
        step = advance(envs, [0, 0, 0])
        assert step.count == 3
        assert step.obs["obs"][0, 2] == 1  # t


@own_resets
def test_seed_and_actions_are_enough_to_play_an_episode_again(engine: str) -> None:
    random = np.random.default_rng(1)
    envs = VectorEnvs(ENGINES[engine]([partial(gym.make, "CartPole-v1")] * 2), seed=3, with_actions=(0, 1))
    envs.reset()
    played: list[Episode] = []
    while len(played) < 8:
        advance(envs, random.integers(0, 2, 2).tolist())
        played += envs.drain()
    envs.close()
    alone = gym.make("CartPole-v1")
    for episode in played:
        alone.reset(seed=episode.seed)
        assert episode.seed == episode_seed(3, "train", episode.lane, episode.id // 2)
        assert episode.actions is not None
        steps = [alone.step(action) for action in episode.actions[:, 0]]
        assert sum(step[1] for step in steps) == episode.reward
        assert [step[2] or step[3] for step in steps] == [False] * (episode.length - 1) + [True]
    assert len({episode.seed for episode in played}) == 8
