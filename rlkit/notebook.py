"""The logger `notebook`: a figure in the cell that trains, drawn anew while the run goes on.

It shows what metrics.jsonl holds, so a run that is continued shows its beginning too. Outside of a notebook
the same logger is the terminal's progress line: a run that began here may go on there.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlkit.terminal import progress_line

SHARE = 0.05  # of the time may go into drawing
Row = Mapping[str, float | None]

# Title → its curves: metric → label. An agent without generations is drawn over steps.
NEAT = {
    "fitness": {"neat/best": "best", "neat/mean": "mean", "eval/return_mean": "evaluation"},
    "species": {"neat/species": "species"},
    "mean size": {"neat/connections_mean": "connections", "neat/nodes_mean": "hidden nodes"},
}
OTHERS = {
    "return": {"episode/return": "training", "eval/return_mean": "evaluation"},
    "loss": {"loss/policy": "policy", "loss/value": "value", "loss/td": "TD"},
    "steps per second": {"time/sps": "steps per second"},
}


class Notebook:
    """The verbs of `Terminal`, with one picture in the place of the progress line."""

    def __init__(self, folder: Path, every_seconds: float = 1.0) -> None:
        self.every_seconds = every_seconds
        self._path = folder / "metrics.jsonl"
        self._read = 0  # bytes of it
        self._rows: list[Row] = []
        self._handle: Any = None
        self._due = 0.0  # when the next drawing may begin
        self._title: str | None = None  # not drawn yet
        self._news: str | None = None

    def progress(self, step: int, total: int, fields: Mapping[str, float | str | None]) -> None:
        self._title = progress_line(step, total, fields)
        if time.monotonic() >= self._due or step >= total:
            self._draw()

    def news(self, line: str, always: bool = False) -> None:
        """The newest stands below the progress."""
        self._news = line

    def say(self, text: str) -> None:
        print(text, flush=True)

    def close(self) -> None:
        """Draw what has not been drawn. Twice does no harm."""
        if self._title is not None:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import Image, display

        begun = time.monotonic()
        if self._path.is_file():
            with self._path.open("rb") as file:
                file.seek(self._read)
                for line in file:
                    self._rows.append(json.loads(line))
                    self._read += len(line)
        title = "\n".join(line for line in (self._title, self._news) if line)
        picture = Image(data=png(self._rows, title), format="png")
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)
        self._title = None
        now = time.monotonic()
        self._due = now + max(self.every_seconds, (now - begun) / SHARE)


def in_notebook() -> bool:
    """Whether this process is a Jupyter kernel."""
    shell = sys.modules.get("IPython")
    return shell is not None and getattr(shell.get_ipython(), "kernel", None) is not None


def png(rows: Sequence[Row], title: str = "") -> bytes:
    """Rows of metrics.jsonl (`run.metrics()`) as a picture of curves: over generations, else over steps."""
    from matplotlib.figure import Figure

    evolves = any("neat/generation" in row for row in rows)
    panels = NEAT if evolves else OTHERS
    figure = Figure(figsize=(10, 2.9), dpi=80)
    figure.subplots_adjust(left=0.05, right=0.99, bottom=0.17, top=0.77, wspace=0.15)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left", family="monospace")
    for axes, (name, curves) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for metric, label in curves.items():
            points = _points(rows, metric, evolves)
            if points:
                style = {"marker": "o", "ms": 4} if metric.startswith("eval/") else {}
                axes.plot(*zip(*points, strict=True), lw=1.5, label=label, **style)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("generation" if evolves else "steps", fontsize=9)
        axes.locator_params(nbins=6, integer=evolves)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if len(axes.lines) > 1:
            axes.legend(fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _points(rows: Sequence[Row], metric: str, evolves: bool) -> list[tuple[float, float]]:
    """(generation or step, value) wherever the metric was written; a generation lasts until the next."""
    points, generation = [], 0.0
    for row in rows:
        generation = row.get("neat/generation") or generation
        value = row.get(metric)
        if value is not None:
            points.append((generation if evolves else float(row["step"] or 0), value))
    return points
