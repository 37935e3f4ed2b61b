"""Metrics on their way from tensors to a row: buffered without waiting for the device, written once.

Sinks: `tensorboard` (tb/), `jsonl` (metrics.jsonl), `terminal`, `notebook` (a figure in its place). Messages
also go to train.log.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from rlkit.errors import UserError
from rlkit.files import AppendFile, cut
from rlkit.notebook import Notebook, in_notebook
from rlkit.runfolder import finite
from rlkit.tensorboard import EventWriter
from rlkit.terminal import Terminal
from rlkit.types import State

LOG = logging.getLogger("rlkit")
WINDOW = 100  # episodes in the mean of the progress line
SHOWN = {"time/sps": "sps", "explore/epsilon": "epsilon", "eval/return_mean": "eval"}
SINKS: dict[str, dict[str, type]] = {
    "tensorboard": {},
    "jsonl": {},
    "terminal": {"every_seconds": float},
    "notebook": {"every_seconds": float},
}


class Logger:
    """The one place that metrics go to. `add` often, `flush` rarely.

    folder: the run folder. sinks: by name, each with its options. resume_state: `state_dict()` of the
    checkpoint that the run continues from; an empty one starts the files over.
    """

    def __init__(
        self, folder: Path, sinks: Mapping[str, Mapping[str, Any]], *, resume_state: State | None = None
    ) -> None:
        check_sinks(sinks)
        self.folder = Path(folder)
        self.broken: str | None = None  # first metric that was not finite at the last flush
        self._values: dict[str, list[Tensor | float]] = {}
        self._from_tensors: set[str] = set()
        self._window: deque[float] = deque(maxlen=WINDOW)
        self._elapsed = 0.0  # of earlier processes
        self._since = time.monotonic()
        self._shown: dict[str, float | str | None] = dict.fromkeys(("sps", "return", "epsilon", "eval"))
        self._described = False  # hparams are in the event files
        self._rows = AppendFile(self.folder / "metrics.jsonl") if "jsonl" in sinks else None
        self._events = EventWriter(self.folder / "tb") if "tensorboard" in sinks else None
        self._terminal = _screen(sinks, self.folder)
        self._handlers = _listen(self.folder / "train.log", self._terminal)
        if resume_state is not None:
            self.load_state_dict(resume_state)

    def add(self, metrics: Mapping[str, Tensor | float]) -> None:
        """Remember values until the next flush, which takes the mean of each key. Never waits for the device.

        Tensors are 0-d and detached, and stay as they are: not the output of a graph that is replayed.
        """
        for name, value in metrics.items():
            self._values.setdefault(name, []).append(value)
        reward = metrics.get("episode/return")
        if reward is not None and not isinstance(reward, Tensor):
            self._window.append(float(reward))

    def flush(self, step: int, now_values: Mapping[str, float] | None = None) -> dict[str, float]:
        """Write one row: the mean of everything added since the last one, and `now_values` as they are.

        One transfer per device. Returns the row's scalars; `broken` then names the first (by name) loss
        or other tensor metric that is not finite, or is None.
        """
        self._settle()
        scalars = {name: _mean(values) for name, values in self._values.items()}
        suspects = (name for name in scalars if name in self._from_tensors or name.startswith("loss/"))
        self.broken = min((name for name in suspects if not math.isfinite(scalars[name])), default=None)
        scalars |= {name: float(value) for name, value in (now_values or {}).items()}
        scalars = dict(sorted(scalars.items()))
        self._values.clear()
        self._from_tensors.clear()
        if self._rows is not None:
            row = {"step": step, "time": round(self.elapsed, 3), **finite(scalars)}
            self._rows.write((json.dumps(row) + "\n").encode())
        if self._events is not None and scalars:
            self._events.scalars(step, scalars)
        return scalars

    @property
    def elapsed(self) -> float:
        """Wall-clock seconds of this run, all its processes together."""
        return self._elapsed + time.monotonic() - self._since

    @property
    def recent_return(self) -> float | None:
        """Mean return of the last 100 episodes, None before the first."""
        return sum(self._window) / len(self._window) if self._window else None

    def progress(self, step: int, total: int, fields: Mapping[str, float | str | None] | None = None) -> None:
        """Show how far the run is. `fields` may be the row that `flush` returned, or plain words.

        Of a row only `SHOWN` is shown, the last known value of each; a word without "/" is shown as it is.
        """
        for name, value in (fields or {}).items():
            if name in SHOWN or "/" not in name:
                self._shown[SHOWN.get(name, name)] = value
        self._shown["return"] = self.recent_return
        if self._terminal is not None:
            self._terminal.progress(step, total, self._shown)

    def end_progress(self) -> None:
        """Leave the progress line where it is: what is said next comes below it."""
        if self._terminal is not None:
            self._terminal.close()

    def say(self, text: str) -> None:
        """A message for people: to the terminal, beside the progress line, and to train.log."""
        if self._terminal is not None:
            self._terminal.say(text)
        LOG.info(text)

    def news(self, line: str, important: bool = False) -> None:
        """A line about what has just happened: to the terminal, not oftener than it bears, and to train.log.

        important: it is shown in any case.
        """
        if self._terminal is not None:
            self._terminal.news(line, important)
        LOG.info(line)

    @property
    def has_screen(self) -> bool:
        """Whether anybody sees what is said."""
        return self._terminal is not None

    @property
    def shows_pictures(self) -> bool:
        """Whether `picture` and `gif` go anywhere: without TensorBoard nothing need be drawn."""
        return self._events is not None

    def picture(self, tag: str, step: int, pixels: np.ndarray) -> None:
        """pixels: uint8 [H, W, 3]."""
        if self._events is not None:
            self._events.picture(tag, step, pixels)

    def gif(self, tag: str, step: int, data: bytes, width: int, height: int) -> None:
        if self._events is not None:
            self._events.gif(tag, step, data, width, height)

    def text(self, tag: str, step: int, text: str) -> None:
        if self._events is not None:
            self._events.text(tag, step, text)

    def hparams(self, config: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """Describe the run to TensorBoard's table of runs: the flat configuration, the metrics to compare.

        Once per run: a second call, after a resume too, writes nothing.
        """
        if self._events is not None and not self._described:
            self._events.hparams(config, metrics)
            self._described = True

    def state_dict(self) -> State:
        """What an exact continuation needs: the unflushed buffer, the clock, and how long the files are."""
        self._settle()
        if self._rows is not None:
            self._rows.sync()
        return {
            "values": {name: list(values) for name, values in self._values.items()},
            "from_tensors": sorted(self._from_tensors),
            "window": list(self._window),
            "described": self._described,
            "elapsed": self.elapsed,
            "files": {
                "metrics.jsonl": self._rows.size if self._rows is not None else 0,
                "tb": self._events.lengths() if self._events is not None else {},
            },
        }

    def load_state_dict(self, state: State) -> None:
        """Go back to `state`: files are cut to the lengths they had, event files that came later removed."""
        self._values = {name: list(values) for name, values in state.get("values", {}).items()}
        self._from_tensors = set(state.get("from_tensors", ()))
        self._window = deque(state.get("window", ()), maxlen=WINDOW)
        self._described = bool(state.get("described", False))
        self._elapsed, self._since = float(state.get("elapsed", 0.0)), time.monotonic()
        files = state.get("files", {})
        short: list[str] = []
        if self._rows is not None:
            self._rows.close()
            length = int(files.get("metrics.jsonl", 0))
            if cut(self._rows.path, length) < length:
                short.append(self._rows.path.name)
            self._rows = AppendFile(self._rows.path)
        if self._events is not None:
            short += self._events.rewind(files.get("tb", {}))
        if short:
            LOG.warning("%s: rows written before the checkpoint are missing", ", ".join(short))

    def close(self, *, success: bool = True) -> None:
        """Write how the session ended, close the files, let go of the screen. Twice does no harm."""
        try:
            if self._events is not None:
                with contextlib.suppress(OSError):  # a full disk is what ended the run; that is told already
                    if self._described:
                        self._events.end(success=success)
                self._events.close()
                self._events = None
        finally:
            if self._rows is not None:
                self._rows.close()
                self._rows = None
            if self._terminal is not None:
                self._terminal.close()
                self._terminal = None
            for handler in self._handlers:
                LOG.removeHandler(handler)
                handler.close()
            self._handlers = []

    def _settle(self) -> None:
        """Turn every tensor of the buffer into a number, with one transfer per device."""
        places: dict[torch.device, list[tuple[str, int]]] = {}
        for name, values in self._values.items():
            for index, value in enumerate(values):
                if isinstance(value, Tensor):
                    places.setdefault(value.device, []).append((name, index))
        for where in places.values():
            tensors = [self._values[name][index] for name, index in where]
            numbers = torch.stack([_scalar(tensor) for tensor in tensors]).tolist()
            for (name, index), number in zip(where, numbers, strict=True):
                self._values[name][index] = number
                self._from_tensors.add(name)


def check_sinks(sinks: Mapping[str, Mapping[str, Any]]) -> None:
    """UserError at a sink or an option that does not exist, or an option of the wrong type."""
    for name, options in sinks.items():
        if name not in SINKS:
            raise UserError(f"there is no logger {name!r}{_near(name, SINKS)}")
        for option, value in (options or {}).items():
            if option not in SINKS[name]:
                raise UserError(f"logger.{name} has no option {option!r}{_near(option, SINKS[name])}")
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise UserError(f"logger.{name}.{option} is a number of 0 or more, not {value!r}")
    if "notebook" in sinks and "jsonl" not in sinks:
        raise UserError("logger=[notebook] draws what logger=[jsonl] writes; name both")
    if "notebook" in sinks and in_notebook() and find_spec("matplotlib") is None:
        raise UserError("logger=[notebook] draws with matplotlib: pip install 'rlkit-lab[plots]'")


def _screen(sinks: Mapping[str, Mapping[str, Any]], folder: Path) -> Terminal | Notebook | None:
    """Where progress is shown: of a terminal and a notebook, the one that is there."""
    if "notebook" in sinks and in_notebook():
        return Notebook(folder, **sinks["notebook"])
    if "terminal" in sinks or "notebook" in sinks:
        return Terminal(**(sinks["terminal"] if "terminal" in sinks else sinks["notebook"]))
    return None


def _near(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are: {', '.join(known) or 'none'}"


def _scalar(tensor: Any) -> Tensor:
    """0-d float32, whatever number it was; the usual one as it is."""
    if tensor.dtype is torch.float32 and not tensor.dim():
        return cast(Tensor, tensor)
    return cast(Tensor, tensor.reshape(()).float())


def _mean(values: Sequence[Any]) -> float:
    return float(sum(values) / len(values))


class _LogFile(logging.FileHandler):
    """train.log. A message that finds no room there must not end a run, nor print a traceback."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


class _Screen(logging.Handler):
    """Warnings, shown beside the progress line."""

    def __init__(self, terminal: Terminal | Notebook) -> None:
        super().__init__(logging.WARNING)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        self._terminal.say(f"{record.levelname.lower()}: {record.getMessage()}")


def _listen(path: Path, terminal: Terminal | Notebook | None) -> list[logging.Handler]:
    file = _LogFile(path, encoding="utf-8", delay=True)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handlers: list[logging.Handler] = [file, *([_Screen(terminal)] if terminal is not None else [])]
    for handler in handlers:
        LOG.addHandler(handler)
    if LOG.getEffectiveLevel() > logging.INFO:
        LOG.setLevel(logging.INFO)
    return handlers
