"""Checkpoints: atomic, verified, frugal. What is loaded is whole and from one moment, or it is refused.

    checkpoints/
      step-000050000/   state.pt + manifest.json (sizes and hashes of all it needs), to continue
      best-000045000/   the same without stores, to evaluate
      segments/         rows of replay, written once and shared between checkpoints
      latest, best      links for people; loading looks at the folders themselves

A save goes into a hidden folder that is renamed when everything in it is on the disk, so a kill at any
moment leaves the checkpoints that were there, plus rubbish that the next save removes.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rlkit.errors import UserError
from rlkit.files import replace_link, sync_folder, temporary, write_file
from rlkit.runfolder import versions
from rlkit.segments import Damaged, Segments, compact, decode, encode, fingerprint, read
from rlkit.types import RowStore, State

FORMAT = 1
NAME = re.compile(r"(?:\.old-)?(step|best)-(\d{9,})")  # .old- holds the place while its step is saved again
LOG = logging.getLogger("rlkit")

Kind = Literal["step", "best"]


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that was read and found whole."""

    step: int
    state: State
    path: Path
    manifest: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run. One process writes (the run's lock sees to that), any number reads."""

    def __init__(self, directory: Path, keep: int = 2, *, rows_per_segment: int | None = None) -> None:
        """keep: how many of the newest of kind "step" stay. rows_per_segment: null means about 256 MB."""
        self.directory = Path(directory)
        self.keep = keep
        self._segments = Segments(self.directory / "segments", rows_per_segment)

    def save(
        self,
        step: int,
        state: State,
        stores: Mapping[str, RowStore] | None = None,
        *,
        kind: Kind = "step",
    ) -> Path:
        """Write everything, then make it visible at once. Returns the checkpoint's folder.

        state: a tree of tensors and plain values (TypeError names the first other thing in it).
        stores: only rows that no earlier checkpoint wrote are written. A "best" is for evaluation: it
        takes no stores and is not resumable. An OSError names the file; what was there stays as it was.
        """
        state = plain(state)
        final = self.directory / f"{kind}-{step:09d}"
        self.directory.mkdir(parents=True, exist_ok=True)
        self._sweep()
        rows = self._segments.save(stores or {}) if kind == "step" else {}
        temp = temporary(final)
        try:
            temp.mkdir()
            data = encode(state)
            write_file(temp / "state.pt", data, sync=True)
            manifest = {
                "format": FORMAT,
                "step": step,
                "kind": kind,
                "resumable": kind == "step",
                "versions": versions(),
                "device": _device(state),
                "files": {"state.pt": fingerprint(data)},
                "stores": rows,
            }
            write_file(temp / "manifest.json", _seal(manifest), sync=True)
            sync_folder(temp)
        except BaseException:
            shutil.rmtree(temp, ignore_errors=True)
            raise
        self._publish(temp, final)
        if kind == "step":
            self._segments.current = rows
        replace_link(self.directory / ("best" if kind == "best" else "latest"), final)
        self._retain(final, kind)
        return final

    def load(
        self,
        which: Literal["latest", "best"] | int | Path | str,
        map_location: str | torch.device = "cpu",
        *,
        stores: bool = False,
    ) -> Loaded:
        """Read a checkpoint: "latest", "best", a step, or a folder. Nothing in it is executed.

        stores: verify the replay segments too, which who wants to continue has to ask for. A damaged
        newest one is passed over with a warning; UserError where nothing whole is left.
        """
        if which == "latest":
            return self._newest(map_location, stores)
        path = self.find(which)
        try:
            return _read(path, map_location, stores)
        except Damaged as damage:
            raise UserError(f"{path} is no checkpoint: {damage}; choose another one") from damage

    def restore(self, loaded: Loaded, stores: Mapping[str, RowStore]) -> None:
        """Fill `stores` with the rows of `loaded`, and forget the future that the run is about to replace.

        Call it on every resume, with or without stores: newer checkpoints of kind "step" are removed, so
        that what is saved from now on follows what was loaded.
        """
        if not loaded.manifest["resumable"]:
            raise UserError(f"{loaded.path} is for evaluation only; resume from checkpoint=latest")
        rows = loaded.manifest["stores"]
        if set(rows) != set(stores):
            raise UserError(
                f"{loaded.path} holds the stores {sorted(rows)}, this agent has {sorted(stores)}; "
                "resume with the agent that was trained"
            )
        home = loaded.path.parent.resolve() == self.directory.resolve()
        source = self._segments if home else Segments(loaded.path.parent / "segments")
        try:
            source.restore(rows, stores)
        except Damaged as damage:
            raise UserError(
                f"{loaded.path} cannot be continued: {damage}; resume from another one"
            ) from damage
        if not home:
            return
        for step, path in self._all("step"):
            if step > loaded.step:
                _remove(path)
        self._sweep()
        replace_link(self.directory / "latest", loaded.path)

    def verify(self, path: Path) -> list[str]:
        """What is wrong with a checkpoint, replay segments included; empty where it is whole."""
        try:
            _read(Path(path), "cpu", True)
        except Damaged as damage:
            return [str(damage)]
        return []

    def steps(self, kind: Kind = "step") -> list[int]:
        """The steps at which there are checkpoints, oldest first."""
        return [step for step, _ in self._all(kind)]

    def find(self, which: int | Path | str) -> Path:
        """The folder of "latest", "best", a step or a path; UserError where there is none."""
        text = str(which)
        if text in ("latest", "best"):
            kind: Kind = "best" if text == "best" else "step"
            linked = (self.directory / text).resolve()
            there = self._all(kind)
            if kind == "best" and linked in [path.resolve() for _, path in there]:
                return self.directory / linked.name
            if there:
                return there[-1][1]
        elif text.isdecimal():
            for kind in ("step", "best"):
                for step, path in self._all(kind):
                    if step == int(text):
                        return path
        else:
            path = Path(text)
            path = path if path.exists() else self.directory / text
            path = path.parent if path.name in ("state.pt", "manifest.json") else path
            if (path / "manifest.json").is_file():
                return path
            raise UserError(f"{which} is no checkpoint: it has no manifest.json; {self._choices()}")
        if text == "best" and self._all("step"):
            raise UserError(
                f"no evaluation has chosen a best checkpoint in {self.directory}; write checkpoint=latest"
            )
        raise UserError(f"there is no checkpoint {text} in {self.directory}; {self._choices()}")

    def _newest(self, map_location: str | torch.device, stores: bool) -> Loaded:
        wrong: list[str] = []
        for _, path in reversed(self._all("step")):
            try:
                loaded = _read(path, map_location, stores)
            except Damaged as damage:
                wrong.append(f"{path.name} is damaged ({damage})")
                continue
            if wrong:
                LOG.warning("%s: using %s instead", "; ".join(wrong), path)
            return loaded
        if wrong:
            raise UserError(f"{self.directory} holds no checkpoint that is whole: {'; '.join(wrong)}")
        raise UserError(f"there is no checkpoint in {self.directory}; {self._choices()}")

    def _choices(self) -> str:
        names = [path.name for kind in ("step", "best") for _, path in self._all(kind)]
        return f"there are {', '.join(names)}" if names else "the run has saved none yet"

    def _all(self, kind: str) -> list[tuple[int, Path]]:
        """Folders of one kind in the order of their steps, damaged or not."""
        found: dict[int, Path] = {}
        if self.directory.is_dir():
            for path in sorted(self.directory.iterdir()):  # .old- comes first and gives way to the new one
                match = NAME.fullmatch(path.name)
                if match and match[1] == kind and path.is_dir() and not path.is_symlink():
                    found[int(match[2])] = path
        return sorted(found.items())

    def _publish(self, temp: Path, final: Path) -> None:
        """Rename into place. A step saved again stands aside under a name that loading still knows."""
        aside = final.with_name(f".old-{final.name}")
        if final.exists():
            _remove(aside)
            final.replace(aside)
        temp.replace(final)
        sync_folder(self.directory)
        _remove(aside)

    def _retain(self, newest: Path, kind: Kind) -> None:
        there = [path for _, path in self._all(kind) if path != newest]
        spare = there if kind == "best" else there[: max(0, len(there) - (self.keep - 1))]
        for path in spare:
            _remove(path)
        manifests = [_manifest(path) for _, path in self._all("step")]
        if None not in manifests:  # one that cannot be read might still need its segments
            stores = [store for manifest in manifests if manifest for store in manifest["stores"].values()]
            self._segments.forget_all_but({part["file"] for store in stores for part in store["segments"]})

    def _sweep(self) -> None:
        """Remove what saves that died left behind."""
        for path in self.directory.glob(".tmp-*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for path in self.directory.glob(".old-*"):
            if (self.directory / path.name.removeprefix(".old-")).exists():
                _remove(path)


def _read(path: Path, map_location: str | torch.device, stores: bool) -> Loaded:
    """Read and verify one checkpoint folder, its replay segments too if asked; Damaged says what is wrong."""
    manifest = _manifest(path)
    if manifest is None:
        raise Damaged("its manifest.json is missing or changed")
    if manifest["format"] > FORMAT:
        raise UserError(f"{path} was written by a newer rlkit (format {manifest['format']}); update rlkit")
    if stores:
        Segments(path.parent / "segments").verify(manifest["stores"])
    data = read(path, "state.pt", manifest["files"]["state.pt"])
    return Loaded(manifest["step"], decode(data, "state.pt", map_location), path, manifest)


def _seal(manifest: dict[str, Any]) -> bytes:
    """The manifest as bytes, with a hash of itself: everything else is believed because of it."""
    text = json.dumps(manifest, sort_keys=True)
    return json.dumps({**manifest, "seal": fingerprint(text.encode())["sha256"]}, indent=1).encode()


def _manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a checkpoint folder, or None where there is none that is as it was written."""
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        seal = manifest.pop("seal")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    text = json.dumps(manifest, sort_keys=True)
    return manifest if fingerprint(text.encode())["sha256"] == seal else None


def _device(state: Any) -> str:
    """Where the tensors of a state lived: the first device that is not the host, else the host."""
    found = {str(leaf.device) for leaf in _tensors(state)}
    return min(found - {"cpu"}, default="cpu")


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict | list | tuple):
        for leaf in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors(leaf)


def _remove(path: Path) -> None:
    """Remove a folder in a way that a kill in the middle leaves rubbish, not half a checkpoint."""
    if path.exists():
        gone = temporary(path)
        path.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)


def plain(state: Any, where: str = "state") -> Any:
    """The same tree in exactly the types that load without executing anything; TypeError names any other.

    Tensors are detached; one that is a view of something larger is copied, or all of it would be saved.
    """
    kind = type(state)
    if state is None or kind in (int, float, bool, str, bytes):
        return state
    if isinstance(state, Tensor) and kind in (Tensor, torch.nn.Parameter):
        return compact(state)
    if isinstance(state, dict):
        for key in state:
            if type(key) not in (int, float, bool, str):
                raise TypeError(f"{where} has a key of type {type(key).__name__}: {key!r}; use str or int")
        return {key: plain(value, f"{where}[{key!r}]") for key, value in state.items()}
    if kind in (list, tuple):
        return kind(plain(value, f"{where}[{index}]") for index, value in enumerate(state))
    raise TypeError(
        f"{where} is a {kind.__module__}.{kind.__name__}: a checkpoint holds only tensors, int, float, "
        "bool, None, str, bytes, list, tuple and dict"
    )
