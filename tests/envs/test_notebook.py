"""rlkit in a Jupyter kernel: workers that start safely, Ctrl-C, threads, one-line errors, the live figure."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.envs.needs import needs

needs("ipykernel", "jupyter_client", "matplotlib")

from jupyter_client import KernelManager  # noqa: E402

ROOT = Path(__file__).parent.parent.parent

FIRST = """
import asyncio, sys, threading, types
from multiprocessing import forkserver
from pathlib import Path
import gymnasium as gym, numpy as np
import rlkit
from rlkit import registry

def go(*words):
    return rlkit.train(rlkit.compose(["agent=random", "env.num_envs=2", "env.engine=async",
        "trainer.total_steps=200", "trainer.eval_every=0", "trainer.test_episodes=0", "monitor=off",
        "logger=[jsonl]", *words]))

def workers():
    server = forkserver._forkserver._forkserver_pid
    return Path(f"/proc/{server}/task/{server}/children").read_text().split()

class Mine(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    def __init__(self, how=None):
        self.how = how
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}
    def step(self, action):
        return np.zeros(2, np.float32), 1.0, self.np_random.random() < 0.1, False, {}

class Negate(gym.ObservationWrapper):
    def observation(self, observation):
        return -observation

LOCK = threading.Lock()
class Locked(Mine):
    def step(self, action):
        with LOCK:
            return super().step(action)

class LockedWrapper(gym.Wrapper):
    lock = LOCK

ghost = types.ModuleType("ghost")
exec("def helper(): return 1", ghost.__dict__)
sys.modules["ghost"] = ghost
from ghost import helper
class Haunted(Mine):
    def step(self, action):
        return super().step(action * helper())

gym.register("Mine-v0", Mine)
gym.register("Made-v0", lambda **given: Mine())
gym.register("Text-v0", "__main__:Mine")
gym.register("Short-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=7)
gym.register("Locked-v0", Locked)
gym.register("Told-v0", Mine, kwargs={"how": lambda: LOCK})
gym.register("Haunted-v0", Haunted)
registry.envs.add("mine", lambda **given: Mine())
_ = registry.wrappers.add("negate", Negate), registry.wrappers.add("locked", LockedWrapper)
"""


@dataclass
class Said:
    """What one cell did: its text, its error, and the pictures that it showed and changed."""

    text: str = ""
    error: str | None = None
    traceback: list[str] = field(default_factory=list)
    shown: list[bytes] = field(default_factory=list)
    changed: list[bytes] = field(default_factory=list)


class Kernel:
    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder), env=os.environ | {"PYTHONPATH": str(ROOT)})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def __call__(self, code: str, interrupt_at: str | None = None) -> Said:
        said, request = Said(), self.client.execute(code)
        deadline = time.monotonic() + 120
        while True:
            message = self.client.get_iopub_msg(timeout=max(deadline - time.monotonic(), 0))
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                said.text += content["text"]
                if interrupt_at and interrupt_at in said.text:
                    interrupt_at = None
                    self.manager.interrupt_kernel()
            elif kind == "error":
                said.error, said.traceback = f"{content['ename']}: {content['evalue']}", content["traceback"]
            elif kind in ("display_data", "update_display_data"):
                pictures = said.shown if kind == "display_data" else said.changed
                pictures.append(base64.b64decode(content["data"].get("image/png", "")))
            elif kind == "status" and content["execution_state"] == "idle":
                return said


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    made = Kernel(tmp_path_factory.mktemp("notebook"))
    assert made(FIRST).error is None
    yield made
    made.client.stop_channels()
    made.manager.shutdown_kernel(now=True)


@pytest.mark.parametrize(
    "word",
    ["Mine-v0", "Made-v0", "mine", "__main__:Mine", "__main__:Mine-v0", "Text-v0", "Short-v0", "negate"],
)
def test_what_a_cell_defines_reaches_the_workers(kernel: Kernel, word: str) -> None:
    words = f'"env.id={word}"' if word != "negate" else '"+wrappers.negate={}"'
    said = kernel(f"run = go({words}); print(run.status, run.info['steps'], workers())")
    assert (said.error, said.text.splitlines()[-1:]) == (None, ["done 200 []"])


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("env.id=Locked-v0", "the environment Locked-v0 cannot be sent to a worker process (cannot pickle "),
        ("env.id=Told-v0", "the environment Told-v0 cannot be sent to a worker process (cannot pickle "),
        ("+wrappers.locked={}", "the wrapper locked cannot be sent to a worker process (cannot pickle "),
    ],
)
def test_what_cannot_be_sent_is_refused_before_there_is_a_run(kernel: Kernel, word: str, told: str) -> None:
    before = 'print(len(list(Path("runs").rglob("run.json"))))'
    count = kernel(before).text
    said = kernel(f"go({word!r})")
    assert said.error is not None
    assert said.error.startswith("UserError: env.engine=async cannot serve ")
    assert told in said.error
    assert said.traceback == [said.error]  # one sentence, no traceback
    assert kernel(before).text == count


def test_what_a_worker_cannot_load_is_a_sentence(kernel: Kernel) -> None:
    said = kernel('go("env.id=Haunted-v0")')
    assert said.error is not None
    assert "UserError: a worker process cannot load the environment Haunted-v0 (ModuleNotFound" in said.error
    assert "No module named 'ghost'" in said.error
    assert kernel("print(workers())").text == "[]\n"


def test_an_interrupted_cell_has_saved_and_goes_on(kernel: Kernel) -> None:
    endless = 'go("env=cartpole", "trainer.total_steps=9_000_000", "logger=[jsonl,terminal]")'
    said = kernel(endless, interrupt_at="/9,000,000")
    assert said.error is not None
    assert said.error.startswith("Preempted: stopped at step ")
    assert said.traceback == [said.error]
    said = kernel("""
run = rlkit.load_run()
steps = run.info["steps"]
print(run.status, steps == run.checkpoints()[-1]["step"], workers())
again = go(f"resume={run.path}", f"trainer.total_steps={steps + 100}", "logger=[jsonl,terminal]")
print(again.path == run.path, again.status, again.info["steps"] >= steps + 100, again.info["resume_exact"])
print(workers())
""")
    assert said.error is None, said.error
    assert said.text.startswith("preempted True []\n")
    assert said.text.endswith("True done True True\n[]\n")


def test_in_threads_and_in_the_running_loop(kernel: Kernel) -> None:
    said = kernel("""
def work(): runs.append(go())
runs = [await asyncio.to_thread(go)]
thread = threading.Thread(target=work); thread.start(); thread.join()
async def inside(): return go()
runs.append(await inside())
print([run.status for run in runs], len({run.path for run in runs}), workers())
""")
    assert said.error is None, said.traceback
    assert said.text == "['done', 'done', 'done'] 3 []\n"


def test_the_figure_lives_while_the_run_goes_on(kernel: Kernel) -> None:
    said = kernel("""
run = go("agent=neat", "agent.population=10", "env=cartpole", "env.engine=sync", "trainer.log_every=100",
    "trainer.total_steps=600", "logger=[jsonl,notebook]", "+logger.notebook.every_seconds=0")
""")
    assert said.error is None, said.traceback
    assert len(said.shown) == 1
    assert said.changed  # in its place
    assert all(picture.startswith(b"\x89PNG") for picture in [*said.shown, *said.changed])
    assert said.changed[-1] != said.shown[0]
    assert said.text.startswith("neat on CartPole-v1")
    assert "600/600" not in said.text  # the progress is in the picture


def test_a_figure_needs_its_rows_and_matplotlib(kernel: Kernel) -> None:
    assert "name both" in str(kernel('go("logger=[notebook]")').error)
    said: Any = kernel("""
import rlkit.logger
real, rlkit.logger.find_spec = rlkit.logger.find_spec, lambda name: None
try:
    go("logger=[jsonl,notebook]")
finally:
    rlkit.logger.find_spec = real
""")
    assert "pip install 'rlkit-lab[plots]'" in said.error
