"""What travels between the trainer and its workers: equal to stepping the environments here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from threading import Thread
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces as S
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError

from rlkit import registry
from rlkit.config import EnvConfig
from rlkit.envs.engines import choose, make_envs
from rlkit.envs.factory import EnvMaker
from rlkit.envs.lanes import Lanes
from rlkit.envs.vector import VectorEnvs
from rlkit.envs.workers import Workers, cores
from rlkit.types import Decision

SPACES: dict[str, S.Space] = {
    "box": S.Box(-2, 3, (2, 3), np.float32),
    "double": S.Box(-np.inf, np.inf, (4,), np.float64),
    "number": S.Box(0, 1, (), np.float32),
    "bytes": S.Box(0, 255, (5, 4, 1), np.uint8),
    "choice": S.Discrete(5, start=-2),
    "choices": S.MultiDiscrete([3, 2, 7]),
    "switches": S.MultiBinary(3),
    "tuple": S.Tuple((S.Discrete(2), S.Box(-1, 1, (2,), np.float32))),
    "dict": S.Dict({"aim": S.Box(-1, 1, (2,), np.float32), "fire": S.Discrete(2)}),
}


class Echo(gym.Env):
    """Checks and spoils its action; everything it returns follows from the seed and the actions."""

    def __init__(self, obs: str, action: str) -> None:
        self.observation_space, self.action_space = deepcopy(SPACES[obs]), deepcopy(SPACES[action])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.count = 0
        return self.observation_space.sample(), {"replay_seed": 7 + self.count, "unread": object}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict]:
        assert self.action_space.contains(action), (action, type(action))
        paid = float(np.sum(np.asarray(S.flatten(self.action_space, action), np.float64)))
        if isinstance(action, np.ndarray) and action.shape:
            action[:] = 0  # an environment may
        self.count += 1
        info: dict[str, Any] = {"unread": lambda: None}  # cannot be pickled, and need not
        if self.count % 2:
            info |= {"raw_return": 2.5 * self.count, "life_lost": bool(self.count % 3)}
        over = np.bool_(self.count % 5 == 0)
        return self.observation_space.sample(), np.float32(paid), over, self.count == 7, info


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    registry.envs.add("echo", Echo)
    registry.envs.add("counter", Counter)
    yield
    for name in ("echo", "counter"):
        registry.envs._targets.pop(name)


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a.dtype == b.dtype and np.array_equal(a, b)


def make(obs: str = "box", action: str = "choice") -> EnvMaker:
    return EnvMaker(EnvConfig(id="echo", kwargs={"obs": obs, "action": action}))


@pytest.mark.parametrize(("obs", "action"), [*zip(SPACES, reversed(SPACES), strict=True), ("dict", "box")])
def test_workers_give_what_lanes_give(obs: str, action: str) -> None:
    workers, lanes = Workers(make(obs, action), 3, processes=2), Lanes([partial(make(obs, action))] * 3)
    try:
        seeds = [5, 6, 7]
        one, other = workers.reset(seed=seeds), lanes.reset(seed=seeds)
        assert equal(one[0], other[0])
        assert equal(one[1], other[1])
        space = lanes.action_space
        space.seed(1)
        for t in range(12):
            action = space.sample()
            one, other = workers.step(deepcopy(action)), lanes.step(action)
            for mine, theirs in zip(one, other, strict=True):
                assert equal(mine, theirs)
            assert one[1].dtype == np.float64
            assert ("raw_return" in one[4]) is (t % 2 == 0) or t > 6
            assert "unread" not in one[4]
            if t == 6:  # lanes drift apart from here
                mask = np.array([False, True, False])
                one, other = (v.reset(seed=[0, 9, 0], options={"reset_mask": mask}) for v in (workers, lanes))
                assert equal(one[0], other[0])
                assert equal(one[1], other[1])
    finally:
        workers.close()


def test_a_reset_disturbs_nobody_else() -> None:
    workers = Workers(make(), 4, processes=2)
    try:
        workers.reset(seed=[0, 1, 2, 3])
        os.kill(workers.processes[1].pid, signal.SIGSTOP)  # a question to it would wait for ever
        mask = np.array([False, True, False, False])
        done = Thread(target=workers.reset, kwargs={"seed": [0, 5, 0, 0], "options": {"reset_mask": mask}})
        done.daemon = True
        done.start()
        done.join(30)
        assert not done.is_alive()
    finally:
        os.kill(workers.processes[1].pid, signal.SIGCONT)
        workers.close()


class Counter(gym.Env):
    """Observes how often it was ever stepped."""

    observation_space = S.Box(0, np.inf, (1,), np.float32)
    action_space = S.Discrete(2)
    steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        self.left = 5
        return np.full(1, self.steps, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.steps, self.left = self.steps + 1, self.left - 1
        return np.full(1, self.steps, np.float32), 1.0, self.left == 0, False, {}


@pytest.mark.parametrize("engine", ["sync", "async"])
def test_parked_lanes_are_left_alone(engine: str) -> None:
    maker = EnvMaker(EnvConfig(id="counter"))
    venv = Workers(maker, 3, processes=2) if engine == "async" else Lanes([maker] * 3)
    envs = VectorEnvs(venv, seed=0)
    try:
        envs.reset(seeds=[1, -1, 3])
        steps = [0, 0, 0]
        for t in range(12):
            seeds = torch.tensor([10 + t, -1, -1] if t < 9 else [10 + t, 5, -1])
            envs.send(Decision(torch.zeros(3, 1, dtype=torch.int64), seeds=seeds))
            told = envs.recv()
            steps = [a + b for a, b in zip(steps, told.valid.tolist(), strict=True)]
        assert told.obs["obs"][:, 0].tolist() == steps == [12, 2, 5]
    finally:
        envs.close()


def test_calls_out_of_turn_are_refused() -> None:
    workers = Workers(make(), 2)
    try:
        with pytest.raises(NoAsyncCallError):
            workers.step_wait()
        workers.reset(seed=[0, 1])
        workers.step_async(np.zeros(2, dtype=np.int64))
        with pytest.raises(AlreadyPendingCallError):
            workers.step_async(np.zeros(2, dtype=np.int64))
        with pytest.raises(AlreadyPendingCallError):
            workers.reset(seed=[0, 1])
        workers.step_wait()
        with pytest.raises(ValueError, match="3 actions for 2 lanes"):
            workers.step_async(np.zeros(3, dtype=np.int64))
    finally:
        workers.close()


@pytest.mark.parametrize(("lanes", "processes", "shares"), [
    (5, 2, [range(0, 2), range(2, 5)]), (3, 8, [range(0, 1), range(1, 2), range(2, 3)]), (4, 1, [range(4)]),
])  # fmt: skip
def test_lanes_are_shared_out_evenly(lanes: int, processes: int, shares: list[range]) -> None:
    workers = Workers(make(), lanes, processes)
    try:
        assert workers.shares == shares
        assert len(workers.processes) == len(shares)
        alone = Lanes([partial(make())] * lanes)
        seeds = list(range(lanes))
        assert equal(workers.reset(seed=seeds)[0], alone.reset(seed=seeds)[0])
        actions = np.arange(lanes) % 5 - 2
        assert equal(workers.step(actions)[:4], alone.step(actions)[:4])
    finally:
        workers.close()


def test_the_configuration_says_how_many_processes() -> None:
    config = EnvConfig(
        id="echo", kwargs={"obs": "box", "action": "choice"}, num_envs=5, engine="async", workers=3
    )
    assert choose(config, {}).why == "asked for; processes: 3"
    envs = make_envs(config, {}, seed=0)
    try:
        assert len(envs._venv.processes) == 3  # type: ignore[attr-defined]
    finally:
        envs.close()
    config.workers, config.num_envs = 0, 1_000
    assert choose(config, {}).why == f"asked for; processes: {cores()}"
