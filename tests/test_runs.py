"""Run folders are never shared, always readable, and can be found, listed and compared."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rlkit.checkpoint import Checkpoints
from rlkit.errors import UserError
from rlkit.lock import in_use
from rlkit.runfolder import RunFolder, read_info
from rlkit.runs import Run, diff, find_run, list_runs, show, table, unfinished

CONFIG: dict[str, Any] = {"seed": 3, "env": {"id": "CartPole-v1"}, "agent": {"name": "dqn", "lr": 0.1}}
YAML = "seed: 3\nenv:\n  id: CartPole-v1\nagent:\n  name: dqn\n  lr: 0.1\n"


def make(root: Path, status: str | None = "done", overrides: Sequence[str] = (), **fields: Any) -> Path:
    folder = RunFolder.create(root, "CartPole-v1-dqn")
    folder.start(YAML, CONFIG, ["rlkit", "train"], overrides)
    if status is None:
        folder.write(pid=2**22 + 1, **fields)  # no such process
    elif status != "running":
        folder.end(status, **fields)
    folder.close()
    return folder.path


# The folder


def test_run_json_is_complete_from_the_first_second(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "ALE/Pong-v5-dqn")
    folder.start(YAML, CONFIG, ["rlkit", "train", "seed=3"], ["seed=3"])
    info = json.loads((folder.path / "run.json").read_text())
    expected = {
        "id": folder.path.name, "name": "ALE_Pong-v5-dqn", "status": "running", "score": None, "steps": 0,
        "seconds": 0.0, "sps": 0.0, "command": ["rlkit", "train", "seed=3"], "overrides": ["seed=3"],
        "host": socket.gethostname(), "pid": os.getpid(), "resume_exact": None, "seed": 3, "agent": "dqn",
        "env": "CartPole-v1",
    }  # fmt: skip
    assert {name: info[name] for name in expected} == expected
    assert info["versions"]["torch"].startswith("2.")
    assert {"commit", "dirty"} <= set(info["git"])
    assert (folder.path / "config.yaml").read_text() == YAML
    assert (tmp_path / "latest").resolve() == folder.path
    assert Run(folder.path).status == "running"
    folder.close()


def test_code_that_is_not_committed_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "code"
    repository.mkdir()
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b"]
    (repository / "agent.py").write_text("lr = 1\n")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    monkeypatch.chdir(repository)
    clean = Run(make(tmp_path / "runs")).info["git"]
    (repository / "agent.py").write_text("lr = 2\n")
    changed = Run(make(tmp_path / "runs"))
    assert clean["dirty"] is False
    assert len(clean["commit"]) == 40
    assert changed.info["git"]["dirty"] is True
    assert "+lr = 2" in (changed.path / changed.info["git"]["diff"]).read_text()


@pytest.mark.parametrize("status", ["done", "stopped", "failed", "preempted"])
def test_every_kind_of_end_is_written(tmp_path: Path, status: str) -> None:
    folder = RunFolder.create(tmp_path, "a")
    folder.start(YAML, CONFIG, "rlkit train", [])
    folder.end(status, score=float("nan"), error="ValueError: no")
    folder.close()
    info = Run(folder.path).info
    assert (info["status"], info["score"], info["error"]) == (status, None, "ValueError: no")
    assert info["updated"] >= info["started"]
    with pytest.raises(ValueError, match="ends as"):
        folder.end("finished")


def test_seconds_accumulate_over_resumes(tmp_path: Path) -> None:
    path = make(tmp_path, "preempted", seconds=100.0, error="x")
    folder = RunFolder.open(path)
    folder.restart(["rlkit", "train", "resume=latest"])
    info = Run(path).info
    assert 100.0 <= info["seconds"] < 200.0
    assert info["status"] == "running"
    assert "error" not in info
    assert [entry["after"] for entry in info["resumes"]] == ["preempted"]
    folder.close()


def test_an_exact_folder_must_be_new_or_empty(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    folder = RunFolder.create(tmp_path, "a", exact=tmp_path / "mine")
    assert folder.path == tmp_path / "mine"
    folder.start(YAML, CONFIG, [], [])
    folder.close()
    with pytest.raises(UserError, match=r"resume=.*mine or choose another run\.dir"):
        RunFolder.create(tmp_path, "a", exact=tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not a folder"):
        RunFolder.create(tmp_path, "a", exact=tmp_path / "file")
    (tmp_path / "job").mkdir()
    claimed = RunFolder.create(tmp_path, "a", claim=tmp_path / "job")
    assert claimed.path == tmp_path / "job"
    claimed.close()


def test_a_folder_is_open_once(tmp_path: Path) -> None:
    path = make(tmp_path)
    folder = RunFolder.open(path)
    assert in_use(path)
    with pytest.raises(UserError, match=rf"in use by process {os.getpid()} on host"):
        RunFolder.open(path)
    folder.close()
    folder.close()
    assert not in_use(path)
    RunFolder.open(path).close()
    with pytest.raises(UserError, match=r"no run folder.*run\.json"):
        RunFolder.open(tmp_path)


def children(count: int, work: Callable[[], int]) -> list[int]:
    """Exit codes of `count` forked processes that start `work` together."""
    gate, go = os.pipe()
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                os.close(go)
                os.read(gate, 1)
                code = work()
            finally:
                os._exit(code)
        pids.append(pid)
    os.close(gate)
    os.close(go)  # everybody reads the end of the pipe
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("flock", [True, False])
def test_of_processes_that_race_for_one_folder_one_wins(
    tmp_path: Path, flock: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlkit.lock.FLOCK", flock)
    held: list[RunFolder] = []

    def race(number: int) -> int:
        try:
            held.append(RunFolder.create(tmp_path, "a", exact=tmp_path / f"exact{number}"))
        except UserError:
            return 2
        held[-1].start(YAML, CONFIG, [], [])
        return 0

    for number in range(5):
        codes = children(4, lambda number=number: race(number))  # type: ignore[misc]
        assert sorted(codes) == [0, 2, 2, 2]
    fresh = children(6, lambda: 0 if make(tmp_path / "many") else 1)
    assert fresh == [0] * 6
    assert len(list_runs(tmp_path / "many")) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("flock", [True, False])
def test_a_dead_owner_does_not_keep_the_folder(
    tmp_path: Path, flock: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlkit.lock.FLOCK", flock)

    def die() -> int:
        RunFolder.create(tmp_path, "a", exact=tmp_path / "x").start(YAML, CONFIG, [], [])
        return 0  # without closing: os._exit follows

    assert children(1, die) == [0]
    assert Run(tmp_path / "x").status == "died"
    RunFolder.open(tmp_path / "x").close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_worker_that_survives_its_run_does_not_keep_the_folder(tmp_path: Path) -> None:
    gate, go = os.pipe()
    told, tell = os.pipe()

    def die() -> int:
        RunFolder.create(tmp_path, "a", exact=tmp_path / "x").start(YAML, CONFIG, [], [])
        if os.fork() == 0:
            os.close(go)
            os.write(tell, b"!")
            os.read(gate, 1)  # lives on until the test is over
        return 0

    assert children(1, die) == [0]
    assert os.read(told, 1) == b"!"
    assert not in_use(tmp_path / "x")
    for file in (gate, go, told, tell):
        os.close(file)


def test_run_json_is_readable_at_any_instant(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "a")
    folder.start(YAML, CONFIG, [], [])
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        bad = 0
        os.set_blocking(reader, False)
        for _ in range(100_000):
            bad += read_info(folder.path) is None
            try:
                if os.read(reader, 1) == b"":
                    break
            except BlockingIOError:
                continue
        os._exit(min(bad, 1))
    for step in range(200):
        folder.write(steps=step, note="x" * (step % 7) * 1000)
    os.close(writer)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(reader)
    assert Run(folder.path).info["steps"] == 199
    assert sorted(path.name for path in folder.path.iterdir() if path.name[0] == ".") == []
    folder.close()


# Reading


def test_torn_last_lines_are_ignored_and_damaged_ones_are_not(tmp_path: Path) -> None:
    path = make(tmp_path)
    (path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"ste')
    (path / "monitor").mkdir()
    records = path / "monitor" / "openaigym.episode_batch.0.1.episodes.jsonl"
    records.write_text('{"episode": 0, "return": 3.0}\n{"epi')
    (path / "monitor" / "openaigym.video.0.1.video000000.mp4").write_bytes(b"x")
    (path / "monitor" / "openaigym.video.0.1.video000001.mp4").write_bytes(b"")
    run = Run(path)
    assert [row["step"] for row in run.metrics()] == [1, 2]
    assert run.episodes() == [{"episode": 0, "return": 3.0}]
    assert [film.name[-7:] for film in run.films()] == ["000.mp4"]
    assert run.config_dict() == CONFIG
    (path / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(UserError, match="line 2"):
        run.metrics()


def test_reading_executes_nothing(tmp_path: Path) -> None:
    path = make(tmp_path)
    (path / "config.yaml").write_text(
        "a: !!python/object/apply:os.mkdir ['" + str(tmp_path / "bang") + "']\n"
    )
    with pytest.raises(UserError, match=r"config\.yaml cannot be read"):
        Run(path).config_dict()
    assert not (tmp_path / "bang").exists()


def test_no_torch_for_listing() -> None:
    code = "import sys, rlkit.runs, rlkit.runfolder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0


def test_runs_are_found_by_path_name_beginning_end_and_latest(tmp_path: Path) -> None:
    paths = [make(tmp_path) for _ in range(3)]
    wanted = paths[1].rename(paths[1].with_name("20260101_000000-abc123"))
    for name in (wanted, str(wanted), wanted.name, "20260101", "abc123", f"CartPole-v1-dqn/{wanted.name}"):
        assert find_run(name, tmp_path) == wanted
    assert find_run("latest", tmp_path).samefile(paths[2])
    (tmp_path / "latest").unlink()
    assert find_run("latest", str(tmp_path)) == paths[2]
    with pytest.raises(UserError, match=r"near it: 20260101_000000-abc123"):
        find_run("20260101_000000-abc124", tmp_path)
    with pytest.raises(UserError, match="fits 3 runs"):
        find_run("20", tmp_path)
    with pytest.raises(UserError, match="no run folder"):
        find_run(tmp_path, tmp_path)
    with pytest.raises(UserError, match="no run yet"):
        find_run("latest", tmp_path / "nowhere")


def test_table_and_show_fit_a_screen(tmp_path: Path) -> None:
    plain = make(tmp_path, score=487.25, solved=True, steps=1_234_567, sps=7012.3)
    sweep = make(tmp_path / "sweeps" / "one", "failed", env="x" * 150, error="ValueError: no")
    text = table(list_runs(tmp_path))
    lines = text.splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 100
    assert sweep.name in lines[1]
    assert "failed" in lines[1]
    for word in (plain.name, "CartPole-v1", "dqn", "done", "1.23M", "487.2", "in test", "7012"):
        assert word in lines[2]
    assert "no runs" in table([])
    screen = show(Run(sweep))
    assert "failed: ValueError: no" in screen
    assert f"tensorboard --logdir {sweep / 'tb'}" in screen
    assert len(screen.splitlines()) <= 24


def test_a_run_without_its_process_died(tmp_path: Path) -> None:
    path = make(tmp_path, None)
    assert Run(path).status == "died"
    (path / "run.lock").unlink()
    assert Run(path).status == "died"
    folder = RunFolder.open(path)
    folder.restart([])
    assert Run(path).status == "running"
    folder.close()


def test_unfinished_runs_of_the_same_command(tmp_path: Path) -> None:
    command = ["agent=dqn", "seed=1", "resume=auto"]
    first = make(tmp_path, "preempted", command)
    assert unfinished(tmp_path, command) == first
    second = make(tmp_path, None, command)
    make(tmp_path, "preempted", ["agent=dqn", "seed=2", "resume=auto"])
    make(tmp_path, "done", command)
    make(tmp_path, "stopped", command)
    assert unfinished(tmp_path, ["agent=dqn", "seed=1"]) == second
    folder = RunFolder.open(second)
    assert unfinished(tmp_path, command) == first
    folder.close()
    assert unfinished(tmp_path, ["seed=1"]) is None


# Comparing


class Rows:
    """A store with 30 rows, saved in pieces of different sizes."""

    oldest, total = 0, 0

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def read_rows(self, start: int, stop: int) -> dict[str, Tensor]:
        return {"reward": self.values[start:stop]}

    def write_rows(self, start: int, rows: dict[str, Tensor]) -> None:
        raise NotImplementedError


def trained(
    root: Path,
    *,
    weight: float = 1.0,
    loss: float = 0.5,
    reward: float = 9.0,
    row: float = 4.0,
    cuts: int = 10,
) -> Run:
    """A finished run; runs that differ only in `cuts` and in the clock are the same."""
    path = make(root)
    values = torch.arange(30.0)
    values[4] = row
    store = Rows(values)
    checkpoints = Checkpoints(path / "checkpoints")
    for store.total in [*range(cuts, 30, cuts), 30]:
        state = {
            "agent": {"w": torch.tensor([[0.0, weight]]), "n": 3, "nan": float("nan")},
            "logger": {"elapsed": 1.0 / cuts, "files": {"tb": cuts}, "values": {}},
            "monitor": {"train": {"lengths": {str(cuts): cuts}, "next_episode": 2}},
        }
        checkpoints.save(store.total, state, {"replay": store})
    row0 = {"step": 10, "time": 1.0 / cuts, "time/sps": cuts, "loss/td": loss}
    (path / "metrics.jsonl").write_text(json.dumps(row0) + "\n")
    (path / "monitor").mkdir()
    records = [
        {"episode": number, "type": kind, "return": reward + number, "timestamp": cuts, "video": str(cuts)}
        for number in (0, 1)
        for kind in ("t", "e")
    ]
    lines = [json.dumps(record) + "\n" for record in records]
    for number, part in enumerate([lines] if cuts == 10 else [lines[2:], lines[:2]]):
        file = path / "monitor" / f"openaigym.episode_batch.{number}.{cuts}.episodes.jsonl"
        file.write_text("".join(part))
    return Run(path)


def test_equal_runs_are_equal_whatever_the_clock_and_the_files(tmp_path: Path) -> None:
    same, text = diff(trained(tmp_path), trained(tmp_path, cuts=7))
    assert same, text
    assert "step 30" in text
    assert "30 rows of replay" in text
    assert "1 rows" in text
    assert "4 episodes" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"weight": 1.0 + 1e-7},
            "DIFFERENT: step 30: agent/w: 1 of 2 elements differ, the first at 1: 1.0 | ",
        ),
        ({"row": 5.0}, "DIFFERENT: step 30: rows 0 to 7 of replay/reward: 1 of 7 elements"),
        ({"loss": 0.25}, "metrics   DIFFERENT: row 0 (step 10): loss/td: 0.5 | 0.25"),
        ({"reward": 8.0}, "episodes  DIFFERENT: episode 0 (e): return: 9.0 | 8.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_first_difference_of_each_component_is_told(
    tmp_path: Path, change: dict[str, float], words: str
) -> None:
    same, text = diff(trained(tmp_path), trained(tmp_path, cuts=7, **change))
    assert not same
    assert words in text
    assert text.count("DIFFERENT") == 1


def test_zero_is_not_minus_zero_and_a_missing_episode_is_seen(tmp_path: Path) -> None:
    a, b = trained(tmp_path, weight=0.0), trained(tmp_path, weight=-0.0)
    assert diff(a, b)[0] is False
    assert diff(a, b, weights=False)[0] is True
    (records,) = (b.path / "monitor").iterdir()
    records.write_text(records.read_text().split("\n", 1)[1])
    assert "1 records | 0 records" in diff(a, b, weights=False)[1]


def test_configuration_differences_are_told_but_do_not_count(tmp_path: Path) -> None:
    a, b = trained(tmp_path), trained(tmp_path)
    (b.path / "config.yaml").write_text(YAML.replace("lr: 0.1", "lr: 0.2") + "run:\n  dir: x\nresume: auto\n")
    same, text = diff(a, b)
    assert same
    assert "config    agent.lr: 0.1 | 0.2" in text
    assert text.count("config") == 1
