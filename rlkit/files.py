"""Writing files so that a kill, a full disk or a second process never leaves half of one behind."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError raised inside names `path`: a write to an open file otherwise says only "no space left"."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def temporary(path: Path) -> Path:
    """A fresh name beside `path`, on the same file system, that readers of the folder skip."""
    return path.with_name(f".tmp-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def write_file(path: Path, data: bytes, *, sync: bool) -> None:
    """Write the whole file; with `sync` it is on the disk, not only in memory, when this returns."""
    with naming(path), path.open("wb") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def replace_file(path: Path, data: bytes, *, sync: bool) -> None:
    """Put `data` where `path` is: a reader sees the old file or the new one, never a part."""
    temp = temporary(path)
    try:
        write_file(temp, data, sync=sync)
        temp.replace(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    if sync:
        sync_folder(path.parent)


def replace_link(link: Path, target: Path) -> None:
    """Point `link` to `target` atomically, relative. Quietly nothing where links cannot be made."""
    temp = temporary(link)
    with contextlib.suppress(OSError, ValueError):
        temp.symlink_to(os.path.relpath(target.absolute(), link.parent.absolute()))
        temp.replace(link)
    with contextlib.suppress(OSError):
        temp.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut, where the file system knows how."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class AppendFile:
    """A file that only grows, written through at once: `size` is its exact length at any moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with naming(path):
            self._file = path.open("ab", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    def write(self, data: bytes) -> None:
        """Append all of `data`, or raise an OSError that names the file (a full disk)."""
        rest = memoryview(data)
        with naming(self.path):
            while rest:
                written = self._file.write(rest) or 0
                self.size += written
                rest = rest[written:]

    def sync(self) -> None:
        with naming(self.path), contextlib.suppress(ValueError):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def cut(path: Path, size: int) -> int:
    """Shorten `path` to `size` bytes. Returns what it holds then: less, where bytes were already missing."""
    with naming(path):
        length = path.stat().st_size if path.exists() else 0
        if length > size:
            os.truncate(path, size)
    return min(length, size)
