"""FlappyBird: flap against gravity, through the gaps of pipes that come nearer."""

from __future__ import annotations

from typing import ClassVar

from rlkit.envs.pixel.game import SIDE, Color, PixelGame, Shape

_X, _BIRD = 20.0, 6.0  # the bird's left edge and its side, pixels
_GRAVITY, _FLAP, _FASTEST = 0.5, -3.2, 6.0  # pixels per step (gravity: per step and step)
_WIDTH, _GAP, _SPACING, _SPEED = 12.0, 32.0, 60.0, 2.0  # of the pipes; pixels, pixels per step
_HIGHEST, _LOWEST = 10.0, 42.0  # top of a gap
_GREEN: Color = (96, 186, 92)


class FlappyBird(PixelGame):
    """0 noop, 1 flap. +1 for a pipe passed; a crash into a pipe, the ground or the sky costs 1 and ends it.

    State: the bird's height and velocity, and for the next two pipes the distance and the gap's offset.
    """

    actions: ClassVar[int] = 2
    features: ClassVar[int] = 6
    background: ClassVar[Color] = (92, 168, 214)

    def start(self) -> None:
        self._y, self._velocity, self._passed = SIDE / 2, 0.0, 0
        self._pipes = [[SIDE + i * _SPACING, self._gap()] for i in range(3)]  # left edge, top of the gap

    def _gap(self) -> float:
        return float(self.np_random.uniform(_HIGHEST, _LOWEST))

    def play(self, action: int) -> tuple[float, bool]:
        self._velocity = _FLAP if action == 1 else min(self._velocity + _GRAVITY, _FASTEST)
        self._y += self._velocity
        reward = 0.0
        for pipe in self._pipes:
            ahead = pipe[0] + _WIDTH >= _X
            pipe[0] -= _SPEED
            if ahead and pipe[0] + _WIDTH < _X:
                reward, self._passed = 1.0, self._passed + 1
        if self._pipes[0][0] + _WIDTH < 0:
            self._pipes = [*self._pipes[1:], [self._pipes[-1][0] + _SPACING, self._gap()]]
        return (-1.0, True) if self._crashed() else (reward, False)

    def _crashed(self) -> bool:
        if self._y < 0 or self._y + _BIRD > SIDE:
            return True
        return any(
            left < _X + _BIRD and left + _WIDTH > _X and not top <= self._y <= top + _GAP - _BIRD
            for left, top in self._pipes
        )

    def state(self) -> list[float]:
        told = [2 * self._y / SIDE - 1, self._velocity / _FASTEST]
        for left, top in [pipe for pipe in self._pipes if pipe[0] + _WIDTH >= _X][:2]:
            told += [(left - _X) / SIDE, (top + (_GAP - _BIRD) / 2 - self._y) / SIDE]
        return told

    def shapes(self) -> list[Shape]:
        found = []
        for left, top in self._pipes:
            found += [
                Shape(left, -2, _WIDTH, top + 2, _GREEN),
                Shape(left, top + _GAP, _WIDTH, SIDE + 2 - top - _GAP, _GREEN),
            ]
        return [*found, Shape(_X, self._y, _BIRD, _BIRD, (250, 210, 70), True)]

    def caption(self) -> str:
        return f"{self._passed} passed"
