"""The engine `async`: safe starts, the failing worker's own traceback, nobody and nothing left behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
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

SPACES: dict[str, Any] = {
    "observation_space": gym.spaces.Box(-1, 1, (2,), np.float32),
    "action_space": gym.spaces.Discrete(3),
}


class Picky(gym.Env):
    """Action 1 is an error, action 2 the end of the process."""

    observation_space = SPACES["observation_space"]
    action_space = SPACES["action_space"]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        if action == 1:
            raise UnicodeDecodeError("utf-8", b"x", 0, 1, "a planted reason")
        if action == 2:
            os._exit(7)
        return np.zeros(2, np.float32), 1.0, False, False, {}


class Unmakeable(Picky):
    """Can be made here, to read its spaces, and not in a worker."""

    def __init__(self, here: int) -> None:
        if os.getpid() != here:
            raise OSError("no licence on this process")


@pytest.fixture
def registered() -> Iterator[None]:
    registry.envs.add("picky", Picky)
    registry.envs.add("unmakeable", Unmakeable)
    yield
    for name in ("picky", "unmakeable"):
        registry.envs._targets.pop(name)


def workers(name: str, lanes: int = 2, **kwargs: Any) -> Workers:
    return Workers(EnvMaker(EnvConfig(id=name, kwargs=kwargs)), lanes, processes=lanes)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):  # it may end between the two questions
        return False
    return state != "Z"


def gone(pids: list[int], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.usefixtures("registered")
def test_the_failing_workers_traceback_comes_first() -> None:
    lanes = workers("picky", 3)
    lanes.reset(seed=[0, 1, 2])
    with pytest.raises(UnicodeDecodeError, match="a planted reason") as caught:
        lanes.step(np.array([0, 1, 0]))
    text = "".join(traceback.format_exception(caught.value))
    assert text.index("in the worker of lane 1") < text.index("direct cause")
    assert text.index('raise UnicodeDecodeError("utf-8"') < text.index("in step_wait")
    pids = [process.pid for process in lanes.processes]
    lanes.close()
    assert gone(pids)


@pytest.mark.usefixtures("registered")
def test_an_environment_that_cannot_be_made_in_a_worker_says_why() -> None:
    with pytest.raises(OSError, match="no licence on this process") as caught:
        workers("unmakeable", here=os.getpid())
    assert "Unmakeable" in "".join(traceback.format_exception(caught.value)) or "__init__" in str(
        caught.value.__cause__
    )


def test_a_start_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(process: Any) -> None:
        raise OSError("a planted lack of processes")

    monkeypatch.setattr(type(multiprocessing.get_context("forkserver").Process()), "start", start)
    with pytest.raises(OSError, match="a planted lack"):
        workers("CartPole-v1")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("how", "told"), [("exit", "exit code 7"), ("kill", "SIGKILL; out of memory")])
def test_a_dead_worker_is_named(how: str, told: str) -> None:
    lanes = workers("picky", 3)
    lanes.reset(seed=[0, 1, 2])
    pids = [process.pid for process in lanes.processes]
    if how == "kill":
        os.kill(pids[2], signal.SIGKILL)
        lanes.processes[2].join(30)
    with pytest.raises(RuntimeError, match=f"lane 2 died .*{told}"):
        lanes.step(np.array([0, 0, 2 if how == "exit" else 0]))
    lanes.close()
    assert gone(pids)


@pytest.mark.usefixtures("registered")
def test_closing_waits_for_nobody_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlkit.envs.workers._PATIENCE", 0.2)
    lanes = workers("picky", 2)
    pids = [process.pid for process in lanes.processes]
    os.kill(pids[1], signal.SIGSTOP)
    lanes.close()
    assert gone(pids, 5)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
def test_no_descriptor_leaks_over_300_cycles() -> None:
    def cycle() -> None:
        lanes = workers("CartPole-v1", 1)
        lanes.reset(seed=[0])
        lanes.step(np.zeros(1, dtype=np.int64))
        lanes.close()

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    cycle()  # the first one starts the server
    before = descriptors()
    for _ in range(300):
        cycle()
    assert descriptors() <= before


SCRIPT = """
import gymnasium as gym, numpy as np, os
from rlkit import registry
from rlkit.config import EnvConfig
from rlkit.envs.factory import EnvMaker
from rlkit.envs.workers import Workers

print("main", flush=True)

class Mine(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.full(2, self.np_random.random(), np.float32), {}
    def step(self, action):
        return np.zeros(2, np.float32), float(action), False, False, {}

class Negate(gym.ObservationWrapper):
    def observation(self, obs):
        return -obs

registry.envs.add("mine", Mine)
registry.wrappers.add("negate", Negate)
gym.register("Mine-v0", Mine)
for name in ("mine", "Mine-v0"):
    lanes = Workers(EnvMaker(EnvConfig(id=name), {"negate": {}}), 2, processes=2)
    obs, _ = lanes.reset(seed=[3, 4])
    assert (obs < 0).all(), obs
    assert lanes.step(np.array([1, 0]))[1].tolist() == [1.0, 0.0]
    pids = [p.pid for p in lanes.processes]
    if name == "mine":
        lanes.close()
print("pids", *pids, flush=True)
WAIT
"""


@pytest.mark.parametrize("how", ["script", "typed"])
def test_what_a_script_or_a_notebook_defines_reaches_the_workers(how: str, tmp_path: Path) -> None:
    """No main guard, nothing importable: a script's top level, and code that was never in a file."""
    code = SCRIPT.replace("WAIT", "lanes.close()")
    (tmp_path / "job.py").write_text(code)
    command = [sys.executable, "job.py"] if how == "script" else [sys.executable, "-"]
    done = subprocess.run(
        command, input=None if how == "script" else code, cwd=tmp_path, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("main") == 1  # the script ran once, and in no worker
    assert gone([int(pid) for pid in done.stdout.split("pids")[1].split()])


def test_nobody_outlives_a_trainer_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(SCRIPT.replace("WAIT", "import time; time.sleep(600)"))
    job = subprocess.Popen([sys.executable, "job.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    pids = next([int(pid) for pid in line.split()[1:]] for line in job.stdout if line.startswith("pids"))
    assert len(pids) == 2
    assert all(alive(pid) for pid in pids)
    job.kill()
    job.wait()
    job.stdout.close()
    assert gone(pids)


NOTEBOOK = """
import rlkit
run = rlkit.train(rlkit.compose("agent=random env.num_envs=2 env.engine=async trainer.total_steps=300 "
    "trainer.eval_every=0 trainer.test_episodes=0 monitor=off logger=[jsonl]".split()))
print(run.status, run.info["steps"])
"""


def test_a_notebook_trains_with_workers(tmp_path: Path) -> None:
    from tests.envs.needs import ALL

    nbclient = pytest.importorskip("nbclient") if not ALL else __import__("nbclient")
    nbformat = __import__("nbformat")
    cells = [nbformat.v4.new_code_cell(NOTEBOOK)]
    notebook = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": ""}}
    )
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = json.dumps(notebook)
    assert "done 300" in text
