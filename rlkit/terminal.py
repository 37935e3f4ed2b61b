"""What a run shows while it runs: one live line on a terminal, plain lines everywhere else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

LIVE_EVERY = 0.1  # seconds between two drawings of the live line


class Terminal:
    """One door to the screen, so that messages and the progress line do not tear each other.

    A terminal gets a line that is redrawn; a pipe, a log file or a notebook gets a plain line at most
    every `every_seconds`, and always the last one. Written to whatever sys.stdout is at that moment.
    """

    def __init__(self, every_seconds: float = 2.0) -> None:
        self.every_seconds = every_seconds
        self._live: Live | None = None
        self._shown = -float("inf")
        self._waiting: str | None = None
        self._row: Table | None = None  # the progress line, drawn
        self._news: str | None = None  # the line below it; elsewhere the newest that was not printed
        self._told = -float("inf")

    def progress(self, step: int, total: int, fields: Mapping[str, float | str | None]) -> None:
        """step of total, and what else is worth a word. "sps" also gives the time that is left."""
        if _is_terminal():
            self._draw(step, total, _words(step, total, fields))
            return
        line = progress_line(step, total, fields)
        now = time.monotonic()
        if now - self._shown >= self.every_seconds or step >= total:
            self._shown, self._waiting = now, None
            print(line, flush=True)
        else:
            self._waiting = line

    def news(self, line: str, always: bool = False) -> None:
        """What has just happened, such as a generation: on a terminal the newest stands below the progress.

        Elsewhere it is a plain line at most every `every_seconds`; `always` prints it in any case.
        """
        now = time.monotonic()
        if _is_terminal():
            self._news = line
            self._refresh(False)
        elif always or now - self._told >= self.every_seconds:
            self._told, self._news = now, None
            print(line, flush=True)
        else:
            self._news = line

    def say(self, text: str) -> None:
        """A message on lines of its own."""
        if self._live is not None:
            self._live.console.print(Text(text), soft_wrap=True)
        else:
            print(text, flush=True)

    def close(self) -> None:
        """Leave the last state of the progress line standing. Twice does no harm."""
        if self._live is not None:
            self._live.refresh()
            self._live.stop()
            self._live = self._news = None
        if self._news is not None:
            print(self._news, flush=True)
            self._news = None
        if self._waiting is not None:
            print(self._waiting, flush=True)
            self._waiting = None

    def _draw(self, step: int, total: int, words: str) -> None:
        row = Table.grid(padding=(0, 1))
        for _ in range(4):
            row.add_column(no_wrap=True)  # a narrow window shows less, never more lines
        bar = ProgressBar(total=max(total, 1), completed=min(step, total), width=20)
        row.add_row(f"{step:,}/{total:,}", bar, _percent(step, total), words)
        self._row = row
        self._refresh(step >= total)

    def _refresh(self, last: bool) -> None:
        """Draw the live lines anew, unless that was done a moment ago."""
        if self._live is None:
            self._live = Live(console=Console(file=sys.stdout), auto_refresh=False)
            self._live.start()
        news = None if self._news is None else Text(self._news, no_wrap=True, overflow="ellipsis")
        now = time.monotonic()
        due = now - self._shown >= LIVE_EVERY or last
        self._live.update(Group(*(part for part in (self._row, news) if part is not None)), refresh=due)
        if due:
            self._shown = now


def progress_line(step: int, total: int, fields: Mapping[str, float | str | None]) -> str:
    """12,000/50,000  24 %  …"""
    return f"{step:,}/{total:,}  {_percent(step, total)}  {_words(step, total, fields)}"


def duration(seconds: float) -> str:
    """125 → 2:05, 3725 → 1:02:05."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _words(step: int, total: int, fields: Mapping[str, float | str | None]) -> str:
    words = []
    for name, value in fields.items():
        if value is None:
            continue
        if name == "sps" and not isinstance(value, str):
            left = duration((total - step) / value) if value > 0 else "?"
            words += [f"{value:,.0f} steps/s", f"ETA {left}"]
        else:
            words.append(f"{name} {value if isinstance(value, str) else f'{value:,.4g}'}")
    return "  ".join(words)


def _percent(step: int, total: int) -> str:
    return f"{100 * step // max(total, 1)} %"


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
