"""The record of episodes in a directory: names, layout, and how to read it back.

Everything is named `openaigym.*` with one infix per recorder, `{number}.{uid or pid}`:

    openaigym.manifest.{infix}.manifest.json            links the rest; there from the first moment
    openaigym.episode_batch.{infix}.episodes.jsonl      one line per episode, appended
    openaigym.episode_batch.{infix}.stats.json          the same as columns, as the old Monitor had them
    openaigym.video.{infix}.video{episode:06}.mp4       and .cast for text
    openaigym.video.{infix}.video{episode:06}.meta.json
"""

from __future__ import annotations

import itertools
import json
import platform
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from rlkit.errors import UserError
from rlkit.files import naming

PREFIX = "openaigym."
TYPES = {"training": "t", "evaluation": "e"}
UNKNOWN = "(unknown)"  # environment without a spec
_numbers = itertools.count()  # the first half of the infix: recorders made by this process


class MonitorError(UserError):
    """A monitor was asked for something that would lose or mix records."""


def guard(directory: Path, force: bool, resume: bool) -> None:
    """Make the directory; refuse, or clear, one that already holds a record."""
    if directory.exists() and not directory.is_dir():
        raise MonitorError(f"{directory} is a file; give the monitor a directory.")
    directory.mkdir(parents=True, exist_ok=True)
    there = sorted(path for path in directory.iterdir() if path.name.startswith(PREFIX) and path.is_file())
    if force:
        for path in there:
            path.unlink()
    elif there and not resume:
        names = ", ".join(path.name for path in there[:5]) + (", …" if len(there) > 5 else "")
        raise MonitorError(
            f"{directory} already holds monitor files ({names}): use another directory, "
            "force=True to delete these files, or resume=True to continue them."
        )


def claim(directory: Path, uid: str) -> str:
    """An infix that no file in the directory uses; its records file is made, exclusively."""
    while True:
        infix = f"{next(_numbers)}.{uid}"
        if any(p.name.startswith(PREFIX) and f".{infix}." in p.name for p in directory.iterdir()):
            continue
        try:
            records_path(directory, infix).touch(exist_ok=False)
        except FileExistsError:  # another process was faster
            continue
        return infix


def manifest_path(directory: Path, infix: str) -> Path:
    return directory / f"{PREFIX}manifest.{infix}.manifest.json"


def records_path(directory: Path, infix: str) -> Path:
    return directory / f"{PREFIX}episode_batch.{infix}.episodes.jsonl"


def stats_path(directory: Path, infix: str) -> Path:
    return directory / f"{PREFIX}episode_batch.{infix}.stats.json"


def manifests(directory: Path) -> dict[str, dict[str, Any]]:
    """Every manifest of a directory by its infix, in order of name."""
    head, tail = manifest_path(directory, "*").name.split("*")
    paths = sorted(directory.glob(f"{head}*{tail}"))
    return {path.name[len(head) : -len(tail)]: _read_json(path) for path in paths}


def manifest_episodes(directory: Path, manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The episode records that a manifest points to, of the new layout or of the old one."""
    records = directory / Path(manifest.get("records") or "-").name
    if records.is_file():
        yield from read_records(records)
        return
    path = directory / Path(manifest["stats"]).name
    if not path.is_file():
        return
    old = _read_json(path)
    types = old.get("episode_types") or ["t"] * len(old["timestamps"])
    rows = zip(old["timestamps"], old["episode_lengths"], old["episode_rewards"], types, strict=False)
    step = 0
    for episode, (timestamp, length, reward, kind) in enumerate(rows):
        yield {
            "episode": episode, "env_index": 0, "seed": None, "return": reward, "length": length,
            "terminated": None, "truncated": None, "aborted": False, "first_step": step, "type": kind,
            "timestamp": timestamp, "elapsed": None, "video": None,
        }  # fmt: skip
        step += length


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The episodes of one records file. A last line that a crash tore is left out."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError:
                raise MonitorError(
                    f"{path}, line {number} is no record; delete that line to go on."
                ) from None


def summary(episodes: Iterable[dict[str, Any]], first_reset: float | None) -> dict[str, Any]:
    """Records → the columns of `stats.json`; aborted episodes are left out."""
    names = {
        "timestamps": "timestamp", "episode_lengths": "length", "episode_rewards": "return",
        "episode_types": "type", "terminated": "terminated", "truncated": "truncated", "seed": "seed",
        "first_step": "first_step", "env_index": "env_index",
    }  # fmt: skip
    columns: dict[str, Any] = {"initial_reset_timestamp": first_reset} | {name: [] for name in names}
    for record in episodes:
        if not record["aborted"]:
            for name, key in names.items():
                columns[name].append(record[key])
    return columns


def load_results(directory: str | Path) -> dict[str, Any] | None:
    """All records of a directory as one set of columns, sorted by time; None where there is no manifest.

    It reads folders of the old Gym Monitor too. Keys of old: `manifests, env_info, data_sources, timestamps,
    episode_lengths, episode_rewards, episode_types, initial_reset_timestamps, initial_reset_timestamp,
    videos` ([(video, metadata)] paths). New: `terminated, truncated, seed, first_step, env_index` (None
    where an old folder does not say), `episodes` (every record as a dict, aborted ones too: the columns
    leave those out) and `films` (the metadata of each video, with its path).
    Raises MonitorError when two manifests disagree on the environment.
    """
    directory = Path(directory)
    by_infix = manifests(directory)
    found = list(by_infix.values())
    if not found:
        return None
    same_environment(directory)
    episodes = [
        record | {"data_source": source}
        for source, manifest in enumerate(found)
        for record in manifest_episodes(directory, manifest)
    ]
    episodes.sort(key=lambda record: record["timestamp"])
    resets = [_first_reset(directory, manifest) for manifest in found]
    pairs = [
        (directory / Path(video).name, directory / Path(meta).name)
        for manifest in found
        for video, meta in manifest["videos"]
    ]
    results = {
        "manifests": [str(manifest_path(directory, infix)) for infix in by_infix],
        "env_info": found[0]["env_info"],
        "data_sources": [record["data_source"] for record in episodes if not record["aborted"]],
        "initial_reset_timestamps": resets,
        "videos": [(str(video), str(meta)) for video, meta in pairs],
        "films": [{"path": str(video)} | _read_json(meta) for video, meta in pairs if meta.is_file()],
        "episodes": episodes,
    }
    return results | summary(episodes, min((t for t in resets if t is not None), default=None))


def same_environment(directory: Path, env_id: str = UNKNOWN) -> None:
    """Refuse a directory whose manifests, or `env_id`, name different environments."""
    ids = {str(manifest["env_info"]["env_id"]) for manifest in manifests(directory).values()}
    known = sorted((ids | {env_id}) - {UNKNOWN, "None"})
    if len(known) > 1:
        raise MonitorError(
            f"{directory} mixes environments ({', '.join(known)}); give each its own directory."
        )


def _first_reset(directory: Path, manifest: dict[str, Any]) -> float | None:
    """When the first episode of a manifest began, by the wall clock."""
    stats = directory / Path(manifest["stats"]).name
    written = _read_json(stats).get("initial_reset_timestamp") if stats.is_file() else None
    return written if written is not None else manifest.get("created")


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all: a reader never sees half a file."""
    temporary = path.with_name(path.name + "~")
    with naming(path):  # a full disk does not say where
        temporary.write_text(json.dumps(content, default=plain), encoding="utf-8")
        temporary.replace(path)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise MonitorError(f"{path} is damaged; delete it to read the rest of the directory.") from None


def plain(value: Any) -> Any:
    """NumPy scalars and arrays as JSON knows them; anything else as text."""
    tolist: Callable[[], Any] | None = getattr(value, "tolist", None)
    return tolist() if tolist is not None else str(value)


@cache
def versions() -> dict[str, str]:
    """What the records were made with; nothing is imported for it."""
    found = {"python": platform.python_version()}
    packages = {"rlkit": "rlkit-lab", "gymnasium": "gymnasium", "torch": "torch", "av": "av"}
    for name, distribution in packages.items():
        try:
            found[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found
