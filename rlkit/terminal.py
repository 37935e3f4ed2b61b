"""What a run shows while it runs: one live line on a terminal, plain lines everywhere else."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rlkit.screen import is_terminal, say

LIVE_EVERY = 0.1  # seconds between two drawings of the live line
NARROW = 70  # columns below which the line has no bar, so that its numbers have room
ONE_LINE: dict[str, Any] = {"no_wrap": True, "overflow": "ellipsis"}


class Terminal:
    """One door to the screen, so that messages and the progress line do not tear each other.

    A terminal gets a line that is redrawn; a pipe, a log file or a notebook gets a plain line at most
    every `every_seconds`, and always the last one. Written to whatever sys.stdout is at that moment.
    A screen that is gone (a closed pipe, a full disk, a terminal that hung up) ends no run: it is left alone.
    """

    def __init__(self, every_seconds: float = 2.0) -> None:
        self.every_seconds = every_seconds
        self._live: Live | None = None
        self._shown = -float("inf")
        self._waiting: str | None = None
        self._row: Table | Text | None = None  # the progress line, drawn
        self._news: str | None = None  # the line below it; elsewhere the newest that was not printed
        self._told = -float("inf")
        self._lost = False  # the window went away

    def progress(self, step: int, total: int, fields: Mapping[str, float | str | None]) -> None:
        """step of total, and what else is worth a word. "sps" also gives the time that is left."""
        if self._is_window():
            with self._drawing():
                self._draw(step, total, _words(step, total, fields))
            return
        line = progress_line(step, total, fields)
        now = time.monotonic()
        if now - self._shown >= self.every_seconds or step >= total:
            self._shown, self._waiting = now, None
            say(line)
        else:
            self._waiting = line

    def news(self, line: str, always: bool = False) -> None:
        """What has just happened, such as a generation: on a terminal the newest stands below the progress.

        Elsewhere it is a plain line at most every `every_seconds`; `always` prints it in any case.
        """
        now = time.monotonic()
        if self._is_window():
            self._news = line
            with self._drawing():
                self._refresh(False)
        elif always or now - self._told >= self.every_seconds:
            self._told, self._news = now, None
            say(line)
        else:
            self._news = line

    def say(self, text: str) -> None:
        """A message on lines of its own."""
        if self._live is not None:
            with self._drawing():
                self._live.console.print(Text(text), soft_wrap=True)
        else:
            say(text)

    def close(self) -> None:
        """Leave the last state of the progress line standing. Twice does no harm."""
        if self._live is not None:
            with self._drawing():
                self._live.refresh()
            self._stop()
            self._news = None
        if self._news is not None:
            say(self._news)
            self._news = None
        if self._waiting is not None:
            say(self._waiting)
            self._waiting = None

    def _draw(self, step: int, total: int, words: str) -> None:
        if self._window().console.width < NARROW:
            self._row = Text(f"{step:,}/{total:,} {_percent(step, total)} {words}", **ONE_LINE)
        else:
            bar = ProgressBar(total=max(total, 1), completed=min(step, total), width=20)
            self._row = Table.grid(padding=(0, 1))
            for _ in range(4):
                self._row.add_column(no_wrap=True)  # a narrow window shows less, never more lines
            self._row.add_row(f"{step:,}/{total:,}", bar, _percent(step, total), words)
        self._refresh(step >= total)

    def _refresh(self, last: bool) -> None:
        """Draw the live lines anew, unless that was done a moment ago."""
        live = self._window()
        news = None if self._news is None else Text(self._news, **ONE_LINE)
        now = time.monotonic()
        due = now - self._shown >= LIVE_EVERY or last
        live.update(Group(*(part for part in (self._row, news) if part is not None)), refresh=due)
        if due:
            self._shown = now

    def _is_window(self) -> bool:
        return not self._lost and is_terminal() and os.environ.get("TERM") != "dumb"

    @contextlib.contextmanager
    def _drawing(self) -> Iterator[None]:
        """What cannot be drawn on any more is let go of, for good."""
        try:
            yield
        except (OSError, ValueError, SystemExit):  # rich would end the program at a broken pipe
            self._lost = True
            self._stop()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            with contextlib.suppress(Exception, SystemExit):  # whatever of it a lost window did not let begin
                live.stop()

    def _window(self) -> Live:
        if self._live is None:
            self._live = Live(console=Console(file=sys.stdout), auto_refresh=False)
            self._live.start()
        return self._live


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
