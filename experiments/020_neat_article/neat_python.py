"""CartPole-v1 by neat-python in one process, without a screen.

    python neat_python.py generations=100 seed=0

Runs in a notebook cell as well: give the folder of the configuration instead of `__file__`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gymnasium as gym
import neat
import numpy as np

CONFIG = Path(__file__).parent / "config-feedforward.txt"
TRIALS = 5  # episodes by which a genome is judged: a single one may be luck
TEST = 100  # fresh episodes by which the winner is judged

Genomes = list[tuple[int, Any]]  # neat-python's: (id, genome)


def episode(net: Any, env: gym.Env, seed: int) -> float:
    """The return of one episode."""
    observation, _ = env.reset(seed=seed)
    total = 0.0
    while True:
        action = int(np.argmax(net.activate(observation)))
        observation, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        if terminated or truncated:
            return total


def mean_return(genome: Any, config: neat.Config, env: gym.Env, seeds: Iterable[int]) -> float:
    net = neat.nn.FeedForwardNetwork.create(genome, config)
    return float(np.mean([episode(net, env, seed) for seed in seeds]))


def trial_seeds(seed: int, generation: int) -> range:
    """All genomes of a generation meet the same episodes, and each generation other ones."""
    first = 1_000_000 * seed + TRIALS * generation
    return range(first, first + TRIALS)


def evolve(
    judge: Callable[[Genomes, neat.Config, range], None], generations: int, seed: int
) -> tuple[Any, neat.Config, int]:
    """The winner, its configuration, and how many generations it took. judge: sets every genome's fitness."""
    config = neat.Config(
        neat.DefaultGenome, neat.DefaultReproduction, neat.DefaultSpeciesSet, neat.DefaultStagnation, CONFIG
    )
    population = neat.Population(config, seed=seed)
    population.add_reporter(neat.StdOutReporter(False))
    judged = 0

    def eval_genomes(genomes: Genomes, config: neat.Config) -> None:
        nonlocal judged
        judge(genomes, config, trial_seeds(seed, population.generation))
        judged += 1

    return population.run(eval_genomes, generations), config, judged


def tell(winner: Any, config: neat.Config, judged: int, seconds: float) -> None:
    """One line, after the test on fresh seeds."""
    env = gym.make("CartPole-v1")
    score = mean_return(winner, config, env, range(10**9, 10**9 + TEST))
    env.close()
    nodes, connections = winner.size()
    print(
        f"winner: genome {winner.key}, fitness {winner.fitness:.1f}, {nodes} nodes, {connections} connections"
    )
    print(f"generations {judged}, {seconds:.1f} s, mean of {TEST} fresh episodes {score:.1f}")


def options(generations: int = 100, seed: int = 0, **more: Any) -> dict[str, Any]:
    """The words key=value of the command line, over these defaults."""
    found = {"generations": generations, "seed": seed, **more}
    for word in sys.argv[1:]:
        name, _, value = word.partition("=")
        if name not in found:
            raise SystemExit(f"there is no {name!r}; options are {', '.join(found)}")
        found[name] = type(found[name])(value)
    return found


def main() -> None:
    given = options()
    env = gym.make("CartPole-v1")  # one for all genomes; nothing is drawn, so no display is needed

    def judge(genomes: Genomes, config: neat.Config, seeds: range) -> None:
        for _, genome in genomes:
            genome.fitness = mean_return(genome, config, env, seeds)

    began = time.perf_counter()
    winner, config, judged = evolve(judge, given["generations"], given["seed"])
    tell(winner, config, judged, time.perf_counter() - began)
    env.close()


if __name__ == "__main__":
    main()
