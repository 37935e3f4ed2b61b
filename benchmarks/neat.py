"""NEAT on CartPole-v1 beside neat-python: seconds and genome steps of its first generations, on one thread.

python -m benchmarks.neat [sizes=150,500] [generations=8] [seed=0]

Both begin with every input joined to every output and change as much (probabilities and powers are equal);
neat-python evaluates in one process. Survival differs from run to run, so genome steps a second compare
evaluation, and the evolution step (speciate, reproduce, pack networks) is told apart.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium as gym
import torch

from benchmarks import report
from rlkit.agents.neat import NEAT, NEATConfig
from rlkit.config import AccelConfig, EnvConfig, NetConfig
from rlkit.envs.engines import make_envs
from rlkit.types import AgentSetup

NUMBER = (
    "_init_mean = 0.0\n{0}_init_stdev = 1.0\n{0}_init_type = gaussian\n{0}_max_value = 30\n"
    "{0}_min_value = -30\n{0}_mutate_power = 0.5\n"
)
INI = """[NEAT]
fitness_criterion = max
fitness_threshold = 1e9
pop_size = {size}
reset_on_extinction = False
no_fitness_termination = True
[DefaultGenome]
activation_default = tanh
activation_mutate_rate = 0.0
activation_options = tanh
aggregation_default = sum
aggregation_mutate_rate = 0.0
aggregation_options = sum
bias{bias}bias_mutate_rate = 0.72
bias_replace_rate = 0.08
compatibility_disjoint_coefficient = 1.0
compatibility_weight_coefficient = 0.4
conn_add_prob = 0.05
conn_delete_prob = 0.0
enabled_default = True
enabled_mutate_rate = 0.01
feed_forward = True
initial_connection = full_direct
node_add_prob = 0.03
node_delete_prob = 0.0
num_hidden = 0
num_inputs = 4
num_outputs = 2
response{response}response_mutate_rate = 0.0
response_replace_rate = 0.0
single_structural_mutation = False
structural_mutation_surer = default
weight{weight}weight_mutate_rate = 0.72
weight_replace_rate = 0.08
[DefaultSpeciesSet]
compatibility_threshold = 3.0
[DefaultStagnation]
species_fitness_func = max
max_stagnation = 15
species_elitism = 2
[DefaultReproduction]
elitism = 1
survival_threshold = 0.2
min_species_size = 2
"""


@dataclass
class NeatArgs:
    sizes: str = "150,500"
    generations: int = 8
    seed: int = 0


def ours(size: int, generations: int, seed: int) -> dict[str, float]:
    """Seconds and steps of rlkit's agent, one genome per lane of the batched engine."""
    envs = make_envs(EnvConfig(id="CartPole-v1"), {}, seed=seed, num_envs=size, engine="torch")
    setup = AgentSetup(
        envs.obs_spec, envs.action_spec, size, 10**9, torch.device("cpu"), seed, NetConfig(), AccelConfig()
    )
    began = time.perf_counter()
    agent, evolving, steps, finished = NEAT(NEATConfig(population=size), setup), 0.0, 0, 0
    obs = envs.reset(agent.first_seeds()).obs
    while finished < generations:
        decision = agent.act(obs, steps)
        envs.send(decision)
        step = envs.recv()
        agent.observe(obs, decision, step)
        obs, steps = step.obs, steps + step.count
        before = time.perf_counter()
        if agent.learn(steps) is not None:
            finished += 1
            evolving += time.perf_counter() - before
    return {"seconds": time.perf_counter() - began, "evolving": evolving, "steps": steps,
            "best": agent.evolution.best[-1]}  # fmt: skip


def theirs(size: int, generations: int, seed: int) -> dict[str, float]:
    """Seconds and steps of neat-python in one process, with one Gymnasium environment."""
    import neat as library

    def number(name: str) -> str:
        return NUMBER.format(name)

    text = INI.format(size=size, bias=number("bias"), weight=number("weight"), response=number("response"))
    text = text.replace("response_init_mean = 0.0", "response_init_mean = 1.0")
    text = text.replace("response_init_stdev = 1.0", "response_init_stdev = 0.0")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config"
        path.write_text(text)
        config = library.Config(
            library.DefaultGenome, library.DefaultReproduction, library.DefaultSpeciesSet,
            library.DefaultStagnation, str(path),
        )  # fmt: skip
    env = gym.make("CartPole-v1")
    random.seed(seed)  # neat-python draws from the global generator
    steps, evaluating = 0, 0.0

    def judge(genomes: Any, config: Any) -> None:
        nonlocal steps, evaluating
        before = time.perf_counter()
        for _, genome in genomes:
            network = library.nn.FeedForwardNetwork.create(genome, config)
            obs, _ = env.reset(seed=seed)
            genome.fitness, over = 0.0, False
            while not over:
                answer = network.activate(obs)
                obs, reward, terminated, truncated, _ = env.step(int(answer[1] > answer[0]))
                genome.fitness += float(reward)
                over, steps = terminated or truncated, steps + 1
        evaluating += time.perf_counter() - before

    population = library.Population(config)
    began = time.perf_counter()
    best = population.run(judge, generations)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "evolving": seconds - evaluating, "steps": steps, "best": best.fitness}


def main(words: list[str]) -> None:
    args = report.arguments(NeatArgs, words)
    torch.set_num_threads(1)
    print("genomes  side         s/generation  evolution ms  genome steps/s")
    for size in map(int, args.sizes.split(",")):
        sides = {"rlkit": ours} | ({"neat-python": theirs} if find_spec("neat") else {})
        for name, side in sides.items():
            found = side(size, args.generations, args.seed)
            evaluation = found["seconds"] - found["evolving"]
            print(
                f"{size:7,}  {name:11}  {found['seconds'] / args.generations:12.3f}  "
                f"{1e3 * found['evolving'] / args.generations:12.1f}  {found['steps'] / evaluation:14,.0f}"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
