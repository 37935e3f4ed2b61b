"""Steps per second of every engine, beside bare Gymnasium and EnvPool; what the vector boundary costs.

python -m benchmarks.envs [seconds=2] [repeats=3] [tasks=CartPole,Breakout,HalfCheetah] [engines=…]
                          [lanes=…] [device=cpu] [out=…]
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks import one, report

BASE = "SyncVectorEnv"  # every speed is told as a multiple of this

SIDE_NAMES = ("own", "loop", "copied", "through")  # of `engines.rate`
LANES = {
    "CartPole": (1, 8, 64, 1_024, 16_384),
    "Breakout": (1, 8, 64),
    "HalfCheetah": (1, 8, 64),
}
# peer or engine → the largest number of lanes that it is asked for, and the package that it needs
SIDES: dict[str, dict[str, tuple[int, str | None]]] = {
    "CartPole": {
        BASE: (1_024, None), "CartPoleVectorEnv": (16_384, None), "EnvPool": (16_384, "envpool"),
        "sync": (1_024, None), "async": (8, None), "envpool": (16_384, "envpool"), "torch": (16_384, None),
    },
    "Breakout": {
        BASE: (64, "ale_py"), "AtariVectorEnv": (64, "ale_py"), "EnvPool": (64, "envpool"),
        "sync": (64, "ale_py"), "async": (8, "ale_py"), "ale": (64, "ale_py"),
    },
    "HalfCheetah": {
        BASE: (64, "mujoco"), "EnvPool": (64, "envpool"),
        "sync": (64, "mujoco"), "async": (8, "mujoco"), "envpool": (64, "envpool"),
    },
}  # fmt: skip


@dataclass
class EnvsArgs:
    seconds: float = 2.0  # of measuring, on each side of one run
    repeats: int = 3
    tasks: str = "CartPole,Breakout,HalfCheetah"
    engines: str = ""  # the default is all
    lanes: str = ""  # the default is each task's own
    device: str = "cpu"  # of the observations, and of the torch engine's environments
    out: str = ""


def main(words: list[str]) -> None:
    args = report.arguments(EnvsArgs, words)
    device = report.pick_device(args.device)
    jobs, skipped = plan(args)
    facts = report.facts(device)
    runs = []
    for repeat in range(args.repeats):
        for job in jobs if repeat % 2 == 0 else jobs[::-1]:
            result = one.measure("engines", "rate", **job, seconds=args.seconds, seed=repeat, device=device)
            runs.append({**job, "repeat": repeat, **result})
            report.say(f"{job['task']:12} {job['engine']:18} {job['lanes']:6} lanes  {_short(result)}")
    report.finish_facts(facts, report.command_line("envs", words))
    data = {"facts": facts, "arguments": asdict(args) | {"out": None}, "skipped": skipped, "runs": runs}
    text = page(facts, runs, skipped)
    path = report.write(f"envs-{report.host_kind(device)}", data, text, args.out or None)
    print(text)
    report.say(f"written: {path.parent.name}/{path.name} and its .json")


def plan(args: EnvsArgs) -> tuple[list[dict[str, Any]], list[str]]:
    """What is measured, and what is not and why."""
    wanted = [name for name in args.engines.split(",") if name]
    jobs, skipped = [], []
    for task in args.tasks.split(","):
        if task not in LANES:
            raise SystemExit(f"there is no task {task}; choose among {', '.join(LANES)}")
        numbers = [int(n) for n in args.lanes.split(",") if n] or LANES[task]
        for engine, (most, package) in SIDES[task].items():
            if wanted and engine not in wanted:
                continue
            if package and find_spec(package) is None:
                skipped.append(f"{engine} on {task}: {package} is not installed")
                continue
            jobs += [{"task": task, "engine": engine, "lanes": n} for n in numbers if n <= most]
    return jobs, skipped


def page(facts: dict[str, Any], runs: list[dict[str, Any]], skipped: list[str]) -> str:
    """The results as Markdown: a table of speeds per task, then what the boundary costs."""
    parts = ["# Environments: steps per second\n", report.described(facts), ""]
    parts += [
        "Agent steps per second with random actions, nothing learnt: the median of the repeats and, in",
        f"brackets, how many times Gymnasium's {BASE} at the same number of lanes that is. rlkit's engines",
        "are measured through its vector boundary (decisions and TimeSteps as tensors, a seed per episode,",
        "episode records); the peers are stepped bare.\n",
    ]
    for task in dict.fromkeys(run["task"] for run in runs):
        parts += [f"## {task}\n", _speeds(task, runs), ""]
    parts += ["## What the boundary costs\n", _boundary(runs), ""]
    if skipped:
        parts += ["Not measured: " + "; ".join(skipped) + ".\n"]
    errors = {f"{r['engine']} on {r['task']}, {r['lanes']} lanes: {r['error']}" for r in runs if "error" in r}
    parts += [f"Failed: {text}\n" for text in sorted(errors)]
    return "\n".join(parts)


def _speeds(task: str, runs: list[dict[str, Any]]) -> str:
    mine = [run for run in runs if run["task"] == task]
    numbers = sorted({run["lanes"] for run in mine})
    rows = []
    for engine in SIDES[task]:
        if not any(run["engine"] == engine for run in mine):
            continue
        name = engine if engine[0].isupper() else f"rlkit, env.engine={engine}"
        cells: list[Any] = [name]
        for lanes in numbers:
            speed, base = _median(mine, engine, lanes), _median(mine, BASE, lanes)
            ratio = f" ({speed / base:.2f})" if speed and base and engine != BASE else ""
            cells.append(None if speed is None else f"{speed:,.0f}{ratio}")
        rows.append(cells)
    return report.table(["", *(f"{n:,} lane{'s' * (n > 1)}" for n in numbers)], rows)


def _boundary(runs: list[dict[str, Any]]) -> str:
    rows: list[list[Any]] = []
    both = [run for run in runs if "own" in run and "through" in run]
    for task, engine, lanes in dict.fromkeys((r["task"], r["engine"], r["lanes"]) for r in both):
        mine = [r for r in both if (r["task"], r["engine"], r["lanes"]) == (task, engine, lanes)]
        own, loop, copied, through = (_median_us(mine, side) for side in SIDE_NAMES)
        share = float(np.median([1 - r["through"]["sps"] / r["own"]["sps"] for r in mine]))
        beyond = None if loop is None else through - loop
        rows.append([f"{task}, {engine}", lanes, own, loop, copied, through, f"{100 * share:.1f} %", beyond])
    head = [
        "", "lanes", "engine alone", "rlkit's loop alone", "engine and copies", "through the boundary",
        "lost of the engine's rate", "beyond the loop",
    ]  # fmt: skip
    return (
        "µs per vector step of all lanes. The engine of sync and async is Gymnasium's, on the very same\n"
        "wrapped environments; rlkit steps them in a loop of its own, which batches no more infos than are\n"
        "read. The other engines are what ale-py and EnvPool give, with their own resets. Where the share\n"
        "is negative nothing is lost. *Engine and copies* adds only what no boundary can do without:\n"
        "observations as tensors that stay, rewards as float32.\n\n"
    ) + report.table(head, rows)


def _median_us(runs: list[dict[str, Any]], side: str) -> float | None:
    found = [run[side]["us"] for run in runs if side in run]
    return float(np.median(found)) if found else None


def _median(runs: list[dict[str, Any]], engine: str, lanes: int) -> float | None:
    """Through the boundary for our engines, bare for the peers."""
    found = [
        run.get("through", run.get("own"))["sps"]
        for run in runs
        if run["engine"] == engine and run["lanes"] == lanes and "error" not in run
    ]
    return float(np.median(found)) if found else None


def _short(result: dict[str, Any]) -> str:
    if "error" in result:
        return f"failed: {result['error']}"
    sides = {name: f"{result[name]['sps']:,.0f}/s" for name in SIDE_NAMES if name in result}
    return "  ".join(f"{name} {text}" for name, text in sides.items())


if __name__ == "__main__":
    main(sys.argv[1:])
