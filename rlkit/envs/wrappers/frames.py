"""Frames put together, so that what moves becomes visible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from rlkit.spaces import describe

_SEE_THROUGH = frozenset({"clip_reward", "random_action", "time_limit"})  # they pass observations unchanged


class FrameStack(gym.Wrapper, RecordConstructorArgs):
    """The last `size` observations [size, *shape] of a Box, oldest first; after reset the first is repeated.

    Every returned array is fresh and never changes later. ValueError where the observation is not a Box.
    """

    changes_reward: ClassVar[bool] = False

    def __init__(self, env: gym.Env, size: int = 4) -> None:
        RecordConstructorArgs.__init__(self, size=size)
        gym.Wrapper.__init__(self, env)
        inner = env.observation_space
        if not isinstance(inner, spaces.Box):
            name = env.spec.id if env.spec else type(env.unwrapped).__name__
            raise ValueError(f"frame_stack needs a Box observation, {name} observes {describe(inner)}")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"frame_stack needs a size of at least 1, not {size!r}")
        self.size = size
        low, high = (np.repeat(bound[None], size, axis=0) for bound in (inner.low, inner.high))
        self.observation_space = spaces.Box(low, high, dtype=inner.dtype.type)
        self._stack = np.zeros((size, *inner.shape), inner.dtype)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        self._stack = np.empty_like(self._stack)
        self._stack[:] = obs
        return self._stack, info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        stack = np.empty_like(self._stack)  # the one before belongs to whoever asked for it
        stack[:-1] = self._stack[1:]
        stack[-1] = obs
        self._stack = stack
        return stack, reward, terminated, truncated, info


def stack_of(wrappers: Mapping[str, Mapping[str, Any] | None]) -> int:
    """How many frames lie in the first axis of what these wrappers observe; 1 where that is not certain.

    `wrappers` as in the configuration, innermost first. Whatever lies outside the frame stack must be known
    to pass observations unchanged.
    """
    for name, arguments in reversed(list(wrappers.items())):
        if name == "frame_stack":
            return int((arguments or {}).get("size", 4))
        if name not in _SEE_THROUGH:
            return 1
    return 1
