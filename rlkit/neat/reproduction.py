"""Reproduction: explicit fitness sharing, offspring by species, the next generation (section 3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlkit.errors import UserError
from rlkit.neat.crossover import crossover
from rlkit.neat.draws import Draws
from rlkit.neat.genes import Genomes, stacked
from rlkit.neat.history import COLUMNS, Generation, History
from rlkit.neat.initial import first_generation
from rlkit.neat.innovation import Innovations
from rlkit.neat.mutation import mutate
from rlkit.neat.settings import Settings
from rlkit.neat.species import SpeciesSet

RIVALS = 5  # of a generation


@dataclass
class Parents:
    """Who begets whom, as rows of the old generation."""

    elite: Tensor  # [E] champions that live on unchanged
    first: Tensor  # [n] first parents
    second: Tensor  # [n] second parents; the first again where there is one parent only


@dataclass
class Rival:
    """A genome of a finished generation that may be its champion."""

    id: int
    fitness: float
    rivals: Genomes  # all of them
    row: int

    @property
    def genome(self) -> Genomes:  # [1]
        return self.rivals.row(self.row)


class Evolution:
    """A population that evolves: `genomes` are to be judged, `advance(fitness)` makes the next generation."""

    def __init__(self, size: int, inputs: int, outputs: int, settings: Settings, draws: Draws) -> None:
        self.size, self.inputs, self.outputs = size, inputs, outputs
        self.settings, self.draws = settings, draws
        self.generation = 0
        self.extinctions = 0
        self.genomes: Genomes
        self.innovations: Innovations
        self.genomes, self.innovations = first_generation(size, inputs, outputs, settings, draws)
        self.ids = torch.arange(size)  # [P] every genome that ever lived has a number of its own
        self._next_id = size
        self.species = SpeciesSet(settings)
        self.species.speciate(self.genomes, 0)
        self._champions: list[Genomes] = []  # of the finished generations, in parts
        self.champion_ids: list[int] = []
        self.best: list[float] = []  # their fitness
        self.rivals: list[Rival] = []  # the best few of the newest finished generation, the champion first
        self.history = History()  # what every finished generation was like
        self.report: dict[str, float] = {}  # what the last generation was like

    def advance(self, fitness: Tensor) -> None:
        """Replace the population by its offspring. fitness [P], higher is better, finite.

        UserError where all species end and the settings want no new population.
        """
        fitness = fitness.double().cpu()
        # Of equals the oldest: it has lived through other generations' episodes, too.
        best = torch.from_numpy(np.lexsort((self.ids.numpy(), -fitness.numpy()))[:RIVALS])
        few, numbers, values = self.genomes.take(best), self.ids[best].tolist(), fitness[best].tolist()
        self.rivals = [Rival(numbers[row], values[row], few, row) for row in range(len(best))]
        champion = int(best[0])
        self._remember(champion, fitness)
        ended = self.species.stagnant(fitness, self.generation)
        self.generation += 1
        if all(ended):  # nobody goes on but the champion: a fresh start around it
            if not self.settings.reset_on_extinction:
                raise UserError(
                    f"All species have died out after generation {self.generation - 1}, whose best fitness "
                    f"was {self.best[-1]:.6g}: make agent.evolution.reset_on_extinction true to begin anew "
                    "around the champion, or raise agent.evolution.max_stagnation or species_elitism."
                )
            self.extinctions += 1
            self._restart(champion)
            return
        members = self.species.members.cpu()
        alive = [number for number, gone in enumerate(ended) if not gone]
        spawn = offspring(fitness, members, alive, self.size, self._least())
        parents = choose_parents(fitness, members, alive, spawn, self.settings, self.draws)
        parts = [self._breed(fitness, parents)] if len(parents.first) else []
        if len(parents.elite):
            parts.insert(0, self.genomes.take(parents.elite).trimmed())
        self.genomes = stacked(parts)
        self.ids = torch.cat([self.ids[parents.elite], self._new_ids(len(parents.first))])
        self.species.drop(ended)
        self.species.speciate(self.genomes, self.generation)

    def champion(self) -> Genomes:
        """[1] the best genome of the newest finished generation; before that, the first of all."""
        if not self._champions:
            return self.genomes.row(0).trimmed()
        newest = self._champions[-1]
        return newest.row(newest.size - 1).trimmed()

    @property
    def champions(self) -> Genomes | None:
        """[G] the best genome of each finished generation; put together only when somebody asks."""
        if len(self._champions) > 1:
            self._champions = [stacked(self._champions).trimmed()]
        return self._champions[0] if self._champions else None

    def crown(self, rival: Rival) -> None:
        """Make one of the `rivals` the champion of the newest finished generation."""
        champions = self.champions
        assert champions is not None
        earlier = [champions.take(torch.arange(champions.size - 1))] if champions.size > 1 else []
        self._champions = [*earlier, rival.genome]
        self.champion_ids[-1], self.best[-1] = rival.id, rival.fitness

    def _remember(self, champion: int, fitness: Tensor) -> None:
        self._champions.append(self.rivals[0].genome)
        self.champion_ids.append(self.rivals[0].id)
        self.best.append(self.rivals[0].fitness)
        nodes, connections = (count.cpu().float() for count in self.genomes.counts())
        sizes = self.species.sizes()
        self.report = {
            "neat/generation": float(self.generation), "neat/best": float(fitness.max()),
            "neat/mean": float(fitness.mean()), "neat/worst": float(fitness.min()),
            "neat/species": float(len(sizes)), "neat/species_largest": float(max(sizes)),
            "neat/species_smallest": float(min(sizes)),
            "neat/nodes": float(nodes[champion]) - self.outputs,
            "neat/connections": float(connections[champion]),
            "neat/nodes_mean": float(nodes.mean()) - self.outputs,
            "neat/connections_mean": float(connections.mean()), "neat/threshold": self.species.threshold,
            "neat/extinctions": float(self.extinctions),
        }  # fmt: skip
        told = {column: self.report[f"neat/{column}"] for column in COLUMNS}
        living = [one.id for one in self.species.species]
        self.history.add(Generation(**told, sizes=dict(zip(living, sizes, strict=True))))

    @torch.inference_mode()  # as in network.build
    def _breed(self, fitness: Tensor, parents: Parents) -> Genomes:
        a, b = parents.first, parents.second
        swap = (fitness[b] > fitness[a]) | ((fitness[b] == fitness[a]) & self.draws.coin(0.5, len(a)).cpu())
        fitter, other = torch.where(swap, b, a), torch.where(swap, a, b)
        children = crossover(self.genomes, fitter, other, self.settings.disable_prob, self.draws)
        return mutate(children, self.settings, self.inputs, self.outputs, self.innovations, self.draws)

    def _restart(self, champion: int) -> None:
        fresh, _ = first_generation(self.size - 1, self.inputs, self.outputs, self.settings, self.draws)
        self.genomes = stacked([self.rivals[0].genome, fresh]).trimmed()
        self.ids = torch.cat([self.ids[champion : champion + 1], self._new_ids(self.size - 1)])
        self.species.drop([True] * len(self.species.species))
        self.species.speciate(self.genomes, self.generation)

    def _new_ids(self, count: int) -> Tensor:
        first, self._next_id = self._next_id, self._next_id + count
        return torch.arange(first, first + count)

    def _least(self) -> int:
        return max(self.settings.min_species_size, self.settings.elitism)

    def state_dict(self) -> dict[str, Any]:
        champions = self.champions
        return {
            "generation": self.generation, "extinctions": self.extinctions, "ids": self.ids,
            "next_id": self._next_id, "genomes": self.genomes.state_dict(),
            "species": self.species.state_dict(), "random": self.draws.generator.get_state(),
            "champions": None if champions is None else champions.state_dict(),
            "champion_ids": list(self.champion_ids), "best": list(self.best),
            "history": self.history.state_dict(),
            "innovations": [self.innovations.next_number, self.innovations.next_node],
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generation, self.extinctions = state["generation"], state["extinctions"]
        self.ids, self._next_id = state["ids"], state["next_id"]
        self.genomes = Genomes.from_state(state["genomes"], self.draws.device)
        self.species.load_state_dict(state["species"], self.draws.device)
        self.innovations = Innovations(*state["innovations"])
        self.draws.generator.set_state(state["random"])
        rows = state["champions"]
        self._champions = [] if rows is None else [Genomes.from_state(rows, self.draws.device)]
        self.champion_ids, self.best = list(state["champion_ids"]), list(state["best"])
        self.history.load_state_dict(state["history"])


def offspring(fitness: Tensor, members: Tensor, alive: list[int], size: int, least: int) -> list[int]:
    """How many of the next generation each living species gives: explicit fitness sharing.

    A member's fitness is divided by the size of its species, so a species' share is its mean fitness, counted
    from the worst of the population (fitness may be negative). Every species gives at least `least` where
    there is room; the total is exactly `size`, by largest remainders.
    """
    if len(alive) * least > size:
        least = size // len(alive)
    living = np.isin(members.numpy(), alive)
    inside, value = members.numpy()[living], fitness.numpy()[living]
    sizes = np.bincount(inside)
    sums = np.bincount(inside, weights=value - value.min())
    share = [max(0.0, float(sums[number] / sizes[number])) for number in alive]
    total = sum(share)
    share = [x / total for x in share] if total > 0 else [1 / len(alive)] * len(alive)
    free = size - least * len(alive)
    exact = [x * free for x in share]
    counts = [math.floor(x) for x in exact]
    by_remainder = sorted(range(len(alive)), key=lambda i: (counts[i] - exact[i], i))
    for place in by_remainder[: free - sum(counts)]:
        counts[place] += 1
    return [least + count for count in counts]


def choose_parents(fitness: Tensor, members: Tensor, alive: list[int], spawn: list[int], settings: Settings,
                   draws: Draws) -> Parents:  # fmt: skip
    """Champions, and the parents of every child: drawn from the best `survival_threshold` of each species."""
    # Everybody, best first, species by species.
    order = np.lexsort((-fitness.numpy(), members.numpy()))
    sizes = np.bincount(members.numpy()).tolist()
    starts = [0, *accumulate(sizes)]
    able = [max(1, math.ceil(settings.survival_threshold * sizes[number])) for number in alive]
    kept = [
        min(settings.elitism, count, sizes[number]) if sizes[number] >= settings.elitism_size else 0
        for number, count in zip(alive, spawn, strict=True)
    ]
    elite = [order[starts[number] : starts[number] + n] for number, n in zip(alive, kept, strict=True)]
    # For every child: where its species begins in `order`, and how many of it may have offspring.
    children = [count - n for count, n in zip(spawn, kept, strict=True)]
    start = np.repeat([starts[number] for number in alive], children)
    breadth = np.repeat(able, children)
    n = len(start)

    def drawn() -> np.ndarray:
        place = (draws.uniform(n).cpu().numpy() * breadth.astype(np.float32)).astype(np.int64)
        return order[start + np.minimum(place, breadth - 1)]

    first, second = drawn(), drawn()
    pool = np.concatenate([order[starts[k] : starts[k] + m] for k, m in zip(alive, able, strict=True)])
    stranger = pool[draws.below(len(pool), n).cpu().numpy()]
    second = np.where(draws.coin(settings.interspecies_prob, n).cpu().numpy(), stranger, second)
    second = np.where(draws.coin(settings.crossover_prob, n).cpu().numpy(), second, first)
    return Parents(*map(torch.from_numpy, (np.concatenate(elite), first, second)))
