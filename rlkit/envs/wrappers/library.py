"""Gymnasium's own wrappers under their names, with what the house has to know of each."""

from __future__ import annotations

from typing import ClassVar

import gymnasium as gym
from gymnasium import wrappers as gw


class ClipReward(gw.ClipReward):
    """Rewards clipped to [low, high], in training only."""

    training_only: ClassVar[bool] = True

    def __init__(self, env: gym.Env, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__(env, min_reward=low, max_reward=high)


class TimeLimit(gw.TimeLimit):
    changes_reward: ClassVar[bool] = False


class Grayscale(gw.GrayscaleObservation):
    changes_reward: ClassVar[bool] = False


class Resize(gw.ResizeObservation):
    changes_reward: ClassVar[bool] = False

    def __init__(self, env: gym.Env, height: int = 84, width: int = 84) -> None:
        super().__init__(env, shape=(height, width))


class Flatten(gw.FlattenObservation):
    changes_reward: ClassVar[bool] = False
