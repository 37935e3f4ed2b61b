"""Fitness and species over the generations, as pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

from rlkit.neat.drawing.scene import GREY, INK, PALE, WHITE, Area, Colour, Line, Point, Scene, Words
from rlkit.neat.history import History

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 92, 40, 44
MOST_COLUMNS = 300  # of more generations every n-th is drawn, or the extremes of n
MOST_BORDERS = 60  # species between which a white line is drawn
BEST, MEAN, WORST = (31, 111, 191), (36, 41, 47), (217, 95, 14)


def draw_fitness(history: History) -> Scene:
    """Best, mean and worst fitness of each generation."""
    best, mean, worst = (history.column(name) for name in ("best", "mean", "worst"))
    step = math.ceil(len(best) / MOST_COLUMNS) or 1
    lines = {  # of several generations in one column: the best of best, the worst of worst
        "best": (_thinned(best, step, max), BEST),
        "mean": (_thinned(mean, step, lambda part: sum(part) / len(part)), MEAN),
        "worst": (_thinned(worst, step, min), WORST),
    }
    low, high = min(worst, default=0.0), max(best, default=1.0)
    scene, x, y = _axes("fitness over the generations", len(best), low, high)
    top = [(x(k * step), y(value)) for k, value in enumerate(lines["best"][0])]
    bottom = [(x(k * step), y(value)) for k, value in enumerate(lines["worst"][0])]
    if len(top) > 1:
        scene.add(Area([*top, *reversed(bottom)], BEST, 0.08))
    labels: list[tuple[float, str, Colour]] = []
    for name, (values, colour) in lines.items():
        points = [(x(k * step), y(value)) for k, value in enumerate(values)]
        if len(points) == 1:
            points.append((points[0][0] + 3, points[0][1]))
        scene.add(Line(points, colour, 1.8))
        labels.append((points[-1][1], f"{name} {values[-1]:.4g}", colour))
    for height, text, colour in _apart(labels, 14):
        scene.add(Words((_WIDTH - _RIGHT + 8, height), text, 11, colour))
    return scene


def draw_species(history: History) -> Scene:
    """How many genomes each species has, stacked in the order of their ids: the oldest at the bottom."""
    generations = history.generations
    total = max((sum(one.sizes.values()) for one in generations), default=1)
    step = math.ceil(len(generations) / MOST_COLUMNS) or 1
    shown = generations[::step]
    scene, x, y = _axes("species over the generations, in genomes", len(generations), 0, total)
    ids = sorted({species for one in shown for species, size in one.sizes.items() if size})
    floor = [0] * len(shown)
    labels: list[tuple[float, str, Colour]] = []
    for species in ids:
        sizes = [one.sizes.get(species, 0) for one in shown]
        roof = [below + size for below, size in zip(floor, sizes, strict=True)]
        alive = [k for k, size in enumerate(sizes) if size]
        # One column more on each side: a species grows out of nothing and shrinks to it.
        span = range(max(alive[0] - 1, 0), min(alive[-1] + 1, len(shown) - 1) + 1)
        upper: list[Point] = [(x(k * step), y(roof[k])) for k in span]
        lower: list[Point] = [(x(k * step), y(floor[k])) for k in span]
        if len(span) == 1:  # the only generation
            upper, lower = ([points[0], (points[0][0] + 4, points[0][1])] for points in (upper, lower))
        scene.add(Area([*upper, *reversed(lower)], colour_of(species)))
        if len(ids) <= MOST_BORDERS:
            scene.add(Line(upper, WHITE, 0.6))
        if sizes[-1] * 24 >= total:
            labels.append((y(floor[-1] + sizes[-1] / 2), f"{species}: {sizes[-1]}", colour_of(species, 0.5)))
        floor = roof
    for height, text, colour in _apart(labels, 13):
        scene.add(Words((_WIDTH - _RIGHT + 8, height), text, 10, colour))
    return scene


def colour_of(species: int, value: float = 0.83) -> Colour:
    """A colour of its own for each id: hues by the golden angle, so that neighbours differ."""
    hue, soft = species * 0.61803398875 % 1.0, 0.45 if species % 2 else 0.6
    parts = [value * (1 - soft * min(1.0, max(0.0, abs((hue * 6 + k) % 6 - 3) - 1))) for k in (0, 4, 2)]
    return tuple(round(255 * part) for part in parts)  # type: ignore[return-value]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers within low … high, at most so many."""
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    factor = next(f for f in (1, 2, 5, 10, 20) if (high - low) / (step * f) <= most - 1)
    step *= factor
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _thinned(values: list[float], step: int, join: Callable[[list[float]], float]) -> list[float]:
    return [join(values[k : k + step]) for k in range(0, len(values), step)]


def _axes(
    title: str, count: int, low: float, high: float
) -> tuple[Scene, Callable[[float], float], Callable[[float], float]]:
    """A chart's frame, and what turns a generation and a value into pixels."""
    scene = Scene(_WIDTH, _HEIGHT)
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    if not high > low:
        low, high = low - 1.0, high + 1.0
    last = max(count - 1, 1)

    def x(generation: float) -> float:
        return left + (right - left) * generation / last

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    scene.add(Words((left, 18), title, 13))
    for value in ticks(low, high):
        scene.add(Line([(left, y(value)), (right, y(value))], PALE, 0.8))
        scene.add(Words((left - 8, y(value)), f"{value:,.6g}", 10, GREY, "r"))
    for value in ticks(0, last, 8):
        if value == int(value):
            scene.add(Line([(x(value), bottom), (x(value), bottom + 4)], GREY, 0.8))
            scene.add(Words((x(value), bottom + 13), f"{value:,.0f}", 10, GREY, "m"))
    scene.add(Line([(left, bottom), (right, bottom)], INK, 1.0))
    scene.add(Words(((left + right) / 2, bottom + 31), "generation", 11, GREY, "m"))
    return scene, x, y


def _apart(labels: list[tuple[float, str, Colour]], gap: float) -> list[tuple[float, str, Colour]]:
    """Labels beside the ends of lines, moved down where they would overlap."""
    found: list[tuple[float, str, Colour]] = []
    for height, text, colour in sorted(labels):
        if found:
            height = max(height, found[-1][0] + gap)
        found.append((height, text, colour))
    over = found[-1][0] - (_HEIGHT - _BOTTOM) if found else 0.0
    return [(height - max(over, 0.0), text, colour) for height, text, colour in found]
