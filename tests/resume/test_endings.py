"""However a run ends, its folder says so, and what can be continued is continued."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from rlkit import cli, files
from rlkit.checkpoint import Checkpoints
from rlkit.files import AppendFile
from rlkit.runs import Run

from .faulty import register
from .harness import TINY, command, compare, log_of, run
from .test_exact import DQN_WORDS, EVERY, words_of

FAULTY = (*TINY, *EVERY, "agent=random", "env.id=Faulty", "env.num_envs=2", "trainer.total_steps=2000")
SMALL = (*TINY, *EVERY, *DQN_WORDS, "trainer.total_steps=900")
KNOWN = {"id", "name", "status", "score", "steps", "seconds", "sps", "env", "agent", "seed", "command",
         "overrides", "git", "versions", "host", "pid", "device", "started", "updated"}  # fmt: skip


def info_of(folder: Path) -> dict[str, Any]:
    """run.json, which is complete whenever it is read."""
    info: dict[str, Any] = json.loads((folder / "run.json").read_text())
    assert info.keys() >= KNOWN
    assert all(info[key] is not None for key in KNOWN - {"score"})
    assert {"python", "rlkit", "torch", "gymnasium", "numpy"} <= info["versions"].keys()
    return info


def in_folder(words: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    return (*words, f"run.dir={folder}", f"run.root={folder.parent}")


# ---------------------------------------------------------------------- asked to stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_the_run_can_be_finished(number: int, tmp_path: Path) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("the signal is ignored here (nohup), and so by the processes that are started")
    whole, folder = tmp_path / "whole", tmp_path / "cut"
    assert run(SMALL, whole) == 0
    assert run(SMALL, folder, kill=("step", 432, number)) == 75, log_of(folder).read_text()
    info = info_of(folder)
    assert (info["status"], info["steps"]) == ("preempted", 432)
    assert Checkpoints(folder / "checkpoints").steps()[-1] == 432
    assert run(SMALL, folder, resume="run") == 0
    assert info_of(folder)["status"] == "done"
    assert info_of(folder)["resume_exact"] is True
    compare(whole, folder)


def test_the_command_line_is_preempted_too(tmp_path: Path) -> None:
    """A real process with worker processes; the signal goes to all of them, as Ctrl-C in a terminal does."""
    folder = tmp_path / "run"
    words = in_folder((*TINY, *EVERY, "agent=random", "env.num_envs=2", "env.engine=async"), folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "rlkit", "train", *words, "trainer.total_steps=10_000_000"],
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    metrics = folder / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 75, errors
    assert errors.strip().splitlines()[-1].endswith(f"continue with: rlkit train resume={folder}")
    assert "Traceback" not in errors
    info = info_of(folder)
    assert info["status"] == "preempted"
    assert Checkpoints(folder / "checkpoints").steps()[-1] == info["steps"] > 0


def no_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_under_nohup_a_closed_terminal_is_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run(SMALL, folder, kill=("step", 432, signal.SIGHUP), patch=no_hangup) == 0
    assert info_of(folder)["status"] == "done"


def test_a_second_signal_interrupts_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    kill = ("step", 432, signal.SIGTERM, signal.SIGINT)
    assert command(in_folder(SMALL, folder), folder, kill=kill) == 75
    info = info_of(folder)
    assert (info["status"], info["steps"]) == ("preempted", 431)  # the step was not finished
    assert Checkpoints(folder / "checkpoints").steps()[-1] == 250
    assert "saved at step 250" in log_of(folder).read_text()


def test_a_signal_in_the_final_test_is_preempted(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "cut"
    assert run(SMALL, whole) == 0
    assert run(SMALL, folder, kill=("test", 2, signal.SIGTERM)) == 75, log_of(folder).read_text()
    assert info_of(folder)["status"] == "preempted"
    assert run(SMALL, folder, resume="run") == 0
    compare(whole, folder)
    assert info_of(folder)["test_mean"] == info_of(whole)["test_mean"]


# ---------------------------------------------------------------------- numbers that broke


@pytest.mark.parametrize(
    ("what", "text"), [("observation", "non-finite observation (obs)"), ("reward", "nan")]
)
def test_nan_from_an_environment(what: str, text: str, tmp_path: Path) -> None:
    """Lane 1 breaks at its 200th step, when both lanes together have made 398."""
    folder = tmp_path / "run"
    words = in_folder(FAULTY, folder)
    assert command(words, folder, patch=register(what=what, at=200, only=2)) == 3
    said = log_of(folder).read_text()
    assert "Traceback" not in said
    good = Checkpoints(folder / "checkpoints").find("latest")
    for part in (text, "lane 1", "at step 398", f"the last good checkpoint is {good}"):
        assert part in said
    info = info_of(folder)
    assert (info["status"], info["checkpoint"]) == ("failed", str(good))
    assert info["error"].startswith("NumbersBroke: ")
    assert text in info["error"]


@pytest.mark.parametrize(
    "agent",
    [
        DQN_WORDS,
        ("agent=ppo", "agent.horizon=128"),
        ("agent=ppo", "agent.horizon=128", "env=pendulum"),  # here a broken action breaks the environment
    ],
    ids=["dqn", "ppo", "ppo-box"],
)
def test_nan_loss(agent: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = (*TINY, *agent, "agent.lr=1e30", "trainer.eval_every=130", "trainer.checkpoint_every=100",
             "trainer.log_every=500", "trainer.total_steps=2000")  # fmt: skip
    assert command(in_folder(words, folder), folder) == 3, log_of(folder).read_text()
    said = log_of(folder).read_text()
    assert "(the agent broke first: its " in said
    assert "at step " in said
    assert "the last good checkpoint is " in said
    assert info_of(folder)["status"] == "failed"
    found = [*(folder / "checkpoints").glob("step-*"), *(folder / "checkpoints").glob("best-*")]
    assert found
    for path in found:
        state = torch.load(path / "state.pt", weights_only=True)["agent"]
        weights = state.get("online") or state.get("network")
        assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())


# ---------------------------------------------------------------------- crashes


def test_an_environment_that_raises(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert command(in_folder(FAULTY, folder), folder, patch=register(what="crash", at=200)) == 1
    info = info_of(folder)
    assert (info["status"], info["steps"]) == ("failed", 398)
    assert info["error"] == "ArithmeticError: the floor gave way"
    said = log_of(folder).read_text()
    assert said.count("Traceback (most recent call last)") == 1
    assert said.endswith(
        "ArithmeticError: the floor gave way\n"
        "rlkit: crashed at step 398, saved at step 250; once it is mended, "
        f"continue with: rlkit train resume={folder}\n"
        f"rlkit: the record is {folder}: run.json, train.log\n"
    )
    logged = (folder / "train.log").read_text()
    assert "crashed at step 398" in logged
    assert "ArithmeticError: the floor gave way" in logged


def test_a_crash_before_the_first_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = (*in_folder(FAULTY, folder), "trainer.checkpoint_every=1000")
    assert command(words, folder, patch=register(what="crash", at=200)) == 1
    said = log_of(folder).read_text()
    assert "rlkit: crashed at step 398, nothing was saved yet" in said
    assert "(trainer.checkpoint_every: after every 1,000 steps)" in said
    assert "resume=" not in said
    assert info_of(folder)["checkpoint"] is None


def test_an_environment_that_calls_exit_does_not_end_as_done(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert command(in_folder(FAULTY, folder), folder, patch=register(what="exit", at=200)) == 1
    assert info_of(folder)["status"] == "failed"
    said = log_of(folder).read_text()
    assert "RuntimeError: something in the run called sys.exit(0)" in said
    assert "in step" in said
    assert "rlkit: crashed at step 398, saved at step 250" in said


def test_a_crash_in_a_sweep_says_how_to_go_on(tmp_path: Path) -> None:
    words = ("-m", *FAULTY, "seed=0", f"run.root={tmp_path}")
    assert command(words, tmp_path / "run", patch=register(what="crash", at=200)) == 1
    (folder,) = tmp_path.glob("sweeps/*/0")
    said = log_of(tmp_path / "run").read_text()
    assert said.count("rlkit: crashed at step 398, saved at step 250") == 1
    assert f"continue with: rlkit train resume={folder}\n" in said
    assert said.splitlines()[-1] == "0 of 1 jobs done"


def no_room_for(suffix: str, nth: int) -> None:
    """From the nth write to a file of that name on, the disk is full."""
    seen: list[Path] = []

    def full(path: Path) -> None:
        seen.extend([path] if path.name == suffix else [])
        if len(seen) >= nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    write_file, append = files.write_file, AppendFile.write

    def short_file(path: Path, data: bytes, *, sync: bool) -> None:
        full(path)
        write_file(path, data, sync=sync)

    def short_line(file: AppendFile, data: bytes) -> None:
        full(file.path)
        append(file, data)

    for module in (files, sys.modules["rlkit.checkpoint"], sys.modules["rlkit.segments"]):
        module.write_file = short_file  # type: ignore[attr-defined]
    AppendFile.write = short_line  # type: ignore[method-assign]


def small_files_only(home: Path) -> None:
    register()()
    os.chdir(home)  # no repository here, so no git.diff
    resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, 24_000))


@pytest.mark.parametrize(("file", "nth"), [("state.pt", 4), ("metrics.jsonl", 6)])
def test_a_full_disk(file: str, nth: int, tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert command(in_folder(SMALL, folder), folder, patch=partial(no_room_for, file, nth)) == 1
    said = log_of(folder).read_text()
    good = Checkpoints(folder / "checkpoints").find("latest")
    assert not Checkpoints(folder / "checkpoints").verify(good)
    assert f"rlkit: error: No space left on device: {folder}/" in said
    assert f"saved at step {int(good.name.removeprefix('step-')):,}; once it is mended, " in said
    assert "Traceback (most recent call last)" not in said
    assert Run(folder).status == "died"  # there was no room to say more
    assert run(SMALL, whole) == 0
    assert run(SMALL, folder, resume="run") == 0, log_of(folder).read_text()
    compare(whole, folder)


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """The operating system's own limit, met by the episode records; run.json still has room."""
    folder = tmp_path / "run"
    assert command(in_folder(FAULTY, folder), folder, patch=partial(small_files_only, tmp_path)) == 1
    said = log_of(folder).read_text()
    assert "File too large: " in said
    assert "saved at step " in said
    assert "episodes.jsonl" in said
    info = info_of(folder)
    assert info["status"] == "failed"
    assert info["error"].startswith("OSError: ")
    records = next(iter((folder / "monitor").glob("*0.*.episodes.jsonl"))).read_text()
    assert all(json.loads(line) for line in records.splitlines())


# ---------------------------------------------------------------------- run.json at every moment


def test_complete_from_the_first_second_and_died(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run(words_of("random"), folder, kill=("started", 1)) == -9
    info = info_of(folder)
    assert (info["status"], info["steps"], info["score"], info["resume_exact"]) == ("running", 0, None, None)
    assert (info["agent"], info["env"], info["seed"]) == ("random", "CartPole-v1", 0)
    assert Run(folder).status == "died"


def test_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    words = in_folder(words_of("random"), folder)
    assert command(words, folder) == 0
    info = info_of(folder)
    assert (info["status"], info["steps"]) == ("done", 1200)
    assert info["command"] == ["rlkit", "train", *words]
    assert info["test_episodes"] == 2
    assert info["score"] > 0
    assert info["seconds"] > 0
    assert info["sps"] == pytest.approx(1200 / info["seconds"], rel=0.5)
    said = log_of(folder).read_text()
    lines = said.splitlines()
    assert len(lines) == 5, "no terminal was asked for: only the result is told"
    assert lines[0].startswith("not solved: mean return ")
    assert lines[1].startswith("training ")
    assert lines[2].startswith("steps    1,200 in ")
    assert lines[3:] == [f"run      {folder}", f"watch    tensorboard --logdir {folder}/tb"]
    assert cli.main(["runs", "show", str(folder)]) == 0
    assert "done" in capsys.readouterr().out


def test_stopped_early_and_killed_while_it_was_tested(tmp_path: Path) -> None:
    """The goal stays reached: a run that stopped does not train on because it was killed afterwards."""
    whole, folder = tmp_path / "whole", tmp_path / "cut"
    words = (*SMALL, "trainer.stop_at_return=5")
    assert run(words, whole) == 0
    info = info_of(whole)
    assert (info["status"], info["steps"]) == ("stopped", 300)
    assert run(words, folder, kill=("test", 1)) == -9
    assert Run(folder).status == "died"
    assert run(words, folder, resume="run") == 0
    assert (info_of(folder)["status"], info_of(folder)["steps"]) == ("stopped", 300)
    compare(whole, folder)
    before = (whole / "run.json").read_bytes()
    assert run(words, whole, resume="auto") == 0
    assert (whole / "run.json").read_bytes() == before
