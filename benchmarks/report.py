"""What the benchmarks share around measuring: arguments, facts about the machine, tables, result files.

Results name the kind of machine and the versions, never a path or a host.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.stats import Estimate

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("rlkit-lab", "torch", "gymnasium", "numpy", "stable-baselines3")

Args = TypeVar("Args")


def arguments(kind: type[Args], words: Sequence[str]) -> Args:
    """`key=value` words as the dataclass `kind`; a mistake ends the program with one sentence."""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for word in words:
        name, _, text = word.partition("=")
        if name not in known or not text:
            raise SystemExit(f"{word}: write key=value with a key of {', '.join(known)}")
        try:
            given[name] = _value(text, known[name].default)
        except ValueError:
            raise SystemExit(f"{word}: {text} does not fit, the default is {known[name].default}") from None
    return kind(**given)


def _value(text: str, like: Any) -> Any:
    if isinstance(like, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if isinstance(like, float):
        return float(text)
    return int(text.replace("_", "")) if isinstance(like, int) else text


# ---------------------------------------------------------------------- the machine


def host_kind(device: str) -> str:
    """`cpu2` for two cores, `h200` for that GPU: the last word of a result's file name."""
    if device == "cpu":
        return f"cpu{_cores()}"
    name = torch.cuda.get_device_name().lower().replace("nvidia", "").replace("geforce", "")
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")


def pick_device(name: str) -> str:
    """`auto` is CUDA where there is one, as in rlkit."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def facts(device: str) -> dict[str, Any]:
    """What a reader needs to know about the machine, at the moment the measuring starts."""
    found = {
        "date": date.today().isoformat(),
        "cpu": _cpu(),
        "cores": _cores(),
        "gpu": torch.cuda.get_device_name() if device.startswith("cuda") else None,
        "device": device,
        "threads": 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": _git("rev-parse", "--short", "HEAD"),
        "uncommitted changes": bool(_git("status", "--porcelain", "--", "rlkit", "conf")),
        "load at start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
    return found


def finish_facts(found: dict[str, Any], command: str) -> None:
    """Add the command, the load at the end, and a warning where the machine was busy with other things."""
    found["command"] = command
    if hasattr(os, "getloadavg"):
        found["load at end"] = round(os.getloadavg()[0], 2)
    loads = [found.get("load at start") or 0.0, found.get("load at end") or 0.0]
    found["preliminary"] = loads[0] > 0.7 or loads[1] > 1.7  # our own run is one of the second


def command_line(module: str, words: Sequence[str]) -> str:
    """How to do it again; the folder of the results is nobody's business."""
    told = [word for word in words if not word.startswith("out=")]
    return " ".join(["python -m", f"benchmarks.{module}", *told])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"model name\s*:\s*(.+)", text)
    return match[1].strip() if match else platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, cwd=RESULTS.parent, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


# ---------------------------------------------------------------------- tables


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; the first column is text, numbers stand right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def cell(value: Any) -> str:
    """One value as it stands in a table: – for nothing, 4 digits, a bar escaped."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 or not value % 1 else f"{value:.3g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def spread(estimate: Estimate, digits: int = 0) -> str:
    """value [low, high]"""
    return f"{estimate.value:,.{digits}f} [{estimate.low:,.{digits}f}, {estimate.high:,.{digits}f}]"


def described(found: Mapping[str, Any]) -> str:
    """The facts as a Markdown list."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items() if number)
    where = found["gpu"] or found["cpu"]
    load = f"{found['load at start']} at the start, {found.get('load at end')} at the end"
    commit = f"{found['commit']}{' with uncommitted changes' if found['uncommitted changes'] else ''}"
    lines = [
        f"- {found['date']}, {where}, {found['cores']} cores, {found['system']}, device {found['device']}",
        f"- Python {found['python']}, {versions}; commit {commit}",
        f"- one thread per run; load average {load}",
        f"- `{found['command']}`",
    ]
    if found["preliminary"]:
        lines.append("- **preliminary: the machine was busy with other work while this was measured**")
    return "\n".join(lines) + "\n"


def write(name: str, data: Mapping[str, Any], text: str, folder: Path | str | None = None) -> Path:
    """`<date>-<name>.json` with every raw number and `.md` with the tables; returns the latter's path."""
    home = Path(folder) if folder else RESULTS
    home.mkdir(parents=True, exist_ok=True)
    stem = f"{date.today().isoformat()}-{name}"
    (home / f"{stem}.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    path = home / f"{stem}.md"
    path.write_text(text, encoding="utf-8")
    return path


def say(text: str) -> None:
    """Progress, for people: to stderr, at once."""
    print(text, file=sys.stderr, flush=True)
