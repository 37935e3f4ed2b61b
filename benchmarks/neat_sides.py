"""One generation of NEAT on CartPole-v1 by rlkit and by neat-python, from the same genomes.

A generation: every genome plays one episode, the population evolves, the networks of the next one are built
(neat-python builds a genome's network just before it plays it). Both sides have equal parameters
(`neat_tasks.EQUAL`), and the genomes of one are those of the other, gene by gene.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from benchmarks.neat_tasks import EQUAL
from rlkit.agents.neat import NEAT, NEATConfig
from rlkit.config import AccelConfig, EnvConfig, NetConfig
from rlkit.envs.engines import make_envs
from rlkit.neat.draws import Draws
from rlkit.neat.export import peer
from rlkit.neat.export.portable import plain
from rlkit.neat.genes import Genomes
from rlkit.neat.lanes import LaneNetworks
from rlkit.neat.network import build
from rlkit.neat.reproduction import Evolution
from rlkit.neat.species import SpeciesSet
from rlkit.types import AgentSetup, Envs

TASK, INPUTS, OUTPUTS = "CartPole-v1", 4, 2
Measured = dict[str, float]


# ---------------------------------------------------------------------- genomes


def newborn(size: int, seed: int) -> Evolution:
    """A first generation: episodes of some twenty steps."""
    return Evolution(size, INPUTS, OUTPUTS, EQUAL, Draws(torch.Generator().manual_seed(seed)))


def drifted(size: int, generations: int, seed: int, species: int = 0) -> Evolution:
    """What random fitness makes of a population in some generations.

    species: about so many, by a threshold that then stays; 0: as many as `EQUAL` gives.
    """
    evolution, random = newborn(size, seed), torch.Generator().manual_seed(seed)
    evolution.species.settings = replace(EQUAL, target_species=species)
    for _ in range(generations):
        evolution.advance(torch.rand(size, generator=random))
    evolution.species.settings = EQUAL
    return evolution


def survivors(seed: int, wanted: int = 100, size: int = 500, generations: int = 40) -> Genomes:
    """Genomes that evolved on CartPole and hold the pole for 500 steps from each of four first states."""
    config = NEATConfig(population=size, trials=4, fitness="min", evolution=EQUAL)
    agent, envs = _agent(config, size, seed, torch.device("cpu"))
    obs, found = envs.reset(agent.first_seeds()).obs, None
    for _ in range(generations):
        _play(agent, envs, obs)
        fit = agent.trials.fitness("min") >= 500
        if int(fit.sum()) >= wanted:
            found = agent.evolution.genomes.take(fit).trimmed()
            break
        agent.learn(0)
        obs = envs.obs
    if found is None:
        raise SystemExit(
            f"fewer than {wanted} genomes held the pole after {generations} generations; try seed=1"
        )
    return found


def copied(genomes: Genomes, like: Evolution) -> Evolution:
    """A population of these genomes in turn, in place of another's."""
    like.genomes = genomes.take(torch.arange(like.size) % genomes.size)
    numbers, nodes = (x[x < 2**40] for x in (genomes.innovation, genomes.node))
    like.innovations = replace(
        like.innovations, next_number=int(numbers.max()) + 1, next_node=int(nodes.max()) + 1
    )
    like.species = SpeciesSet(EQUAL)
    like.species.speciate(like.genomes, 0)
    return like


# ---------------------------------------------------------------------- rlkit


def _agent(config: NEATConfig, lanes: int, seed: int, device: torch.device) -> tuple[NEAT, Envs]:
    envs = make_envs(EnvConfig(id=TASK), {}, seed=seed, num_envs=lanes, engine="torch", device=str(device))
    setup = AgentSetup(
        envs.obs_spec, envs.action_spec, lanes, 10**12, device, seed, NetConfig(), AccelConfig()
    )
    return NEAT(config, setup), envs


def _play(agent: NEAT, envs: Envs, obs: dict[str, Tensor]) -> int:
    """All trials of the generation, as the trainer plays them; returns their steps."""
    steps = 0
    while not agent.trials.complete:
        decision = agent.act(obs, steps)
        envs.send(decision)
        step = envs.recv()
        agent.observe(obs, decision, step)
        obs, steps = step.obs, steps + step.count
    return steps


class Ours:
    """rlkit's agent, one genome per lane, on so many threads."""

    def __init__(self, population: Evolution, seed: int, device: str = "cpu", threads: int = 1) -> None:
        config = NEATConfig(population=population.size, evolution=EQUAL)
        self.agent, self.envs = _agent(config, population.size, seed, torch.device(device))
        self.threads, self.device = threads, device
        state = self.agent.state_dict()
        self.state = {**state, "evolution": population.state_dict()}

    def generation(self) -> Measured:
        """One generation, always from the same genomes."""
        self.agent.load_state_dict(self.state, policy_only=True)
        torch.set_num_threads(self.threads)
        self._wait()
        began = time.perf_counter()
        steps = _play(self.agent, self.envs, self.envs.reset(self.agent.first_seeds()).obs)
        self._wait()
        played = time.perf_counter()
        self.agent.learn(steps)
        self._wait()
        over = time.perf_counter()
        torch.set_num_threads(1)
        self.envs.drain()
        return {"seconds": over - began, "evolving": over - played, "steps": steps}

    def _wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()


def evolve_ours(evolution: Evolution, fitness: Tensor) -> Measured:
    """Reproduce, speciate, and lay the next networks out in lanes."""
    began = time.perf_counter()
    evolution.advance(fitness)
    networks = build(evolution.genomes, INPUTS, OUTPUTS, EQUAL)
    LaneNetworks(networks, evolution.size).assign(torch.arange(evolution.size))
    return {"seconds": time.perf_counter() - began, "species": len(evolution.species.species)}


# ---------------------------------------------------------------------- neat-python

_ENV: Any = None  # one plain environment in each process


def episode(genome: Any, config: Any) -> float:
    """The return of one genome, as neat-python's examples play it; plain floats, which it takes faster."""
    global _ENV
    import neat

    if _ENV is None:
        _ENV = gym.make(TASK, disable_env_checker=True)
    network = neat.nn.FeedForwardNetwork.create(genome, config)
    obs, _ = _ENV.reset(seed=config.episode_seed)
    total, over = 0.0, False
    while not over:
        left, right = network.activate(obs.tolist())
        obs, reward, terminated, truncated, _ = _ENV.step(int(right > left))
        total += reward
        over = terminated or truncated
    return total


class Theirs:
    """neat-python with the same genomes: in this process, or with a `ParallelEvaluator`."""

    def __init__(self, population: Evolution, seed: int, workers: int = 0) -> None:
        self.neat = neat = peer.library()
        self.config = peer.config_object(EQUAL, INPUTS, OUTPUTS, population.size)
        self.config.episode_seed = seed  # a part of the configuration, so that workers get it, too
        self.genomes = [peer.genome_object(plain(population.genomes, EQUAL, row), row + 1)
                        for row in range(population.size)]  # fmt: skip
        self.marks = population.innovations
        self.pool = neat.ParallelEvaluator(workers, episode) if workers else None
        self.start()

    def start(self) -> None:
        """The population as it was given."""
        neat = self.neat
        species = neat.DefaultSpeciesSet(self.config.species_set_config, neat.reporting.ReporterSet())
        living = {genome.key: genome for genome in self.genomes}
        self.population = neat.Population(self.config, (living, species, 0))
        tracker = neat.InnovationTracker(start_number=self.marks.next_number - 1)
        self.population.reproduction.innovation_tracker = tracker
        self.config.genome_config.innovation_tracker = tracker
        self.config.genome_config.node_indexer = count(self.marks.next_node)
        self.population.species.speciate(self.config, living, 0)

    def aim(self, species: int) -> None:
        """A threshold by which the genomes fall into about so many species, from then on.

        It is looked for among some hundred of them: too low a threshold for all takes minutes and gigabytes.
        """
        low, high, every = 0.1, 10.0, self.genomes
        self.genomes = every[:: max(1, len(every) // 300)]
        for _ in range(12):
            self.config.species_set_config.compatibility_threshold = (low * high) ** 0.5
            self.start()
            there = len(self.population.species.species)
            if abs(there - species) <= species // 10:
                break
            low, high = ((low * high) ** 0.5, high) if there > species else (low, (low * high) ** 0.5)
        self.genomes = every
        self.start()

    def generation(self) -> Measured:
        """One generation, always from the same genomes."""
        self.start()
        living = list(self.population.population.items())
        began = time.perf_counter()
        if self.pool is not None:
            self.pool.evaluate(living, self.config)
        else:
            for _, genome in living:
                genome.fitness = episode(genome, self.config)
        played = time.perf_counter()
        self._advance()
        over = time.perf_counter()
        steps = sum(genome.fitness for _, genome in living)  # a step is worth 1
        return {"seconds": over - began, "evolving": over - played, "steps": steps}

    def evolve(self, fitness: Tensor) -> Measured:
        """Reproduce, speciate, and build the next networks."""
        living = self.population.population.values()
        for genome, value in zip(living, fitness.tolist(), strict=True):
            genome.fitness = value
        began = time.perf_counter()
        self._advance()
        for genome in self.population.population.values():
            self.neat.nn.FeedForwardNetwork.create(genome, self.config)
        return {"seconds": time.perf_counter() - began, "species": len(self.population.species.species)}

    def _advance(self) -> None:
        one, config = self.population, self.config
        one.population = one.reproduction.reproduce(config, one.species, config.pop_size, one.generation)
        one.species.speciate(config, one.population, one.generation)

    def close(self) -> None:
        if self.pool is not None:
            self.pool.close()
