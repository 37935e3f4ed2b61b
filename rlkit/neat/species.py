"""Species: who is compatible with whom, who stagnates (the paper, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlkit.neat.genes import NONE, Genomes
from rlkit.neat.settings import Settings

_STEP = 0.1  # by which a dynamic threshold moves in a generation
_NARROWEST = 0.3


class Distances:
    """Compatibility distances from P genomes: c1·E/N + c2·D/N + c3·W (equation 1 of the paper).

    E excess and D disjoint connection genes, N genes of the larger genome, W the mean weight difference of
    matching genes. Genes are lined up once for all: every innovation number of the population is a column.
    """

    def __init__(self, genomes: Genomes, settings: Settings) -> None:
        self.settings = settings
        self._weight, self._there = genomes.weight, genomes.has_connection
        self._innovation = genomes.innovation
        self._columns = torch.unique(genomes.innovation)
        self._column = torch.searchsorted(self._columns, genomes.innovation)  # [P, C]
        self._count = self._there.sum(1)  # [P]
        self._last = _last(genomes.innovation, self._there)  # [P]

    def to(self, one: Genomes, rows: Tensor | None = None) -> Tensor:
        """[P] or [rows]: distances to a single genome."""
        mine: tuple[Tensor, ...] = (self._weight, self._there, self._column, self._count, self._last)
        innovation = self._innovation
        if rows is not None:
            mine, innovation = tuple(part[rows] for part in mine), innovation[rows]
        weight, there, column, count, last = mine
        live = one.has_connection[0]
        theirs, their_weight = one.innovation[0][live], one.weight[0][live]
        place = torch.searchsorted(self._columns, theirs).clamp_(max=len(self._columns) - 1)
        known = self._columns[place] == theirs
        table = torch.full((len(self._columns),), torch.nan, device=weight.device)
        table[place[known]] = their_weight[known]
        table[self._columns >= NONE] = torch.nan
        apart = (weight - table[column]).abs()
        matching = ~apart.isnan()
        shared = matching.sum(1)
        difference = apart.nan_to_num_(0.0).sum(1) / shared.clamp(min=1)
        # What lies beyond the other's last gene is excess; other lonely genes are disjoint.
        other_last = theirs[-1] if len(theirs) else -1
        excess = (there & (innovation > other_last)).sum(1)
        beyond = torch.searchsorted(theirs, last, right=True)  # how many of theirs are not beyond my last
        excess = excess + (len(theirs) - beyond)
        disjoint = count + len(theirs) - 2 * shared - excess
        larger = count.clamp(min=len(theirs))
        larger = torch.where(larger < self.settings.small_genome, 1, larger).clamp(min=1)
        settings = self.settings
        structure = settings.excess_coefficient * excess + settings.disjoint_coefficient * disjoint
        return structure / larger + settings.weight_coefficient * difference


def _last(innovation: Tensor, there: Tensor) -> Tensor:
    """[P] the highest innovation number of each genome, −1 without any."""
    return torch.where(there, innovation, -1).amax(1)


@dataclass
class Species:
    """One species: its number, its age, and how well it has done."""

    id: int
    created: int  # generation
    best: float = -float("inf")  # highest fitness that a member ever had
    improved: int = 0  # generation in which `best` last rose

    def state(self) -> list[float]:
        return [self.id, self.created, self.best, self.improved]


class SpeciesSet:
    """The species of a population and their representatives, one genome each."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.threshold = settings.compatibility_threshold
        self.species: list[Species] = []
        self.representatives: Genomes | None = None  # as many rows as species
        self.members = torch.zeros(0, dtype=torch.int64)  # [P] place of each genome's species in `species`
        self._next_id = 1

    def speciate(self, genomes: Genomes, generation: int) -> None:
        """Put every genome into the nearest compatible species; the first of the rest founds the next one.

        A species goes on where its representative's nearest genome is (neat-python's way: representatives
        wander little); one that nobody is compatible with ends.
        """
        p, distances = genomes.size, Distances(genomes, self.settings)
        nearest = torch.full((p,), torch.inf, device=genomes.device)
        member = torch.full((p,), -1, dtype=torch.int64, device=genomes.device)
        for number in range(len(self.species)):
            assert self.representatives is not None
            one = self.representatives.take(torch.tensor([number], device=genomes.device))
            apart = distances.to(one)
            closer = (apart < self.threshold) & (apart < nearest)
            member, nearest = torch.where(closer, number, member), torch.where(closer, apart, nearest)
        found = list(self.species)
        left = (member < 0).nonzero().flatten()
        while len(left):
            apart = distances.to(genomes.take(left[:1]), left)
            joins = apart < self.threshold
            joins[0] = True
            member[left[joins]], nearest[left[joins]] = len(found), apart[joins]
            found.append(Species(self._next_id, generation, improved=generation))
            self._next_id += 1
            left = left[~joins]
        self._keep(genomes, found, member, nearest)
        self._follow_target()

    def _keep(self, genomes: Genomes, found: list[Species], member: Tensor, nearest: Tensor) -> None:
        """Drop empty species, number the rest anew, and choose representatives."""
        # The nearest member of each: sorted by species, then by distance, the first of every run.
        order = torch.argsort(nearest, stable=True)
        order = order[torch.argsort(member[order], stable=True)]
        ranked = member[order]
        first = torch.ones_like(ranked, dtype=torch.bool)
        first[1:] = ranked[1:] != ranked[:-1]
        numbers = ranked[first]
        place = torch.full((len(found),), -1, device=member.device)
        place[numbers] = torch.arange(len(numbers), device=member.device)
        self.members = place[member]
        self.representatives = genomes.take(order[first])
        self.species = [found[number] for number in numbers.tolist()]

    def _follow_target(self) -> None:
        """A dynamic threshold: narrower when there are too few species, wider when there are too many."""
        wanted = self.settings.target_species
        if wanted:
            step = _STEP * ((len(self.species) > wanted) - (len(self.species) < wanted))
            self.threshold = max(_NARROWEST, self.threshold + step)

    def sizes(self) -> list[int]:
        return torch.bincount(self.members, minlength=len(self.species)).tolist()

    def stagnant(self, fitness: Tensor, generation: int) -> list[bool]:
        """Which species end: no improvement for too long, and not among the best few."""
        members = self.members.to(fitness.device)
        tops = torch.full((len(self.species),), -torch.inf, dtype=fitness.dtype)
        tops = tops.scatter_reduce(0, members, fitness, "amax")
        for best, one in zip(tops.tolist(), self.species, strict=True):
            if best > one.best:
                one.best, one.improved = best, generation
        order = sorted(range(len(self.species)), key=lambda i: self.species[i].best, reverse=True)
        safe = set(order[: self.settings.species_elitism])
        limit = self.settings.max_stagnation
        return [
            number not in safe and generation - one.improved >= limit
            for number, one in enumerate(self.species)
        ]

    def drop(self, ended: list[bool]) -> None:
        """Forget species; members of the dropped ones get −1."""
        place, kept = [], []
        for number, gone in enumerate(ended):
            place.append(-1 if gone else len(kept))
            if not gone:
                kept.append(number)
        self.species = [self.species[number] for number in kept]
        self.members = torch.tensor(place, device=self.members.device)[self.members]
        if self.representatives is not None:
            self.representatives = self.representatives.take(torch.tensor(kept, dtype=torch.int64))

    def state_dict(self) -> dict[str, Any]:
        return {
            "species": [one.state() for one in self.species],
            "threshold": self.threshold,
            "next_id": self._next_id,
            "members": self.members.cpu(),
            "representatives": self.representatives.state_dict() if self.representatives else None,
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        self.species = [Species(int(i), int(c), b, int(g)) for i, c, b, g in state["species"]]
        self.threshold, self._next_id = state["threshold"], state["next_id"]
        self.members = state["members"].to(device)
        rows = state["representatives"]
        self.representatives = Genomes.from_state(rows, device) if rows is not None else None
