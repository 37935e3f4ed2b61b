"""An environment like any other of Gymnasium: nothing in it knows rlkit."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np


class Corridor(gym.Env):
    """Cells 0 … length − 1; 1 goes right, 0 left. The last cell pays 1, every step costs 0.01."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, length: int = 6, render_mode: str | None = None) -> None:
        self.length, self.render_mode = length, render_mode
        self.observation_space = gym.spaces.Discrete(length)
        self.action_space = gym.spaces.Discrete(2)
        self.cell = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict]:
        super().reset(seed=seed)
        self.cell = int(self.np_random.integers(self.length - 1))
        return self.cell, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        self.cell = min(max(self.cell + (1 if action == 1 else -1), 0), self.length - 1)
        there = self.cell == self.length - 1
        return self.cell, 1.0 if there else -0.01, there, False, {}

    def render(self) -> np.ndarray:
        picture = np.full((32, 32 * self.length, 3), 40, np.uint8)
        picture[:, -32:] = (60, 120, 60)
        picture[4:28, 32 * self.cell + 4 : 32 * self.cell + 28] = (230, 180, 60)
        return picture
