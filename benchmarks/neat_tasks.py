"""What NEAT is measured on beside neat-python: the tasks, equal parameters, and the library's own side."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from rlkit.config import EnvConfig
from rlkit.envs.engines import make_envs
from rlkit.neat.settings import Number, Settings
from rlkit.types import Decision

# What both can do alike: every gene changes on its own, always two parents, champions of every species.
VALUE = Number(mutate_rate=0.8, replace_rate=0.1, mutate_power=0.5)
EQUAL = Settings(
    weights_mutate_prob=1.0, weight=VALUE, bias=VALUE, node_add_prob=0.03, conn_add_prob=0.05,
    weight_coefficient=0.5, compatibility_threshold=3.0, small_genome=0, max_species=0,
    crossover_prob=1.0, interspecies_prob=0.0, survival_threshold=0.2, elitism=1, elitism_size=1,
    max_stagnation=15, species_elitism=2,
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One environment, the mean return that counts as solved, and how genomes are judged."""

    id: str
    goal: float
    engine: str  # of rlkit's side
    peer: str  # environments of the other: plain, one of Gymnasium's, or torch, the batched ones
    trials: int  # episodes of a genome, the same for all of a generation
    generations: int  # after which a seed counts as not solved
    scale: float = 1.0  # of weights: how they begin and change, and the distance counts them by it

    @property
    def settings(self) -> Settings:
        weight = replace(VALUE, init_stdev=VALUE.init_stdev * self.scale,
                         mutate_power=VALUE.mutate_power * self.scale)  # fmt: skip
        return replace(EQUAL, weight=weight, weight_coefficient=EQUAL.weight_coefficient / self.scale)


# MountainCar's observations are small (positions within ±1.2, velocities within ±0.07), its weights large.
TASKS = {
    "cartpole": Task("CartPole-v1", 475.0, "torch", "plain", trials=1, generations=50),
    "mountaincar": Task("MountainCar-v0", -110.0, "torch", "torch", trials=3, generations=100, scale=5.0),
    "lunarlander": Task("LunarLander-v3", 200.0, "sync", "plain", trials=1, generations=60),
}
POPULATION = 150


def batched_returns(task: Task, networks: list[Any], seeds: list[int]) -> tuple[np.ndarray, int]:
    """What neat-python's networks earn: [P] sums over one episode for each seed, and the steps.

    All episodes at once, because one after the other they would take hours: the networks' own numbers, node
    after node in their order, in the batched environments.
    """
    p, t = len(networks), len(seeds)
    envs = make_envs(EnvConfig(id=task.id), {}, seed=0, num_envs=p * t, engine="torch")
    inputs, nodes = len(networks[0].input_nodes), max(len(net.node_evals) for net in networks)
    weight = np.zeros((nodes, p, 1, inputs + nodes))
    bias, response = np.zeros((nodes, p, 1)), np.ones((nodes, p, 1))
    output = np.zeros((p, len(networks[0].output_nodes)), dtype=np.int64)
    for row, net in enumerate(networks):
        place = {key: at for at, key in enumerate(net.input_nodes)}
        for at, (node, _, _, bias[at, row], response[at, row], links) in enumerate(net.node_evals):
            place[node] = inputs + at
            for source, value in links:
                weight[at, row, 0, place[source]] += value
        output[row] = [place[node] for node in net.output_nodes]
    lanes = np.arange(p * t)
    chosen = np.repeat(output, t, axis=0)  # [P · T, O]
    parked, total, steps = torch.full((p * t,), -1), np.zeros(p * t), 0
    step = envs.reset(seeds * p)
    over = np.zeros(p * t, dtype=bool)
    while not over.all():
        values = np.zeros((p, t, inputs + nodes))
        values[:, :, :inputs] = step.obs["obs"].numpy().reshape(p, t, inputs)
        for at in range(nodes):
            z = bias[at] + response[at] * (weight[at] * values).sum(-1)
            values[:, :, inputs + at] = np.tanh(np.clip(2.5 * z, -60.0, 60.0))
        answers = values.reshape(p * t, -1)[lanes[:, None], chosen]
        envs.send(Decision(torch.from_numpy(answers.argmax(1))[:, None], seeds=parked))
        step = envs.recv()
        total += np.where(over, 0.0, step.reward.numpy())
        steps += step.count
        over |= (step.terminated | step.truncated).numpy()
    envs.close()
    return total.reshape(p, t).sum(1), steps


def peer_config(library: Any, settings: Settings, inputs: int, outputs: int) -> Any:
    """Settings and POPULATION in neat-python's own words."""

    def number(name: str, value: Number) -> dict[str, Any]:
        words = asdict(value) | {"init_type": "gaussian"}
        return {f"{name}_{key}": word for key, word in words.items()}

    sections: dict[str, dict[str, Any]] = {
        "NEAT": {
            "fitness_criterion": "max", "fitness_threshold": 1e9, "pop_size": POPULATION,
            "reset_on_extinction": True, "no_fitness_termination": True,
        },
        "DefaultGenome": {
            "activation_default": "tanh", "activation_mutate_rate": 0.0, "activation_options": "tanh",
            "aggregation_default": "sum", "aggregation_mutate_rate": 0.0, "aggregation_options": "sum",
            **number("bias", settings.bias), **number("weight", settings.weight),
            **number("response", settings.response),
            "compatibility_disjoint_coefficient": settings.disjoint_coefficient,
            "compatibility_weight_coefficient": settings.weight_coefficient,
            "conn_add_prob": settings.conn_add_prob, "conn_delete_prob": settings.conn_delete_prob,
            "enabled_default": True, "enabled_mutate_rate": settings.enabled_mutate_rate,
            "feed_forward": settings.feed_forward, "initial_connection": "full_direct",
            "node_add_prob": settings.node_add_prob, "node_delete_prob": settings.node_delete_prob,
            "num_hidden": 0, "num_inputs": inputs, "num_outputs": outputs,
            "single_structural_mutation": False, "structural_mutation_surer": "default",
        },
        "DefaultSpeciesSet": {"compatibility_threshold": settings.compatibility_threshold},
        "DefaultStagnation": {
            "species_fitness_func": "max", "max_stagnation": settings.max_stagnation,
            "species_elitism": settings.species_elitism,
        },
        "DefaultReproduction": {
            "elitism": settings.elitism, "min_species_size": settings.min_species_size,
            "survival_threshold": settings.survival_threshold,
        },
    }  # fmt: skip
    lines = []
    for section, keys in sections.items():
        lines += [f"[{section}]", *(f"{key} = {value}" for key, value in keys.items())]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config"
        path.write_text("\n".join(lines))
        return library.Config(
            library.DefaultGenome, library.DefaultReproduction, library.DefaultSpeciesSet,
            library.DefaultStagnation, str(path),
        )  # fmt: skip
