"""A tiny environment whose picture changes with every step, for tests of films and records."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class Blink(gymnasium.Env):
    """Episodes of `length` steps, reward 1 (or the action, with `pay`), ended by `truncate` or terminated.

    A frame is a grey that grows by 20 per step, with a red, a green and a blue bar on its left.
    """

    metadata = {"render_modes": ["rgb_array", "rgb_array_list", "ansi", "human"], "render_fps": 12}  # noqa: RUF012

    def __init__(
        self, length: int = 5, size: tuple[int, int] = (32, 48), render_mode: str | None = "rgb_array",
        truncate: bool = False, pay: bool = False,
    ) -> None:  # fmt: skip
        self.observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)
        self.length, self.size, self.render_mode, self.truncate, self.pay = (
            length,
            size,
            render_mode,
            truncate,
            pay,
        )
        self.now = self.renders = self.closes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.now = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.now += 1
        over = self.now >= self.length
        reward = float(action) if self.pay else 1.0
        return np.zeros(1, np.float32), reward, over and not self.truncate, over and self.truncate, {}

    def render(self) -> Any:
        self.renders += 1
        if self.render_mode == "ansi":
            return f"step {self.now}\n" + "#" * self.now + "\n"
        frame = np.full((*self.size, 3), 20 + 20 * (self.now % 11), np.uint8)
        for bar in range(3):
            frame[:, 4 * bar : 4 * bar + 4] = [200 * (bar == channel) for channel in range(3)]
        return [frame] if self.render_mode == "rgb_array_list" else frame

    def close(self) -> None:
        self.closes += 1


def grey(frame: np.ndarray) -> int:
    """Which step a frame shows."""
    return round((float(frame[5:-5, 20:-5].mean()) - 20) / 20)
