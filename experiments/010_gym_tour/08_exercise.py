"""The exercise: does randomness improve the agent's score? Average reward against epsilon, measured.

    python 08_exercise.py                   # 200 episodes a point, in seconds
    python 08_exercise.py episodes=2000     # the figure of the README

Four policies that do not learn, each under the random action wrapper. Writes results.csv, and epsilon.png
where matplotlib is installed, into the current folder.
"""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np

POLICIES: dict[str, Callable[[np.ndarray, int], int]] = {  # (observation, step of the episode) -> action
    "constant: always left": lambda obs, t: 0,
    "alternate: left, right, left, ...": lambda obs, t: t % 2,
    "lean: push where the pole leans": lambda obs, t: int(obs[2] > 0),
    "balance: push where it will lean": lambda obs, t: int(obs[2] + obs[3] > 0),
}
EPSILONS = [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
RESAMPLES = 2_000  # of the bootstrap


class RandomActionWrapper(gym.ActionWrapper):
    """With probability epsilon the action is a random one, drawn from a generator of the wrapper's own."""

    def __init__(self, env: gym.Env, epsilon: float, seed: int) -> None:
        super().__init__(env)
        self.epsilon, self.rng = epsilon, np.random.default_rng(seed)

    def action(self, action: int) -> int:
        return int(self.rng.integers(2)) if self.rng.random() < self.epsilon else action


def returns(policy: Callable[[np.ndarray, int], int], epsilon: float, episodes: int) -> np.ndarray:
    """Total reward of every episode. All points of the figure start from the same first states."""
    made = gym.make("CartPole-v1", disable_env_checker=True)
    env = RandomActionWrapper(made, epsilon, seed=1_000_000 + round(1000 * epsilon))
    totals = np.zeros(episodes)
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        over, t = False, 0
        while not over:
            obs, reward, terminated, truncated, _ = env.step(policy(obs, t))
            totals[seed] += float(reward)
            over, t = terminated or truncated, t + 1
    return totals


def interval(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The middle 95 % of the means of resampled episodes."""
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def draw(rows: list[dict[str, float | str]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    for name, colour in zip(POLICIES, ("#d95f02", "#7570b3", "#1b9e77", "#1f77b4"), strict=True):
        mine = [row for row in rows if row["policy"] == name]
        epsilon, mean, low, high = (
            np.array([row[k] for row in mine], dtype=float) for k in ("epsilon", "mean", "low", "high")
        )
        axes.fill_between(epsilon, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(epsilon, mean, color=colour, linewidth=2, marker="o", markersize=4, label=name)
    axes.axhline(475, color="0.4", linestyle="--", linewidth=1)
    axes.annotate("solved: 475", (1.0, 475), xytext=(0, -12), textcoords="offset points", ha="right",
                  color="0.3", fontsize=9)  # fmt: skip
    axes.set(
        xlabel="epsilon: probability that the action is a random one", ylabel="mean return", yscale="log"
    )
    axes.set_yticks([10, 20, 50, 100, 200, 500], ["10", "20", "50", "100", "200", "500"])
    axes.minorticks_off()
    axes.set_title(f"CartPole-v1, {rows[0]['episodes']:,} episodes a point, 95 % intervals", fontsize=11)
    axes.grid(alpha=0.25)
    lines, names = axes.get_legend_handles_labels()
    axes.legend(
        lines[::-1], names[::-1], frameon=False, loc="upper right", bbox_to_anchor=(1.0, 0.87), fontsize=9.5
    )
    figure.savefig(path, dpi=110)


def main() -> None:
    words = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    episodes = int(words.get("episodes", 200))
    rng = np.random.default_rng(0)
    rows: list[dict[str, float | str]] = []
    for name, policy in POLICIES.items():
        for epsilon in EPSILONS:
            values = returns(policy, epsilon, episodes)
            low, high = interval(values, rng)
            mean = float(values.mean())
            found = {"mean": round(mean, 2), "low": round(low, 2), "high": round(high, 2)}
            rows.append({"policy": name, "epsilon": epsilon, "episodes": episodes} | found)
        mine = {row["epsilon"]: row for row in rows if row["policy"] == name}
        best = max(mine.values(), key=lambda row: row["mean"])
        print(f"{name:34} epsilon 0: {mine[0.0]['mean']:6.1f}   0.5: {mine[0.5]['mean']:6.1f}   "
              f"1: {mine[1.0]['mean']:6.1f}   best at {best['epsilon']}")  # fmt: skip
    with Path("results.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    try:
        draw(rows, Path("epsilon.png"))
    except ImportError:
        print("no figure: pip install matplotlib")


if __name__ == "__main__":
    main()
