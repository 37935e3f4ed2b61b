"""A picture as a list of shapes, written as SVG or drawn as pixels. Coordinates: pixels, y downwards."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
Colour = tuple[int, int, int]

WHITE, INK, GREY, PALE = (255, 255, 255), (36, 41, 47), (110, 119, 129), (208, 215, 222)
_SMOOTH = 2  # lines are drawn so many times too large and reduced: that smooths them


@dataclass(frozen=True)
class Line:
    points: Sequence[Point]
    colour: Colour = INK
    width: float = 1.0
    alpha: float = 1.0
    dashed: bool = False


@dataclass(frozen=True)
class Area:
    """A closed polygon, filled."""

    points: Sequence[Point]
    fill: Colour
    alpha: float = 1.0


@dataclass(frozen=True)
class Disc:
    centre: Point
    radius: float
    fill: Colour = WHITE
    outline: Colour = INK
    width: float = 1.5


@dataclass(frozen=True)
class Words:
    """One line of text, centred at its height. anchor: l, m or r, the point's place on the line."""

    at: Point
    text: str
    size: float = 12.0
    colour: Colour = INK
    anchor: str = "l"
    halo: bool = False  # white around the letters, where lines pass behind


Shape = Line | Area | Disc | Words


@dataclass
class Scene:
    """Shapes in the order in which they are drawn; later ones lie on top."""

    width: int
    height: int
    shapes: list[Shape] = field(default_factory=list)

    def add(self, *shapes: Shape) -> None:
        self.shapes += shapes

    def svg(self) -> str:
        body = "\n".join(_svg(shape) for shape in self.shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" font-family="Helvetica, Arial, sans-serif">\n'
            f'<rect width="100%" height="100%" fill="{_hex(WHITE)}"/>\n{body}\n</svg>\n'
        )

    _repr_svg_ = svg  # what a notebook shows

    def pixels(self, scale: float = 1.0) -> np.ndarray:
        """[height · scale, width · scale, 3] uint8."""
        size = round(self.width * scale), round(self.height * scale)
        factor = _SMOOTH * scale
        large = Image.new("RGB", (size[0] * _SMOOTH, size[1] * _SMOOTH), WHITE)
        draw = ImageDraw.Draw(large, "RGBA")
        for shape in self.shapes:
            if not isinstance(shape, Words):
                _DRAW[type(shape)](draw, shape, factor)
        image = large.reduce(_SMOOTH)
        draw = ImageDraw.Draw(image)
        for shape in self.shapes:  # text is smooth by itself, and sharper so
            if isinstance(shape, Words):
                _draw_words(draw, shape, scale)
        return np.asarray(image)

    def png(self, scale: float = 2.0) -> bytes:
        return png(self.pixels(scale))


def png(pixels: np.ndarray) -> bytes:
    """pixels [h, w, 3] uint8 → the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def blend(colour: Colour, alpha: float) -> Colour:
    """The colour over white: for curves, whose pieces would show where they overlap."""
    r, g, b = (round(255 + (c - 255) * alpha) for c in colour)
    return r, g, b


def text_width(text: str, size: float) -> float:
    """Pixels that a line of text takes."""
    return float(_font(size).getlength(text))


def curve(start: Point, end: Point, bend: Point, steps: int = 16) -> list[Point]:
    """Points of the quadratic Bézier curve from start to end, pulled towards `bend`."""
    found = []
    for k in range(steps + 1):
        t = k / steps
        weights = (1 - t) ** 2, 2 * t * (1 - t), t**2
        x, y = (sum(w * p[i] for w, p in zip(weights, (start, bend, end), strict=True)) for i in (0, 1))
        found.append((x, y))
    return found


def arrow_head(tip: Point, before: Point, size: float) -> list[Point]:
    """The triangle at the end of a line that comes from `before`."""
    angle = math.atan2(tip[1] - before[1], tip[0] - before[0])
    sides = [(tip[0] - size * math.cos(angle + turn), tip[1] - size * math.sin(angle + turn))
             for turn in (0.45, -0.45)]  # fmt: skip
    return [tip, *sides]


# ---------------------------------------------------------------------- pixels


@cache
def _font(size: float) -> Any:
    return ImageFont.load_default(size)


def _rgba(colour: Colour, alpha: float) -> tuple[int, ...]:
    return (*colour, round(255 * alpha))


def _scaled(points: Sequence[Point], factor: float) -> list[Point]:
    return [(x * factor, y * factor) for x, y in points]


def _draw_line(draw: Any, line: Line, factor: float) -> None:
    points = _scaled(line.points, factor)
    width, colour = max(1, round(line.width * factor)), _rgba(line.colour, line.alpha)
    if not line.dashed:
        draw.line(points, fill=colour, width=width, joint="curve")
        return
    for start, end in itertools.pairwise(points):
        length = math.dist(start, end)
        count = max(1, round(length / (5 * factor)))  # dashes and gaps together
        for k in range(0, count, 2):
            piece = [(start[0] + (end[0] - start[0]) * t, start[1] + (end[1] - start[1]) * t)
                     for t in (k / count, min(1.0, (k + 1) / count))]  # fmt: skip
            draw.line(piece, fill=colour, width=width)


def _draw_area(draw: Any, area: Area, factor: float) -> None:
    draw.polygon(_scaled(area.points, factor), fill=_rgba(area.fill, area.alpha))


def _draw_disc(draw: Any, disc: Disc, factor: float) -> None:
    (x, y), r = disc.centre, disc.radius
    box = _scaled([(x - r, y - r), (x + r, y + r)], factor)
    draw.ellipse(box, fill=disc.fill, outline=disc.outline, width=max(1, round(disc.width * factor)))


def _draw_words(draw: Any, words: Words, scale: float) -> None:
    at = (words.at[0] * scale, words.at[1] * scale)
    draw.text(
        at, words.text, fill=words.colour, font=_font(words.size * scale), anchor=f"{words.anchor}m",
        stroke_width=round(2 * scale) if words.halo else 0, stroke_fill=WHITE,
    )  # fmt: skip


_DRAW: dict[type, Any] = {Line: _draw_line, Area: _draw_area, Disc: _draw_disc}

# ---------------------------------------------------------------------- SVG


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _svg(shape: Shape) -> str:
    if isinstance(shape, Line):
        dashes = ' stroke-dasharray="5 5"' if shape.dashed else ""
        return (
            f'<polyline points="{_points(shape.points)}" fill="none" stroke="{_hex(shape.colour)}" '
            f'stroke-width="{shape.width:.2f}" stroke-opacity="{shape.alpha:.2f}" '
            f'stroke-linejoin="round"{dashes}/>'
        )
    if isinstance(shape, Area):
        return (
            f'<polygon points="{_points(shape.points)}" fill="{_hex(shape.fill)}" '
            f'fill-opacity="{shape.alpha:.2f}"/>'
        )
    if isinstance(shape, Disc):
        x, y = shape.centre
        return (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{shape.radius:.1f}" fill="{_hex(shape.fill)}" '
            f'stroke="{_hex(shape.outline)}" stroke-width="{shape.width:.1f}"/>'
        )
    anchor = {"l": "start", "m": "middle", "r": "end"}[shape.anchor]
    halo = f' stroke="{_hex(WHITE)}" stroke-width="4" paint-order="stroke"' if shape.halo else ""
    return (
        f'<text x="{shape.at[0]:.1f}" y="{shape.at[1]:.1f}" font-size="{shape.size:g}" '
        f'text-anchor="{anchor}" dominant-baseline="central" fill="{_hex(shape.colour)}"{halo}>'
        f"{escape(shape.text)}</text>"
    )
