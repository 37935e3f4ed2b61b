"""The Monitor around environments: what the old one promised, then vector environments and late films."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from blink import Blink, grey
from gymnasium.error import ResetNeeded
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from rlkit import Monitor, load_results
from rlkit.errors import UserError
from rlkit.films import read_frames
from rlkit.monitor import Recorder, VectorMonitor, film_episode
from rlkit.records import MonitorError


def play(env: Any, episodes: int = 1, **reset: Any) -> None:
    for _ in range(episodes):
        env.reset(**reset)
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(1)
            over = terminated or truncated


def results(folder: Path) -> dict[str, Any]:
    found = load_results(folder)
    assert found is not None
    return found


def files(folder: Path, end: str) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(end))


# What the old Monitor promised


def test_manifest_is_there_from_the_start_and_at_close(tmp_path: Path) -> None:
    env = Monitor(Blink(), tmp_path)
    (path,) = files(tmp_path, ".manifest.json")
    assert json.loads(path.read_text())["videos"] == []
    play(env)
    env.close()
    manifest = json.loads(path.read_text())
    assert manifest["stats"] == files(tmp_path, ".stats.json")[0].name
    assert [video for video, _ in manifest["videos"]] == [files(tmp_path, ".mp4")[0].name]
    assert manifest["env_info"].keys() == {"gym_version", "env_id"}
    assert not files(tmp_path, "~")
    assert not files(tmp_path, ".part")


def test_write_upon_reset(tmp_path: Path) -> None:
    for flag in (False, True):
        env = Monitor(Blink(), tmp_path / str(flag), False, False, False, flag)
        play(env, 2)
        env.reset()
        assert bool(files(tmp_path / str(flag), ".stats.json")) is flag
        assert results(tmp_path / str(flag))["episode_lengths"] == [5, 5]  # the records never wait
        env.close()
        (stats,) = files(tmp_path / str(flag), ".stats.json")
        assert json.loads(stats.read_text())["episode_rewards"] == [5.0, 5.0]


def test_video_true_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must provide a function, None, or False .* not True"):
        Monitor(Blink(), tmp_path, video_callable=True)
    assert list(tmp_path.iterdir()) == []


def test_no_video_with_false(tmp_path: Path) -> None:
    env = Monitor(Blink(), tmp_path, video_callable=False)
    play(env, 3)
    env.close()
    assert env.env.renders == 0
    assert files(tmp_path, ".mp4") == results(tmp_path)["videos"] == []


def test_one_video_by_default_of_every_state_of_the_episode(tmp_path: Path) -> None:
    env = Monitor(Blink(), tmp_path)
    play(env)
    env.close()
    ((video, meta),) = results(tmp_path)["videos"]
    assert Path(video).name.endswith(".video000000.mp4")
    frames, fps = read_frames(video)
    assert fps == 12
    assert [grey(frame) for frame in frames] == [0, 1, 2, 3, 4, 5]
    facts = json.loads(Path(meta).read_text())
    assert (facts["episode_id"], facts["frames"], facts["content_type"]) == (0, 6, "video/mp4")
    assert results(tmp_path)["episodes"][0]["video"] == Path(video).name


def test_strict_reset_rules(tmp_path: Path) -> None:
    env = Monitor(Blink(), tmp_path, False, strict=True)
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset()
    env.reset()  # several in a row are fine
    env.step(0)
    with pytest.raises(MonitorError, match=r"Tried to reset .* before its episode was over"):
        env.reset()
    for _ in range(4):
        env.step(0)
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset()
    env.close()
    assert results(tmp_path)["episode_lengths"] == [5]


def test_lenient_reset_rules(tmp_path: Path) -> None:
    env = Monitor(Blink(), tmp_path, "every:1")
    env.reset()
    env.reset()
    env.step(0)
    env.step(0)
    play(env)
    env.step(0)  # after the end: left to the environment, no part of any episode
    env.close()
    found = results(tmp_path)
    assert [(e["episode"], e["length"], e["aborted"]) for e in found["episodes"]] == [
        (0, 2, True),
        (1, 5, False),
    ]
    assert (found["episode_lengths"], env.get_episode_lengths(), env.get_total_steps()) == ([5], [5], 7)
    assert [len(read_frames(video)[0]) for video, _ in found["videos"]] == [3, 6]
    assert [film.get("aborted", False) for film in found["films"]] == [True, False]


def test_only_complete_episodes_count(tmp_path: Path) -> None:
    env = Monitor(Blink(), tmp_path)
    play(env)
    env.reset()
    env.step(0)
    env.close()
    found = results(tmp_path)
    assert (found["episode_lengths"], found["terminated"]) == ([5], [True])
    assert [(e["length"], e["aborted"]) for e in found["episodes"]] == [(5, False), (1, True)]
    assert {
        len(found[key]) for key in ("timestamps", "episode_types", "seed", "first_step", "env_index")
    } == {1}


def test_step_limits(tmp_path: Path) -> None:
    limited = gymnasium.wrappers.TimeLimit(Blink(length=100), 4)
    env = Monitor(limited, tmp_path)
    play(env, 2)
    env.close()
    found = results(tmp_path)
    assert (found["episode_lengths"], found["truncated"], found["terminated"]) == (
        [4, 4],
        [True] * 2,
        [False] * 2,
    )


def test_env_that_resets_itself(tmp_path: Path) -> None:
    env = Monitor(gymnasium.wrappers.Autoreset(Blink(length=3)), tmp_path, "every:1", strict=True)
    env.reset(seed=4)
    for _ in range(7):  # 3 steps, a reset, 3 steps
        env.step(0)
    env.close()
    found = results(tmp_path)
    assert (found["episode_lengths"], found["first_step"], found["seed"]) == ([3, 3], [0, 3], [4, None])
    assert [len(read_frames(video)[0]) for video, _ in found["videos"]] == [4, 4]


def test_env_reuse(tmp_path: Path) -> None:
    env = Blink()
    for name in ("a", "b"):
        monitored = Monitor(env, tmp_path / name)
        play(monitored)
        monitored.close()
        monitored.close()
    assert [results(tmp_path / name)["episode_lengths"] for name in ("a", "b")] == [[5], [5]]


def test_accessors_seeds_and_modes(tmp_path: Path) -> None:
    env = Monitor(gymnasium.make("CartPole-v1"), tmp_path, mode="evaluation")  # no render mode: no film
    play(env, 1, seed=7)
    play(env, 1)
    env.close()
    found = results(tmp_path)
    assert (found["seed"], found["episode_types"], found["env_info"]["env_id"]) == (
        [7, None],
        ["e", "e"],
        "CartPole-v1",
    )
    assert env.get_episode_rewards() == found["episode_rewards"]
    assert env.get_total_steps() == sum(found["episode_lengths"])
    assert found["first_step"] == [0, found["episode_lengths"][0]]
    assert found["videos"] == []
    with pytest.raises(MonitorError, match="training or evaluation"):
        Monitor(Blink(), tmp_path / "x", mode="test")
    with pytest.raises(MonitorError, match="only one"):
        Monitor(Blink(), tmp_path / "x", "cubic", video="every:1")


# Films


def test_cartpole_is_filmed_without_a_screen(tmp_path: Path) -> None:
    env = Monitor(gymnasium.make("CartPole-v1", render_mode="rgb_array"), tmp_path)
    play(env, 1, seed=0)
    env.close()
    found = results(tmp_path)
    frames, fps = read_frames(found["videos"][0][0])
    assert (len(frames), fps, frames[0].shape) == (found["episode_lengths"][0] + 1, 50, (400, 600, 3))
    assert all((a != b).any() for a, b in pairwise(frames))


@pytest.mark.parametrize(
    ("mode", "end"), [("ansi", ".cast"), ("rgb_array_list", ".mp4"), ("human", ""), (None, "")]
)
def test_render_modes(tmp_path: Path, mode: str | None, end: str) -> None:
    env = Monitor(Blink(render_mode=mode), tmp_path)
    play(env)
    env.close()
    found = results(tmp_path)
    assert found["episode_lengths"] == [5]
    assert [film["frames"] for film in found["films"]] == ([6] if end else [])
    assert all(film["path"].endswith(end) for film in found["films"])
    assert env.env.renders == (6 if end else 0)


class Broken(Blink):
    def render(self) -> Any:
        self.renders += 1
        if self.now == 2:
            if self.length == 5:
                raise RuntimeError("no context")
            return None
        return super().render()


@pytest.mark.parametrize("length", [5, 6])
def test_broken_rendering_never_stops_a_run(tmp_path: Path, length: int) -> None:
    env = Monitor(Broken(length=length), tmp_path, "every:1")
    play(env, 2)
    env.close()
    found = results(tmp_path)
    assert found["episode_lengths"] == [length] * 2
    assert found["videos"] == files(tmp_path, ".mp4") == files(tmp_path, ".part") == []
    assert [json.loads(path.read_text())["broken"] for path in files(tmp_path, ".meta.json")] == [True, True]


# Vector environments


def lanes(mode: AutoresetMode, **options: Any) -> SyncVectorEnv:
    return SyncVectorEnv([lambda n=n: Blink(length=n, **options) for n in (3, 5)], autoreset_mode=mode)


def drive(env: Any, steps: int) -> None:
    env.reset(seed=10)
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(np.ones(2, np.int64))
        over = terminated | truncated
        if env.metadata["autoreset_mode"] is AutoresetMode.DISABLED and over.any():
            env.reset(seed=[77, 88], options={"reset_mask": over})


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_records_every_lane(tmp_path: Path, mode: AutoresetMode) -> None:
    env = Monitor(lanes(mode), tmp_path, "every:2", only_env=0)
    assert isinstance(env, VectorMonitor)
    drive(env, 12)
    env.close()
    found = results(tmp_path)
    waits = mode is AutoresetMode.NEXT_STEP  # a step is spent on each reset
    whole = [(e["env_index"], e["length"]) for e in found["episodes"] if not e["aborted"]]
    assert sorted(whole) == [(0, 3)] * (3 if waits else 4) + [(1, 5)] * 2
    assert env.get_total_steps() == (19 if waits else 24) == sum(e["length"] for e in found["episodes"])
    assert [e["length"] for e in found["episodes"] if e["aborted"]] == ([] if waits else [2])
    later = 77 if mode is AutoresetMode.DISABLED else None
    assert [s for s, i in zip(found["seed"], found["env_index"], strict=True) if i == 0][:2] == [10, later]
    # lane 0 has the even numbers; its episodes 0 and 2 are filmed
    assert (
        sorted(e["episode"] for e in found["episodes"] if e["env_index"] == 0)
        == [0, 2, 4, 6][: 3 if waits else 4]
    )
    assert [film["episode_id"] for film in found["films"]] == [0, 4]
    last_frame = mode is not AutoresetMode.SAME_STEP
    for film in found["films"]:
        assert [grey(frame) for frame in read_frames(film["path"])[0]] == [0, 1, 2, 3][
            : 4 if last_frame else 3
        ]
        assert film.get("final_frame", True) is last_frame
    assert env.unwrapped.envs[1].renders == 0
    begun = 0 if waits else 1  # the first frame of an episode that closing dropped
    assert env.unwrapped.envs[0].renders == sum(film["frames"] for film in found["films"]) + begun


def test_vector_first_steps_count_all_lanes(tmp_path: Path) -> None:
    env = Monitor(lanes(AutoresetMode.SAME_STEP), tmp_path, False)
    drive(env, 6)
    env.close()
    first = {e["episode"]: e["first_step"] for e in results(tmp_path)["episodes"]}
    assert first == {0: 0, 1: 0, 2: 6, 3: 10}


def test_steps_schedule_follows_the_filmed_lane_and_a_dropped_film_does_not_count(tmp_path: Path) -> None:
    env = Monitor(lanes(AutoresetMode.SAME_STEP), tmp_path, "steps:6", only_env=0)
    drive(env, 9)  # lane 0 starts at 0, 6, 12 steps of both lanes, and is dropped at 18
    env.close()
    assert [film["episode_id"] for film in results(tmp_path)["films"]] == [0, 2, 4]
    (manifest,) = files(tmp_path, ".manifest.json")
    assert json.loads(manifest.read_text())["last_filmed"] == 12


def test_vector_early_reset(tmp_path: Path) -> None:
    env = Monitor(lanes(AutoresetMode.DISABLED), tmp_path, False)
    env.reset()
    env.step(np.zeros(2, np.int64))
    options = {"reset_mask": np.array([False, True])}
    env.reset(options=options)
    assert options.keys() == {"reset_mask"}  # engines take it out of what they are given
    assert [(e["env_index"], e["length"], e["aborted"]) for e in results(tmp_path)["episodes"]] == [
        (1, 1, True)
    ]
    env.close()
    strict = Monitor(lanes(AutoresetMode.DISABLED), tmp_path / "strict", False, strict=True)
    strict.reset()
    strict.step(np.zeros(2, np.int64))
    with pytest.raises(MonitorError, match="Tried to reset"):
        strict.reset()
    strict.close()


def test_vector_in_processes(tmp_path: Path) -> None:
    make = lambda: Blink(length=3)  # noqa: E731
    env = Monitor(AsyncVectorEnv([make, make]), tmp_path, only_env=1)
    drive(env, 3)
    env.close()
    found = results(tmp_path)
    assert found["episode_lengths"] == [3, 3]
    assert [(film["episode_id"], film["frames"]) for film in found["films"]] == [(1, 4)]


def test_only_env_must_exist(tmp_path: Path) -> None:
    with pytest.raises(MonitorError, match="lane from 0 to 1"):
        Monitor(lanes(AutoresetMode.NEXT_STEP), tmp_path, only_env=2)


# Films made afterwards


def test_an_episode_is_filmed_by_playing_it_again(tmp_path: Path) -> None:
    recorder, env = Recorder(tmp_path, fps=24), Blink(length=4, pay=True)
    film = film_episode(recorder, lambda: env, 6, 3, iter([0, 1, 2, 1]), 4.0, {"step": 900}, want_gif=True)
    assert film is not None
    assert (film.frames, film.exact, env.closes) == (5, True, 1)
    assert film.gif is not None
    assert film.gif.startswith(b"GIF89a")
    frames, fps = read_frames(film.path)
    assert ([grey(frame) for frame in frames], fps) == ([0, 1, 2, 3, 4], 24)
    (facts,) = results(tmp_path)["films"]
    assert (facts["episode_id"], facts["step"], facts["exact"]) == (6, 900, True)


def test_a_replay_that_differs_says_so(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    other = film_episode(recorder, lambda: Blink(length=4, pay=True), 0, 3, [0, 1, 2, 1], 5.0)
    early = film_episode(recorder, lambda: Blink(length=2), 1, 3, [0, 1, 2, 1], 2.0)
    assert other is not None
    assert early is not None
    assert (other.exact, early.exact, early.frames) == (False, False, 3)
    assert [facts["exact"] for facts in results(tmp_path)["films"]] == [False, False]


def test_a_film_that_cannot_be_made_is_only_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(tmp_path)
    blind, broken = Blink(render_mode=None), Broken()

    def no_env() -> gymnasium.Env:
        raise RuntimeError("no such environment")

    assert film_episode(recorder, no_env, 0, 0, [0], 1.0) is None
    assert film_episode(recorder, lambda: blind, 1, 0, [0], 1.0) is None
    assert film_episode(recorder, lambda: broken, 2, 0, [0] * 5, 5.0) is None
    assert (blind.closes, broken.closes, len(caplog.records)) == (1, 1, 3)
    assert files(tmp_path, ".mp4") == files(tmp_path, ".part") == []


# Memory


def test_300_filmed_episodes_keep_memory_flat(tmp_path: Path) -> None:
    def resident() -> float:  # MB
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    env = Monitor(Blink(length=6, size=(96, 128)), tmp_path, "every:1")
    play(env, 20)  # what is loaded once is not growth
    before = resident()
    play(env, 300)
    grown = resident() - before
    env.close()
    found = results(tmp_path)
    assert len(found["videos"]) == 320
    assert grown < 50
    for video, _ in found["videos"][::64]:
        assert [grey(frame) for frame in read_frames(video)[0]] == [0, 1, 2, 3, 4, 5, 6]
