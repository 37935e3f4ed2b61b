"""What the environment itself paid, beneath every wrapper that changes rewards."""

from __future__ import annotations

from typing import Any

import gymnasium as gym


class RawReturn(gym.Wrapper):
    """Adds up the environment's own rewards: `info["raw_return"]` is the sum so far.

    It is told at every step, because a wrapper further out may end an episode that goes on in here.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self._sum = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self._sum = 0.0
        obs, info = self.env.reset(seed=seed, options=options)
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._sum += float(reward)
        info["raw_return"] = self._sum
        return obs, reward, terminated, truncated, info
