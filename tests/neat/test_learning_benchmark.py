"""The comparison with neat-python: both sides count alike, and its networks are played as they are."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.neat_learning import Count, _quartiles
from benchmarks.neat_tasks import TASKS, batched_returns, peer_config
from rlkit.config import EnvConfig
from rlkit.envs.engines import make_envs
from rlkit.types import Decision

CARTPOLE = TASKS["cartpole"]


def alone(network: Any, seed: int) -> float:
    """The return of one network in one lane, by the library's own forward pass."""
    envs = make_envs(EnvConfig(id=CARTPOLE.id), {}, seed=0, num_envs=1, engine="torch")
    step, total = envs.reset([seed]), 0.0
    while not bool(step.terminated | step.truncated):
        action = int(np.argmax(network.activate(step.obs["obs"][0].tolist())))
        envs.send(Decision(torch.tensor([[action]])))
        step = envs.recv()
        total += float(step.reward)
    envs.close()
    return total


def test_its_networks_earn_in_batches_what_they_earn_alone() -> None:
    library = pytest.importorskip("neat", reason="neat-python is only compared with")
    random.seed(0)
    config = peer_config(library, CARTPOLE.settings, 4, 2)
    config.genome_config.node_add_prob = config.genome_config.conn_add_prob = 0.5
    networks = []

    def judge(genomes: Any, config: Any) -> None:
        networks[:] = [library.nn.FeedForwardNetwork.create(genome, config) for _, genome in genomes]
        for _, genome in genomes:
            genome.fitness = random.random()

    library.Population(config, seed=0).run(judge, 6)
    some = sorted(networks, key=lambda net: -len(net.node_evals))[:12]
    assert len(some[0].node_evals) > 4  # hidden nodes in a row
    returns, steps = batched_returns(CARTPOLE, some, [5, 6])
    assert returns.tolist() == [alone(net, 5) + alone(net, 6) for net in some]
    assert steps == sum(returns)


def test_equal_parameters_are_equal() -> None:
    library = pytest.importorskip("neat", reason="neat-python is only compared with")
    task = TASKS["mountaincar"]
    config, ours = peer_config(library, task.settings, 2, 3), task.settings
    genome = config.genome_config
    assert (genome.weight_init_stdev, genome.weight_mutate_power) == (5.0, 2.5)
    assert (genome.weight_mutate_rate, genome.weight_replace_rate) == (0.8, 0.1)
    assert (genome.weight_mutate_rate, genome.bias_mutate_power) == (
        ours.weights_mutate_prob * ours.weight.mutate_rate, ours.bias.mutate_power,
    )  # fmt: skip
    assert genome.compatibility_weight_coefficient == ours.weight_coefficient == 0.1
    assert config.reproduction_config.survival_threshold == ours.survival_threshold
    assert config.stagnation_config.max_stagnation == ours.max_stagnation
    assert (ours.crossover_prob, ours.interspecies_prob, ours.small_genome) == (1.0, 0.0, 0)


def test_a_task_is_solved_by_fresh_episodes() -> None:
    count, played = Count(), []

    def play(seeds: list[int]) -> float:
        played.append(seeds)
        return 480.0 if len(played) == 2 else 470.0

    assert not count.generation(CARTPOLE, 400.0, 10, play, 0)
    assert not played
    assert not count.generation(CARTPOLE, 500.0, 20, play, 0)
    assert count.solved is None
    assert count.generation(CARTPOLE, 500.0, 30, play, 0)
    assert (count.generations, count.evaluations, count.checks, count.solved) == (3, 450, 2, 480.0)
    assert len(set(played[0] + played[1])) == 200


def test_quartiles_count_the_unsolved_as_longer_than_any() -> None:
    rows = [{"n": n, "solved": 1.0} for n in (10, 20, 30)]
    assert _quartiles(rows, "n") == "20 [15, 25]"
    rows += [{"n": 1, "solved": None}, {"n": 2, "solved": None}]
    assert _quartiles(rows, "n") == "30 [20, –]"
