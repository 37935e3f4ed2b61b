"""Steps per second of DQN and PPO on CartPole-v1 beside Stable-Baselines3, told to do the same work.

python -m benchmarks.speed [repeats=5] [steps=50000] [cases=dqn,dqn_zoo,ppo_zoo,ppo_default]
                           [variants=eager,compile] [device=auto] [episodes=20] [peer=true]
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks import one, report
from benchmarks.settings import CASES, settings
from benchmarks.stats import Estimate, median_iqr, ratio_of_medians

PEER = "SB3"
CEILING_STEPS = 20_000


@dataclass
class SpeedArgs:
    repeats: int = 5  # each with a seed of its own, 0, 1, …
    steps: int = 50_000
    cases: str = "dqn,dqn_zoo,ppo_zoo,ppo_default"
    variants: str = "eager,compile"  # of rlkit; cudagraph is added on CUDA
    device: str = "auto"
    episodes: int = 20  # greedy ones, of the final network
    peer: bool = True
    out: str = ""  # folder of the results; the default is benchmarks/results


def main(words: list[str]) -> None:
    args = report.arguments(SpeedArgs, words)
    device = report.pick_device(args.device)
    cases = args.cases.split(",")
    for case in cases:
        settings(case, args.steps)  # a wrong name ends here, not after minutes
    sides, skipped = choose_sides(args, device)
    facts = report.facts(device)
    runs, ceilings = measure_all(args, device, cases, sides)
    report.finish_facts(facts, report.command_line("speed", words))
    summary = [summarise(case, args.steps, sides, runs) for case in cases]
    data = {
        "facts": facts, "arguments": asdict(args) | {"out": None}, "settings": {
            case: asdict(settings(case, args.steps)) for case in cases
        }, "skipped": skipped, "summary": summary, "ceilings": ceilings, "runs": runs,
    }  # fmt: skip
    text = page(facts, summary, skipped, ceilings)
    path = report.write(f"speed-{report.host_kind(device)}", data, text, args.out or None)
    print(text)
    report.say(f"written: {path.parent.name}/{path.name} and its .json")


def choose_sides(args: SpeedArgs, device: str) -> tuple[list[str], list[str]]:
    """Who is measured (the peer first, then rlkit's variants), and why somebody is not."""
    variants = [name for name in args.variants.split(",") if name]
    if device.startswith("cuda") and "cudagraph" not in variants:
        variants.append("cudagraph")
    sides, skipped = [], []
    reason = one.missing_peer() if args.peer else "peer=false"
    if reason:
        skipped.append(f"{PEER}: {reason}")
    else:
        sides.append(PEER)
    for variant in variants:
        reason = one.missing_compiler() if variant == "compile" else None
        if reason:
            skipped.append(f"rlkit {variant}: {reason}")
        else:
            sides.append(f"rlkit {variant}")
    return sides, skipped


# ---------------------------------------------------------------------- measuring


def measure_all(
    args: SpeedArgs, device: str, cases: list[str], sides: list[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Interleaved: all sides of a case before the next repeat; every other repeat in the opposite order."""
    runs, ceilings = [], []
    for repeat in range(args.repeats):
        ceilings.append(one.measure("ours", "ceiling", steps=CEILING_STEPS, seed=repeat))
        for case in cases:
            for side in sides if repeat % 2 == 0 else sides[::-1]:
                run = measure_one(args, device, case, side, repeat)
                runs.append(run)
                told = run.get("error") or f"{run['sps']:,.0f} steps/s"
                report.say(f"{repeat + 1}/{args.repeats} {case:<12} {side:<16} {told}")
    return runs, ceilings


def measure_one(args: SpeedArgs, device: str, case: str, side: str, repeat: int) -> dict[str, Any]:
    module, variant = ("peers", "") if side == PEER else ("ours", side.split()[1])
    found = one.measure(
        module, "speed", case=case, variant=variant, steps=args.steps, seed=repeat, device=device,
        episodes=args.episodes,
    )  # fmt: skip
    found["side"] = side
    return (
        found
        if "error" in found
        else found
        | window(found["marks"], settings(case, args.steps).warmup)
        | {"per_cpu_second": found["steps"] / found["cpu_seconds"]}
    )


def window(marks: list[tuple[int, float]], warmup: int) -> dict[str, float]:
    """Speed between the first mark at or after `warmup` and the last; and of the whole loop."""
    first = next((mark for mark in marks if mark[0] >= warmup), marks[0])
    last = marks[-1]
    if first == last:
        raise SystemExit("the budget ends within the warm-up: give more steps")
    return {
        "sps": (last[0] - first[0]) / (last[1] - first[1]),
        "sps_whole": last[0] / last[1],
        "warmup_seconds": first[1],
        "warmup_steps": first[0],
    }


# ---------------------------------------------------------------------- telling


def summarise(case: str, steps: int, sides: list[str], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians, ratios and work of one case, side by side."""
    mine = [run for run in runs if run["case"] == case]
    good = {side: [run for run in mine if run["side"] == side and "error" not in run] for side in sides}
    work = {side: sorted({(r["steps"], r["updates"], r["samples"]) for r in good[side]}) for side in sides}
    rows = []
    for side in sides:
        row: dict[str, Any] = {
            "side": side,
            "errors": [r["error"] for r in mine if r["side"] == side and "error" in r],
        }
        if good[side]:
            row |= _figures(good[side])
            row["work"] = work[side]
            if side != PEER and good.get(PEER):
                equal = len(work[side]) == 1 and work[side] == work[PEER]
                ratio = ratio_of_medians([r["sps"] for r in good[side]], [r["sps"] for r in good[PEER]])
                row["equal_work"], row["ratio"] = equal, asdict(ratio) if equal else None
        rows.append(row)
    return {"case": case, "title": CASES[case], "steps": settings(case, steps).steps, "sides": rows}


def _figures(runs: list[dict[str, Any]]) -> dict[str, Any]:
    means = [float(np.mean(run["returns"])) for run in runs]
    figures: dict[str, Any] = {
        name: asdict(median_iqr([run[name] for run in runs]))
        for name in ("sps", "sps_whole", "per_cpu_second", "warmup_seconds", "wall")
    }
    figures |= {"returns": means, "warmup_steps": runs[0]["warmup_steps"]}
    if "shares" in runs[0]:
        figures["shares"] = {
            name: float(np.median([run["shares"][name] for run in runs])) for name in runs[0]["shares"]
        }
    return figures


def page(
    facts: dict[str, Any], summary: list[dict[str, Any]], skipped: list[str], ceilings: list[dict[str, Any]]
) -> str:
    text = "# Speed beside Stable-Baselines3, CartPole-v1\n\n" + report.described(facts) + "\n"
    text += "".join(f"Not measured: {reason}.\n\n" for reason in skipped)
    for case in summary:
        text += f"## {case['title']}, {case['steps']:,} steps\n\n" + _case_table(case) + "\n"
    good = [ceiling["sps"] for ceiling in ceilings if "sps" in ceiling]
    text += "## What the time is spent on\n\nShares of the measured window and microseconds per step.\n\n"
    text += _share_table(summary) + "\n"
    text += "## Environment alone\n\nRandom actions, nothing learnt: no training run can be faster.\n\n"
    rows = [[name, report.spread(median_iqr([each[name] for each in good]))] for name in (good or [{}])[0]]
    return text + report.table(["", "steps/s, median [IQR]"], rows)


def _case_table(case: dict[str, Any]) -> str:
    head = ["", "steps/s, median [IQR]", f"ratio to {PEER} [95 %]", "steps/s, whole loop",
            "steps per CPU s, whole run", "warm-up s", "wall s, imports included", "updates", "samples",
            "final return (seeds)"]  # fmt: skip
    rows = []
    for side in case["sides"]:
        if "sps" not in side:
            rows.append([side["side"], f"failed: {side['errors'][-1]}", *[None] * 8])
            continue
        work = [" or ".join(f"{w[i]:,}" for w in side["work"]) for i in (1, 2)]
        ratio = None
        if "equal_work" in side:
            ratio = report.spread(Estimate(**side["ratio"]), 2) if side["equal_work"] else "unequal work"
        failed = f"; {len(side['errors'])} failed" if side["errors"] else ""
        means = side["returns"]
        rows.append([
            side["side"], report.spread(Estimate(**side["sps"])) + failed, ratio,
            side["sps_whole"]["value"], side["per_cpu_second"]["value"],
            side["warmup_seconds"]["value"], side["wall"]["value"], *work,
            f"{np.mean(means):.0f} ({', '.join(f'{mean:.0f}' for mean in means)})",
        ])  # fmt: skip
    warm = next((side["warmup_steps"] for side in case["sides"] if "sps" in side), None)
    note = "" if warm is None else f"\nWarm-up, not in the first speed: {warm:,} steps.\n"
    return report.table(head, rows) + note


def _share_table(summary: list[dict[str, Any]]) -> str:
    rows = []
    for case in summary:
        for side in case["sides"]:
            if "shares" in side:
                per_step = 1e6 / side["sps"]["value"]
                cells = [f"{100 * s:.0f} % ({s * per_step:.1f} µs)" for s in side["shares"].values()]
                rows.append([f"{case['case']}, {side['side']}", *cells, f"{per_step:.1f} µs"])
    return report.table(["", "env", "act", "learn", "rest", "one step"], rows)


if __name__ == "__main__":
    main(sys.argv[1:])
