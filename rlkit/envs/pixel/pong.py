"""PixelPong: table tennis against an opponent who is slower than the ball."""

from __future__ import annotations

from typing import ClassVar

from rlkit.envs.pixel.game import SIDE, PixelGame, Shape

_PADDLE, _THICK, _BALL = 16.0, 3.0, 3.0  # pixels
_LEFT, _RIGHT = 4.0, SIDE - 7.0  # left edges of the opponent's and of the agent's paddle
_STRIDE, _SLOW = 3.0, 1.3  # pixels per step, of the agent and of the opponent
_ACROSS, _STEEPEST = 2.5, 2.5  # the ball's velocities


class PixelPong(PixelGame):
    """0 noop, 1 up, 2 down; the agent plays on the right. ±1 for a point; who has `points` first, wins.

    State: both paddles, the ball's place and velocity, its height above the agent's paddle.
    """

    features: ClassVar[int] = 7

    def __init__(self, obs: str = "pixels", points: int = 5, render_mode: str | None = None) -> None:
        super().__init__(obs, render_mode)
        if points < 1:
            raise ValueError(f"points must be 1 or more, not {points}")
        self._points = points

    def start(self) -> None:
        self._score = [0, 0]  # the opponent's, the agent's
        self._me = self._other = (SIDE - _PADDLE) / 2
        self._serve()

    def _serve(self) -> None:
        self._x, self._y = SIDE / 2, float(self.np_random.uniform(20, SIDE - 20))
        self._vx = _ACROSS if self.np_random.random() < 0.5 else -_ACROSS
        self._vy = float(self.np_random.uniform(-1.5, 1.5))
        self._aim = 0.0

    def play(self, action: int) -> tuple[float, bool]:
        self._me = _within(self._me + (0.0, -_STRIDE, _STRIDE)[action])
        if self._vx < 0:
            wish = self._y + _BALL / 2 - _PADDLE / 2 + self._aim - self._other
            self._other = _within(self._other + min(max(wish, -_SLOW), _SLOW))
        self._x, self._y = self._x + self._vx, self._y + self._vy
        if not 0 <= self._y <= SIDE - _BALL:
            self._y, self._vy = min(max(self._y, 0.0), SIDE - _BALL), -self._vy
        if self._vx > 0 and _RIGHT <= self._x + _BALL <= _RIGHT + _ACROSS:
            self._bounce(self._me)
            self._aim = float(self.np_random.uniform(-6, 6))  # where the opponent wants to meet it
        elif self._vx < 0 and _LEFT + _THICK - _ACROSS <= self._x <= _LEFT + _THICK:
            self._bounce(self._other)
        if 0 <= self._x <= SIDE - _BALL:
            return 0.0, False
        won = self._x < 0
        self._score[won] += 1
        over = max(self._score) == self._points
        self._serve()
        return (1.0 if won else -1.0), over

    def _bounce(self, paddle: float) -> None:
        """Back, the steeper the further from the paddle's centre."""
        off = (self._y + _BALL / 2 - paddle - _PADDLE / 2) / ((_PADDLE + _BALL) / 2)
        if abs(off) <= 1:
            self._vx, self._vy = -self._vx, off * _STEEPEST

    def state(self) -> list[float]:
        room = SIDE - _PADDLE
        return [
            2 * self._me / room - 1,
            2 * self._other / room - 1,
            2 * self._x / SIDE - 1,
            2 * self._y / SIDE - 1,
            self._vx / _ACROSS,
            self._vy / _STEEPEST,
            (self._y + _BALL / 2 - self._me - _PADDLE / 2) / SIDE,
        ]

    def shapes(self) -> list[Shape]:
        net = [Shape(SIDE / 2, y, 1, 4, (70, 78, 104)) for y in range(2, SIDE, 8)]
        return [
            *net,
            Shape(_LEFT, self._other, _THICK, _PADDLE, (236, 120, 92)),
            Shape(_RIGHT, self._me, _THICK, _PADDLE, (120, 200, 250)),
            Shape(self._x, self._y, _BALL, _BALL, (255, 255, 255), True),
        ]

    def caption(self) -> str:
        return f"{self._score[0]}   {self._score[1]}"


def _within(top: float) -> float:
    return min(max(top, 0.0), SIDE - _PADDLE)
