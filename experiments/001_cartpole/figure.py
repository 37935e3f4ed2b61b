"""Learning curves of run folders, one colour per agent: a thin line per seed, a thick one for their mean.

    python experiments/001_cartpole/figure.py runs/sweeps/20260101_120000-3fa9c1
    python experiments/001_cartpole/figure.py A B C out=docs/images/cartpole-curves.png

Each argument is a run folder or a folder of runs. matplotlib draws; rlkit itself does not need it, so:
pip install matplotlib.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

import rlkit

try:
    import matplotlib
except ImportError:
    sys.exit("this figure needs matplotlib: pip install matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt

METRIC = "eval/return_mean"
COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a")
OUT = Path(__file__).parent / "curves.png"

Curve = tuple[np.ndarray, np.ndarray]  # steps [K], values [K]


def curves(folders: list[str]) -> tuple[str, dict[str, dict[int, Curve]]]:
    """The environment's id, and for each agent the curve of each seed. The newest run of a seed counts."""
    found: dict[str, dict[int, Curve]] = defaultdict(dict)
    envs = set()
    for folder in folders:
        for run in reversed(rlkit.load_runs(folder)):  # oldest first, so that the newest stays
            rows = [row for row in run.metrics() if METRIC in row]
            if not rows:
                continue
            curve = np.array([row["step"] for row in rows]), np.array([row[METRIC] for row in rows])
            found[run.info["agent"]][run.info["seed"]] = curve
            envs.add(run.info["env"])
    if len(envs) != 1:
        sys.exit(f"one environment per figure, please; found {', '.join(sorted(envs)) or 'no evaluated run'}")
    return envs.pop(), dict(sorted(found.items()))


def mean(seeds: dict[int, Curve]) -> Curve:
    """The mean over seeds at the steps where the first seed was evaluated, as far as every seed goes."""
    steps = next(iter(seeds.values()))[0]
    steps = steps[steps <= min(curve[0][-1] for curve in seeds.values())]
    return steps, np.mean([np.interp(steps, *curve) for curve in seeds.values()], axis=0)


def draw(env: str, agents: dict[str, dict[int, Curve]], threshold: float | None, out: Path) -> None:
    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    for (agent, seeds), colour in zip(agents.items(), COLOURS, strict=False):
        for steps, values in seeds.values():
            axes.plot(steps, values, color=colour, alpha=0.35, linewidth=1)
        name = f"{agent}, mean of {len(seeds)} seeds" if len(seeds) > 1 else f"{agent}, one seed"
        axes.plot(*mean(seeds), color=colour, linewidth=2.5, label=name)
    if threshold is not None:
        axes.axhline(threshold, color="0.4", linestyle="--", linewidth=1)
        axes.annotate(
            f"solved: {threshold:g}",
            (1.0, threshold),
            xycoords=axes.get_yaxis_transform(),
            xytext=(0, -12),
            textcoords="offset points",
            ha="right",
            color="0.3",
            fontsize=9,
        )
    axes.set(xlabel="steps (agent decisions over all lanes)", ylabel="return of greedy evaluations")
    axes.set_title(env)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(out, dpi=120)
    print(f"{out}: {', '.join(f'{agent} {sorted(seeds)}' for agent, seeds in agents.items())}")


def main() -> None:
    words = sys.argv[1:]
    folders = [word for word in words if not word.startswith("out=")]
    out = next((Path(word[4:]) for word in words if word.startswith("out=")), OUT)
    if not folders:
        sys.exit(__doc__)
    env, agents = curves(folders)
    import gymnasium

    known = gymnasium.registry.get(env)
    draw(env, agents, known.reward_threshold if known else None, out)


if __name__ == "__main__":
    main()
