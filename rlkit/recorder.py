"""The Recorder: writes one linked record of episodes into a directory, whoever plays them.

A manifest, appended episode records (one JSON line each), films and their metadata. The manifest exists
from the first moment, so a killed run is seen by the next one. The layout is told in `records`.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import time
import weakref
from pathlib import Path
from typing import Any

from rlkit.films import Film, VideoSpec, schedule
from rlkit.records import (
    PREFIX,
    TYPES,
    MonitorError,
    claim,
    guard,
    manifest_episodes,
    manifest_path,
    manifests,
    plain,
    read_records,
    records_path,
    same_environment,
    stats_path,
    summary,
    versions,
    write_json,
)

log = logging.getLogger("rlkit")


class Recorder:
    """Writes the record of the episodes of one run into `directory`; it knows no environment.

    env_id: what the episodes were played on. force: delete the `openaigym.*` files that are there. resume:
    keep them and continue their counters (of the same mode) under a new infix. uid: used in file names
    instead of the process id. mode: training or evaluation. video: which episodes `wants_film` says yes to.
    fps, codec, max_frames: of films. run_id: links the record to its run.
    Raises MonitorError when the directory already holds a record and neither force nor resume is given.
    """

    def __init__(self, directory: str | Path, *, env_id: str = "(unknown)", force: bool = False,
                 resume: bool = False, uid: str | None = None, mode: str = "training",
                 video: VideoSpec = None, max_frames: int | None = None, fps: float | None = None,
                 codec: str = "h264", run_id: str | None = None) -> None:  # fmt: skip
        if mode not in TYPES:
            raise MonitorError(f"mode must be training or evaluation, not {mode!r}.")
        if uid is not None and not re.fullmatch(r"[\w.-]+", str(uid)):
            raise MonitorError(
                f"uid becomes part of file names: use letters, digits, '_', '-', '.', not {uid!r}."
            )
        self.schedule = schedule(video)
        self.directory = Path(directory)
        self.env_id, self.mode, self.run_id = env_id, mode, run_id
        self.fps, self.codec, self.max_frames = fps, codec, max_frames
        self.next_episode = 0  # one past the highest episode number recorded or filmed
        self.total_steps = 0  # summed over the recorded episodes
        self.closed = False
        self.first_reset: float | None = None  # wall clock; whoever plays may set it
        self._videos: list[list[str]] = []
        self._stats_episodes = -1  # how many episodes the newest stats.json has
        self._pid = os.getpid()
        self._created, self._started = time.time(), time.monotonic()

        guard(self.directory, force, resume)
        if resume:
            self._continue()
        self.infix = claim(self.directory, str(uid or self._pid))
        self.records_path = records_path(self.directory, self.infix)
        self._file = self.records_path.open("ab", buffering=0)
        self._bytes = self._episodes = 0
        self._write_manifest()
        _open_recorders.add(self)

    # Episodes

    def episode(self, episode: int, *, reward: float, length: int, terminated: bool, truncated: bool,
                aborted: bool = False, env_index: int = 0, seed: int | None = None, first_step: int = 0,
                video: str | None = None, extra: dict[str, Any] | None = None) -> None:  # fmt: skip
        """Append one finished episode; it is with the operating system when this returns.

        reward: the return. length: in steps. aborted: it was cut by a reset or by closing. first_step:
        steps done over all lanes before it. video: its film's name. extra: more facts (genome_id, …).
        Raises OSError with the file's path when the disk is full; the file then still ends in a whole line.
        """
        self._refuse_strangers()
        record = {
            "episode": int(episode), "env_index": int(env_index), "seed": None if seed is None else int(seed),
            "return": float(reward), "length": int(length), "terminated": bool(terminated),
            "truncated": bool(truncated), "aborted": bool(aborted), "first_step": int(first_step),
            "type": TYPES[self.mode], "timestamp": time.time(),
            "elapsed": time.monotonic() - self._started, "video": video,
        }  # fmt: skip
        if extra and (clash := record.keys() & extra.keys()):
            raise ValueError(f"extra facts must not repeat the record's own: {', '.join(sorted(clash))}")
        self._append(json.dumps(record | (extra or {}), default=plain).encode() + b"\n")
        self._episodes += 1
        self.next_episode = max(self.next_episode, int(episode) + 1)
        self.total_steps += int(length)

    def _append(self, line: bytes) -> None:
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:]) or 0
        except OSError as error:
            self._file.truncate(self._bytes)  # no half line in the middle of the file
            raise OSError(error.errno, error.strerror, str(self.records_path)) from error
        self._bytes += len(line)

    # Films

    def wants_film(self, episode: int, step: int) -> bool:
        """Ask the schedule, once per episode, at its start. step: steps done before it."""
        return self.schedule(episode, step)

    def film(self, episode_id: int, fps: float | None = None, extra: dict[str, Any] | None = None,
             text: bool = False) -> Film:  # fmt: skip
        """Start the film of an episode; hand it back with `finish`. text: an asciicast, not an mp4."""
        self._refuse_strangers()
        suffix = "cast" if text else "mp4"
        name = f"{PREFIX}video.{self.infix}.video{episode_id:06}.{suffix}"
        film = Film(self.directory / name, self.fps or fps or 30, self.codec, self.max_frames)
        film.note = {"episode_id": int(episode_id)} | (extra or {})
        self.next_episode = max(self.next_episode, int(episode_id) + 1)  # its name is taken, recorded or not
        return film

    def finish(self, film: Film) -> str | None:
        """Close a film, write its metadata, link it. Returns the file name, None if there is no film."""
        facts = film.close()
        meta = f"{film.path.stem}.meta.json"
        try:
            write_json(self.directory / meta, facts)
            if film.problem is not None or not film.frames:
                return None
            self._videos.append([film.path.name, meta])
            self._write_manifest()
        except OSError as error:
            film.fail(f"its metadata could not be written: {error}")
            return None
        return film.path.name

    # Summaries, and surviving

    def stats(self, force: bool = False) -> None:
        """Bring `stats.json` up to date, in the layout of the old Monitor.

        It is skipped until there are a tenth more episodes than in the last one, unless forced: writing a
        whole file more often is quadratic. The records are complete in any case.
        """
        if not force and self._episodes < max(1, self._stats_episodes * 1.1):
            return
        columns = summary(read_records(self.records_path), self.first_reset or self._created)
        write_json(stats_path(self.directory, self.infix), columns)
        self._stats_episodes = self._episodes

    def sync(self) -> None:
        """Wait until every record is on the disk itself."""
        os.fsync(self._file.fileno())

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to bring the directory back to this moment, as plain data.

        It covers the files of this run_id and mode, those of earlier processes too.
        """
        self.sync()
        lengths, videos = {}, []
        for infix, manifest in self._own_manifests().items():
            path = records_path(self.directory, infix)
            lengths[path.name] = path.stat().st_size if path.exists() else 0
            videos += [list(pair) for pair in manifest["videos"]]
        return {
            "lengths": lengths,
            "videos": videos,
            "next_episode": self.next_episode,
            "total_steps": self.total_steps,
            "last_filmed": self.schedule.last,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Cut records back to `state`, delete films made after it, continue its counters.

        Only files of this run_id and mode are touched, and only those named openaigym.*.
        """
        kept = {name for pair in state["videos"] for name in pair}
        for infix, manifest in self._own_manifests().items():
            film_name = re.compile(rf"openaigym\.video\.{re.escape(infix)}\.video\d+\..*")
            for file in list(self.directory.iterdir()):
                if film_name.fullmatch(file.name) and file.name not in kept:
                    file.unlink()
            stats_path(self.directory, infix).unlink(missing_ok=True)
            path, records = manifest_path(self.directory, infix), records_path(self.directory, infix)
            if infix != self.infix and records.name not in state["lengths"]:
                path.unlink()
                records.unlink(missing_ok=True)
                continue
            if records.exists():
                length = min(state["lengths"].get(records.name, 0), records.stat().st_size)
                os.truncate(records, length)
            manifest["videos"] = [pair for pair in manifest["videos"] if pair[0] in kept]
            write_json(path, manifest)
            if infix == self.infix:
                self._videos = manifest["videos"]
        self._bytes = self.records_path.stat().st_size
        self._episodes = sum(1 for _ in read_records(self.records_path))
        self._stats_episodes = -1
        self.next_episode, self.total_steps = state["next_episode"], state["total_steps"]
        self.schedule.last = state["last_filmed"]

    @property
    def live(self) -> bool:
        """False once closed, and in a forked child: nothing here belongs to it."""
        return not self.closed and os.getpid() == self._pid

    def close(self) -> None:
        """Write stats and manifest a last time. A second call does nothing."""
        if not self.live:
            return
        self.closed = True
        try:
            self.stats(force=True)
            self._write_manifest()
        finally:
            self._file.close()

    # Inside

    def _refuse_strangers(self) -> None:
        if self.closed:
            raise MonitorError(f"The monitor of {self.directory} is closed; open a new one with resume=True.")
        if os.getpid() != self._pid:
            raise MonitorError(
                f"The monitor of {self.directory} belongs to another process; "
                "open one with resume=True after the fork."
            )

    def _continue(self) -> None:
        same_environment(self.directory, self.env_id)
        last: list[int] = []
        for manifest in manifests(self.directory).values():
            if manifest.get("mode", self.mode) == self.mode and manifest.get("last_filmed") is not None:
                last.append(manifest["last_filmed"])
            for record in manifest_episodes(self.directory, manifest):
                if record["type"] == TYPES[self.mode]:
                    self.next_episode = max(self.next_episode, record["episode"] + 1)
                    self.total_steps += record["length"]
        self.schedule.last = max(last, default=None)

    def _own_manifests(self) -> dict[str, dict[str, Any]]:
        return {
            infix: manifest
            for infix, manifest in manifests(self.directory).items()
            if manifest.get("run_id", "") == self.run_id and manifest.get("mode") == self.mode
        }

    def _write_manifest(self) -> None:
        content = {
            "stats": stats_path(self.directory, self.infix).name,
            "videos": self._videos,
            "env_info": {"gym_version": versions()["gymnasium"], "env_id": self.env_id},
            "records": self.records_path.name,
            "infix": self.infix,
            "run_id": self.run_id,
            "mode": self.mode,
            "created": self._created,
            "last_filmed": self.schedule.last,
            "closed": self.closed,
            "versions": versions(),
        }
        write_json(manifest_path(self.directory, self.infix), content)


_open_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for recorder in list(_open_recorders):
        try:
            recorder.close()
        except OSError as error:
            log.warning("at exit: %s", error)
