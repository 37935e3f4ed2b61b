"""Species: who is compatible with whom, who stagnates (the paper, section 3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlkit.neat.genes import NONE, Genomes
from rlkit.neat.settings import Settings

_BLOCK = 2**21  # numbers in one block of distances: as many as a processor's cache holds
_FOUNDERS = 32  # candidates for new species that are compared at once
_SAMPLE = 128  # genomes that a dynamic threshold is judged by
_NARROWEST = 0.1  # it never becomes


class Distances:
    """Compatibility distances from P genomes: c1·E/N + c2·D/N + c3·W (equation 1 of the paper).

    E excess and D disjoint connection genes, N genes of the larger genome, W the mean weight difference of
    matching genes. Genes are lined up once for all: every innovation number of the population is a column.
    """

    @torch.inference_mode()  # as in network.build
    def __init__(self, genomes: Genomes, settings: Settings) -> None:
        self.settings = settings
        self._weight, self._innovation = genomes.weight, genomes.innovation
        self._count = genomes.has_connection.sum(1)  # [P]
        # Which innovation numbers there are, without sorting all genes; the last column: empty slots.
        empty = int(_last(genomes.innovation, self._count).max()) + 1
        number = genomes.innovation.clamp(max=empty).flatten()
        seen = torch.bincount(number, minlength=empty + 1) > 0
        seen[empty] = True
        self._columns = seen.nonzero().flatten()
        self._columns[-1] = NONE
        place = seen.cumsum(0, dtype=torch.int32).sub_(1)
        self._column = place.index_select(0, number).view_as(genomes.innovation)  # [P, C]

    @torch.inference_mode()
    def to(self, others: Genomes, rows: Tensor | None = None) -> Tensor:
        """[P, K], or [n, K] for n of the rows: distances to K other genomes."""
        parts = (self._weight, self._innovation, self._column, self._count)
        if rows is not None:
            parts = tuple(part[rows] for part in parts)  # type: ignore[assignment]
        block = max(1, _BLOCK // max(1, parts[0].numel()))
        found = [self._block(parts, others, slice(k, k + block)) for k in range(0, others.size, block)]
        return torch.cat(found, dim=1)

    def _block(self, parts: tuple[Tensor, ...], others: Genomes, some: slice) -> Tensor:
        weight, innovation, column, count = parts
        theirs, settings = others.innovation[some].contiguous(), self.settings
        live = theirs < NONE
        place = torch.searchsorted(self._columns, theirs).clamp_(max=len(self._columns) - 1)
        known = live & (self._columns[place] == theirs)
        table = weight.new_full((len(theirs), len(self._columns)), torch.nan)  # their weight of each gene
        table[known.nonzero()[:, 0], place[known]] = others.weight[some][known]

        lined = table.index_select(1, column.flatten()).view(len(theirs), *weight.shape)  # [k, n, C]
        apart = lined.sub_(weight).abs_()
        ones = weight.new_ones(weight.shape[1])  # sums as products: several times as fast on so few columns
        # A gene that they lack is NaN, the only number that is not itself; numbers are compared faster than
        # bools are made.
        shared = torch.eq(apart, apart, out=torch.empty_like(apart)) @ ones
        difference = (apart.nan_to_num_(0.0) @ ones) / shared.clamp(min=1)
        their_count = live.sum(1)[:, None]  # [k, 1]
        lonely = count + their_count - 2 * shared  # [k, n]
        structure: Tensor = settings.disjoint_coefficient * lonely
        if settings.excess_coefficient != settings.disjoint_coefficient:
            # What lies beyond the other's last gene is excess; other lonely genes are disjoint.
            their_last = _last(theirs, their_count[:, 0])  # [k]
            mine_up_to = torch.searchsorted(
                innovation, their_last.expand(len(count), -1).contiguous(), right=True
            )
            last = _last(innovation, count)
            excess = count[:, None] - torch.minimum(mine_up_to, count[:, None])  # [n, k]
            excess = (
                excess.T
                + their_count
                - torch.searchsorted(theirs, last.expand(len(theirs), -1).contiguous(), right=True)
            )
            structure = structure + (settings.excess_coefficient - settings.disjoint_coefficient) * excess
        larger = torch.maximum(count, their_count)
        larger = torch.where(larger < max(1, settings.small_genome), 1, larger)
        return (structure / larger + settings.weight_coefficient * difference).T


def _last(innovation: Tensor, count: Tensor) -> Tensor:
    """[P] the highest innovation number of genomes of so many connections, −1 without any."""
    highest = innovation.gather(1, (count - 1).clamp(min=0)[:, None])[:, 0]
    return torch.where(count > 0, highest, -1)


@dataclass
class Species:
    """One species: its number, its age, and how well it has done."""

    id: int
    created: int  # generation
    best: float = -float("inf")  # the highest that its fitness ever was
    improved: int = 0  # generation in which `best` last rose

    def state(self) -> list[float]:
        return [self.id, self.created, self.best, self.improved]


def _founders(near: Tensor) -> Tensor:
    """Of k candidates, near [k, k] to one another: those that no earlier founder is compatible with."""
    chosen: list[int] = []
    for number, row in enumerate(near.tolist()):
        if not any(row[earlier] for earlier in chosen):
            chosen.append(number)
    return torch.tensor(chosen, device=near.device)


def _scores(fitness: Tensor, members: Tensor, species: int, kind: str) -> Tensor:
    """The max, min, mean or median fitness of each species' members; of two middle values their mean."""
    if kind == "median":
        return torch.stack([fitness[members == number].quantile(0.5) for number in range(species)])
    how = {"max": "amax", "min": "amin", "mean": "mean"}[kind]
    return fitness.new_zeros(species).scatter_reduce(0, members, fitness, how, include_self=False)


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
        if self.settings.target_species:
            self._follow_target(genomes)
        distances, found = Distances(genomes, self.settings), list(self.species)
        member = torch.full((genomes.size,), -1, dtype=torch.int64, device=genomes.device)
        nearest = torch.full((genomes.size,), torch.inf, device=genomes.device)  # to the species it joins
        spare, close = member.clone(), nearest.clone()  # the nearest of all, compatible or not
        if found:
            assert self.representatives is not None
            close, spare = distances.to(self.representatives).min(dim=1)
            member = torch.where(close < self.threshold, spare, member)
            nearest = torch.where(close < self.threshold, close, nearest)
        left = (member < 0).nonzero().flatten()
        most = self.settings.max_species or genomes.size
        while len(left):
            if len(found) >= most:  # no room for more
                member[left], nearest[left] = spare[left], close[left]
                break
            candidates = left[: min(_FOUNDERS, most - len(found))]
            apart = distances.to(genomes.take(candidates), left)  # [n, k]
            near = apart < self.threshold
            founders = _founders(near[: len(candidates)])
            apart, near = apart[:, founders], near[:, founders]
            near[founders, torch.arange(len(founders), device=near.device)] = True  # of threshold 0, too
            joins, which = near.max(dim=1)  # the first compatible one
            number = which + len(found)
            closest, nearby = apart.min(dim=1)
            better = closest < close[left]
            spare[left] = torch.where(better, nearby + len(found), spare[left])
            close[left] = torch.where(better, closest, close[left])
            member[left[joins]] = number[joins]
            nearest[left[joins]] = apart.gather(1, which[:, None])[:, 0][joins]
            for _ in range(len(founders)):
                found.append(Species(self._next_id, generation, improved=generation))
                self._next_id += 1
            left = left[~joins]
        self._keep(genomes, found, member, nearest)

    def _follow_target(self, genomes: Genomes) -> None:
        """A dynamic threshold: the one at which a sample of the population falls into `target_species`.

        Species whose representatives a wider threshold makes compatible become one, the older one.
        """
        wanted = self.settings.target_species
        rows = torch.linspace(0, genomes.size - 1, min(genomes.size, max(_SAMPLE, 6 * wanted))).long()
        sample = genomes.take(rows.to(genomes.device))
        apart = Distances(sample, self.settings).to(sample).cpu()
        low, high = _NARROWEST, max(_NARROWEST, float(apart.max())) * 2
        for _ in range(10):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if len(_founders(apart < middle)) > wanted else (low, middle)
        self.threshold = high
        if self.representatives is not None and self.species:
            between = Distances(self.representatives, self.settings).to(self.representatives)
            kept = set(_founders(between < self.threshold).tolist())
            self.drop([number not in kept for number in range(len(self.species))])

    def _keep(self, genomes: Genomes, found: list[Species], member: Tensor, nearest: Tensor) -> None:
        """Drop empty species, number the rest anew, and choose representatives."""
        sizes = torch.bincount(member, minlength=len(found))
        self.members = ((sizes > 0).cumsum(0) - 1).index_select(0, member)
        self.species = [one for one, size in zip(found, sizes.tolist(), strict=True) if size]
        # The nearest member of each, of equals the first.
        least = _scores(nearest, self.members, len(self.species), "min")
        row = torch.arange(genomes.size, device=member.device)
        row = torch.where(nearest == least.index_select(0, self.members), row, genomes.size)
        self.representatives = genomes.take(_scores(row, self.members, len(self.species), "min"))

    def sizes(self) -> list[int]:
        return torch.bincount(self.members, minlength=len(self.species)).tolist()

    def stagnant(self, fitness: Tensor, generation: int) -> list[bool]:
        """Which species end: no improvement for too long, and not among the best few."""
        members = self.members.to(fitness.device)
        scores = _scores(fitness, members, len(self.species), self.settings.species_fitness)
        for best, one in zip(scores.tolist(), self.species, strict=True):
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
        if not any(ended):
            return
        place: list[int] = []
        kept: list[int] = []
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
