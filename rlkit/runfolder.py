"""The folder of one run: made once, locked by one process, described by run.json from the first second."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import platform
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rlkit.errors import UserError
from rlkit.files import replace_file, replace_link, write_file
from rlkit.lock import LOCK, Lock, in_use

ENDS = ("done", "stopped", "failed", "preempted")
UNBORN = ("config.yaml", "git.diff")  # all that there is, if the process died before run.json was there
DIFF_LIMIT = 1 << 20  # bytes; a larger difference is data, not code
PACKAGES = {"rlkit": "rlkit-lab", "torch": "torch", "gymnasium": "gymnasium", "numpy": "numpy",
            "hydra": "hydra-core"}  # fmt: skip


class RunFolder:
    """A run's folder while the run is alive. `create` makes one, `open` takes one up again."""

    def __init__(self, path: Path, info: dict[str, Any], lock: Lock) -> None:
        self.path = path
        self.info = info
        self._lock = lock
        self._seconds = float(info.get("seconds") or 0.0)  # of earlier processes
        self._since = time.monotonic()

    @classmethod
    def create(
        cls, root: Path, group: str, *, exact: Path | None = None, claim: Path | None = None
    ) -> RunFolder:
        """A new, empty, locked folder `root/group/<date>_<time>-<id>/`, or exactly the one that is asked for.

        exact: must not exist or be empty; of two processes that race for it exactly one gets it.
        claim: a folder that is already there for us (a job of a multirun).
        Raises UserError where the folder is taken. `root/latest` then points to the new folder.
        """
        if exact is not None or claim is not None:
            path = Path(exact or claim or "")
            with contextlib.suppress(FileExistsError):  # a file of this name is refused below
                path.mkdir(parents=True, exist_ok=True)
            if in_use(path):
                raise UserError(f"another run is at work in {path}; wait for it, or choose another run.dir")
            _refuse_used(path)
            lock = Lock(path)
            try:
                _refuse_used(path)  # another process may have come and gone since we looked
            except UserError:
                lock.release()
                raise
        else:
            path = _fresh(Path(root) / _clean(group))
            lock = Lock(path)
        Path(root).mkdir(parents=True, exist_ok=True)
        replace_link(Path(root) / "latest", path)
        return cls(path, {}, lock)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Take up an existing run, to continue it. UserError where it is no run folder or is in use."""
        path = Path(path)
        info = read_info(path)
        if info is None:
            raise UserError(f"{path} is no run folder: it has no readable run.json")
        lock = Lock(path)
        info = read_info(path) or info  # whoever held it a moment ago may have written its end
        return cls(path, info, lock)

    def start(
        self, config_yaml: str, config: dict[str, Any], command: Sequence[str] | str, overrides: Sequence[str]
    ) -> None:
        """Write config.yaml and a complete run.json, before anything slow happens."""
        write_file(self.path / "config.yaml", config_yaml.encode(), sync=False)
        agent = config.get("agent")
        now = _now()
        self.info = {
            "id": self.path.name,
            "name": self.path.parent.name,
            "status": "running",
            "score": None,
            "steps": 0,
            "seconds": 0.0,
            "sps": 0.0,
            "env": (config.get("env") or {}).get("id"),
            "agent": agent.get("name") if isinstance(agent, dict) else agent,
            "seed": config.get("seed"),
            "command": command if isinstance(command, str) else list(command),
            "overrides": list(overrides),
            "git": git_state(self.path / "git.diff"),
            "versions": versions(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "device": config.get("device"),
            "started": now,
            "updated": now,
            "resume_exact": None,
        }
        self._store(sync=True)

    def restart(self, command: Sequence[str] | str) -> None:
        """Say in run.json that this process continues the run, and keep when and how in `resumes`."""
        again = {"at": _now(), "command": command if isinstance(command, str) else list(command),
                 "after": self.info.get("status"), "versions": versions()}  # fmt: skip
        for stale in ("error", "ended"):
            self.info.pop(stale, None)
        self.info["resumes"] = [*(self.info.get("resumes") or []), again]
        self.write(status="running", host=socket.gethostname(), pid=os.getpid())

    def write(self, **fields: Any) -> None:
        """Merge fields into run.json; whoever reads it sees the old or the new one, never a part."""
        self._merge(fields)
        self._store(sync=False)

    def end(self, status: str, **fields: Any) -> None:
        """How the run ended: done, stopped, failed (give `error`, the exception in a line) or preempted."""
        if status not in ENDS:
            raise ValueError(f"a run ends as one of {', '.join(ENDS)}, not {status!r}")
        self._merge({"status": status, "ended": _now(), **fields})
        self._store(sync=True)

    def close(self) -> None:
        """Let go of the folder. Twice does no harm."""
        self._lock.release()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of this run, all its processes together."""
        return self._seconds + time.monotonic() - self._since

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def tb(self) -> Path:
        return self.path / "tb"

    @property
    def monitor(self) -> Path:
        return self.path / "monitor"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def log(self) -> Path:
        return self.path / "train.log"

    def _merge(self, fields: dict[str, Any]) -> None:
        self.info |= {"updated": _now(), "seconds": round(self.seconds, 3)} | fields

    def _store(self, *, sync: bool) -> None:
        text = json.dumps(finite(self.info), indent=2, ensure_ascii=False)
        replace_file(self.path / "run.json", (text + "\n").encode(), sync=sync)


def read_info(folder: Path) -> dict[str, Any] | None:
    """run.json of a folder, or None where there is none that can be read."""
    try:
        info = json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return info if isinstance(info, dict) else None


@functools.cache
def versions() -> dict[str, str | None]:
    """Versions of what decides the numbers, without importing any of it."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name, distribution in PACKAGES.items():
        try:
            found[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def git_state(diff_file: Path) -> dict[str, Any]:
    """Commit of the working folder's repository; what is not committed goes to `diff_file` (below 1 MB)."""
    state: dict[str, Any] = {"commit": None, "dirty": None}
    status = _git("status", "--porcelain")
    if status is None:
        return state
    commit = _git("rev-parse", "--verify", "-q", "HEAD")
    state = {"commit": commit.decode().strip() if commit else None, "dirty": bool(status.strip())}
    diff = _git("diff", "--no-ext-diff", "--no-color", "HEAD") if commit and status.strip() else None
    if diff and len(diff) < DIFF_LIMIT:
        write_file(diff_file, diff, sync=False)
        state["diff"] = diff_file.name
    return state


def finite(tree: Any) -> Any:
    """The same tree with null for NaN and infinity, which JSON does not know."""
    if isinstance(tree, dict):
        return {str(name): finite(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [finite(value) for value in tree]
    if isinstance(tree, float) and (tree != tree or tree in (float("inf"), float("-inf"))):
        return None
    return tree if isinstance(tree, str | int | float | bool | None) else str(tree)


def _git(*arguments: str) -> bytes | None:
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # `status` then writes nothing
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["git", *arguments], capture_output=True, timeout=10, env=environment)
        return done.stdout if done.returncode == 0 else None
    return None


def _fresh(parent: Path) -> Path:
    """Make a folder nobody had before: mkdir fails where the name is taken, and another one is tried."""
    parent.mkdir(parents=True, exist_ok=True)
    for path in _names(parent):
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise AssertionError("names never end")


def _names(parent: Path) -> Iterator[Path]:
    while True:
        yield parent / f"{datetime.now():%Y%m%d_%H%M%S}-{secrets.token_hex(3)}"


def _clean(group: str) -> str:
    """A folder name from an environment's id: `ALE/Pong-v5-dqn` → `ALE_Pong-v5-dqn`."""
    return re.sub(r"[^\w.+=-]+", "_", group).strip("._") or "run"


def _refuse_used(path: Path) -> None:
    if not path.is_dir():
        raise UserError(f"{path} is not a folder; choose another run.dir")
    names = {entry.name for entry in path.iterdir()}
    unborn = {name for name in names if name in UNBORN or name.startswith(".tmp-run.json")}
    if names - ({LOCK} | unborn if LOCK in names else set()):
        raise UserError(
            f"{path} exists and is not empty: continue it with resume={path} or choose another run.dir"
        )


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
