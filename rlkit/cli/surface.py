"""The same from Python and notebooks: compose, train, load_run, load_runs. Torch is imported when needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rlkit.cli.composing import compose
from rlkit.config import RunConfig

if TYPE_CHECKING:
    from rlkit.runs import Run

__all__ = ["compose", "load_run", "load_runs", "train"]


def train(config: RunConfig) -> Run:
    """Train as `rlkit train` does, in a run folder of its own, and return the run."""
    from rlkit import session

    return session.train(config)


def load_run(name: Path | str = "latest", root: Path | str = "runs") -> Run:
    """A run by path, by name under `root`, or the latest. Nothing in the folder is executed."""
    from rlkit import runs

    return runs.Run(runs.find_run(str(name), root=str(root)))


def load_runs(root: Path | str = "runs") -> list[Run]:
    """Every run under a folder."""
    from rlkit import runs

    found: list[Run] = runs.list_runs(str(root))
    return found
