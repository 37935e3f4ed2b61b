"""Noise on rendered frames: Gymnasium's wrappers, drawn apart from the environment's own generator.

Gymnasium draws at every `render()` from the generator that the environment's dynamics use, so an episode that
is filmed would go another way than the one that was trained on. Here the noise of a frame is decided by
(seed of the episode, step): whoever looks, and however often, sees the same, and disturbs nothing.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import wrappers as gw

_STREAM = 0xF0661


class _Apart(gym.Wrapper):
    """Before one of Gymnasium's wrappers: gives it a generator that starts anew at every step."""

    _root = 0  # of the running episode
    _step = 0
    _generator: np.random.Generator | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self._root = self._root + 1 if seed is None else seed
        self._step = 0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._step += 1
        return super().step(action)

    def render(self) -> Any:
        self._generator = np.random.default_rng([self._root, self._step, _STREAM])
        try:
            return super().render()
        finally:
            self._generator = None

    @property
    def np_random(self) -> np.random.Generator:
        return self.env.np_random if self._generator is None else self._generator


class AddWhiteNoise(_Apart, gw.AddWhiteNoise):
    """Noise on the pixels of rendered frames."""

    def __init__(
        self, env: gym.Env, probability_of_noise_per_pixel: float, is_noise_grayscale: bool = False
    ) -> None:
        gw.AddWhiteNoise.__init__(self, env, probability_of_noise_per_pixel, is_noise_grayscale)


class ObstructView(_Apart, gw.ObstructView):
    """Patches hide parts of rendered frames."""

    def __init__(
        self,
        env: gym.Env,
        obstructed_pixels_ratio: float,
        obstruction_width: int,
        is_noise_grayscale: bool = False,
    ) -> None:
        gw.ObstructView.__init__(self, env, obstructed_pixels_ratio, obstruction_width, is_noise_grayscale)
