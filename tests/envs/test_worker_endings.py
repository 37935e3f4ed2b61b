"""How workers end when something went wrong: at once, and the lane that it was is named."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlkit import registry
from rlkit.config import EnvConfig
from rlkit.envs.factory import EnvMaker
from rlkit.envs.workers import Workers

SIZE = 400_000  # numbers of an action that no pipe holds


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Fatal(gym.Env):
    """What an action's first number says."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(0, 9, (SIZE,), np.float32)

    def __init__(self, file: str = "") -> None:
        self.file = file

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        if action[0] == 1:
            raise ValueError("y" * 2_000_000)
        if action[0] == 2:
            sys.exit("no licence")
        if action[0] == 3:
            sys.exit()
        if action[0] == 4:
            raise Speechless
        if action[0] == 5:
            os._exit(0)
        return np.zeros(2, np.float32), 1.0, False, False, {}

    def close(self) -> None:
        if self.file and multiprocessing.current_process().daemon:
            with Path(self.file).open("a") as file:
                file.write("closed\n")
            raise OSError("planted")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("rlkit.envs.workers._PATIENCE", 5)
    registry.envs.add("fatal", Fatal)
    yield
    registry.envs._targets.pop("fatal")


def workers(processes: int = 2, **kwargs: Any) -> Workers:
    made = Workers(EnvMaker(EnvConfig(id="fatal", kwargs=kwargs)), 3, processes)
    made.reset(seed=[0, 1, 2])
    return made


def actions(*firsts: int) -> np.ndarray:
    batch = np.zeros((3, SIZE), np.float32)
    batch[:, 0] = firsts
    return batch


def test_closing_does_not_wait_for_an_answer_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlkit.envs.workers._PATIENCE", 60)
    made = workers()
    made.step_async(actions(1, 0, 1))
    time.sleep(0.5)  # both are sending now
    before = time.monotonic()
    made.close()
    assert time.monotonic() - before < 50


def test_closing_does_not_wait_for_a_worker_that_does_not_read() -> None:
    made = workers(3)
    stopped = [process.pid for process in made.processes[:2]]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            made.step(actions(0, 0, 0))  # half a message is sent
        signal.setitimer(signal.ITIMER_REAL, 20)
        began = time.monotonic()
        made.close()
        assert time.monotonic() - began < 9.5  # _PATIENCE once, not for each
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(("what", "told"), [(2, "no licence"), (3, "SystemExit")])
def test_whatever_ends_an_environment_names_its_lane(what: int, told: str) -> None:
    made = workers()
    with pytest.raises(RuntimeError, match=told) as caught:
        made.step(actions(0, 0, what))
    assert "in the worker of lane 2" in str(caught.value.__cause__)
    made.close()


def test_an_error_without_a_text_is_an_error_too() -> None:
    made = workers()
    with pytest.raises(Speechless) as caught:
        made.step(actions(0, 0, 4))
    assert "in the worker of lane 2" in str(caught.value.__cause__)
    made.close()


def test_a_process_that_ends_well_is_named_too() -> None:
    made = workers(3)
    with pytest.raises(RuntimeError, match=r"lane 2 died \(exit code 0\)"):
        made.step(actions(0, 0, 5))
    made.close()


def test_an_environment_that_cannot_be_closed_does_not_keep_the_others_open(tmp_path: Path) -> None:
    made = workers(1, file=str(tmp_path / "closed"))
    made.close()
    assert (tmp_path / "closed").read_text().count("closed") == 3


SCRIPT = """
import rlkit
from rlkit.config import EnvConfig
from rlkit.envs.factory import EnvMaker
from rlkit.envs.workers import Workers
left_open = Workers(EnvMaker(EnvConfig(id="CartPole-v1")), 2, 2)
"""


def test_a_script_that_forgets_to_close_ends_at_once() -> None:
    before = time.monotonic()
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=False, timeout=120)
    assert done.returncode == 0
    assert time.monotonic() - before < 19  # workers outlive SIGTERM by 20 seconds
