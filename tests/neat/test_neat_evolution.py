"""Species, fitness sharing, offspring, extinction, and evolution as a whole."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from by_hand import draws, evolved, genes_of, genome, population

from rlkit.errors import UserError
from rlkit.neat.genes import Genomes
from rlkit.neat.network import build
from rlkit.neat.reproduction import Evolution, choose_parents, offspring
from rlkit.neat.settings import Settings
from rlkit.neat.species import SpeciesSet


def one(weight: float) -> Genomes:
    """Genomes whose distance is the difference of this weight (with c3 = 1)."""
    return genome([0], [(0, -1, 0, weight, True)])


WEIGHTS = Settings(weight_coefficient=1.0, compatibility_threshold=1.0)


def test_species_by_hand() -> None:
    """0 founds, 0.6 joins it; 2 founds; 1.2 joins the nearer one of both later."""
    species = SpeciesSet(WEIGHTS)
    species.speciate(population(one(0.0), one(0.6), one(2.0), one(0.4)), 0)
    assert species.members.tolist() == [0, 0, 1, 0]
    assert [s.id for s in species.species] == [1, 2]
    species.speciate(population(one(1.2), one(0.1), one(5.0)), 1)
    assert species.members.tolist() == [1, 0, 2]
    assert [(s.id, s.created) for s in species.species] == [(1, 0), (2, 0), (3, 1)]
    species.speciate(population(one(0.0), one(5.1)), 2)  # species 2 has no member any more
    assert [s.id for s in species.species] == [1, 3]
    assert species.members.tolist() == [0, 1]
    assert species.representatives is not None
    assert species.representatives.weight.flatten().tolist() == pytest.approx([0.0, 5.1])


def test_a_representative_is_the_member_nearest_to_the_last_one() -> None:
    species = SpeciesSet(WEIGHTS)
    species.speciate(population(one(0.0)), 0)
    species.speciate(population(one(0.5), one(-0.2), one(0.3)), 1)
    assert species.representatives is not None
    assert species.representatives.weight.flatten().tolist() == pytest.approx([-0.2])


def test_founders_are_the_same_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    genomes = evolved(Settings(node_add_prob=0.4, conn_add_prob=0.6), 120, 3, 2, 10).genomes
    found = []
    for size in (1, 3, 1_000):
        monkeypatch.setattr("rlkit.neat.species._FOUNDERS", size)
        species = SpeciesSet(Settings(compatibility_threshold=0.7))
        species.speciate(genomes, 0)
        found.append(species.members.tolist())
    assert found[0] == found[1] == found[2]
    assert max(found[0]) > 5


def test_no_more_species_than_allowed() -> None:
    species = SpeciesSet(Settings(weight_coefficient=1.0, compatibility_threshold=1.0, max_species=2))
    species.speciate(population(one(0.0), one(3.0), one(9.0), one(-5.0)), 0)
    assert species.members.tolist() == [0, 1, 1, 0]


def test_a_dynamic_threshold_finds_the_number_wanted() -> None:
    settings = Settings(weight_coefficient=1.0, compatibility_threshold=0.001, target_species=5)
    species = SpeciesSet(settings)
    genomes = population(*(one(float(k)) for k in range(100)))
    for generation in range(3):
        species.speciate(genomes, generation)
        assert 4 <= len(species.species) <= 6
    assert species.threshold > 5


def test_offspring_by_explicit_fitness_sharing() -> None:
    """Means 9, 3 and 0 (from the worst of all) of twelve children: 9 and 3 of 12 parts."""
    fitness = torch.tensor([8.0, 10.0, 3.0, 3.0, 3.0, 0.0], dtype=torch.float64)
    members = torch.tensor([0, 0, 1, 1, 1, 2])
    assert offspring(fitness, members, [0, 1, 2], 12, 0) == [9, 3, 0]
    assert offspring(fitness, members, [0, 1, 2], 15, 1) == [10, 4, 1]
    assert offspring(fitness - 100, members, [0, 1, 2], 12, 0) == [9, 3, 0]  # negative fitness, the same
    assert offspring(fitness, members, [0, 1], 12, 0) == [12, 0]  # the worst of those that live is 3
    assert offspring(torch.ones(6).double(), members, [0, 1, 2], 7, 1) == [3, 2, 2]  # nobody is better
    assert (
        sum(
            offspring(
                torch.rand(6, generator=torch.Generator().manual_seed(0)).double(), members, [0, 1, 2], 101, 1
            )
        )
        == 101
    )
    assert offspring(fitness, members, [0, 1, 2], 2, 1) == [2, 0, 0]  # more species than children


def test_parents_are_the_best_of_their_species() -> None:
    fitness = torch.arange(20, dtype=torch.float64)
    members = torch.tensor([0] * 10 + [1] * 10)
    settings = Settings(
        survival_threshold=0.2, elitism=1, elitism_size=5, interspecies_prob=0.0, crossover_prob=1.0
    )
    parents = choose_parents(fitness, members, [0, 1], [30, 11], settings, draws())
    assert parents.elite.tolist() == [9, 19]
    assert set(parents.first[:29].tolist()) == set(parents.second[:29].tolist()) == {8, 9}
    assert set(parents.first[29:].tolist()) <= {18, 19}
    assert len(parents.first) == len(parents.second) == 39
    settings.crossover_prob, settings.elitism_size = 0.0, 11
    parents = choose_parents(fitness, members, [0, 1], [30, 11], settings, draws())
    assert parents.elite.tolist() == []
    assert torch.equal(parents.first, parents.second)
    settings.crossover_prob = settings.interspecies_prob = 1.0
    parents = choose_parents(fitness, members, [0, 1], [30, 11], settings, draws())
    assert set(parents.second[:30].tolist()) == {8, 9, 18, 19}


def test_a_species_that_does_not_improve_ends_but_the_best_do_not() -> None:
    species = SpeciesSet(
        Settings(weight_coefficient=1.0, compatibility_threshold=1.0, max_stagnation=2, species_elitism=1)
    )
    species.speciate(population(one(0.0), one(5.0), one(10.0)), 0)
    verdicts = [species.stagnant(torch.tensor(f).double(), g) for g, f in
                enumerate([[1.0, 9.0, 3.0], [1.0, 9.0, 4.0], [1.0, 9.0, 5.0], [1.0, 9.0, 5.0]])]  # fmt: skip
    assert verdicts == [[False] * 3, [False] * 3, [True, False, False], [True, False, False]]


def test_a_species_that_ended_is_forgotten() -> None:
    species = SpeciesSet(WEIGHTS)
    species.speciate(population(one(0.0), one(5.0), one(10.0), one(5.1)), 0)
    species.drop([False, True, False])
    assert [s.id for s in species.species] == [1, 3]
    assert species.members.tolist() == [0, -1, 1, -1]
    assert species.representatives is not None
    assert species.representatives.weight.flatten().tolist() == [0.0, 10.0]


def test_extinction_keeps_the_champion() -> None:
    settings = Settings(  # one species for all: a new one would have nothing to fall short of
        max_stagnation=1, species_elitism=0, node_add_prob=0.5, compatibility_threshold=50.0
    )
    evolution = Evolution(30, 3, 2, settings, draws())
    evolution.advance(torch.arange(30.0))
    champion, number = genes_of(evolution.genomes, 7), int(evolution.ids[7])
    fitness = torch.zeros(30)
    fitness[7] = 1.0  # lower than what every species had: none improves
    evolution.advance(fitness)
    assert evolution.extinctions == 1
    assert genes_of(evolution.genomes, 0) == champion
    assert int(evolution.ids[0]) == number
    assert evolution.genomes.size == 30
    assert len(set(evolution.ids.tolist())) == 30
    assert genes_of(evolution.genomes, 1) != champion


def test_extinction_ends_the_run_where_no_new_population_is_wanted() -> None:
    settings = Settings(
        max_stagnation=1, species_elitism=0, compatibility_threshold=50.0, reset_on_extinction=False
    )
    evolution = Evolution(30, 3, 2, settings, draws())
    evolution.advance(torch.arange(30.0))
    with pytest.raises(UserError, match=r"^All species have died out after generation 1, .* 2\.5: make"):
        evolution.advance(torch.full((30,), 2.5))
    assert evolution.extinctions == 0
    assert evolution.best == [29.0, 2.5]


def test_champions_alone_are_a_generation_without_children() -> None:
    """As many species as genomes, and each keeps its champion."""
    settings = Settings(compatibility_threshold=1e-6, elitism=1, elitism_size=1)
    evolution = Evolution(5, 3, 2, settings, draws())
    before = [genes_of(evolution.genomes, row) for row in range(5)]
    evolution.advance(torch.arange(5.0))
    assert sorted(evolution.ids.tolist()) == list(range(5))
    for row, number in enumerate(evolution.ids.tolist()):
        assert genes_of(evolution.genomes, row) == before[number]


def test_champions_are_those_of_every_generation_whoever_asks_when() -> None:
    """They are put together when somebody asks: once at the end, or after every generation."""
    settings = Settings(node_add_prob=0.5, conn_add_prob=0.5)
    asked, late = (Evolution(20, 3, 2, settings, draws()) for _ in range(2))
    random, best = torch.Generator().manual_seed(1), []
    assert late.champions is None
    for _ in range(8):
        fitness = torch.rand(20, generator=random)
        best.append(genes_of(late.genomes, int(fitness.argmax())))
        for one in (asked, late):
            one.advance(fitness)
        champions = asked.champions
        assert champions is not None
        assert champions.size == len(best)
        assert genes_of(late.champion(), 0) == genes_of(asked.champion(), 0) == best[-1]
    for one in (asked, late):
        champions = one.champions
        assert champions is not None
        assert [genes_of(champions, row) for row in range(8)] == best
    late.crown(late.rivals[1])
    champions = late.champions
    assert champions is not None
    second = genes_of(late.rivals[1].genome, 0)
    assert [genes_of(champions, row) for row in range(8)] == [*best[:-1], second]
    assert genes_of(late.champion(), 0) == second != best[-1]


def test_the_champion_of_a_large_species_lives_on_unchanged() -> None:
    evolution = Evolution(50, 3, 2, Settings(compatibility_threshold=50.0), draws())
    best, number = genes_of(evolution.genomes, 31), int(evolution.ids[31])
    fitness = torch.zeros(50)
    fitness[31] = 1.0
    evolution.advance(fitness)
    place = evolution.ids.tolist().index(number)
    assert genes_of(evolution.genomes, place) == best


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


WILD = Settings(node_add_prob=0.3, conn_add_prob=0.5, target_species=5)


def test_equal_fitness_gives_equal_generations() -> None:
    a, b, c = evolved(WILD, 40, 3, 2, 8), evolved(WILD, 40, 3, 2, 8), evolved(WILD, 40, 3, 2, 8, seed=1)
    assert same(a.state_dict(), b.state_dict())
    assert not same(a.genomes.state_dict(), c.genomes.state_dict())


def test_a_saved_evolution_goes_on_identically() -> None:
    first = evolved(WILD, 40, 3, 2, 6)
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    second = Evolution(40, 3, 2, WILD, draws(99))
    second.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    assert same(first.state_dict(), second.state_dict())
    random = torch.Generator().manual_seed(8)
    for _ in range(4):
        fitness = torch.rand(40, generator=random)
        first.advance(fitness)
        second.advance(fitness)
    assert same(first.state_dict(), second.state_dict())


# ---------------------------------------------------------------------- XOR, the paper's section 4.1

X = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = torch.tensor([0.0, 1.0, 1.0, 0.0])


def xor(seed: int, limit: int = 200) -> int | None:
    """The generation (from 1) in which a network answers all four questions."""
    settings = Settings(activations=["sigmoid"])
    evolution = Evolution(150, 2, 1, settings, draws(seed))
    for generation in range(1, limit + 1):
        nets = build(evolution.genomes, 2, 1, settings)
        answers = torch.stack([nets(x.expand(150, 2))[0][:, 0] for x in X], dim=1)
        if bool(((answers > 0.5) == (Y > 0.5)).all(1).any()):
            return generation
        evolution.advance((4 - (answers - Y).abs().sum(1)) ** 2)
    return None


def test_xor_is_solved() -> None:
    assert None not in [xor(seed) for seed in range(1000, 1003)]


@pytest.mark.learning
def test_xor_is_solved_by_nineteen_seeds_of_twenty() -> None:
    found = [xor(seed) for seed in range(20)]
    assert sum(generation is not None for generation in found) >= 19
