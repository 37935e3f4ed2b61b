"""The same evolution with worker processes: the same seed gives the same winner as neat_python.py.

    python neat_python_parallel.py generations=100 seed=0 workers=2 start=spawn

Workers import `judge_one` from this file, so in a notebook it has to be imported from here, too: a function
that is defined in a cell exists in no other process.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import Any

import gymnasium as gym
import neat
from neat_python import Genomes, evolve, mean_return, options, tell

ENV: gym.Env | None = None  # each worker's own


def open_env() -> None:
    """Once in every worker, before its first genome."""
    global ENV
    ENV = gym.make("CartPole-v1")


def judge_one(genome: Any, config: neat.Config, seeds: range) -> float:
    assert ENV is not None
    return mean_return(genome, config, ENV, seeds)


def main() -> None:
    given = options(workers=os.cpu_count() or 1, start="spawn")
    # spawn: the only start method of every system, and none that copies a notebook's threads and locks.
    # Unlike multiprocessing.Pool, an executor whose worker dies says so instead of waiting for ever.
    began = time.perf_counter()
    with ProcessPoolExecutor(
        given["workers"], multiprocessing.get_context(given["start"]), initializer=open_env
    ) as workers:

        def judge(genomes: Genomes, config: neat.Config, seeds: range) -> None:
            everyone = [genome for _, genome in genomes]
            share = -(-len(everyone) // given["workers"])  # one parcel each: a parcel carries the config
            found = workers.map(judge_one, everyone, repeat(config), repeat(seeds), chunksize=share)
            for genome, fitness in zip(everyone, found, strict=True):
                genome.fitness = fitness

        winner, config, judged = evolve(judge, given["generations"], given["seed"])
    tell(winner, config, judged, time.perf_counter() - began)


if __name__ == "__main__":
    main()
