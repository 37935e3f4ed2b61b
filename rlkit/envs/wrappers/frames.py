"""Frames put together, so that what moves becomes visible."""

from __future__ import annotations

from typing import ClassVar

import gymnasium as gym
from gymnasium import wrappers as gw


class FrameStack(gw.FrameStackObservation):
    """The last `size` observations; after reset the first one is repeated."""

    changes_reward: ClassVar[bool] = False

    def __init__(self, env: gym.Env, size: int = 4) -> None:
        super().__init__(env, stack_size=size)
