"""What records, TensorBoard, JSON lines and checkpoints cost, in steps per second of the same training.

python -m benchmarks.overhead [repeats=5] [steps=50000] [cases=dqn,ppo_default] [device=cpu]
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import one, report
from benchmarks.settings import CASES, settings
from benchmarks.stats import Estimate, median_iqr, ratio_of_medians

AIM = 5.0  # per cent
VARIANTS = {
    "bare": "logger=[] monitor.records=false trainer.checkpoint_every=0",
    "full": "records, TensorBoard, JSON lines and checkpoints at their default intervals",
}


@dataclass
class OverheadArgs:
    repeats: int = 5
    steps: int = 50_000
    cases: str = "dqn,ppo_default"
    device: str = "cpu"
    out: str = ""


def main(words: list[str]) -> None:
    args = report.arguments(OverheadArgs, words)
    device = report.pick_device(args.device)
    cases = args.cases.split(",")
    for case in cases:
        settings(case, args.steps)
    facts = report.facts(device)
    runs = measure_all(args, device, cases)
    report.finish_facts(facts, report.command_line("overhead", words))
    summary = [summarise(case, runs) for case in cases]
    data = {"facts": facts, "arguments": asdict(args) | {"out": None}, "summary": summary, "runs": runs}
    text = page(args, facts, summary)
    path = report.write(f"overhead-{report.host_kind(device)}", data, text, args.out or None)
    print(text)
    report.say(f"written: {path.parent.name}/{path.name} and its .json")


def measure_all(args: OverheadArgs, device: str, cases: list[str]) -> list[dict[str, Any]]:
    """Both variants beside each other, every other repeat in the opposite order."""
    runs = []
    for repeat in range(args.repeats):
        for case in cases:
            for variant in list(VARIANTS) if repeat % 2 == 0 else list(VARIANTS)[::-1]:
                job = {"case": case, "variant": variant, "steps": args.steps, "seed": repeat}
                run = one.measure("ours", "overhead", **job, device=device)
                runs.append(run)
                told = run.get("error") or f"{run['sps']:,.0f} steps/s"
                report.say(f"{repeat + 1}/{args.repeats} {case:<12} {variant:<5} {told}")
    return runs


def summarise(case: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians, and the cost in per cent of the bare speed with its interval."""
    speeds = {
        variant: [r["sps"] for r in runs if (r["case"], r["variant"]) == (case, variant) and "sps" in r]
        for variant in VARIANTS
    }
    row: dict[str, Any] = {"case": case, "errors": [r["error"] for r in runs if "error" in r]}
    if all(speeds.values()):
        ratio = ratio_of_medians(speeds["full"], speeds["bare"])
        row["cost"] = asdict(Estimate(*(100 * (1 - x) for x in (ratio.value, ratio.high, ratio.low))))
        row |= {variant: asdict(median_iqr(values)) for variant, values in speeds.items()}
        row["bytes"] = max(r["bytes"] for r in runs if r["case"] == case and r.get("variant") == "full")
    return row


def page(args: OverheadArgs, facts: dict[str, Any], summary: list[dict[str, Any]]) -> str:
    text = "# The cost of keeping records\n\n" + report.described(facts) + "\n"
    text += f"Films and evaluations are off on both sides; {args.steps:,} steps; aim: at most {AIM:g} %.\n\n"
    text += "".join(f"- *{name}*: {what}\n" for name, what in VARIANTS.items()) + "\n"
    rows = []
    for row in summary:
        if "cost" not in row:
            rows.append([CASES[row["case"]], f"failed: {row['errors'][-1]}", None, None, None])
            continue
        speeds = [report.spread(Estimate(**row[variant])) for variant in VARIANTS]
        cost = report.spread(Estimate(**row["cost"]), 1)
        rows.append([CASES[row["case"]], *speeds, cost, f"{row['bytes'] / 1e6:.1f} MB"])
    head = ["", "bare, steps/s [IQR]", "full, steps/s [IQR]", "cost in % [95 %]", "run folder"]
    return text + report.table(head, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
