"""Replay of stacked frames, kept once, against a naive list of whole transitions of real lanes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces as S
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rlkit.envs.lanes import Lanes
from rlkit.envs.vector import VectorEnvs
from rlkit.envs.wrappers import FrameStack
from rlkit.memory import frames
from rlkit.memory.frames import stored_bytes
from rlkit.memory.replay import Replay
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import Decision, TimeStep, Tree

CPU = torch.device("cpu")
GAMMA = 0.9
LANES = 3
ENGINES: dict[str, Callable[[list], VectorEnv]] = {
    "lanes": Lanes,
    "disabled": lambda fns: SyncVectorEnv(fns, autoreset_mode=AutoresetMode.DISABLED),
    "same_step": lambda fns: SyncVectorEnv(fns, autoreset_mode=AutoresetMode.SAME_STEP),
    "next_step": lambda fns: SyncVectorEnv(fns, autoreset_mode=AutoresetMode.NEXT_STEP),
}


class Pixels(gym.Env):
    """Random 3×2 pictures; episodes of random length end either way or both; lives are lost on the way."""

    observation_space = S.Box(0, 255, (3, 2), np.uint8)
    action_space = S.Discrete(5)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return self._picture(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        terminated, truncated = (bool(x) for x in self.np_random.random(2) < 0.1)
        info = {"life_lost": True} if self.np_random.random() < 0.15 else {}
        return self._picture(), float(self.np_random.integers(-8, 9)), terminated, truncated, info

    def _picture(self) -> np.ndarray:
        return self.np_random.integers(0, 256, (3, 2), dtype=np.uint8)


class Driver:
    """Real lanes, and every transition they made, whole."""

    def __init__(self, engine: str, stack: int, seed: int = 0, parks: bool = False) -> None:
        venv = ENGINES[engine]([lambda: FrameStack(Pixels(), stack)] * LANES)
        self.spec = ObsSpec.of(venv.single_observation_space, stack)
        self.envs = VectorEnvs(venv, seed=seed, obs_spec=self.spec)
        self.random = np.random.default_rng(seed)
        self.parks = parks
        self.envs.reset()
        self.log: list[tuple[Tree, TimeStep]] = []

    def step(self) -> tuple[Tree, TimeStep]:
        action = torch.from_numpy(self.random.integers(0, 5, (LANES, 1)))
        seeds = torch.from_numpy(self.random.integers(-1, 3, LANES)) if self.parks else None
        obs = self.envs.obs
        self.envs.send(Decision(action, seeds=seeds))
        step = self.envs.recv()
        self.log.append((obs, step))
        return obs, step

    def replay(self, rows: int, n: int) -> Replay:
        return Replay(self.spec, self.envs.action_spec, rows * LANES, LANES, CPU, n, GAMMA)


def check_all(replay: Replay, log: list[tuple[Tree, TimeStep] | None], n: int) -> int:
    """Every transition that may be sampled equals the log's, bit for bit; how many there were.

    A row that is None in the log is no transition; windows end before it.
    """
    rows = range(replay.first, replay.total - n + 1)
    pick = torch.tensor([row * LANES + lane for row in rows for lane in range(LANES)])
    batch = replay.gather(pick)
    checked = 0
    for b, (row, lane) in enumerate((row, lane) for row in rows for lane in range(LANES)):
        entry = log[row]
        if entry is None or not entry[1].valid[lane]:
            assert batch.weight[b] == 0
            continue
        obs, first = entry
        reward, factor, last = torch.zeros(()), torch.ones(()), first
        for k in range(n):
            window = log[row + k]
            if window is None:
                break
            last = window[1]
            reward, factor = reward + factor * last.reward[lane], factor * GAMMA
            if last.terminated[lane] or last.truncated[lane]:
                break
        assert batch.weight[b] == 1
        assert torch.equal(batch.obs["obs"][b], obs["obs"][lane])
        assert torch.equal(batch.action[b], first.action[lane])
        assert torch.equal(batch.reward[b], reward)
        assert torch.equal(batch.factor[b], torch.zeros(()) if last.terminated[lane] else factor)
        if not last.terminated[lane]:
            assert torch.equal(batch.next_obs["obs"][b], last.next_obs["obs"][lane])
        checked += 1
    return checked


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stack", [1, 2, 4])
@pytest.mark.parametrize("n", [1, 3])
def test_every_transition_equals_the_naive_buffer(engine: str, stack: int, n: int) -> None:
    driver = Driver(engine, stack)
    replay = driver.replay(11, n)
    checked = 0
    for t in range(70):
        replay.add(*driver.step())
        if replay.ready and (t < 8 or t % 3 == 0):
            checked += check_all(replay, list(driver.log), n)
    steps = [step for _, step in driver.log]
    assert checked > 400
    assert any(step.terminated.any() for step in steps)
    assert any(step.truncated_lanes for step in steps)
    lives = [set(step.ended_lanes or ()) - set(step.begun_lanes or ()) for step in steps]
    assert any(lives)  # a lane was told that it ended, and its stack went on (or it is reset a step later)


@pytest.mark.parametrize("n", [1, 3])
def test_parked_lanes(n: int) -> None:
    driver = Driver("lanes", 4, parks=True)
    replay = driver.replay(11, n)
    checked = 0
    for _ in range(60):
        replay.add(*driver.step())
        if replay.ready:
            checked += check_all(replay, list(driver.log), n)
    assert checked > 300
    assert any(step.count < LANES for _, step in driver.log)


def no_beginnings(age: torch.Tensor, highest: int, begun: Any, ended: torch.Tensor) -> torch.Tensor:
    return frames.next_age(age, highest, (), ended)


def every_end_begins(age: torch.Tensor, highest: int, begun: Any, ended: torch.Tensor) -> torch.Tensor:
    return frames.next_age(age, highest, None, ended)


def late_by_one(age: torch.Tensor, highest: int, begun: Any, ended: torch.Tensor) -> torch.Tensor:
    return frames.next_age(age, highest - 1, begun, ended)


@pytest.mark.parametrize("fault", [no_beginnings, every_end_begins, late_by_one])
def test_planted_faults_are_seen(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlkit.memory.replay.next_age", fault)
    driver = Driver("lanes", 4)
    replay = driver.replay(30, 1)
    for _ in range(60):
        replay.add(*driver.step())
    with pytest.raises(AssertionError):
        check_all(replay, list(driver.log), 1)


def test_without_beginnings_on_the_host_ends_begin_episodes() -> None:
    age, ended = torch.tensor([0, 2, 3, 3], dtype=torch.uint8), torch.tensor([False, False, False, True])
    assert frames.next_age(age, 3, None, ended).tolist() == [1, 3, 3, 0]
    assert frames.next_age(age, 3, (1,), ended).tolist() == [1, 0, 3, 3]


# ---------------------------------------------------------------------- resume


def copied(replay: Replay, into: Replay) -> Replay:
    into.load_state_dict(replay.state_dict())
    for start in range(replay.oldest, replay.total, 5):
        stop = min(start + 5, replay.total)
        into.write_rows(start, {k: v.clone() for k, v in replay.read_rows(start, stop).items()})
    return into


@pytest.mark.parametrize("engine", ["lanes", "next_step"])
@pytest.mark.parametrize("filled", [1, 3, 11, 37])
def test_a_copy_goes_on_the_same(engine: str, filled: int) -> None:
    driver = Driver(engine, 4)
    replay = driver.replay(11, 3)
    for _ in range(filled):
        replay.add(*driver.step())
    again = copied(replay, driver.replay(11, 3))
    assert (again.oldest, again.total) == (replay.oldest, replay.total)
    if filled == 37:
        assert again.oldest == again.first - 3  # frames for the oldest transition came along
        assert check_all(again, list(driver.log), 3) > 10
    for _ in range(30):
        again.add(*driver.step())
        if again.ready:
            check_all(again, list(driver.log), 3)
    assert again._seams == []


@pytest.mark.parametrize("stack", [1, 4])
@pytest.mark.parametrize("n", [1, 3])
def test_no_window_reads_across_a_resume_that_began_new_episodes(stack: int, n: int) -> None:
    before, after = Driver("next_step", stack), Driver("next_step", stack, seed=9)
    replay = before.replay(20, n)
    for _ in range(17):
        replay.add(*before.step())
    log: list[tuple[Tree, TimeStep] | None] = [*before.log, *[None] * stack]
    again = copied(replay, before.replay(20, n))
    checked = 0
    for _ in range(50):
        again.add(*after.step())
        log.append(after.log[-1])
        again = copied(again, before.replay(20, n))  # a seam survives later checkpoints
        checked += check_all(again, log, n) if again.ready else 0
    assert checked > 500
    assert again._seams == []  # forgotten with its rows


# ---------------------------------------------------------------------- memory


def test_a_million_atari_transitions_fit_into_7_5_gb() -> None:
    atari = ObsSpec.of(S.Box(0, 255, (4, 84, 84), np.uint8), stack=4)
    action = ActionSpec.of(S.Discrete(18))
    assert stored_bytes(atari) == 84 * 84 + 1
    for lanes in (1, 8, 64):
        needed = Replay.nbytes(atari, action, 1_000_000, lanes)
        assert 7.05e9 < needed <= 7.5e9


def test_predicted_bytes_are_those_of_a_full_replay() -> None:
    obs, action = ObsSpec.of(S.Box(0, 255, (4, 16, 16), np.uint8), stack=4), ActionSpec.of(S.Discrete(3))
    replay = Replay(obs, action, 4_000, 4, CPU)
    no, yes = torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)
    whole = obs.zeros(4)
    at = torch.zeros(4, 1, dtype=torch.int64)
    for t in range(1_500):
        cut = t % 400 == 399
        lanes = tuple(range(4)) if cut else ()
        truncated = yes if cut else no
        replay.add(
            whole, TimeStep(whole, at, torch.zeros(4), no, truncated, whole, yes, 4, lanes, lanes, lanes)
        )
    actual = 0
    for value in vars(replay).values():
        for x in value.values() if isinstance(value, dict) else [value]:
            actual += x.untyped_storage().nbytes() if isinstance(x, torch.Tensor) else 0
    assert actual <= Replay.nbytes(obs, action, 4_000, 4) <= 1.02 * actual
