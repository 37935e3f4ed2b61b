"""An evolution on a terminal: 80 columns, no colour."""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Sequence
from textwrap import wrap

from rlkit.neat.drawing.layout import Graph
from rlkit.neat.history import History
from rlkit.neat.naming import Names, labels

WIDTH = 80
_LEFT = 9  # columns of the numbers beside a chart
_COLUMNS = WIDTH - _LEFT - 1
_ROWS = 8
_MOST_INPUTS = 12  # of a node; the strongest are named
_MOST_NODES = 40
_FIRM = "\N{NO-BREAK SPACE}"  # where no line may break


def network_lines(graph: Graph, names: Names) -> list[str]:
    """Every node with what leads into it, the strongest first: outputs, then hidden nodes."""
    called = {-1 - k: text for k, text in enumerate(labels(names.inputs))}
    called |= dict(enumerate(labels(names.outputs)))
    called |= {node: f"#{node}" for node in graph.hidden}
    into: dict[int, list[tuple[float, str]]] = {}
    for link in graph.live:
        into.setdefault(link.target, []).append((link.weight, called[link.source]))
    lines = []
    for node in [*range(graph.outputs), *sorted(graph.hidden)][:_MOST_NODES]:
        one = graph.nodes[node]
        parts = sorted(into.get(node, []), key=lambda part: -abs(part[0]))
        told = [f"{weight:+.2f}{_FIRM}{name}" for weight, name in parts[:_MOST_INPUTS]]
        if len(parts) > _MOST_INPUTS:
            told.append(f"and{_FIRM}{len(parts) - _MOST_INPUTS:,}{_FIRM}more")
        inside = f"{one.bias:+.2f}  {'  '.join(told)}"
        how = one.activation if one.aggregation == "sum" else f"{one.activation} of {one.aggregation}"
        unused = "" if node in graph.used else "  (no output depends on it)"
        text = f"{called[node]:<12} = {how}  {inside}{unused}"
        lines += [line.replace(_FIRM, " ") for line in wrap(text, WIDTH, subsequent_indent=" " * 15)]
    if len(graph.nodes) > _MOST_NODES:
        lines.append(f"and {len(graph.nodes) - _MOST_NODES:,} more nodes")
    return lines


def fitness_lines(history: History) -> list[str]:
    """Mean fitness as columns, the best above it lightly."""
    width = min(_COLUMNS, len(history))
    best = [max(part) for part in _parts(history.column("best"), width)]
    mean = [sum(part) / len(part) for part in _parts(history.column("mean"), width)]
    low, high = min(history.column("worst")), max(best)
    span = (high - low) or 1.0
    wide = max(1, _COLUMNS // (2 * width))  # few generations: several columns each
    lines = []
    for row in reversed(range(_ROWS)):
        level = low + span * (row + 0.5) / _ROWS
        cells = ("█" if m >= level else "░" if b >= level else " " for b, m in zip(best, mean, strict=True))
        number = {_ROWS - 1: high, 0: low}.get(row)
        lines.append(_beside(number) + "".join(cell * wide for cell in cells).rstrip())
    return [*lines, _axis(len(history), width * wide), " " * _LEFT + "█ mean  ░ best fitness"]


def species_lines(history: History) -> list[str]:
    """Shares of the population, a letter a species; the oldest at the bottom."""
    generations = history.generations
    width = min(_COLUMNS, len(generations))
    shown = [part[-1] for part in _parts(generations, width)]
    wide = max(1, _COLUMNS // (2 * width))
    total = max(sum(one.sizes.values()) for one in shown)
    columns = []
    for one in shown:
        column = ""
        reached = 0
        for species, size in sorted(one.sizes.items()):
            reached += size
            column += letter(species) * (round(reached * _ROWS / total) - len(column))
        columns.append(column.ljust(_ROWS))
    lines = []
    for row in reversed(range(_ROWS)):
        number = {_ROWS - 1: float(total), 0: 0.0}.get(row)
        lines.append(_beside(number) + "".join(column[row] * wide for column in columns).rstrip())
    return [*lines, _axis(len(generations), width * wide)]


def letter(species: int) -> str:
    """a … z, A … Z, and over again."""
    return string.ascii_letters[(species - 1) % len(string.ascii_letters)]


def species_table(rows: Sequence[tuple[int, int, int, float, int]]) -> list[str]:
    """rows: id, size, the generation of its birth, best fitness, the generation it last improved in."""
    lines = ["species      genomes   born in   best fitness   improved in"]
    for number, size, born, best, improved in sorted(rows, key=lambda row: -row[1])[:12]:
        score = f"{best:,.4g}" if math.isfinite(best) else "not judged"
        lines.append(f"{letter(number)} {number:<9,} {size:>8,} {born:>9,} {score:>14} {improved:>13,}")
    if len(rows) > 12:
        lines.append(f"and {len(rows) - 12:,} more")
    return lines


def _parts(values: Sequence[float] | Sequence[object], count: int) -> list[list]:  # type: ignore[type-arg]
    """The values in `count` pieces of nearly equal length."""
    ends = [round(k * len(values) / count) for k in range(count + 1)]
    return [list(values[a:b]) for a, b in itertools.pairwise(ends)]


def _beside(number: float | None) -> str:
    return f"{'' if number is None else f'{number:,.4g}':>{_LEFT - 2}} │"


def _axis(count: int, width: int) -> str:
    first, last = "0 generation", f" {count - 1:,}" if count > 1 else ""
    return f"{' ' * (_LEFT - 2)} └{first:<{max(width - len(last), len(first))}}{last}"
