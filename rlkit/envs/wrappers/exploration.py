"""Exploration that lives in the environment: the chapter's `RandomActionWrapper`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np


class RandomAction(gym.Wrapper):
    """With probability epsilon the executed action is a sample of the action space (`RandomActionWrapper`).

    Silent, and drawn from a generator of its own, seeded by `reset(seed=…)`: the same seed and actions give
    the same episode. `info["action_executed"]` says what was done.
    """

    training_only: ClassVar[bool] = True
    changes_reward: ClassVar[bool] = False

    def __init__(self, env: gym.Env, epsilon: float = 0.1) -> None:
        super().__init__(env)
        if not 0.0 <= epsilon <= 1.0:
            raise ValueError(f"epsilon must lie in 0..1, not {epsilon}")
        self.epsilon = epsilon
        self._random = np.random.default_rng()
        self._actions = deepcopy(env.action_space)  # lanes often share one object

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._random = np.random.default_rng([seed % 2**32, 0x5EED])
            self._actions.seed(seed % 2**32)
        obs, info = self.env.reset(seed=seed, options=options)
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self._random.random() < self.epsilon:
            action = self._actions.sample()
        obs, reward, terminated, truncated, info = self.env.step(action)
        info["action_executed"] = action
        return obs, reward, terminated, truncated, info
