"""Replay rows on disk: immutable segments that checkpoints share, and files that prove they are whole."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlkit.files import naming, sync_folder, temporary, write_file
from rlkit.types import RowStore

SEGMENT_BYTES = 256 << 20  # a segment is built and read in memory, so it stays well below a replay's size


class Damaged(Exception):
    """What is wrong with a checkpoint, in words that follow its name."""


class Segments:
    """The rows of the stores, in files `<store>-<start>-<stop>-<random>.pt` that are never changed.

    `current` lists, by store, the files that hold the rows up to the last save. A run that went back to
    an older checkpoint writes the same row numbers again; the random part keeps the two apart.
    """

    def __init__(self, folder: Path, rows_per_segment: int | None = None) -> None:
        self.folder = folder
        self.rows_per_segment = rows_per_segment
        self.current: dict[str, Any] = {}

    def save(self, stores: Mapping[str, RowStore]) -> dict[str, Any]:
        """Write the rows that `current` lacks. Returns what `current` is to be when the checkpoint stands."""
        saved: dict[str, Any] = {}
        for name, store in stores.items():
            if not re.fullmatch(r"\w+", name):
                raise ValueError(f"the store {name!r} names files; use letters, digits and _")
            oldest, total = store.oldest, store.total
            before = self.current.get(name, {}).get("segments", [])
            segments = [segment for segment in before if segment["stop"] > oldest]
            start = max(oldest, segments[-1]["stop"] if segments else oldest)
            segments += self._write(name, store, start, total)
            saved[name] = {"oldest": oldest, "total": total, "segments": segments}
        return saved

    def restore(self, saved: Mapping[str, Any], stores: Mapping[str, RowStore]) -> None:
        """Give every store its living rows back, in order. Damaged says which file cannot be believed."""
        for name, store in stores.items():
            for start, _, rows in self.pieces(name, saved[name]):
                store.write_rows(start, rows)
        self.current = dict(saved)

    def pieces(self, name: str, saved: Mapping[str, Any]) -> Iterator[tuple[int, int, dict[str, Tensor]]]:
        """The living rows of one store, in order: first row, one past the last, and the rows."""
        for segment in _covering(name, saved):
            rows = decode(read(self.folder, segment["file"], segment), segment["file"])
            start = max(segment["start"], saved["oldest"])
            yield start, segment["stop"], select(rows, segment["start"], start, segment["stop"])

    def verify(self, saved: Mapping[str, Any]) -> None:
        """Raise Damaged where a file is missing, cut or changed, or rows are missing between two."""
        for name, store in saved.items():
            for segment in _covering(name, store):
                check(self.folder, segment["file"], segment)

    def forget_all_but(self, used: set[str]) -> None:
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name not in used:
                    path.unlink(missing_ok=True)

    def _write(self, name: str, store: RowStore, start: int, total: int) -> list[dict[str, Any]]:
        written: list[dict[str, Any]] = []
        if start >= total:
            return written
        self.folder.mkdir(parents=True, exist_ok=True)
        pieces = self.rows_per_segment or max(1, SEGMENT_BYTES // _row_bytes(store, start))
        for first in range(start, total, pieces):
            last = min(first + pieces, total)
            rows = {key: compact(value) for key, value in store.read_rows(first, last).items()}
            data = encode(rows)
            path = self.folder / f"{name}-{first:09d}-{last:09d}-{secrets.token_hex(4)}.pt"
            temp = temporary(path)
            write_file(temp, data, sync=True)
            temp.replace(path)
            written.append({"file": path.name, "start": first, "stop": last, **fingerprint(data)})
        sync_folder(self.folder)
        return written


def select(rows: Mapping[str, Tensor], begin: int, first: int, last: int) -> dict[str, Tensor]:
    """Rows [first, last) of columns that begin at row `begin`; `#GROUP/…` columns hold some rows only."""
    masks = {
        key.partition("/")[0]: (numbers >= first) & (numbers < last)
        for key, numbers in rows.items()
        if key.startswith("#") and key.partition("/")[2] == "row"
    }
    every = slice(first - begin, last - begin)
    return {
        key: column[masks[key.partition("/")[0]] if key.startswith("#") else every]
        for key, column in rows.items()
    }


def compact(tensor: Tensor) -> Tensor:
    """The detached tensor; a copy where it is a view of something larger, all of which would be saved."""
    tensor = tensor.detach()
    if tensor.layout == torch.strided and tensor.untyped_storage().nbytes() > tensor.nbytes:
        return tensor.clone()
    return tensor


def encode(tree: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    return buffer.getvalue()


def decode(data: bytes, name: str, map_location: str | torch.device = "cpu") -> Any:
    """What `encode` was given. Executes nothing: Damaged where the bytes are not plain data."""
    try:
        return torch.load(io.BytesIO(data), map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise Damaged(f"{name} holds more than plain data, and nothing else is loaded") from error
    except (EOFError, ValueError, KeyError) as error:
        raise Damaged(f"{name} cannot be read") from error
    except RuntimeError as error:
        if "PytorchStreamReader" not in str(error):  # a missing device, say, is not the file's fault
            raise
        raise Damaged(f"{name} cannot be read") from error


def fingerprint(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def read(folder: Path, name: str, expected: Mapping[str, Any]) -> bytes:
    """The bytes of a file if they are those that were written; Damaged otherwise."""
    path = _inside(folder, name, expected)
    with naming(path):
        data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != expected["sha256"]:
        raise Damaged(f"the contents of {name} have changed")
    return data


def check(folder: Path, name: str, expected: Mapping[str, Any]) -> None:
    """The same check without keeping the bytes."""
    path = _inside(folder, name, expected)
    with naming(path), path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected["sha256"]:
        raise Damaged(f"the contents of {name} have changed")


def _inside(folder: Path, name: str, expected: Mapping[str, Any]) -> Path:
    path = folder / name
    if Path(name).name != name:
        raise Damaged(f"{name} leads out of its folder")
    if not path.is_file():
        raise Damaged(f"{name} is missing")
    if path.stat().st_size != expected["size"]:
        raise Damaged(f"{name} has {path.stat().st_size:,} bytes instead of {expected['size']:,}")
    return path


def _covering(name: str, saved: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The segments of one store, which must lie end to end over [oldest, total)."""
    reached: int = saved["oldest"]
    for segment in saved["segments"]:
        if segment["start"] > reached or segment["stop"] <= reached:
            raise Damaged(f"rows {reached:,} to {segment['start']:,} of {name} are missing")
        reached = segment["stop"]
    if reached != saved["total"]:
        raise Damaged(f"rows {reached:,} to {saved['total']:,} of {name} are missing")
    return list(saved["segments"])


def _row_bytes(store: RowStore, row: int) -> int:
    return max(1, sum(value.nbytes for value in store.read_rows(row, row + 1).values()))
