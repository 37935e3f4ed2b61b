"""The same task by rlkit: the same configuration file, and nothing else to write.

python with_rlkit.py generations=100 seed=0
"""

from __future__ import annotations

import sys
from pathlib import Path

import rlkit

CONFIG = Path(__file__).parent / "config-feedforward.txt"


def main() -> None:
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    generations, seed = int(words.pop("generations", 100)), words.pop("seed", "0")
    longest = 200 * 5 * 500  # steps of a generation: genomes, trials, steps of an episode
    run = rlkit.train(rlkit.compose([
        "agent=neat", f"agent.config_file='{CONFIG}'", "agent.trials=5", "env=cartpole", "env.num_envs=200",
        f"seed={seed}", f"trainer.total_steps={generations * longest}", "monitor=off",
        *(f"{key}={value}" for key, value in words.items()),
    ]))  # fmt: skip
    print(f"{run.info['seconds']:.1f} s, mean of 100 fresh episodes {run.info['test_mean']:.1f}")


if __name__ == "__main__":
    main()
