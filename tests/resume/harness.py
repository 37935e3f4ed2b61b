"""Runs in processes of their own that die at chosen places, and an independent comparison of what they leave.

A server that has imported everything and never trains forks them: quick, and there are no threads to lose.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from rlkit import checkpoint, cli, files, filming, segments, session
from rlkit.agents import dqn, neat, ppo, random  # noqa: F401  (imported once for all children)
from rlkit.checkpoint import Checkpoints
from rlkit.cli.composing import compose
from rlkit.config import RunConfig
from rlkit.envs import vector
from rlkit.envs.vector import VectorEnvs
from rlkit.files import AppendFile
from rlkit.films import Film
from rlkit.logger import Logger
from rlkit.recorder import Recorder
from rlkit.runfolder import RunFolder
from rlkit.tensorboard import _protos
from rlkit.trainer import Trainer

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["pytest", __name__])

torch.set_num_threads(1)
torch.use_deterministic_algorithms(False)  # the first call imports much; here, once for all children
_protos()  # TensorBoard's messages, imported once for all children

TINY = (
    "accel.mode=eager",
    "device=cpu",
    "logger=[tensorboard,jsonl]",
    "monitor.video=none",
    "monitor.eval_video=none",
    "trainer.test_episodes=2",
    "trainer.eval_episodes=2",
    "trainer.eval_envs=2",
)
CLOCK = {"time", "timestamp", "elapsed", "video"}
Patch = Callable[[], None]


@cache
def _composed(words: tuple[str, ...]) -> RunConfig:
    return compose(words)


def config_of(words: Sequence[str]) -> RunConfig:
    return deepcopy(_composed(tuple(words)))


class Reaper:
    """Counts how often a run passes each place, and signals it at the `call`-th pass of one."""

    def __init__(self, place: str | None = None, call: int = 1, *signals: int) -> None:
        self.place, self.call, self.signals = place, call, signals or (signal.SIGKILL,)
        self.passed: Counter[str] = Counter()

    def at(self, place: str, last_deed: Patch | None = None) -> None:
        self.passed[place] += 1
        if place == self.place and self.passed[place] == self.call:
            if last_deed:
                last_deed()
            for number in self.signals:
                os.kill(os.getpid(), number)

    def around(self, owner: Any, name: str, before: str | None = None, after: str | None = None) -> None:
        original = getattr(owner, name)

        def passing(*args: Any, **kwargs: Any) -> Any:
            if before:
                self.at(before)
            result = original(*args, **kwargs)
            if after:
                self.at(after)
            return result

        setattr(owner, name, passing)

    def install(self) -> None:
        """Wrap every place. In a forked child only: nothing is put back."""
        self._environments()
        self._half_written_files()
        self._half_written_lines()
        self.around(RunFolder, "start", after="started")
        self.around(Checkpoints, "_publish", "publish", "published")
        self.around(Checkpoints, "_retain", after="retained")
        self.around(Logger, "flush", after="flushed")
        self.around(Trainer, "_save", "save", "saved")
        self.around(Film, "add", "film")
        self.around(filming, "film_episode", after="filmed")
        self.around(vector, "replay", "replay")
        self.around(Logger, "load_state_dict", after="rewound")
        self.around(Recorder, "load_state_dict", after="cut")

    def _environments(self) -> None:
        original = VectorEnvs.recv

        def recv(envs: VectorEnvs) -> Any:
            self.at({"train": "step", "eval": "evaluation", "check": "check", "test": "test"}[envs._stream])
            return original(envs)

        VectorEnvs.recv = recv  # type: ignore[method-assign]

    def _half_written_files(self) -> None:
        """state.pt, manifest.json, replay segments and run.json, cut in the middle."""
        original = files.write_file

        def write_file(path: Path, data: bytes, *, sync: bool) -> None:
            kinds = {"state.pt": "state", "manifest.json": "manifest"}
            kind = kinds.get(path.name) or ("info" if "run.json" in path.name else "segment")
            self.at(kind, lambda: original(path, data[: len(data) // 2], sync=False) and None)
            original(path, data, sync=sync)

        for module in (files, checkpoint, segments):
            module.write_file = write_file  # type: ignore[attr-defined]

    def _half_written_lines(self) -> None:
        """Metric rows, events and episode records, cut in the middle."""
        write, append = AppendFile.write, Recorder._append

        def half_row(file: AppendFile, data: bytes) -> None:
            self.at("row", lambda: write(file, data[: len(data) // 2]))
            write(file, data)

        def half_record(recorder: Recorder, line: bytes) -> None:
            self.at("record", lambda: append(recorder, line[: len(line) // 2]))
            append(recorder, line)

        AppendFile.write = half_row  # type: ignore[method-assign]
        Recorder._append = half_record  # type: ignore[method-assign]


def run(
    words: Sequence[str],
    folder: Path,
    *,
    kill: tuple[Any, ...] | None = None,
    resume: str | None = None,
    patch: Patch | None = None,
) -> int:
    """Train in a child process; returns its exit code, −9 after a kill.

    kill: a place, the number of the pass, and the signals if they are others than SIGKILL. resume: None for
    a new run in `folder`, "auto" or "run" (its path). `patch` runs in the child first. What the child
    prints, and the passes it counted, lie beside the folder.
    """
    config = config_of(words)
    config.resume = str(folder) if resume == "run" else resume
    if resume != "run":
        config.run.dir = str(folder)
    config.run.root = str(folder.parent)
    return finish(start(partial(_train, config, words), folder, kill, patch))


def command(
    words: Sequence[str], folder: Path, *, kill: tuple[Any, ...] | None = None, patch: Patch | None = None
) -> int:
    """`rlkit train WORDS` in a child process, composed there; what it prints goes to `log_of(folder)`."""
    return finish(start(partial(cli.main, ["train", *words]), folder, kill, patch))


def start(
    work: Callable[[], int], folder: Path, kill: tuple[Any, ...] | None = None, patch: Patch | None = None
) -> Any:
    """A child process that does `work`; the functions given here live at the top of a module."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # when the server starts
    try:
        child = SERVER.Process(target=_work, args=(work, folder, kill, patch))
        child.start()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return child


def finish(child: Any) -> int:
    """Wait for a child; its exit code, or the negative number of the signal that ended it."""
    child.join()
    return int(child.exitcode)


def _train(config: RunConfig, words: Sequence[str]) -> int:
    session.train(config, overrides=words)
    return 0


def _work(work: Callable[[], int], folder: Path, kill: tuple[Any, ...] | None, patch: Patch | None) -> None:
    code = 1
    multiprocessing.set_start_method("fork", force=True)  # of worker processes; else they import all again
    try:
        with log_of(folder).open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        reaper = Reaper(*(kill or ()))
        reaper.install()
        if patch:
            patch()
        code = work()
        counts_of(folder).write_text(json.dumps(reaper.passed))
    except BaseException as error:
        traceback.print_exc()
        code = getattr(error, "exit_code", 1)
    finally:
        os._exit(code)


def log_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".log")


def counts_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".counts")


def passes(folder: Path) -> dict[str, int]:
    """How often the run in `folder`, which must have finished, passed each place."""
    return json.loads(counts_of(folder).read_text())


def same(a: Any, b: Any, where: str = "") -> None:
    """Two trees of plain values and tensors are equal, bit for bit."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        assert a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes(), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            same(left, right, f"{where}/{index}")
    else:
        assert a == b, f"{where}: {a} {b}"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rows(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without the wall clock."""
    return [timeless(row) for row in lines(folder / "metrics.jsonl")]


def timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in CLOCK and not key.startswith("time/")}


def episodes(folder: Path) -> list[dict[str, Any]]:
    """Every episode record by type and number, without the wall clock and names of films."""
    found = [record for file in (folder / "monitor").glob("*.episodes.jsonl") for record in lines(file)]
    keys = [(record["type"], record["episode"]) for record in found]
    assert len(set(keys)) == len(keys), "an episode was recorded twice"
    ordered = sorted(found, key=lambda record: (record["type"], record["episode"]))
    return [timeless(record) | {"filmed": record["video"] is not None} for record in ordered]


def newest_state(folder: Path) -> dict[str, Any]:
    """What the newest checkpoint holds, read without rlkit; the parts that tell of files left out."""
    path = max((folder / "checkpoints").glob("step-*"))
    state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
    del state["logger"]["files"], state["logger"]["elapsed"], state["monitor"]
    return {"name": path.name, **state}


def replay_rows(folder: Path) -> dict[str, torch.Tensor]:
    """The living replay rows of the newest checkpoint, one tensor per column; empty without a replay."""
    path = max((folder / "checkpoints").glob("step-*"))
    stores = json.loads((path / "manifest.json").read_text())["stores"]
    columns: dict[str, list[torch.Tensor]] = {}
    for store in stores.values():
        for segment in store["segments"]:
            content = torch.load(folder / "checkpoints" / "segments" / segment["file"], weights_only=True)
            alive = max(0, store["oldest"] - segment["start"])
            sparse = content.get("#final/row", torch.empty(0)) >= store["oldest"]  # final observations
            for name, column in content.items():
                living = column[sparse] if name.startswith("#") else column[alive:]
                columns.setdefault(name, []).append(living)
    return {name: torch.cat(parts) for name, parts in columns.items()}


def event_steps(folder: Path) -> dict[str, list[int]]:
    """The steps of every scalar in the raw TensorBoard files, as often as they are there, file by file."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found: dict[str, list[int]] = {}
    for path in sorted((folder / "tb").glob("events.*")):
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, []).append(event.step)
    return found


def compare(whole: Path, folder: Path) -> None:
    """The same verdict without the code under test."""
    same(newest_state(whole), newest_state(folder))
    same(replay_rows(whole), replay_rows(folder))
    assert rows(whole) == rows(folder)
    steps = [row["step"] for row in rows(folder)]
    assert steps == sorted(set(steps))
    assert episodes(whole) == episodes(folder)
    found = event_steps(folder)
    assert found == event_steps(whole)
    assert all(there == sorted(set(there)) for there in found.values())
    kept, mine = ({path.name for path in (each / "checkpoints").iterdir()} for each in (whole, folder))
    assert kept <= mine
    assert len(mine - kept) <= 1  # one too many where the last save died before it could tidy up
