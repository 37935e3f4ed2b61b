"""Boards as pictures: drawn by Pillow at three times the size, shrunk once per size, stones laid on top.

A picture takes stones [2, S, S] and the last moves (actions, the newest last) and gives uint8 [H, W, 3].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Picture = Callable[[np.ndarray, Sequence[int]], np.ndarray]
Point = tuple[float, float]
Color = tuple[int, int, int]

_SHARP = 3  # drawn so much larger, then shrunk: smooth edges
_SIDE = 480  # pixels
_GO_LETTERS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"
_INK: Color = (58, 38, 18)
_MARK: Color = (214, 48, 38)


# ---------------------------------------------------------------------- Go


def picture_of_go(size: int, stones: np.ndarray, last: Sequence[int]) -> np.ndarray:
    """A wooden board with coordinates; row 0 is the lowest line."""
    step, first = _go_grid(size)
    picture = _go_board(size).copy()

    def place(action: int) -> Point:
        row, column = divmod(action, size)
        return first + column * step, first + (size - 1 - row) * step

    return _with_stones(picture, stones, last, place, step * 0.475)


def _go_grid(size: int) -> tuple[float, float]:
    """Pixels between lines, and from the edge to the first line."""
    step = _SIDE / (size + 1.35)
    return step, (_SIDE - step * (size - 1)) / 2


@cache
def _go_board(size: int) -> np.ndarray:
    step, first = _go_grid(size)
    image = Image.fromarray(_wood(_SIDE * _SHARP))
    draw = ImageDraw.Draw(image)
    near, far = first * _SHARP, (first + step * (size - 1)) * _SHARP
    for k in range(size):
        at = (first + k * step) * _SHARP
        width = 5 if k in (0, size - 1) else 3
        draw.line((near, at, far, at), fill=_INK, width=width)
        draw.line((at, near, at, far), fill=_INK, width=width)
    for row, column in _stars(size):
        x, y, r = (first + column * step) * _SHARP, (first + row * step) * _SHARP, 0.09 * step * _SHARP
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_INK)
    font = ImageFont.load_default(size=max(9.0, min(15.0, step * 0.36)) * _SHARP)
    edge = (first - step * 0.5) / 2 * _SHARP
    for k in range(size):
        at = (first + k * step) * _SHARP
        for margin in (edge, _SIDE * _SHARP - edge):
            draw.text((at, margin), _GO_LETTERS[k], font=font, fill=_INK, anchor="mm")
            draw.text((margin, at), str(size - k), font=font, fill=_INK, anchor="mm")
    return _shrunk(image)


def _stars(size: int) -> list[tuple[int, int]]:
    """The points that are marked for the eye."""
    if size < 7:
        return [(size // 2, size // 2)] if size % 2 and size > 3 else []
    inset = 2 if size < 12 else 3
    lines = {inset, size - 1 - inset} | ({size // 2} if size % 2 and size > 12 else set())
    found = [(row, column) for row in sorted(lines) for column in sorted(lines)]
    return found if size % 2 == 0 or size > 12 else [*found, (size // 2, size // 2)]


def _wood(side: int) -> np.ndarray:
    """Grain that runs from top to bottom, always the same: uint8 [side, side, 3]."""
    noise = np.random.default_rng(7)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    bend = x + 0.012 * np.sin(2.1 * y + 9 * x) + 0.006 * np.sin(6.3 * y + 1.7)
    grain = np.zeros_like(x)
    for waves in (7, 17, 41, 97):
        grain += np.sin(2 * np.pi * (waves * bend + noise.random())) / waves**0.45
    fine = np.interp(bend.ravel() * 400 % 400, np.arange(400), noise.normal(size=400)).reshape(side, side)
    light = 1 + 0.020 * grain + 0.016 * fine - 0.05 * (y - 0.5)
    return np.clip(np.array([222, 181, 116]) * light[:, :, None], 0, 255).astype(np.uint8)


# ---------------------------------------------------------------------- Hex

_TABLE: Color = (236, 229, 215)
_CELL: Color = (203, 187, 152)
_LINE: Color = (128, 110, 78)
_BAND: tuple[Color, Color] = ((40, 40, 44), (255, 255, 253))


def picture_of_hex(size: int, stones: np.ndarray, last: Sequence[int]) -> np.ndarray:
    """A slanted board of hexagons; Black owns the top and bottom edge, White the left and right one."""
    radius = _hex_radius(size)
    picture = _hex_board(size).copy()

    def place(action: int) -> Point:
        return _hex_center(size, *divmod(action, size))

    return _with_stones(picture, stones, last, place, radius * 0.66)


def _hex_radius(size: int) -> float:
    """Pixels from the middle of a cell to its corners, so that the rows fill the width."""
    return (_SIDE + 120 - 2 * 40) / (math.sqrt(3) * (1.5 * size - 0.5))


def _hex_shape(size: int) -> tuple[int, int]:
    """(height, width) of the picture, both even."""
    height = _hex_radius(size) * (1.5 * size + 0.5) + 2 * 40
    return 2 * math.ceil(height / 2), _SIDE + 120


def _hex_center(size: int, row: int, column: int) -> Point:
    radius = _hex_radius(size)
    wide = math.sqrt(3) * radius
    return 40 + wide * (column + 0.5 + row / 2), 40 + radius * (1 + 1.5 * row)


@cache
def _hex_board(size: int) -> np.ndarray:
    height, width = _hex_shape(size)
    image = Image.new("RGB", (width * _SHARP, height * _SHARP), _TABLE)
    draw = ImageDraw.Draw(image)
    radius = _hex_radius(size) * _SHARP

    def corner(row: int, column: int, k: int) -> Point:
        """Corner k of a cell: 0 at the top, then clockwise."""
        x, y = _hex_center(size, row, column)
        turn = math.radians(60 * k - 90)
        return x * _SHARP + radius * math.cos(turn), y * _SHARP + radius * math.sin(turn)

    end = size - 1
    top = [corner(0, c, k) for c in range(size) for k in (5, 0)] + [corner(0, end, 1)]
    bottom = [corner(end, c, k) for c in reversed(range(size)) for k in (2, 3)] + [corner(end, 0, 4)]
    left = [corner(r, 0, k) for r in range(size) for k in (5, 4)] + [corner(end, 0, 4)]
    right = [corner(r, end, k) for r in range(size) for k in (1, 2)]
    thick = int(radius * 0.5) + 2 * _SHARP
    for color, sides in ((_LINE, (left, right)), (_BAND[1], (left, right)), (_BAND[0], (top, bottom))):
        for side in sides:
            extra = 2 * _SHARP if color == _LINE else 0
            draw.line(side, fill=color, width=thick + extra, joint="curve")
    for row in range(size):
        for column in range(size):
            cell = [corner(row, column, k) for k in range(6)]
            draw.polygon(cell, fill=_CELL)
            draw.line(
                [*cell, cell[0], cell[1]], fill=_LINE, width=max(3, round(radius * 0.05)), joint="curve"
            )
    font = ImageFont.load_default(size=max(10.0, min(16.0, radius / _SHARP * 0.5)) * _SHARP)
    for k in range(size):
        x, y = _hex_center(size, 0, k)
        draw.text((x * _SHARP, 16 * _SHARP), chr(ord("a") + k), font=font, fill=_INK, anchor="mm")
        x, y = _hex_center(size, k, 0)
        draw.text((x * _SHARP - radius * 1.2 - 10 * _SHARP, y * _SHARP), str(k + 1), font=font, fill=_INK,
                  anchor="rm")  # fmt: skip
    return _shrunk(image)


# ---------------------------------------------------------------------- stones


def _with_stones(
    picture: np.ndarray,
    stones: np.ndarray,
    last: Sequence[int],
    place: Callable[[int], Point],
    radius: float,
) -> np.ndarray:
    """Lay the stones on the picture, shadows first; mark the last move, and faintly the one before."""
    spots = [(player, *place(int(at))) for player in (0, 1) for at in np.flatnonzero(stones[player])]
    for _, x, y in spots:
        _lay(picture, _shadow(radius), x + 0.07 * radius, y + 0.13 * radius)
    for player, x, y in spots:
        _lay(picture, _stone(radius, player), x, y)
    for age, action in enumerate(reversed(last)):
        if stones[:, action // stones.shape[2], action % stones.shape[2]].any():
            _lay(picture, _ring(radius, age), *place(action))
    return picture


def _lay(picture: np.ndarray, sprite: np.ndarray, x: float, y: float) -> None:
    """Blend a sprite (float32 [h, w, 4], alpha last) onto the picture with its middle at (x, y)."""
    h, w = sprite.shape[:2]
    top, left = round(y - h / 2), round(x - w / 2)
    rows = slice(max(0, top), min(picture.shape[0], top + h))
    columns = slice(max(0, left), min(picture.shape[1], left + w))
    part = sprite[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    alpha = part[:, :, 3:]
    picture[rows, columns] = (picture[rows, columns] * (1 - alpha) + part[:, :, :3] * alpha + 0.5).astype(
        np.uint8
    )


def _disc(half: int, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a square of side 2·half: x and y in units of the radius, and the share of each pixel in the disc."""
    y, x = np.mgrid[0 : 2 * half, 0 : 2 * half].astype(np.float32) + 0.5 - half
    cover = np.clip(radius - np.hypot(x, y) + 0.5, 0, 1)
    return x / radius, y / radius, cover


@cache
def _stone(radius: float, player: int) -> np.ndarray:
    """A lens lit from the upper left: black slate or white shell."""
    x, y, cover = _disc(math.ceil(radius) + 1, radius)
    far = np.hypot(x, y)
    shine = np.exp(-(((x + 0.36) ** 2 + (y + 0.42) ** 2) / 0.16))
    if player == 0:
        tone = 34 + 92 * shine + 16 * np.clip(-(x + y), 0, 1) - 14 * far**4
        color = np.stack([tone, tone, tone + 4], axis=2)
    else:
        tone = 236 + 22 * shine - 26 * np.clip(x + y, 0, 2) ** 1.5 * far - 20 * far**6
        color = np.stack([tone, tone - 2, tone - 8], axis=2)
    return np.concatenate([np.clip(color, 0, 255), cover[:, :, None]], axis=2).astype(np.float32)


@cache
def _shadow(radius: float) -> np.ndarray:
    x, y, _ = _disc(math.ceil(radius * 1.3) + 1, radius)
    alpha = 0.42 * np.clip((1.16 - np.hypot(x, y)) / 0.3, 0, 1) ** 1.2
    sprite = np.zeros((*x.shape, 4), dtype=np.float32)
    sprite[:, :, 3] = alpha
    return sprite


@cache
def _ring(radius: float, age: int) -> np.ndarray:
    """Around the middle of the newest stone (age 0), or a small dot on the one before."""
    half = math.ceil(radius)
    outer = _disc(half, radius * (0.52 if age == 0 else 0.17))[2]
    inner = _disc(half, radius * 0.34)[2] if age == 0 else np.zeros_like(outer)
    sprite = np.empty((2 * half, 2 * half, 4), dtype=np.float32)
    sprite[:, :, :3] = _MARK
    sprite[:, :, 3] = (outer - inner) * (0.95 if age == 0 else 0.8)
    return sprite


def _shrunk(image: Image.Image) -> np.ndarray:
    small = image.resize((image.width // _SHARP, image.height // _SHARP), Image.Resampling.LANCZOS)
    return np.array(small.convert("RGB"))
