"""Catcher: a paddle catches falling fruit."""

from __future__ import annotations

from typing import ClassVar

from rlkit.envs.pixel.game import SIDE, Color, PixelGame, Shape

_PADDLE, _FRUIT = 16.0, 6.0  # widths, pixels
_FLOOR = 76.0  # top of the paddle
_STRIDE, _FALL = 4.0, 3.0  # pixels per step, of the paddle and of the fruit
_COLORS: tuple[Color, ...] = ((236, 92, 84), (250, 176, 60), (140, 200, 90))


class Catcher(PixelGame):
    """0 noop, 1 left, 2 right. +1 for a fruit caught, −1 for one missed; `lives` misses end the game.

    State: the paddle's centre, the fruit's centre, its height, their distance, lives left.
    """

    features: ClassVar[int] = 5

    def __init__(self, obs: str = "pixels", lives: int = 3, render_mode: str | None = None) -> None:
        super().__init__(obs, render_mode)
        if lives < 1:
            raise ValueError(f"lives must be 1 or more, not {lives}")
        self._all_lives = lives

    def start(self) -> None:
        self._lives, self._caught = self._all_lives, 0
        self._paddle = (SIDE - _PADDLE) / 2
        self._drop()

    def _drop(self) -> None:
        self._x, self._y = float(self.np_random.uniform(0, SIDE - _FRUIT)), 0.0
        self._color = _COLORS[int(self.np_random.integers(len(_COLORS)))]

    def play(self, action: int) -> tuple[float, bool]:
        move = (0.0, -_STRIDE, _STRIDE)[action]
        self._paddle = min(max(self._paddle + move, 0.0), SIDE - _PADDLE)
        self._y += _FALL
        if self._y + _FRUIT < _FLOOR:
            return 0.0, False
        caught = self._x + _FRUIT > self._paddle and self._x < self._paddle + _PADDLE
        self._caught += caught
        self._lives -= not caught
        self._drop()
        return (1.0 if caught else -1.0), self._lives == 0

    def state(self) -> list[float]:
        paddle, fruit = self._paddle + _PADDLE / 2, self._x + _FRUIT / 2
        return [
            2 * paddle / SIDE - 1,
            2 * fruit / SIDE - 1,
            2 * self._y / _FLOOR - 1,
            (fruit - paddle) / SIDE,
            2 * self._lives / self._all_lives - 1,
        ]

    def shapes(self) -> list[Shape]:
        hearts = [Shape(2 + 5 * i, 2, 3, 3, (236, 92, 84), True) for i in range(self._lives)]
        return [
            *hearts,
            Shape(self._x, self._y, _FRUIT, _FRUIT, self._color, True),
            Shape(self._paddle, _FLOOR, _PADDLE, 4, (120, 170, 250)),
        ]

    def caption(self) -> str:
        return f"{self._caught} caught"
