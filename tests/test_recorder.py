"""The record in the directory: guarded, never lost by a crash, never mixed, brought back to a checkpoint."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blink import Blink

from rlkit import Monitor, load_results
from rlkit.films import read_frames
from rlkit.monitor import Recorder
from rlkit.records import MonitorError, read_records


def results(folder: Path) -> dict[str, Any]:
    found = load_results(folder)
    assert found is not None
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def add(recorder: Recorder, *episodes: int, film: bool = False) -> None:
    for episode in episodes:
        if film and recorder.wants_film(episode, recorder.total_steps):
            reel = recorder.film(episode)
            for value in range(3):
                reel.add(np.full((16, 16, 3), 80 * value, np.uint8))
            recorder.finish(reel)
        recorder.episode(
            episode, reward=episode / 2, length=10, terminated=True, truncated=False, seed=episode
        )


def played(folder: Path) -> list[int]:
    return sorted(record["episode"] for record in results(folder)["episodes"])


# The guard


def test_a_directory_with_a_record_is_refused_in_one_sentence(tmp_path: Path) -> None:
    add(Recorder(tmp_path, uid="x"), *range(3), film=True)
    with pytest.raises(MonitorError) as caught:
        Recorder(tmp_path)
    text = str(caught.value)
    assert "force=True" in text
    assert "resume=True" in text
    assert text.count("openaigym.") == 5
    assert "…" in text


def test_any_monitor_file_counts_and_others_do_not(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    Recorder(tmp_path / "a")
    (tmp_path / "openaigym.video.0.1.video000000.mp4").write_bytes(b"orphan")
    with pytest.raises(MonitorError, match=r"video000000\.mp4"):
        Recorder(tmp_path)
    Recorder(tmp_path, force=True)
    assert "notes.txt" in names(tmp_path)
    assert "openaigym.video.0.1.video000000.mp4" not in names(tmp_path)
    assert names(tmp_path / "a")  # not recursive


def test_a_file_instead_of_a_directory_and_a_bad_uid(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MonitorError, match="is a file"):
        Recorder(tmp_path / "file")
    with pytest.raises(MonitorError, match="uid"):
        Recorder(tmp_path / "a", uid="../up")


def test_resume_continues_numbers_and_never_reuses_names(tmp_path: Path) -> None:
    first = Recorder(tmp_path, uid="same", video="steps:25")
    add(first, *range(4), film=True)
    first.close()
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    again = Recorder(tmp_path, uid="same", video="steps:25", resume=True)
    assert (again.next_episode, again.total_steps, again.schedule.last) == (4, 40, 30)
    assert not again.wants_film(4, 40)  # 50 is the next multiple
    assert again.wants_film(5, 50)
    add(again, 4, 5)
    again.close()
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())
    assert played(tmp_path) == [0, 1, 2, 3, 4, 5]
    assert Recorder(tmp_path, resume=True, mode="evaluation").next_episode == 0  # modes count apart


def test_names_of_an_old_record_are_not_reused(tmp_path: Path) -> None:
    number = int(Recorder(tmp_path / "a", uid="q").infix.split(".")[0])
    old = {"stats": "none", "videos": [], "env_info": {"env_id": None}}
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / f"openaigym.manifest.{number + 1}.q.manifest.json").write_text(json.dumps(old))
    assert Recorder(folder, uid="q", resume=True).infix == f"{number + 2}.q"


# Records


def test_a_record_is_on_disk_at_once_with_its_facts(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, mode="evaluation", run_id="r1")
    recorder.episode(3, reward=np.float32(0.5), length=np.int64(7), terminated=False, truncated=True,
                     env_index=2, seed=9, first_step=40, extra={"genome_id": np.int64(5)})  # fmt: skip
    (record,) = read_records(recorder.records_path)
    assert record.pop("timestamp") > 1.6e9
    assert record.pop("elapsed") >= 0
    assert record == {
        "episode": 3, "env_index": 2, "seed": 9, "return": 0.5, "length": 7, "terminated": False,
        "truncated": True, "aborted": False, "first_step": 40, "type": "e", "video": None, "genome_id": 5,
    }  # fmt: skip
    (manifest,) = [json.loads((tmp_path / n).read_text()) for n in names(tmp_path) if "manifest" in n]
    assert (manifest["run_id"], manifest["records"]) == ("r1", recorder.records_path.name)
    with pytest.raises(ValueError, match="seed"):
        recorder.episode(4, reward=0, length=1, terminated=True, truncated=False, extra={"seed": 1})


def test_stats_have_the_old_columns_and_are_not_rewritten_each_time(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    path = tmp_path / f"openaigym.episode_batch.{recorder.infix}.stats.json"
    add(recorder, *range(100))
    recorder.stats()
    add(recorder, 100)
    recorder.stats()
    assert len(json.loads(path.read_text())["timestamps"]) == 100
    recorder.close()
    recorder.close()
    stats = json.loads(path.read_text())
    assert stats["episode_rewards"] == [episode / 2 for episode in range(101)]
    assert stats["seed"] == list(range(101))
    assert set(stats["episode_types"]) == {"t"}
    assert stats["initial_reset_timestamp"] <= stats["timestamps"][0]
    with pytest.raises(MonitorError, match="closed"):
        add(recorder, 101)


def test_a_full_disk_is_told_with_the_path_and_leaves_whole_lines(tmp_path: Path) -> None:
    class FullDisk:
        def __init__(self, file: Any) -> None:
            self.file, self.calls = file, 0

        def write(self, data: bytes) -> int:
            self.calls += 1
            if self.calls > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self.file.write(data[:20]))  # half a line fits

        def truncate(self, size: int) -> None:
            self.file.truncate(size)

    recorder = Recorder(tmp_path)
    add(recorder, 0)
    real, recorder._file = recorder._file, FullDisk(recorder._file)  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left") as caught:
        add(recorder, 1)
    assert caught.value.filename == str(recorder.records_path)
    recorder._file = real
    add(recorder, 2)
    assert played(tmp_path) == [0, 2]


def test_a_torn_last_line_is_left_out_and_a_bad_one_is_named(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    add(recorder, 0, 1)
    with recorder.records_path.open("ab") as file:
        file.write(b'{"episode": 2, "ret')
    assert played(tmp_path) == [0, 1]
    recorder.records_path.write_bytes(b"nonsense\n" + recorder.records_path.read_bytes())
    with pytest.raises(MonitorError, match="line 1 is no record"):
        load_results(tmp_path)


# Back to a checkpoint


@pytest.mark.parametrize("crashes", [1, 2])
def test_load_state_dict_brings_the_directory_back(tmp_path: Path, crashes: int) -> None:
    first = Recorder(tmp_path, run_id="r", video="every:2")
    evaluation = Recorder(tmp_path, run_id="r", mode="evaluation", resume=True)
    other = Recorder(tmp_path, run_id="someone else", resume=True)
    add(first, 0, 1, 2, film=True)
    add(evaluation, 0, 1, film=True)
    state = json.loads(json.dumps(first.state_dict()))  # plain data
    add(other, 50)
    for _ in range(crashes):  # what came after the checkpoint is lost, by every process that tried
        add(first, 3, 4, film=True)
        first.film(6).add(np.zeros((16, 16, 3), np.uint8))
        first.stats()
        first = Recorder(tmp_path, run_id="r", video="every:2", resume=True)
    orphan = tmp_path / f"openaigym.video.{first.infix}.video000007.mp4.part"
    orphan.write_bytes(b"")
    (tmp_path / "mine.txt").write_text("")
    first.load_state_dict(state)
    assert (first.next_episode, first.total_steps, first.schedule.last) == (3, 30, 20)
    add(first, 3, 4, 5, film=True)
    first.close()
    evaluation.close()
    found = results(tmp_path)
    train = [(e["episode"], e["seed"], e["return"]) for e in found["episodes"] if e["type"] == "t"]
    assert sorted(train) == [(n, n, n / 2) for n in (0, 1, 2, 3, 4, 5, 50)]
    assert [e["episode"] for e in found["episodes"] if e["type"] == "e"] == [0, 1]
    assert sorted(film["episode_id"] for film in found["films"]) == [0, 0, 1, 2, 4]  # 0, 1 of the evaluation
    on_disk = {name for name in names(tmp_path) if name.endswith((".mp4", ".part"))}
    assert on_disk == {Path(video).name for video, _ in found["videos"]}
    assert "mine.txt" in names(tmp_path)
    assert len(list(tmp_path.glob("*.jsonl"))) == len(found["manifests"])


def test_a_recorder_can_go_back_itself(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    add(recorder, 0)
    state = recorder.state_dict()
    add(recorder, 1, 2)
    recorder.load_state_dict(state)
    add(recorder, 1)
    recorder.close()
    assert played(tmp_path) == [0, 1]


def test_a_foreign_manifest_cannot_reach_outside(tmp_path: Path) -> None:
    folder, victim = tmp_path / "run", tmp_path / "victim.txt"
    victim.write_text("precious")
    recorder = Recorder(folder)
    state = recorder.state_dict()
    evil = {"run_id": None, "mode": "training", "records": "../victim.txt", "stats": "../victim.txt",
            "infix": "/../../victim", "videos": [["../victim.txt", "../victim.txt"]],
            "env_info": {"env_id": "(unknown)"}}  # fmt: skip
    (folder / "openaigym.manifest.9.9.manifest.json").write_text(json.dumps(evil))
    recorder.load_state_dict(state)
    assert victim.read_text() == "precious"


# Crash and fork

CRASH = """
import sys
sys.path.insert(0, sys.argv[2])
from blink import Blink
from rlkit import Monitor
env = Monitor(Blink(length=50), sys.argv[1], "every:1", uid="fixed")
for _ in range(2):
    env.reset(seed=1)
    for _ in range(50):
        env.step(1)
env.reset()
for _ in range(49):
    env.step(1)
print("ready", flush=True)
sys.stdin.read()
"""

FORK = """
import os, sys
sys.path.insert(0, sys.argv[2])
from blink import Blink
from rlkit import Monitor
before = Monitor(Blink(), sys.argv[1], "every:1", uid="fixed")
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        env = Monitor(Blink(), sys.argv[1], "every:1", uid="fixed", resume=True)
        for _ in range(10):
            env.reset()
            for _ in range(5):
                env.step(1)
        env.close()
        before.close()  # not this process's own: nothing may happen
        assert before.recorder.infix + ".stats" not in " ".join(os.listdir(sys.argv[1]))
        sys.exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
before.reset()
for _ in range(5):
    before.step(1)
before.step  # forgotten: closed at exit
"""


def start(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip


def test_a_killed_run_keeps_its_records_is_found_and_continues(tmp_path: Path) -> None:
    process = start(CRASH, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = results(tmp_path)
    assert (found["episode_lengths"], found["seed"]) == ([50, 50], [1, 1])
    assert [len(read_frames(video)[0]) for video, _ in found["videos"]] == [51, 51]
    assert not any(name.endswith("video000002.mp4") for name in names(tmp_path))  # nothing half looks whole
    with pytest.raises(MonitorError, match="resume=True"):
        Monitor(Blink(), tmp_path)
    env = Monitor(Blink(), tmp_path, "every:1", uid="fixed", resume=True)
    assert env.get_total_steps() == 100
    env.reset()
    for _ in range(5):
        env.step(1)
    env.close()
    assert played(tmp_path) == [0, 1, 2]
    assert results(tmp_path)["first_step"] == [0, 50, 100]
    assert len({Path(video).name for video, _ in results(tmp_path)["videos"]}) == 3


def test_forks_in_one_directory_never_collide(tmp_path: Path) -> None:
    process = start(FORK, tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == 0
    found = results(tmp_path)
    assert sorted(np.bincount(found["data_sources"])) == [1, 10, 10]
    assert len(found["videos"]) == len({video for video, _ in found["videos"]}) == 21
    assert all(Path(video).is_file() and Path(meta).is_file() for video, meta in found["videos"])
    stats = [name for name in names(tmp_path) if re.search(r"\.stats\.json$", name)]
    assert len(stats) == 3  # the one nobody closed was closed at exit


# Reading


def test_old_folders_are_read(tmp_path: Path) -> None:
    for number, start_time in ((0, 1000.0), (1, 500.0)):
        infix = f"{number}.31179"
        stats = {
            "initial_reset_timestamp": start_time, "timestamps": [start_time + 2, start_time + 900],
            "episode_lengths": [10 + number, 20], "episode_rewards": [1.5, -2.0],
            "episode_types": ["t", "e", "t"],  # one too many, as an unfinished last episode left it
        }  # fmt: skip
        video = f"openaigym.video.{infix}.video000000"
        manifest = {
            "stats": f"openaigym.episode_batch.{infix}.stats.json",
            "videos": [[f"{video}.mp4", f"{video}.meta.json"]],
            "env_info": {"gym_version": "0.10.5", "env_id": "Pong-v0"},
        }
        (tmp_path / manifest["stats"]).write_text(json.dumps(stats))
        (tmp_path / f"openaigym.manifest.{infix}.manifest.json").write_text(json.dumps(manifest))
        (tmp_path / f"{video}.mp4").write_bytes(b"film")
        (tmp_path / f"{video}.meta.json").write_text(
            json.dumps({"episode_id": 0, "content_type": "video/mp4"})
        )
    found = results(tmp_path)
    assert found["timestamps"] == [502.0, 1002.0, 1400.0, 1900.0]
    assert found["episode_lengths"] == [11, 10, 20, 20]
    assert found["episode_rewards"] == [1.5, 1.5, -2.0, -2.0]
    assert found["episode_types"] == ["t", "t", "e", "e"]
    assert found["data_sources"] == [1, 0, 1, 0]
    assert (found["initial_reset_timestamps"], found["initial_reset_timestamp"]) == ([1000.0, 500.0], 500.0)
    assert found["env_info"] == {"gym_version": "0.10.5", "env_id": "Pong-v0"}
    assert [Path(video).read_bytes() for video, _ in found["videos"]] == [b"film", b"film"]
    assert found["terminated"] == [None] * 4
    continued = Recorder(tmp_path, resume=True, env_id="Pong-v0")
    assert (continued.next_episode, continued.total_steps) == (1, 21)  # of type t; evaluations count apart


def test_environments_are_not_mixed(tmp_path: Path) -> None:
    Recorder(tmp_path, env_id="A-v0")
    Recorder(tmp_path, resume=True)  # an environment without an id fits everywhere
    assert results(tmp_path)["timestamps"] == []
    with pytest.raises(MonitorError, match=r"mixes environments .A-v0, B-v0.; give each its own directory"):
        Recorder(tmp_path, resume=True, env_id="B-v0")
    (manifest, *_) = sorted(tmp_path.glob("openaigym.manifest.*"))
    manifest.with_name("openaigym.manifest.7.7.manifest.json").write_text(
        manifest.read_text().replace("A-v0", "B-v0").replace("(unknown)", "B-v0")
    )
    with pytest.raises(MonitorError, match="mixes environments"):
        load_results(tmp_path)


def test_nothing_to_read(tmp_path: Path) -> None:
    assert load_results(tmp_path) is None
    assert load_results(tmp_path / "missing") is None


def test_a_filmed_number_is_taken_even_without_a_record(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.film(4).abort()
    assert recorder.next_episode == 5


def test_a_moved_directory_still_reads(tmp_path: Path) -> None:
    add(Recorder(tmp_path / "a"), 0, film=True)
    (tmp_path / "a").rename(tmp_path / "b")
    ((video, _),) = results(tmp_path / "b")["videos"]
    assert len(read_frames(video)[0]) == 3
