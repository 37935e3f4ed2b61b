"""A wrapper: any callable (env, **arguments) → env."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np


class Slippery(gym.Wrapper):
    """Now and then the other of two actions is done. The agent learns from what was done, if it asks."""

    training_only: ClassVar[bool] = True  # evaluation walks on dry ground
    changes_reward: ClassVar[bool] = False

    def __init__(self, env: gym.Env, probability: float = 0.1) -> None:
        super().__init__(env)
        self.probability = probability
        self._random = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        if seed is not None:  # the same seed and actions give the same episode: resume and films need it
            self._random = np.random.default_rng([seed, 7])
        return self.env.reset(seed=seed, options=options)

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        done = 1 - action if self._random.random() < self.probability else action
        obs, reward, terminated, truncated, info = self.env.step(done)
        return obs, reward, terminated, truncated, info | {"action_executed": done}
