"""Checkpoints survive kills at any moment, refuse what is damaged, and write no row twice."""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
import shutil
import signal
import struct
import sys
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlkit.checkpoint import Checkpoints, plain
from rlkit.errors import UserError


class Ring:
    """The smallest RowStore: row i holds the number i and some ballast."""

    def __init__(self, capacity: int, width: int = 4) -> None:
        self.capacity = capacity
        self.total = 0
        self.written = 0  # first row that was given back
        self.number = torch.zeros(capacity, dtype=torch.int64)
        self.ballast = torch.zeros(capacity, width)

    @property
    def oldest(self) -> int:
        return max(0, self.total - self.capacity)

    def grow(self, rows: int) -> None:
        new = torch.arange(self.total, self.total + rows)[-self.capacity :]
        self.number[new % self.capacity] = new
        self.ballast[new % self.capacity] = (new % 97).float()[:, None]
        self.total += rows

    def read_rows(self, start: int, stop: int) -> dict[str, Tensor]:
        assert self.oldest <= start < stop <= self.total
        where = torch.arange(start, stop) % self.capacity
        return {"number": self.number[where], "ballast": self.ballast[where]}

    def write_rows(self, start: int, rows: dict[str, Tensor]) -> None:
        stop = start + len(rows["number"])
        self.written = start if self.total == 0 else self.written
        where = torch.arange(start, stop) % self.capacity
        self.number[where], self.ballast[where] = rows["number"], rows["ballast"]
        self.total = stop

    def living(self) -> list[int]:
        return self.read_rows(self.oldest, self.total)["number"].tolist() if self.total else []


def state_at(step: int) -> dict[str, Any]:
    return {"step": step, "weight": torch.full((32, 32), float(step)), "list": [step, None, (True, b"x")]}


def segment_names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "segments").iterdir())


def flip(path: Path, at: int = -20) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def save_some(folder: Path, steps: list[int], ring: Ring | None = None, keep: int = 2) -> Checkpoints:
    checkpoints = Checkpoints(folder, keep=keep)
    for step in steps:
        if ring is not None:
            ring.grow(10)
        checkpoints.save(step, state_at(step), {"replay": ring} if ring is not None else {})
    return checkpoints


def test_saves_and_loads_everything_of_a_state(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    state: dict[str, Any] = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "generator": torch.Generator().manual_seed(3).get_state(),
        "big": 2**127,
        "nested": [1, 2.5, None, "é", b"\0", (True, {"a": []})],
    }
    Checkpoints(tmp_path).save(7, state)
    loaded = Checkpoints(tmp_path).load("latest")
    assert loaded.step == 7
    assert loaded.path.name == "step-000000007"
    assert torch.equal(loaded.state["network"]["weight"], network.weight)
    assert loaded.state["optimiser"]["state"][0]["exp_avg"].equal(optimiser.state[network.weight]["exp_avg"])
    assert loaded.state["nested"] == state["nested"]
    assert loaded.state["big"] == 2**127
    assert torch.equal(loaded.state["generator"], state["generator"])
    assert loaded.manifest["device"] == "cpu"


@pytest.mark.parametrize(
    "alien",
    [
        np.float64(1),
        np.zeros(2),
        {1, 2},
        signal.SIGTERM,
        Path("x"),
        torch.float32,
        torch.device("cpu"),
        print,
    ],
    ids=lambda alien: type(alien).__name__,
)
def test_refuses_to_save_what_it_could_not_load(tmp_path: Path, alien: Any) -> None:
    with pytest.raises(TypeError, match=r"state\['a'\]\[1\] is a "):
        Checkpoints(tmp_path).save(1, {"a": [0, alien]})
    assert list(tmp_path.glob("*")) == []


def test_refuses_a_key_that_it_could_not_load() -> None:
    with pytest.raises(TypeError, match="int64"):
        plain({"a": {np.int64(3): 1}})


def test_a_view_saves_only_itself(tmp_path: Path) -> None:
    path = Checkpoints(tmp_path).save(1, {"row": torch.zeros(1_000_000)[:10]})
    assert (path / "state.pt").stat().st_size < 10_000


def test_ordered_dictionaries_and_parameters_become_plain() -> None:
    tree = plain(OrderedDict(a=nn.Parameter(torch.ones(2))))
    assert type(tree) is dict
    assert type(tree["a"]) is Tensor
    assert not tree["a"].requires_grad


def test_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    checkpoints = save_some(tmp_path, [10, 20])
    checkpoints.save(15, state_at(15), kind="best")
    checkpoints.save(12, state_at(12), kind="best")
    checkpoints.save(30, state_at(30))
    visible = sorted(path.name for path in tmp_path.iterdir() if path.name != "segments")
    assert visible == ["best", "best-000000012", "latest", "step-000000020", "step-000000030"]
    assert (tmp_path / "latest").resolve().name == "step-000000030"
    assert (tmp_path / "best").resolve().name == "best-000000012"
    assert checkpoints.load("best").state["step"] == 12
    assert checkpoints.load("best").manifest["resumable"] is False


@pytest.mark.parametrize("which", [20, "20", "step-000000020", "step-000000020/state.pt", "path", "latest"])
def test_loads_by_step_name_and_path(tmp_path: Path, which: Any) -> None:
    checkpoints = save_some(tmp_path, [10, 20])
    which = tmp_path / "step-000000020" if which == "path" else which
    assert checkpoints.load(which).step == 20


@pytest.mark.parametrize("which", [99, "best", "latest", "nowhere", "folder", "manifest"])
def test_what_is_no_checkpoint_is_refused_in_one_sentence(tmp_path: Path, which: Any) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "manifest").mkdir()
    (tmp_path / "manifest" / "manifest.json").write_text('{"step": 3}')
    with pytest.raises(UserError, match="checkpoint") as error:
        Checkpoints(tmp_path).load(which)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_step_is_named_in_the_refusal(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="step-000000010, step-000000020"):
        save_some(tmp_path, [10, 20]).load(15)


def test_without_evaluations_there_is_no_best_and_the_refusal_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="write checkpoint=latest"):
        save_some(tmp_path, [10, 20]).load("best")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("harm", [flip, cut_short, Path.unlink])
@pytest.mark.parametrize("part", ["state.pt", "manifest.json", "segment"])
def test_damaged_newest_falls_back_and_says_so(
    tmp_path: Path, harm: Any, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = save_some(tmp_path, [10, 20], Ring(100))
    newest = tmp_path / "step-000000020"
    broken = tmp_path / "segments" / segment_names(tmp_path)[-1] if part == "segment" else newest / part
    harm(broken)
    assert checkpoints.verify(newest) != []
    loaded = checkpoints.load("latest", stores=True)
    assert loaded.step == 10
    assert checkpoints.verify(loaded.path) == []
    assert "step-000000020 is damaged" in caplog.text
    assert "step-000000010 instead" in caplog.text
    with pytest.raises(UserError, match="step-000000020 is no checkpoint"):
        checkpoints.load(20, stores=True)


def test_all_damaged_is_refused(tmp_path: Path) -> None:
    checkpoints = save_some(tmp_path, [10, 20])
    for step in (10, 20):
        flip(tmp_path / f"step-{step:09d}" / "state.pt")
    with pytest.raises(UserError, match="whole"):
        checkpoints.load("latest")


class Bomb:
    def __reduce__(self) -> Any:
        return os.system, ("touch bomb-went-off",)


def test_a_pickle_bomb_with_correct_hashes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rlkit.checkpoint.plain", lambda state: state)
    bomb = Checkpoints(tmp_path / "c").save(1, {"a": Bomb()})
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert pickle.dumps(Bomb())
    with pytest.raises(UserError, match="plain data"):
        Checkpoints(tmp_path / "c").load(bomb)
    assert not (tmp_path / "bomb-went-off").exists()


def test_segments_hold_only_new_rows(tmp_path: Path) -> None:
    ring = Ring(100_000, width=16)
    checkpoints = Checkpoints(tmp_path)
    ring.grow(10_000)
    checkpoints.save(1, state_at(1), {"replay": ring})
    first = sum(path.stat().st_size for path in (tmp_path / "segments").iterdir())
    assert first > 10_000 * 72
    ring.grow(100)
    checkpoints.save(2, state_at(2), {"replay": ring})
    second = sum(path.stat().st_size for path in (tmp_path / "segments").iterdir()) - first
    assert 100 * 72 < second < 100 * 72 + 3_000
    checkpoints.save(3, state_at(3), {"replay": ring})
    assert len(segment_names(tmp_path)) == 2


def restored(folder: Path, capacity: int, which: Any = "latest") -> tuple[Checkpoints, Ring]:
    checkpoints, ring = Checkpoints(folder), Ring(capacity)
    checkpoints.restore(checkpoints.load(which, stores=True), {"replay": ring})
    return checkpoints, ring


@pytest.mark.parametrize("growth", [[7], [30, 3], [10, 100, 1], [5, 20, 20, 20], [64, 500], [0, 3]])
@pytest.mark.parametrize("rows_per_segment", [None, 6])
def test_a_ring_comes_back_as_it_was(tmp_path: Path, growth: list[int], rows_per_segment: int | None) -> None:
    ring = Ring(32)
    checkpoints = Checkpoints(tmp_path, keep=1, rows_per_segment=rows_per_segment)
    for step, rows in enumerate(growth):
        ring.grow(rows)
        checkpoints.save(step, {}, {"replay": ring})
        _, again = restored(tmp_path, 32)
        assert again.total == ring.total
        assert again.living() == ring.living()
        assert again.written == ring.oldest
    living = [name.split("-")[1:3] for name in segment_names(tmp_path)] if ring.total else []
    assert all(int(stop) > ring.oldest for _, stop in living)
    if rows_per_segment:
        assert all(int(stop) - int(start) <= 6 for start, stop in living)


def test_an_abandoned_future_is_not_mixed_in(tmp_path: Path) -> None:
    ring = Ring(100)
    save_some(tmp_path, [10, 20, 30], ring, keep=5)
    future = segment_names(tmp_path)
    checkpoints, again = restored(tmp_path, 100, which=10)
    assert checkpoints.steps() == [10]
    again.ballast += 1
    again.grow(10)
    checkpoints.save(20, state_at(21), {"replay": again})
    names = segment_names(tmp_path)
    assert len(names) == 2
    assert names[0] == future[0]
    assert names[1] != future[1]
    _, third = restored(tmp_path, 100)
    assert third.living() == list(range(20))
    assert checkpoints.load("latest").state["step"] == 21


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    checkpoints = save_some(tmp_path, [10])
    checkpoints.save(10, {"step": 11})
    assert checkpoints.load("latest").state == {"step": 11}
    (tmp_path / "step-000000010").rename(tmp_path / ".old-step-000000010")  # killed between two renames
    assert Checkpoints(tmp_path).load("latest").state == {"step": 11}
    checkpoints.save(10, {"step": 12})
    assert Checkpoints(tmp_path).load("latest").state == {"step": 12}
    assert not list(tmp_path.glob(".*"))


def test_a_save_again_that_dies_between_its_renames_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = save_some(tmp_path, [10])
    rename = Path.replace

    def dying(path: Path, target: Path) -> Path:
        if path.name.startswith(".tmp-step"):
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(10, {"step": 11})
    assert Checkpoints(tmp_path).load("latest").state["step"] == 10


def test_best_is_not_for_resuming_and_foreign_stores_are_refused(tmp_path: Path) -> None:
    checkpoints = save_some(tmp_path, [10], Ring(10))
    checkpoints.save(10, state_at(10), kind="best")
    with pytest.raises(UserError, match="evaluation only"):
        checkpoints.restore(checkpoints.load("best"), {"replay": Ring(10)})
    with pytest.raises(UserError, match="stores"):
        checkpoints.restore(checkpoints.load("latest"), {"memory": Ring(10)})


def test_another_runs_checkpoint_can_be_taken_without_touching_it(tmp_path: Path) -> None:
    ring = Ring(100)
    save_some(tmp_path / "a", [10, 20], ring)
    mine, copy = Checkpoints(tmp_path / "b"), Ring(100)
    mine.restore(mine.load(tmp_path / "a" / "step-000000010", stores=True), {"replay": copy})
    mine.save(11, state_at(11), {"replay": copy})
    assert Checkpoints(tmp_path / "a").steps() == [10, 20]
    _, again = restored(tmp_path / "b", 100)
    assert again.living() == list(range(10))


def test_a_full_disk_names_the_file_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = save_some(tmp_path, [10], ring := Ring(100))

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    ring.grow(5)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left.*segments/.*replay"):
            checkpoints.save(20, state_at(20), {"replay": ring})
        with pytest.raises(OSError, match=r"No space left.*state\.pt"):
            checkpoints.save(20, state_at(20), kind="best")
    assert Checkpoints(tmp_path).load("latest", stores=True).step == 10
    checkpoints.save(20, state_at(20), {"replay": ring})
    assert restored(tmp_path, 100)[1].living() == list(range(15))
    assert not list(tmp_path.glob("**/.tmp-*"))


def save_until_killed(folder: Path, acknowledge: int, seed: int) -> None:
    """What the child does: continue from the newest, then save on and on, telling the parent each time."""
    checkpoints = Checkpoints(folder, keep=2, rows_per_segment=40)
    ring, step = Ring(200), 0
    if checkpoints.steps():
        loaded = checkpoints.load("latest", stores=True)
        checkpoints.restore(loaded, {"replay": ring})
        step = loaded.step
    generator = random.Random(seed)
    while True:
        step += 1
        ring.grow(generator.choice([0, 3, 50, 300]))
        state = state_at(step) | {"total": ring.total}
        checkpoints.save(step, state, {"replay": ring})
        if step % 5 == 0:
            checkpoints.save(step, state, {"replay": ring})  # the same step again
            checkpoints.save(step, state, kind="best")
        os.write(acknowledge, struct.pack("<q", step))


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_fifty_kills_during_saves(tmp_path: Path) -> None:
    generator = random.Random(1)
    acknowledged = interrupted = 0
    for kill in range(500):
        if kill >= 50 and interrupted > 10:  # a slow machine needs more kills to hit as many saves
            break
        before, told = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                torch.set_num_threads(1)
                save_until_killed(tmp_path, told, kill)
            finally:
                os._exit(1)
        os.close(told)
        time.sleep(generator.uniform(0.005, 0.12))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the child failed by itself"
        with os.fdopen(before, "rb") as pipe:
            told_steps = [step for (step,) in struct.iter_unpack("<q", pipe.read())]
        acknowledged = max([acknowledged, *told_steps])
        interrupted += bool(list(tmp_path.glob(".tmp-*")) or list(tmp_path.glob("segments/.tmp-*")))
        if acknowledged == 0:
            continue
        checkpoints, ring = Checkpoints(tmp_path), Ring(200)
        loaded = checkpoints.load("latest", stores=True)
        assert loaded.step >= acknowledged
        assert loaded.step <= acknowledged + 1
        assert loaded.path.name == f"step-{loaded.step:09d}" or loaded.path.name.startswith(".old-")
        assert torch.equal(loaded.state["weight"], state_at(loaded.step)["weight"])
        copy = tmp_path / "copy"  # restoring cleans up, which is the next child's task
        shutil.copytree(tmp_path, copy, symlinks=True, ignore=shutil.ignore_patterns("copy"))
        elsewhere = Checkpoints(copy)
        elsewhere.restore(elsewhere.load("latest", stores=True), {"replay": ring})
        shutil.rmtree(copy)
        assert ring.total == loaded.state["total"]
        assert ring.living() == list(range(ring.oldest, ring.total))
        if checkpoints.steps("best"):
            assert checkpoints.load("best").step % 5 == 0
        acknowledged = max(acknowledged, loaded.step)
    assert acknowledged > 0
    assert interrupted > 10  # otherwise the kills did not hit saves
    checkpoints, ring = restored(tmp_path, 200)
    checkpoints.save(acknowledged + 1, state_at(0), {"replay": ring})
    assert not list(tmp_path.glob("**/.tmp-*"))
    assert not list(tmp_path.glob(".old-*"))
    manifests = [json.loads(path.read_text()) for path in tmp_path.glob("step-*/manifest.json")]
    used = {part["file"] for entry in manifests for part in entry["stores"]["replay"]["segments"]}
    assert set(segment_names(tmp_path)) == used
