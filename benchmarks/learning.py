"""How well the presets learn CartPole-v1, seed by seed, beside Stable-Baselines3 with rl-zoo's tuning.

python -m benchmarks.learning [seeds=0,1,…,9] [experiments=dqn_cartpole,ppo_cartpole] [episodes=100]
                              [jobs=1] [peer=true] [device=cpu] [steps=0]
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import rlkit
from benchmarks import one, report
from benchmarks.stats import Estimate, bootstrap_iqm, censored_median

SOLVED = 475.0
ZOO_STEPS = {"dqn": 50_000, "ppo": 100_000}
OURS, PEER = "rlkit", "SB3, rl-zoo's tuning"


@dataclass
class LearningArgs:
    seeds: str = "0,1,2,3,4,5,6,7,8,9"
    experiments: str = "dqn_cartpole,ppo_cartpole"
    episodes: int = 100  # greedy, on seeds that chose nothing
    jobs: int = 1  # runs at once; more than one falsifies the seconds a little
    peer: bool = True
    device: str = "cpu"
    steps: int = 0  # 0: each side's own budget; a small number to see whether everything works
    out: str = ""


def main(words: list[str]) -> None:
    args = report.arguments(LearningArgs, words)
    device = report.pick_device(args.device)
    jobs = plan(args, device)
    facts = report.facts(device)
    skipped = [f"{PEER}: {one.missing_peer()}"] if args.peer and one.missing_peer() else []
    with ThreadPoolExecutor(args.jobs) as pool:
        runs = list(pool.map(run_one, jobs))
    report.finish_facts(facts, report.command_line("learning", words))
    names = list(dict.fromkeys((run["experiment"], run["side"]) for run in runs))
    summary = [summarise(*name, [r for r in runs if (r["experiment"], r["side"]) == name]) for name in names]
    data: dict[str, Any] = {"facts": facts, "arguments": asdict(args) | {"out": None}, "skipped": skipped}
    text = page(args, facts, summary, skipped, runs)
    data |= {"summary": summary, "runs": runs}
    path = report.write(f"learning-{report.host_kind(device)}", data, text, args.out or None)
    print(text)
    report.say(f"written: {path.parent.name}/{path.name} and its .json")


def plan(args: LearningArgs, device: str) -> list[dict[str, Any]]:
    """Every run, seed by seed, both sides of each beside each other."""
    jobs = []
    configs = {name: rlkit.compose([f"experiment={name}"]) for name in args.experiments.split(",")}
    shared = {"episodes": args.episodes, "device": device}
    for name, config in configs.items():
        agent, trainer = config.agent.name, config.trainer
        shorter = [f"trainer.total_steps={args.steps}"] if args.steps else []
        for seed in (int(word) for word in args.seeds.split(",")):
            job = {"experiment": name, "seed": seed, **shared}
            jobs.append({**job, "side": OURS, "overrides": shorter})
            if args.peer and agent in ZOO_STEPS and one.missing_peer() is None:
                jobs.append({
                    **job, "side": PEER, "agent": agent, "steps": args.steps or ZOO_STEPS[agent],
                    "eval_every": trainer.eval_every, "eval_episodes": trainer.eval_episodes,
                })  # fmt: skip
    return jobs


def run_one(job: dict[str, Any]) -> dict[str, Any]:
    asked = dict(job)
    side = asked.pop("side")
    found = one.measure("ours" if side == OURS else "peers", "learning", **asked)
    found |= {"side": side, "experiment": job["experiment"]}
    if "error" not in found:
        solved = next((row for row in found["curve"] if row[2] >= SOLVED), None)
        found["solved_step"], found["solved_seconds"] = solved[:2] if solved else (None, None)
    told = found.get("error") or f"final {found['final']:.1f}, best {found['best']:.1f}"
    report.say(f"{job['experiment']:<14} seed {job['seed']:<3} {side:<22} {told}")
    return found


def summarise(experiment: str, side: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """IQM with its interval over all seeds. A run that crashed scores 0: failures are never dropped."""
    row: dict[str, Any] = {"experiment": experiment, "side": side, "seeds": len(runs)}
    row["crashed"] = sum("error" in run for run in runs)
    row["steps"] = max((run["steps"] for run in runs if "error" not in run), default=None)
    for which in ("final", "best"):
        scores = [float(run.get(which, 0.0)) for run in runs]
        row[which] = {
            "iqm": asdict(bootstrap_iqm([scores])),
            "mean": mean(scores),
            "worst": min(scores),
            "solved": sum(score >= SOLVED for score in scores),
        }
    for what in ("solved_step", "solved_seconds"):
        values = [run.get(what) for run in runs]
        row[what] = {"median": censored_median(values), "reached": sum(v is not None for v in values)}
    return row


def page(
    args: LearningArgs,
    facts: dict[str, Any],
    summary: list[dict[str, Any]],
    skipped: list[str],
    runs: list[dict[str, Any]],
) -> str:
    text = "# Learning on CartPole-v1\n\n" + report.described(facts)
    text += f"- {args.jobs} run(s) at once\n\n"
    text += "".join(f"Not measured: {reason}.\n\n" for reason in skipped)
    text += (
        f"Mean return of {args.episodes} greedy episodes per seed, on seeds that chose nothing; IQM over "
        "seeds with its 95 % bootstrap interval. *final*: the last network; *best*: the one that scored best "
        "in the evaluations during training. Reached: an evaluation during training had a mean of "
        f"{SOLVED:g} or more, the first of which says when; the median counts seeds that never got there as "
        "longer than any. Seconds include the evaluations, not the imports.\n\n"
    )
    head = ["", "network", "steps", "IQM [95 %]", "mean", f"seeds ≥ {SOLVED:g}", "worst seed", "reached",
            "steps to solve, median", "seconds to solve, median"]  # fmt: skip
    rows = []
    for row in summary:
        for which in ("final", "best"):
            told = row[which]
            crashed = f", {row['crashed']} crashed" if row["crashed"] else ""
            rows.append([
                f"{row['experiment']}, {row['side']}", which, row["steps"],
                report.spread(Estimate(**told["iqm"]), 1), f"{told['mean']:.1f}",
                f"{told['solved']} of {row['seeds']}{crashed}", f"{told['worst']:.1f}",
                f"{row['solved_step']['reached']} of {row['seeds']}", row["solved_step"]["median"],
                row["solved_seconds"]["median"],
            ])  # fmt: skip
    text += report.table(head, rows) + "\n## Seed by seed\n\n"
    each = [
        [f"{r['experiment']}, {r['side']}", r["seed"], r.get("final", r.get("error")), r.get("best"),
         r.get("solved_step"), r.get("solved_seconds"), r.get("seconds")]
        for r in runs
    ]  # fmt: skip
    named = ["", "seed", "final", "best", "steps to solve", "seconds to solve", "seconds in all"]
    return text + report.table(named, sorted(each, key=lambda cells: cells[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
