"""Environments that go wrong, for tests of how a run ends."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from rlkit.registry import envs

made = itertools.count()  # the probe is environment 0, lane n is environment n + 1


class Faulty(gym.Env):
    """A walk of ten steps. In environment number `only`, after `at` steps, `what` happens.

    what: observation or reward (NaN), crash (an exception), exit (of the process), or unseeded (episodes do
    not depend on seeds).
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, what: str = "", at: int = 50, only: int = 1) -> None:
        self.what = what if next(made) == only else ""
        self.at, self.steps, self.place = at, 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=None if self.what == "unseeded" else seed)
        self.place, self.start = 0, float(self.np_random.random())
        return self._obs(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.place += 1
        if self.what == "crash" and self.steps == self.at:
            raise ArithmeticError("the floor gave way")
        if self.what == "exit" and self.steps == self.at:
            sys.exit(0)
        broken = self.what == "reward" and self.steps == self.at
        return self._obs(), float("nan") if broken else float(action), self.place == 10, False, {}

    def _obs(self) -> np.ndarray:
        broken = self.what == "observation" and self.steps == self.at
        return np.array([self.place, np.nan if broken else self.start], np.float32)


def register(**options: Any) -> Callable[[], None]:
    """Make `env.id=Faulty` known in a child process; what goes wrong there."""
    return partial(_register, options)


def _register(options: dict[str, Any]) -> None:
    envs.add("Faulty", partial(Faulty, **options))
