"""The Monitor: keeps what happened in an environment, as records and films in one directory.

    from rlkit import Monitor, load_results

    env = Monitor(gymnasium.make("CartPole-v1", render_mode="rgb_array"), "results")

It takes the place of the Monitor that Gym had until 0.22: same arguments in the same order, same file
names, and it serves vector environments too. `film_episode` films an episode afterwards, by playing its
actions again; `Recorder` is the record without an environment.
"""

from __future__ import annotations

import atexit
import logging
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from rlkit.films import Film, VideoSpec
from rlkit.recorder import Recorder
from rlkit.records import MonitorError, load_results
from rlkit.refilm import FilmResult, film_episode, filmable, frame_rate, newest_frame

__all__ = [
    "FilmResult", "Monitor", "MonitorError", "Recorder", "VectorMonitor", "film_episode", "load_results",
]  # fmt: skip

log = logging.getLogger("rlkit")


class Monitor(gymnasium.Wrapper):
    """Records every episode of `env` in `directory`, and films some of them.

    env: a Gymnasium environment; for a vector environment you get a VectorMonitor. To be filmed it must be
    made with render_mode="rgb_array" (or "ansi", for text films); it is rendered on filmed episodes only.
    directory: made if missing; one with a record in it is refused.
    video, video_callable: which episodes are filmed: None or "cubic", False or "none", "every:N",
    "steps:N", or a function of the episode number. The second name is the old one.
    force: delete the old record (only files named openaigym.*). resume: keep and continue it.
    write_upon_reset: bring stats.json up to date at resets. Records are on disk after each episode anyway.
    uid: used in file names instead of the process id. mode: "training" (the default) or "evaluation".
    strict: an early reset, or a step after the end, is an error; otherwise an early reset makes an
    "aborted" record. fps: None takes the environment's own. codec: h264, mpeg4, vp9, av1.
    max_frames: longest film. only_env: the lane of a vector environment that is filmed.
    """

    def __new__(cls, env: Any = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(env, VectorEnv):
            return VectorMonitor(env, *args, **kwargs)
        return super().__new__(cls)

    def __init__(
        self, env: gymnasium.Env, directory: str | Path, video_callable: VideoSpec = None,
        force: bool = False, resume: bool = False, write_upon_reset: bool = True, uid: str | None = None,
        mode: str | None = None, *, video: VideoSpec = None, strict: bool = False, fps: float | None = None,
        codec: str = "h264", max_frames: int | None = None, only_env: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(env)
        self.recorder = Recorder(
            directory, env_id=_env_id(env), force=force, resume=resume, uid=uid, mode=mode or "training",
            video=_choose(video, video_callable), fps=fps, codec=codec, max_frames=max_frames,
        )  # fmt: skip
        self._book = _Book(self.recorder, env, 1, 0, lambda: newest_frame(env.render()))
        self._strict, self._write_upon_reset = strict, write_upon_reset
        self._resets_itself = _has_autoreset(env)
        self._return, self._length, self._playing = 0.0, 0, False
        _open_monitors.add(self)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        if self._playing and self._length:
            if self._strict:
                raise MonitorError(_early(self.recorder))
            self._end(aborted=True)
        result: tuple[Any, Any] = self.env.reset(seed=seed, options=options)
        self._begin(seed)
        if self._write_upon_reset:
            self.recorder.stats()
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if not self._playing and self._strict and not self._resets_itself:
            raise ResetNeeded(f"The episode of {self.recorder.env_id} is over: call reset() before step().")
        result: tuple[Any, Any, bool, bool, dict[str, Any]] = self.env.step(action)
        _, reward, terminated, truncated, _ = result
        if self._playing:
            self._return += float(reward)
            self._length += 1
            self._book.steps += 1
            self._book.capture()
            if terminated or truncated:
                self._end(terminated, truncated)
        elif self._resets_itself:  # this step was the reset
            self._begin(None)
        return result

    def _begin(self, seed: int | None) -> None:
        self._return, self._length, self._playing = 0.0, 0, True
        self._book.begin(0, seed)
        self._book.capture()

    def _end(self, terminated: bool = False, truncated: bool = False, aborted: bool = False) -> None:
        self._playing = False
        self._book.end(0, self._return, self._length, terminated, truncated, aborted)

    def get_total_steps(self) -> int:
        """Steps so far, those of a resumed record too."""
        return self._book.steps

    def get_episode_rewards(self) -> list[float]:
        """Returns of the episodes that ended under this monitor, in the order of their ends."""
        return self._book.rewards

    def get_episode_lengths(self) -> list[int]:
        """Lengths of the same episodes, in steps."""
        return self._book.lengths

    def close(self) -> None:
        """Finish the record, then close the environment."""
        self.finish_record()
        super().close()

    def finish_record(self) -> None:
        """Record a running episode as aborted and write the last files. A second call does nothing."""
        if self.recorder.live:
            if self._playing:
                self._end(aborted=True)
            self.recorder.close()


class VectorMonitor(VectorWrapper):
    """The Monitor of a vector environment; arguments as there. Every lane is recorded, one is filmed.

    Works in all autoreset modes. NEXT_STEP: the step that resets a lane is not counted. DISABLED: lanes are
    reset by `reset(options={"reset_mask": …})`. SAME_STEP: the last frame of an episode is never shown by
    the environment, so films lack it and their metadata say `final_frame: false`.
    Episode numbers are lane + lanes × (episodes this lane had before). The schedule counts the filmed
    lane's episodes.
    """

    def __init__(
        self, env: VectorEnv, directory: str | Path, video_callable: VideoSpec = None,
        force: bool = False, resume: bool = False, write_upon_reset: bool = True, uid: str | None = None,
        mode: str | None = None, *, video: VideoSpec = None, strict: bool = False, fps: float | None = None,
        codec: str = "h264", max_frames: int | None = None, only_env: int = 0,
    ) -> None:  # fmt: skip
        if not 0 <= only_env < env.num_envs:
            raise MonitorError(f"only_env must be a lane from 0 to {env.num_envs - 1}, not {only_env}.")
        self.recorder = Recorder(
            directory, env_id=_env_id(env), force=force, resume=resume, uid=uid, mode=mode or "training",
            video=_choose(video, video_callable), fps=fps, codec=codec, max_frames=max_frames,
        )  # fmt: skip
        super().__init__(env)  # after what may refuse: a vector environment closes itself when collected
        self._autoreset = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self._book = _Book(self.recorder, env, env.num_envs, only_env, lambda: _lane_frame(env, only_env))
        self._filmed = only_env
        self._strict, self._write_upon_reset = strict, write_upon_reset
        self._playing = np.zeros(env.num_envs, dtype=bool)
        self._returns = np.zeros(env.num_envs)
        self._lengths = np.zeros(env.num_envs, dtype=np.int64)
        _open_monitors.add(self)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        mask = np.ones(self.num_envs, dtype=bool)
        if options and options.get("reset_mask") is not None:
            mask = np.array(options["reset_mask"], dtype=bool)
        early = mask & self._playing & (self._lengths > 0)
        if early.any() and self._strict:
            raise MonitorError(_early(self.recorder))
        for lane in np.flatnonzero(early):
            self._end(int(lane), aborted=True)
        # a copy of the options: engines take the mask out of them
        result: tuple[Any, Any] = self.env.reset(seed=seed, options=dict(options) if options else options)
        seeds = _lane_seeds(seed, mask)
        for lane in np.flatnonzero(mask):
            self._begin(int(lane), seeds[lane])
        if self._write_upon_reset:
            self.recorder.stats()
        return result

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        if self._strict and self._autoreset is AutoresetMode.DISABLED and not self._playing.all():
            over = np.flatnonzero(~self._playing).tolist()
            raise ResetNeeded(f"The episodes of lanes {over} are over: reset these lanes before step().")
        result: tuple[Any, Any, Any, Any, dict[str, Any]] = self.env.step(actions)
        _, rewards, terminated, truncated, _ = result
        playing = self._playing.copy()
        self._returns[playing] += np.asarray(rewards, dtype=np.float64)[playing]
        self._lengths += playing
        self._book.steps += int(playing.sum())
        ended = playing & (np.asarray(terminated) | np.asarray(truncated))
        at_once = self._autoreset is AutoresetMode.SAME_STEP
        if playing[self._filmed] and not (at_once and ended[self._filmed]):
            self._book.capture()
        if self._autoreset is AutoresetMode.NEXT_STEP and not playing.all():
            for lane in np.flatnonzero(~playing):  # for them this step was the reset
                self._begin(int(lane), None)
        for lane in np.flatnonzero(ended):
            self._end(int(lane), bool(terminated[lane]), bool(truncated[lane]))
            if at_once:
                self._begin(int(lane), None)
        return result

    def _begin(self, lane: int, seed: int | None) -> None:
        self._returns[lane], self._lengths[lane], self._playing[lane] = 0.0, 0, True
        self._book.begin(lane, seed)
        if lane == self._filmed:
            self._book.capture()

    def _end(
        self, lane: int, terminated: bool = False, truncated: bool = False, aborted: bool = False
    ) -> None:
        self._playing[lane] = False
        lacks_end = self._autoreset is AutoresetMode.SAME_STEP and not aborted
        reward, length = float(self._returns[lane]), int(self._lengths[lane])
        self._book.end(lane, reward, length, terminated, truncated, aborted, final_frame=not lacks_end)

    def get_total_steps(self) -> int:
        """Steps so far over all lanes, those of a resumed record too."""
        return self._book.steps

    def get_episode_rewards(self) -> list[float]:
        """Returns of the episodes that ended under this monitor, in the order of their ends."""
        return self._book.rewards

    def get_episode_lengths(self) -> list[int]:
        """Lengths of the same episodes, in steps."""
        return self._book.lengths

    def close(self, **kwargs: Any) -> None:
        """Finish the record, then close the environment."""
        self.finish_record()
        super().close(**kwargs)

    def finish_record(self) -> None:
        """Record running episodes as aborted and write the last files. A second call does nothing."""
        if self.recorder.live:
            for lane in np.flatnonzero(self._playing):
                self._end(int(lane), aborted=True)
            self.recorder.close()


# What both share -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Running:
    """An episode that has begun in a lane."""

    episode: int
    seed: int | None
    first_step: int


class _Book:
    """Numbers episodes, writes them down when they end, and runs the film of one lane."""

    def __init__(self, recorder: Recorder, env: Any, lanes: int, filmed: int,
                 render: Callable[[], Any]) -> None:  # fmt: skip
        self.steps = recorder.total_steps  # over all lanes, earlier processes included
        self.rewards: list[float] = []
        self.lengths: list[int] = []
        self._recorder = recorder
        self._lanes, self._filmed = lanes, filmed
        self._render = render
        self._kind = filmable(env)
        self._fps = frame_rate(env)
        self._base = recorder.next_episode
        self._before = [0] * lanes  # episodes that each lane began
        self._running: list[_Running | None] = [None] * lanes
        self._film: Film | None = None
        self._filmed_before: int | None = None  # what the schedule remembered before this film

    def begin(self, lane: int, seed: int | None) -> None:
        """An episode starts. One that was only reset, never stepped, is replaced and keeps its number."""
        if self._recorder.first_reset is None:
            self._recorder.first_reset = time.time()
        idle = self._running[lane]
        if idle is None:
            episode = self._base + lane + self._lanes * self._before[lane]
            number = self._base // self._lanes + self._before[lane]
            self._before[lane] += 1
            film = lane == self._filmed and self._kind is not None
            if film:
                self._filmed_before = self._recorder.schedule.last
                film = self._recorder.wants_film(number, self.steps)
        else:
            episode = idle.episode
            film = lane == self._filmed and self._film is not None
            if self._film is not None and film:
                self._film.abort()
        self._running[lane] = _Running(episode, seed, self.steps)
        if film:
            self._film = self._recorder.film(episode, self._fps, text=self._kind == "text")

    def capture(self) -> None:
        """One frame for the film, if there is one. Nothing is rendered otherwise."""
        if self._film is None or not self._film.wants_more:
            return
        try:
            frame = self._render()
        except Exception as error:  # whatever rendering does, the run goes on
            self._film.fail(f"render() raised {type(error).__name__}: {error}")
        else:
            self._film.add(frame)

    def end(self, lane: int, reward: float, length: int, terminated: bool, truncated: bool,
            aborted: bool, final_frame: bool = True) -> None:  # fmt: skip
        running, self._running[lane], video = self._running[lane], None, None
        assert running is not None
        if lane == self._filmed and self._film is not None:
            film, self._film = self._film, None
            if not length:  # never stepped: as if it had not been chosen
                film.abort()
                self._recorder.schedule.last = self._filmed_before
                return
            if aborted:
                film.note["aborted"] = True
            if not final_frame:
                film.note["final_frame"] = False
            video = self._recorder.finish(film)
        if not length:
            return
        self._recorder.episode(
            running.episode, reward=reward, length=length, terminated=bool(terminated),
            truncated=bool(truncated), aborted=aborted, env_index=lane, seed=running.seed,
            first_step=running.first_step, video=video,
        )  # fmt: skip
        if not aborted:
            self.rewards.append(reward)
            self.lengths.append(length)


def _lane_frame(env: VectorEnv, lane: int) -> Any:
    sub_envs = getattr(env.unwrapped, "envs", None)
    if isinstance(sub_envs, list | tuple):  # in this process: draw only the lane that is wanted
        return newest_frame(sub_envs[lane].render())
    frames = env.render()
    return None if frames is None else newest_frame(frames[lane])


def _lane_seeds(seed: Any, mask: np.ndarray) -> list[int | None]:
    """The seed of each lane, from what `reset` takes: one number, or one per lane or per lane reset."""
    if seed is None:
        return [None] * len(mask)
    if isinstance(seed, int | np.integer):
        return [int(seed) + lane for lane in range(len(mask))]
    given = list(seed)
    if len(given) == len(mask):
        return given
    lanes: list[int | None] = [None] * len(mask)
    for lane, value in zip(np.flatnonzero(mask), given, strict=False):
        lanes[lane] = value
    return lanes


def _env_id(env: Any) -> str:
    specs = [env.spec, *(sub.spec for sub in getattr(env.unwrapped, "envs", None) or [])]
    return next((spec.id for spec in specs if spec is not None), "(unknown)")


def _has_autoreset(env: Any) -> bool:
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.Autoreset):
            return True
        env = env.env
    return False


def _choose(video: VideoSpec, video_callable: VideoSpec) -> VideoSpec:
    if video is not None and video_callable is not None:
        raise MonitorError("video and video_callable are two names of one thing: give only one of them.")
    return video_callable if video is None else video


def _early(recorder: Recorder) -> str:
    return (
        f"Tried to reset {recorder.env_id} before its episode was over: with strict=True play it to its end, "
        'or leave strict away and the episode is recorded as "aborted".'
    )


_open_monitors: weakref.WeakSet[Monitor | VectorMonitor] = weakref.WeakSet()


@atexit.register  # after recorder's own, so this runs before it
def _finish_all() -> None:
    for monitor in list(_open_monitors):
        try:
            monitor.finish_record()
        except OSError as error:
            log.warning("at exit: %s", error)
