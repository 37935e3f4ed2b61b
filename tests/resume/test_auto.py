"""`resume=auto` starts or continues; a run is continued as it was; two runs never share a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import rlkit
from rlkit import cli
from rlkit.errors import UserError
from rlkit.lock import Lock
from rlkit.runs import Run, list_runs

from .harness import TINY, command, compare, finish, log_of, rows, run, start

WORDS = (*TINY, "agent=dqn", "agent.learning_starts=100", "trainer.eval_every=300",
         "trainer.checkpoint_every=200", "trainer.log_every=100")  # fmt: skip
STEPS = "trainer.total_steps=700"


def test_auto_with_a_folder_starts_continues_and_returns(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "auto"
    words = (*WORDS, STEPS, f"run.root={tmp_path}", f"run.dir={folder}", "resume=auto")
    assert run((*WORDS, STEPS), whole) == 0
    assert command(words, folder, kill=("step", 330)) == -9
    assert command(words, folder, kill=("step", 400)) == -9  # of this process, so step 600
    assert Run(folder).status == "died"
    assert command(words, folder) == 0, log_of(folder).read_text()
    assert len(Run(folder).info["resumes"]) == 2
    compare(whole, folder)
    before = (folder / "run.json").read_bytes()
    assert command(words, folder) == 0
    assert (folder / "run.json").read_bytes() == before  # done: nothing was touched


def test_auto_under_a_root_finds_the_same_command(tmp_path: Path) -> None:
    words = (*WORDS, STEPS, f"run.root={tmp_path / 'runs'}", "resume=auto")
    other = (*words, "seed=1")
    log = tmp_path / "log"
    assert command(words, log, kill=("step", 330)) == -9
    assert command(other, log, kill=("step", 330)) == -9
    assert len(list_runs(tmp_path / "runs")) == 2
    assert command(words, log) == 0, log_of(log).read_text()
    states = {found.info["seed"]: found.status for found in list_runs(tmp_path / "runs")}
    assert states == {0: "done", 1: "died"}
    assert command(other, log) == 0
    assert [found.status for found in list_runs(tmp_path / "runs")] == ["done", "done"]


def test_auto_after_a_death_before_run_json(tmp_path: Path) -> None:
    """The same command goes on, whenever the first one died."""
    folder = tmp_path / "run"
    words = (*WORDS, STEPS, f"run.root={tmp_path}", f"run.dir={folder}", "resume=auto")
    assert command(words, folder, kill=("info", 1)) == -9
    assert not (folder / "run.json").exists()
    assert any(folder.iterdir())
    assert command(words, folder) == 0, log_of(folder).read_text()
    assert Run(folder).status == "done"


def test_what_a_resume_may_and_may_not_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert run((*WORDS, STEPS), folder) == 0
    before = (folder / "run.json").read_bytes()
    for word in ("agent.lr=1", "seed=3", "env.num_envs=4", "agent=ppo", "trainer.eval_every=1"):
        assert cli.main(["train", f"resume={folder}", f"run.root={tmp_path}", word]) == 2
        said = capsys.readouterr().err
        key = word.partition("=")[0]
        assert said.count("\n") == 1
        assert key in said
        assert "leave it out, or start a new run without resume=" in said
    assert cli.main(["train", f"resume={folder}", f"run.root={tmp_path}"]) == 2
    assert "done at step 700; to go on, raise trainer.total_steps" in capsys.readouterr().err
    assert (folder / "run.json").read_bytes() == before
    more = (f"resume={folder}", f"run.root={tmp_path}", "trainer.total_steps=1000")
    assert command(more, folder, kill=("step", 150)) == -9
    assert command(more[:2], folder) == 0, log_of(folder).read_text()  # what has grown stays so
    assert (Run(folder).status, Run(folder).info["steps"]) == ("done", 1000)
    steps = [row["step"] for row in rows(folder)]
    assert steps == list(range(100, 1001, 100))


def test_a_folder_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert run((*WORDS, STEPS), folder, kill=("step", 330)) == -9
    lock = Lock(folder)
    try:
        for words in ((f"resume={folder}",), (*WORDS, STEPS, f"run.dir={folder}", "resume=auto")):
            assert cli.main(["train", f"run.root={tmp_path}", *words]) == 2
            said = capsys.readouterr().err
            assert f"already in use by process {os.getpid()}" in said
            assert said.count("\n") == 1
        assert cli.main(["train", f"run.root={tmp_path}", *WORDS, STEPS, f"run.dir={folder}"]) == 2
        assert "another run is at work in" in capsys.readouterr().err, "not: continue it"
    finally:
        lock.release()
    assert Run(folder).status == "died"


def test_the_folder_of_another_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert run((*WORDS, STEPS), folder) == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert cli.main(["train", *WORDS, STEPS, f"run.root={tmp_path}", f"run.dir={folder}"]) == 2
    assert f"resume={folder}" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_eight_runs_started_at_once_have_eight_folders(tmp_path: Path) -> None:
    words = (*TINY, "agent=random", "trainer.total_steps=50", "trainer.eval_every=0",
             "trainer.test_episodes=0", f"run.root={tmp_path / 'runs'}")  # fmt: skip
    works = [partial(cli.main, ["train", *words, f"seed={number}"]) for number in range(8)]
    children = [start(work, tmp_path / str(number)) for number, work in enumerate(works)]
    assert [finish(child) for child in children] == [0] * 8
    found = list_runs(tmp_path / "runs")
    assert {item.info["seed"] for item in found} == set(range(8))
    assert len({item.path for item in found}) == 8
    assert all(item.status == "done" for item in found)
    for item in found:
        assert json.loads((item.path / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 50


def test_from_python_overrides_are_compared_too(short_run: Callable[..., Run]) -> None:
    run = short_run("agent=random", "trainer.total_steps=50")
    assert "agent=random" in run.info["overrides"]
    for words, said in ((["seed=5"], "seed=5 differs"), (["agent=random"], "raise trainer.total_steps")):
        with pytest.raises(UserError, match=said):
            rlkit.train(rlkit.compose([f"resume={run.path}", *words]))
