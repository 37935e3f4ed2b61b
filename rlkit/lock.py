"""One process at a time in a run folder, and a way to ask whether somebody is there."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from rlkit.errors import UserError
from rlkit.files import naming

try:
    import fcntl

    FLOCK = True
except ImportError:  # Windows: the existence of run.lock is the lock
    FLOCK = False

LOCK = "run.lock"
_HELD: set[int] = set()  # file numbers of the locks of this process


class Lock:
    """run.lock, held by this process until `release` or death. UserError where another one holds it.

    The operating system frees a flock when its holder dies, however it dies. Where there is none, the
    file itself is the lock, and one left by a dead process of this host is taken over.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._file: int | None = None
        self._by_existence = False
        for attempt in range(5):
            if self._take():
                break
            if attempt < 4:
                time.sleep(0.05)  # someone listing runs probes a lock for some microseconds
        else:
            holder = _holder(self.path)
            raise UserError(
                f"{folder} is already in use by process {holder.get('pid', '?')} on host "
                f"{holder.get('host', '?')}; wait for it, stop it, or choose another run.dir"
            )

    def release(self) -> None:
        if self._file not in _HELD:  # never taken, let go before, or a forked copy of somebody's lock
            return
        _HELD.discard(self._file)
        if FLOCK:
            with contextlib.suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)  # a child may be on its way to closing its copy
        os.close(self._file)
        self._file = None
        if self._by_existence:
            self.path.unlink(missing_ok=True)

    def _take(self) -> bool:
        try:
            file, created = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), True
        except FileExistsError:
            try:
                file, created = os.open(self.path, os.O_RDWR), False
            except FileNotFoundError:
                return False
        taken = _flock(file)
        self._by_existence = taken is None
        if taken or (taken is None and created):
            with naming(self.path):
                os.ftruncate(file, 0)
                os.write(file, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
            self._file = file
            _HELD.add(file)
            return True
        os.close(file)
        holder = _holder(self.path)
        if taken is None and holder.get("host") == socket.gethostname() and not alive(holder.get("pid")):
            self.path.unlink(missing_ok=True)  # the next attempt may create it
        return False


def _forget_locks() -> None:
    """A forked worker that outlives its killed parent would otherwise keep the run locked."""
    for file in _HELD:
        with contextlib.suppress(OSError):
            os.close(file)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


def _flock(file: int, *, shared: bool = False) -> bool | None:
    """True: locked. False: somebody else has it. None: there are no such locks here."""
    if not FLOCK:
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def in_use(folder: Path) -> bool:
    """Is a living process at work in this run folder? Only looks; takes nothing for longer than a moment."""
    path = Path(folder) / LOCK
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        taken = _flock(file, shared=True)
    finally:
        os.close(file)
    if taken is None:
        holder = _holder(path)
        return bool(holder) and (holder.get("host") != socket.gethostname() or alive(holder.get("pid")))
    return not taken


def alive(pid: object) -> bool:
    """Does a process with this number exist on this host?"""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _holder(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        holder = json.loads(path.read_text(encoding="utf-8"))
        return holder if isinstance(holder, dict) else {}
    return {}
