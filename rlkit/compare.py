"""Are two runs the same, bit for bit? What depends on the clock, the process or a file's name is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlkit.checkpoint import Checkpoints
from rlkit.segments import Segments, select

Result = tuple[bool, str]  # equal?, and what was compared or where the first difference is

CLOCK = frozenset({"elapsed", "files", "host", "pid", "seconds", "sps", "started", "time", "timestamp",
                   "video", "videos"})  # fmt: skip
FILE_STATE = frozenset(
    {"logger", "monitor"}
)  # these parts of a state tell of files; the rest is compared whole
MOST = 20  # lines of configuration differences


def configs(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """One line per key that differs; where a run lives and how it was continued do not count."""
    first, second = _flat(a), _flat(b)
    lines = []
    for name in sorted(first.keys() | second.keys()):
        if name.startswith("run.") or name == "resume" or first.get(name) == second.get(name):
            continue
        lines.append(f"{name}: {first.get(name, 'absent')} | {second.get(name, 'absent')}")
    return lines[:MOST] + ([f"and {len(lines) - MOST} more"] if len(lines) > MOST else [])


def rows(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> Result:
    """Rows of metrics, in order."""
    for number, (left, right) in enumerate(zip(a, b, strict=False)):
        found = _tree(_timeless(left), _timeless(right), "")
        if found:
            return False, f"row {number} (step {left.get('step')}): {found}"
    if len(a) != len(b):
        return False, f"{len(a)} rows | {len(b)} rows"
    return True, f"{len(a)} rows"


def episodes(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> Result:
    """Episode records, joined by type and number, in whatever order and files they were written."""
    first, second = _by_episode(a), _by_episode(b)
    for kind, number in sorted(first.keys() | second.keys(), key=str):
        left, right = first.get((kind, number), []), second.get((kind, number), [])
        where = f"episode {number} ({kind})"
        if len(left) != len(right):
            return False, f"{where}: {len(left)} records | {len(right)} records"
        for one, other in zip(left, right, strict=True):
            found = _tree(one, other, "")
            if found:
                return False, f"{where}: {found}"
    return True, f"{len(a)} episodes"


def checkpoints(a: Path, b: Path) -> Result:
    """The whole state of the newest checkpoint of two runs, replay rows included."""
    first, second = Checkpoints(a), Checkpoints(b)
    if not first.steps() or not second.steps():
        told = [f"{len(each.steps())} checkpoints" for each in (first, second)]
        return told[0] == told[1], " | ".join(told)
    left, right = first.load("latest", stores=True), second.load("latest", stores=True)
    if left.step != right.step:
        return False, f"newest checkpoint at step {left.step:,} | step {right.step:,}"
    found = _tree(left.state, right.state, "")
    if found:
        return False, f"step {left.step:,}: {found}"
    counted = 0
    kept, others = left.manifest["stores"], right.manifest["stores"]
    if kept.keys() != others.keys():
        return False, f"stores {sorted(kept)} | {sorted(others)}"
    for name in kept:
        ends = [(store["oldest"], store["total"]) for store in (kept[name], others[name])]
        if ends[0] != ends[1]:
            return False, f"rows of {name}: {ends[0]} | {ends[1]}"
        found = _stores(
            name, (Segments(a / "segments"), kept[name]), (Segments(b / "segments"), others[name])
        )
        if found:
            return False, f"step {left.step:,}: {found}"
        counted += ends[0][1] - ends[0][0]
    return True, f"step {left.step:,}, {_count(left.state)} tensors and {counted:,} rows of replay"


def _stores(name: str, a: tuple[Segments, Any], b: tuple[Segments, Any]) -> str | None:
    """Compare the living rows of two stores, whose segments may be cut at different places."""
    pieces = [segments.pieces(name, saved) for segments, saved in (a, b)]
    held: list[tuple[int, int, dict[str, Tensor]]] = [(0, 0, {}), (0, 0, {})]
    position, total = a[1]["oldest"], a[1]["total"]
    while position < total:
        for side in (0, 1):
            while held[side][1] <= position:
                held[side] = next(pieces[side])
        stop = min(held[0][1], held[1][1], total)
        parts = [select(content, start, position, stop) for start, _, content in held]
        found = _tree(parts[0], parts[1], f"rows {position:,} to {stop:,} of {name}")
        if found:
            return found
        position = stop
    return None


def _tree(a: Any, b: Any, where: str) -> str | None:
    """The first place where two trees differ, with both values, or None."""
    if type(a) is not type(b):
        return f"{where}: {type(a).__name__} {_short(a)} | {type(b).__name__} {_short(b)}"
    if isinstance(a, Tensor):
        return _tensors(a, b, where)
    if isinstance(a, dict):
        if where.split("/")[0] in FILE_STATE:
            a, b = _timeless(a, {"lengths"}), _timeless(b, {"lengths"})
        for key in [*(key for key in a if key not in b), *(key for key in b if key not in a)]:
            return f"{where}/{key} is only in the {'first' if key in a else 'second'}".lstrip("/")
        pairs = [(key, a[key], b[key]) for key in a]
    elif isinstance(a, list | tuple):
        if len(a) != len(b):
            return f"{where}: {len(a)} entries | {len(b)} entries"
        pairs = [(index, left, right) for index, (left, right) in enumerate(zip(a, b, strict=True))]
    else:
        same = a == b or (a != a and b != b)  # NaN is the same as NaN here
        return None if same else f"{where}: {_short(a)} | {_short(b)}"
    for key, left, right in pairs:
        found = _tree(left, right, f"{where}/{key}".lstrip("/"))
        if found:
            return found
    return None


def _tensors(a: Tensor, b: Tensor, where: str) -> str | None:
    """Bits, not values: 0.0 is not −0.0, and a NaN is what it is."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return f"{where}: {a.dtype} {tuple(a.shape)} | {b.dtype} {tuple(b.shape)}"
    if not a.numel():
        return None
    a, b = a.cpu().reshape(-1), b.cpu().reshape(-1)
    differ = (a.view(torch.uint8) != b.view(torch.uint8)).view(a.numel(), -1).any(1)
    if not bool(differ.any()):
        return None
    first = int(differ.int().argmax())
    told = f"{int(differ.sum())} of {a.numel()} elements differ, the first at {first}"
    return f"{where}: {told}: {a[first].item()!r} | {b[first].item()!r}"


def _timeless(tree: Mapping[Any, Any], besides: Set[str] = frozenset()) -> dict[Any, Any]:
    """A dictionary without what depends on the clock, the process or names of files."""
    without = CLOCK | besides
    return {key: tree[key] for key in tree if key not in without and not str(key).startswith("time/")}


def _by_episode(records: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, Any], list[dict[str, Any]]]:
    found: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for record in records:
        found.setdefault((record.get("type"), record.get("episode")), []).append(_timeless(record))
    for same in found.values():  # an evaluation may play an episode again: in the order of its place
        same.sort(
            key=lambda record: (str(record.get("first_step", 0)).zfill(20), repr(sorted(record.items())))
        )
    return found


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _count(tree: Any) -> int:
    if isinstance(tree, Tensor):
        return 1
    inside = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
    return sum(_count(leaf) for leaf in inside)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
