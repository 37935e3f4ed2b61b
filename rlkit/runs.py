"""Reading run folders: find, list, show, compare. Nothing that a folder contains is executed.

Only `diff` needs torch, and imports it when it compares weights.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterable, Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from rlkit.errors import UserError
from rlkit.lock import alive, in_use
from rlkit.runfolder import read_info

WIDTH = 100  # columns of a table
CHECKPOINT = re.compile(r"(step|best)-(\d{9,})")


class Run:
    """One run folder, as it is on disk now. `info` is run.json as it was when the object was made."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        info = read_info(self.path)
        if info is None:
            raise UserError(f"{self.path} is no run folder: it has no readable run.json")
        self.info: dict[str, Any] = info

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.status})"

    @property
    def name(self) -> str:
        """The folder's name; a job of a sweep has its sweep's in front, since it is only a number."""
        return f"{self.path.parent.name}/{self.path.name}" if self.path.name.isdigit() else self.path.name

    @property
    def status(self) -> str:
        """running, done, stopped, failed, preempted; died where it says running and nobody is."""
        status = str(self.info.get("status", "?"))
        if status != "running" or self.info.get("host") != socket.gethostname():
            return status
        at_work = in_use(self.path) if (self.path / "run.lock").exists() else alive(self.info.get("pid"))
        return "running" if at_work else "died"

    @property
    def score(self) -> float | None:
        score = self.info.get("score")
        return None if score is None else float(score)

    def config_dict(self) -> dict[str, Any]:
        """config.yaml as plain data."""
        path = self.path / "config.yaml"
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
        if not isinstance(config, dict):
            raise UserError(f"{path} holds no configuration")
        return config

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, oldest first."""
        return read_lines(self.path / "metrics.jsonl")

    def episodes(self) -> list[dict[str, Any]]:
        """The Monitor's record of every finished episode, in the order of the files and their lines."""
        files = sorted((self.path / "monitor").rglob("*.episodes.jsonl"))
        return [episode for file in files for episode in read_lines(file)]

    def films(self) -> list[Path]:
        """Films (mp4, and cast for text), oldest first."""
        films = [path for path in (self.path / "monitor").rglob("*") if path.suffix in (".mp4", ".cast")]
        return sorted((path for path in films if path.stat().st_size), key=lambda path: path.stat().st_mtime)

    def checkpoints(self) -> list[dict[str, Any]]:
        """step, kind ("step" or "best") and path of every checkpoint folder, by step. Not verified."""
        found = []
        for path in (self.path / "checkpoints").glob("*"):
            match = CHECKPOINT.fullmatch(path.name)
            if match and (path / "manifest.json").is_file():
                found.append({"step": int(match[2]), "kind": match[1], "path": path})
        return sorted(found, key=lambda entry: (entry["step"], entry["kind"]))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; a last line that a kill tore is left out. Missing file: empty."""
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end is empty or torn
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise UserError(f"line {number} of {path} is damaged; remove it to read the rest") from None
    return rows


def list_runs(root: Path | str = "runs") -> list[Run]:
    """Every run below `root`, sweeps included, newest first."""
    found = []
    for folder, below, files in os.walk(root):
        if "run.json" in files:
            below.clear()
            if read_info(Path(folder)) is not None:
                found.append(Run(folder))
    return sorted(found, key=lambda run: (_started(run), run.path.name), reverse=True)


def find_run(name: Path | str, root: Path | str = "runs") -> Path:
    """The folder that is meant: a path, "latest", or a folder's name, its beginning or its end."""
    text = str(name)
    path = Path(name)
    if text == "latest":
        return _latest(Path(root))
    for candidate in (path, Path(root) / path):
        if read_info(candidate) is not None:
            return candidate
    if path.is_dir():
        raise UserError(f"{path} is no run folder: it has no readable run.json")
    runs = list_runs(root)
    for matches in (
        [run for run in runs if run.name == text],
        [run for run in runs if run.name.startswith(text) or run.name.endswith(text)],
    ):
        if len(matches) == 1:
            return matches[0].path
        if matches:
            paths = ", ".join(str(run.path) for run in matches[:5])
            raise UserError(f"{text!r} fits {len(matches)} runs ({paths}); give a path or more of the name")
    names = [run.name for run in runs]
    near = get_close_matches(text, names, n=3, cutoff=0.5) or names[:3]
    there = f"near it: {', '.join(near)}" if near else f"{root} holds no run yet"
    raise UserError(f"there is no run {text!r}; {there}")


def unfinished(root: Path | str, overrides: Sequence[str]) -> Path | None:
    """The newest run below `root` started with the same overrides that can be continued, if there is one.

    `resume=…` does not count as an override here. A run that somebody is working on is left alone.
    """
    wanted = _without_resume(overrides)
    for run in list_runs(root):
        if _without_resume(run.info.get("overrides") or []) != wanted:
            continue
        if run.status in ("died", "preempted", "failed") and not in_use(run.path):
            return run.path
    return None


def table(runs: Iterable[Run]) -> str:
    """One line per run, at most 100 columns wide."""
    head = ["run", "env", "agent", "seed", "status", "steps", "score", "solved", "sps", "when"]
    cells = [[_cell(value) for value in _row(run)] for run in runs]
    if not cells:
        return "no runs yet; rlkit train makes one"
    widths = [max(len(row[column]) for row in [head, *cells]) for column in range(len(head))]
    for column in (1, 2, 0):  # what does not fit is taken from env, then agent, then run
        spare = sum(widths) + 2 * (len(widths) - 1) - WIDTH
        widths[column] -= max(0, min(spare, widths[column] - 6))
    return "\n".join(_line(row, widths) for row in [head, *cells])


def show(run: Run) -> str:
    """One run on one screen."""
    info = run.info
    versions = info.get("versions") or {}
    git = info.get("git") or {}
    saved = [f"{entry['kind']} {entry['step']:,}" for entry in run.checkpoints()]
    films = run.films()
    command = info.get("command")
    lines = {
        "run": str(run.path),
        "status": run.status + (f": {info['error']}" if info.get("error") else ""),
        "what": f"{_cell(info.get('agent'))} on {_cell(info.get('env'))}, seed {_cell(info.get('seed'))}",
        "score": f"{_cell(run.score)}   solved: {_solved(info)}",
        "steps": f"{info.get('steps') or 0:,} in {_ago(info.get('seconds'))}, {_cell(info.get('sps'))}/s",
        "started": f"{info.get('started', '?')} on {info.get('host', '?')}, {_cell(info.get('device'))}",
        "resumed": f"{len(info['resumes'])} times" if info.get("resumes") else None,
        "exact": None if info.get("resume_exact") is None else _cell(info["resume_exact"]),
        "command": command if isinstance(command, str) or command is None else " ".join(command),
        "git": f"{(git.get('commit') or '–')[:12]}{', changed' if git.get('dirty') else ''}",
        "versions": "  ".join(f"{name} {version}" for name, version in versions.items() if version),
        "checkpoints": ", ".join(saved) or "none",
        "films": f"{len(films)}, last {films[-1]}" if films else "none",
        "metrics": _last_row(run.metrics()),
        "see": f"tensorboard --logdir {run.path / 'tb'}",
    }
    return "\n".join(f"{name:<12} {text}" for name, text in lines.items() if text is not None)


def diff(
    a: Run, b: Run, *, weights: bool = True, metrics: bool = True, episodes: bool = True
) -> tuple[bool, str]:
    """Did two runs compute the same, bit for bit? True, or the first difference of each component.

    Configurations are compared for information. Wall clock, process ids and file names do not count.
    """
    from rlkit import compare  # and with it torch, which nothing else here needs

    lines = [f"config    {line}" for line in compare.configs(a.config_dict(), b.config_dict())]
    results: list[tuple[str, compare.Result]] = []
    if weights:
        results.append(("weights", compare.checkpoints(a.path / "checkpoints", b.path / "checkpoints")))
    if metrics:
        results.append(("metrics", compare.rows(a.metrics(), b.metrics())))
    if episodes:
        results.append(("episodes", compare.episodes(a.episodes(), b.episodes())))
    lines += [f"{name:<9} {'equal' if same else 'DIFFERENT'}: {text}" for name, (same, text) in results]
    return all(same for _, (same, _) in results), "\n".join(lines)


def _latest(root: Path) -> Path:
    link = root / "latest"
    if read_info(link) is not None:
        path = root / link.readlink() if link.is_symlink() else link
        return path.resolve() if ".." in path.parts else path
    runs = list_runs(root)
    if not runs:
        raise UserError(f"{root} holds no run yet; rlkit train makes one")
    return runs[0].path


def _started(run: Run) -> float:
    try:
        return datetime.fromisoformat(str(run.info.get("started"))).timestamp()
    except ValueError:
        return 0.0


def _without_resume(overrides: Sequence[str]) -> list[str]:
    return [str(override) for override in overrides if not str(override).lstrip("+").startswith("resume=")]


def _row(run: Run) -> list[Any]:
    info = run.info
    started = _started(run)
    when = f"{_ago(datetime.now().timestamp() - started)} ago" if started else None
    what = [info.get("env"), info.get("agent"), info.get("seed"), run.status]
    found = [_count(info.get("steps")), run.score, _solved(info), _count(info.get("sps"))]
    return [run.name, *what, *found, when]


def _solved(info: dict[str, Any]) -> str | None:
    """At which step 100 training episodes reached the boundary, or that only the final test did."""
    if info.get("solved_step") is not None:
        return f"at {_count(info['solved_step'])}"
    solved = info.get("solved")
    return None if solved is None else "in test" if solved else "no"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def _count(number: float | None) -> str | None:
    """1234567 → 1.23M"""
    if number is None:
        return None
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= limit:
            return f"{number / (1e3 if unit == 'k' else limit):.3g}{unit}"
    return f"{number:.0f}"


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _line(row: list[str], widths: list[int]) -> str:
    cells = []
    for text, width in zip(row, widths, strict=True):
        short = text if len(text) <= width else text[: width - 1] + "…"
        cells.append(f"{short:<{width}}")
    return "  ".join(cells).rstrip()


def _last_row(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "none"
    wanted = ("episode/return", "episode/length", "eval/return_mean", "time/sps")
    latest = {name: value for row in rows for name, value in row.items() if name in wanted}
    told = "  ".join(f"{name} {_cell(latest[name])}" for name in wanted if name in latest)
    return f"{len(rows):,} rows to step {rows[-1].get('step', 0):,}  {told}"
