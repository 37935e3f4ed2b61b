"""Wrappers by name, as the configuration's `wrappers` group lists them; order written is nesting.

A wrapper is any callable (env, **arguments) → env registered in `rlkit.registry.wrappers`. Two attributes
tell the house more about it: `training_only` (exploration, reward clipping: evaluation drops it) and
`changes_reward` (True unless it says otherwise: the environment's own return is then recorded beneath it).
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import wrappers as gw


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
            self._random = np.random.default_rng([seed, 0x5EED])
            self._actions.seed(seed)
        obs, info = self.env.reset(seed=seed, options=options)
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self._random.random() < self.epsilon:
            action = self._actions.sample()
        obs, reward, terminated, truncated, info = self.env.step(action)
        info["action_executed"] = action
        return obs, reward, terminated, truncated, info


class ClipReward(gw.ClipReward):
    """Rewards clipped to [low, high], in training only."""

    training_only: ClassVar[bool] = True

    def __init__(self, env: gym.Env, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__(env, min_reward=low, max_reward=high)


class FrameStack(gw.FrameStackObservation):
    """The last `size` observations; after reset the first one is repeated."""

    changes_reward: ClassVar[bool] = False

    def __init__(self, env: gym.Env, size: int = 4) -> None:
        super().__init__(env, stack_size=size)


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


BUILT_IN: dict[str, type[gym.Wrapper]] = {
    "clip_reward": ClipReward,
    "flatten": Flatten,
    "frame_stack": FrameStack,
    "grayscale": Grayscale,
    "random_action": RandomAction,
    "resize": Resize,
    "time_limit": TimeLimit,
}
