"""The learning curves of an episode, as a frame and as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rlkit.envs.tuning.ranges import Range
from rlkit.envs.tuning.training import Measured

WIDTH, HEIGHT = 640, 480
_FINE = 2  # drawn so many times larger, then smoothed

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]  # left, top, right, bottom; pixels of the frame

_PAPER: Color = (250, 250, 252)
_PANEL: Color = (255, 255, 255)
_LINE: Color = (222, 225, 232)
_INK: Color = (38, 42, 54)
_GREY: Color = (128, 134, 150)
_TRAINING: Color = (240, 140, 60)
_VALIDATION: Color = (52, 110, 220)
_GOOD: Color = (36, 160, 104)
_BAD: Color = (214, 56, 64)
_CHOICE: Color = (130, 84, 200)


class Epoch(Protocol):
    """What is drawn of an epoch; number 0 has no choice."""

    @property
    def measured(self) -> Measured: ...
    @property
    def chosen(self) -> dict[str, float]: ...
    @property
    def reward(self) -> float: ...


# ---------------------------------------------------------------------- a frame


def frame(
    title: str, task: str, ranges: Sequence[Range], history: Sequence[Epoch], epochs: int
) -> NDArray[np.uint8]:
    """uint8 [480, 640, 3]: losses, accuracy and learning rate over the epochs, and the last choice."""
    pen = _Pen()
    past = [epoch.measured for epoch in history]
    now, done = past[-1], len(history) - 1
    pen.text(20, 12, title, 19)
    pen.text(20, 36, task, 12, _GREY)
    pen.text(620, 14, f"epoch {done} of {epochs}", 15, right=True)

    chart = _Chart(pen, (62, 76, 408, 224), epochs, *_around([v for m in past for v in _losses(m)]))
    chart.axes("loss", [10.0**k * m for k in range(-4, 3) for m in (1, 3)], log=True)
    chart.curve([math.log10(max(m.training_loss, 1e-4)) for m in past], _TRAINING)
    chart.curve([math.log10(max(m.validation_loss, 1e-4)) for m in past], _VALIDATION)
    pen.text(402, 58, "validation", 12, _VALIDATION, right=True)
    pen.text(336, 58, "training", 12, _TRAINING, right=True)

    chart = _Chart(pen, (62, 254, 408, 350), epochs, 0.0, 1.0)
    chart.axes("accuracy on the validation set", [0.0, 0.5, 1.0])
    chart.curve([m.accuracy for m in past], _GOOD)

    rate = next(r for r in ranges if r.name == "learning_rate")
    low, high = math.log10(rate.low), math.log10(rate.high)
    chart = _Chart(pen, (62, 380, 408, 452), epochs, low - 0.2, high + 0.2)
    chart.axes("learning rate", [1e-5, 1e-3, 1e-1, 1e1], log=True)
    chart.stems([math.log10(epoch.chosen[rate.name]) for epoch in history[1:]], _CHOICE)
    chart.count("epoch")

    pen.panel((428, 62, 620, 452))
    color = _BAD if now.diverged else _GOOD
    pen.text(442, 74, "diverged" if now.diverged else f"{now.accuracy:.1%}", 28, color)
    pen.text(442, 108, f"best {max(m.accuracy for m in past):.1%}", 12, _GREY)
    total = sum(epoch.reward for epoch in history)
    pen.text(606, 108, f"return {total:+.3f}", 12, _GREY, right=True)
    _choice(pen, ranges, history[-1].chosen)
    return pen.picture()


def _choice(pen: _Pen, ranges: Sequence[Range], chosen: dict[str, float]) -> None:
    """The last choice: a slider for each hyperparameter, between its lowest and its highest value."""
    room = (440 - 136) / len(ranges)
    for i, r in enumerate(ranges):
        y = 138 + i * room
        value = chosen.get(r.name)
        pen.text(442, y, r.name.replace("_", " "), 12)
        pen.text(606, y, "-" if value is None else r.text(value), 12, _CHOICE, right=True)
        y += 21
        pen.line([(444, y), (604, y)], _LINE, 3)
        if value is not None:
            x = 444 + 160 * (r.place(value) + 1) / 2
            pen.dot(x, y, 5, _CHOICE)


def _losses(m: Measured) -> tuple[float, float]:
    return math.log10(max(m.training_loss, 1e-4)), math.log10(max(m.validation_loss, 1e-4))


def _around(seen: list[float]) -> tuple[float, float]:
    """Room for all that was seen, and at least for the losses 0.1 to 3."""
    return min(-1.0, *seen) - 0.1, max(0.5, *seen) + 0.1


def _short(value: float) -> str:
    """0.1, 30, 1e-5."""
    return f"{value:g}".replace("e-0", "e-")


class _Chart:
    """A panel with epochs 0 … `epochs` from left to right and low … high from bottom to top."""

    def __init__(self, pen: _Pen, box: Box, epochs: int, low: float, high: float) -> None:
        self.pen, self.box, self.epochs, self.low, self.high = pen, box, epochs, low, high
        self.each = max(1, math.ceil(epochs / 12))  # epochs between marks

    def x(self, epoch: float) -> float:
        left, _, right, _ = self.box
        return left + 12 + (right - left - 24) * epoch / self.epochs

    def y(self, value: float) -> float:
        _, top, _, bottom = self.box
        return bottom - 6 - (bottom - top - 12) * (value - self.low) / (self.high - self.low)

    def axes(self, title: str, ticks: list[float], log: bool = False) -> None:
        left, top, right, bottom = self.box
        self.pen.panel(self.box)
        self.pen.text(left, top - 18, title, 12)
        for tick in ticks:
            place = math.log10(tick) if log else tick
            if self.low <= place <= self.high:
                self.pen.line([(left + 1, self.y(place)), (right - 1, self.y(place))], _LINE, 1)
                self.pen.text(left - 7, self.y(place) - 7, _short(tick), 11, _GREY, right=True)
        for epoch in range(0, self.epochs + 1, self.each):
            self.pen.line([(self.x(epoch), bottom - 4), (self.x(epoch), bottom)], _LINE, 1)

    def count(self, title: str) -> None:
        """Numbers along the lower edge."""
        for epoch in range(0, self.epochs + 1, self.each):
            self.pen.text(self.x(epoch), self.box[3] + 4, str(epoch), 11, _GREY, anchor="ma")
        self.pen.text(self.box[0] - 7, self.box[3] + 4, title, 11, _GREY, right=True)

    def curve(self, points: list[float], color: Color) -> None:
        places = [(self.x(i), self.y(v)) for i, v in enumerate(points)]
        self.pen.line(places, color, 2)
        for x, y in places:
            self.pen.dot(x, y, 3, color)

    def stems(self, points: list[float], color: Color) -> None:
        """One for each epoch from number 1 on, up from the lowest value."""
        for i, v in enumerate(points, start=1):
            self.pen.line([(self.x(i), self.box[3] - 2), (self.x(i), self.y(v))], color, 3)
            self.pen.dot(self.x(i), self.y(v), 4, color)


class _Pen:
    """Pillow in pixels of the frame."""

    def __init__(self) -> None:
        self._image = Image.new("RGB", (WIDTH * _FINE, HEIGHT * _FINE), _PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def panel(self, box: Box) -> None:
        self._draw.rounded_rectangle([v * _FINE for v in box], 6 * _FINE, _PANEL, _LINE, _FINE)

    def line(self, points: list[tuple[float, float]], color: Color, width: float) -> None:
        if len(points) > 1:
            places = [(x * _FINE, y * _FINE) for x, y in points]
            self._draw.line(places, color, round(width * _FINE), joint="curve")

    def dot(self, x: float, y: float, radius: float, color: Color) -> None:
        box = [(x - radius) * _FINE, (y - radius) * _FINE, (x + radius) * _FINE, (y + radius) * _FINE]
        self._draw.ellipse(box, color)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: int,
        color: Color = _INK,
        *,
        right: bool = False,
        anchor: str = "la",
    ) -> None:
        """`x`, `y`: the upper left corner, or the upper right one, or Pillow's `anchor`."""
        anchor = "ra" if right else anchor
        self._draw.text((x * _FINE, y * _FINE), words, color, _font(size * _FINE), anchor=anchor)

    def picture(self) -> NDArray[np.uint8]:
        return np.asarray(self._image.reduce(_FINE)).copy()


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


# ---------------------------------------------------------------------- text


def text(title: str, task: str, ranges: Sequence[Range], history: Sequence[Epoch], epochs: int) -> str:
    """A table with a row for each epoch."""
    head = ["epoch", "training", "validation", "accuracy", "reward", *(r.name for r in ranges)]
    widths = [max(9, len(word)) for word in head]
    rows = [head]
    for number, epoch in enumerate(history):
        m = epoch.measured
        losses = [f"{m.training_loss:.3f}", f"{m.validation_loss:.3f}"]
        row = [str(number), *losses, f"{m.accuracy:.3f}", f"{epoch.reward:+.3f}" if number else ""]
        rows.append(row + [r.text(epoch.chosen[r.name]) if epoch.chosen else "" for r in ranges])
    lines = ["  ".join(word.rjust(n) for word, n in zip(row, widths, strict=True)) for row in rows]
    end = ["", "diverged"] if history[-1].measured.diverged else []
    return "\n".join([f"{title}   epoch {len(history) - 1} of {epochs}", task, "", *lines, *end])
