"""What every test shares: one thread, nothing on the screen, and short runs in a folder of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # subprocesses, too

import torch

import rlkit

if TYPE_CHECKING:
    from rlkit.runs import Run

torch.set_num_threads(1)

QUIET = (
    "logger=[jsonl]",
    "monitor=off",
    "trainer.eval_every=0",
    "trainer.checkpoint_every=0",
    "trainer.test_episodes=0",
)


@pytest.fixture
def short_run(tmp_path: Path) -> Callable[..., Run]:
    """Train from overrides as `rlkit train` does, in this process: nothing filmed, printed or tested.

    Later words win: `short_run("agent=dqn", "trainer.total_steps=500", "trainer.eval_every=100")`.
    """

    def train(*overrides: str) -> Run:
        given = {word.split("=")[0] for word in overrides}
        quiet = [word for word in QUIET if word.split("=")[0] not in given]
        return rlkit.train(rlkit.compose([f"run.root={tmp_path / 'runs'}", *quiet, *overrides]))

    return train
