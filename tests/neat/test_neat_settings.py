"""What a first generation is like and how genomes mutate, by settings that neat-python has as well."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from by_hand import draws, genome

from rlkit.neat.contradictions import contradiction
from rlkit.neat.genes import Genomes
from rlkit.neat.initial import first_generation
from rlkit.neat.innovation import Innovations
from rlkit.neat.mutation import STRUCTURAL, add_connection, fresh, mutate, mutate_values
from rlkit.neat.reproduction import Evolution
from rlkit.neat.settings import Number, Settings
from rlkit.neat.species import SpeciesSet


def joined(genomes: Genomes, row: int = 0) -> set[tuple[int, int]]:
    """The connections of one genome."""
    there = genomes.has_connection[row]
    return set(zip(genomes.source[row][there].tolist(), genomes.target[row][there].tolist(), strict=True))


def first(settings: Settings, size: int = 40, inputs: int = 3, outputs: int = 2) -> Genomes:
    return first_generation(size, inputs, outputs, settings, draws())[0]


# ---------------------------------------------------------------------- the first generation


@pytest.mark.parametrize("feed_forward", ["True", "False"])
@pytest.mark.parametrize("hidden", [0, 2])
@pytest.mark.parametrize(
    "kind",
    ["unconnected", "fs_neat_nohidden", "fs_neat_hidden", "full_nodirect", "full_direct",
     "partial_nodirect 0.4", "partial_direct 0.4"],
)  # fmt: skip
def test_the_first_generation_is_neat_pythons(
    kind: str, hidden: int, feed_forward: str, tmp_path: Path
) -> None:
    """All kinds of initial connection: the same genes, or as many of the same that may be drawn."""
    library = pytest.importorskip("neat", reason="neat-python says what is right")
    from rlkit.neat.ini import checking, reading
    from rlkit.neat.ini.conversion import converted
    from rlkit.neat.ini.writing import corrected

    text = corrected(f"[DefaultGenome]\nnum_inputs = 3\nnum_outputs = 2\nnum_hidden = {hidden}\n"
                     f"feed_forward = {feed_forward}\ninitial_connection = {kind}\n")  # fmt: skip
    (tmp_path / "file").write_text(text, encoding="utf-8")
    config = library.Config(library.DefaultGenome, library.DefaultReproduction, library.DefaultSpeciesSet,
                            library.DefaultStagnation, str(tmp_path / "file"))  # fmt: skip
    state = random.getstate()
    theirs = []
    for one in library.Population(config, seed=1).population.values():
        place = {node: number for number, node in enumerate(sorted(one.nodes))}  # hidden ones differ there
        theirs.append({(place.get(a, a), place[b]) for a, b in one.connections})
    random.setstate(state)
    values = converted(checking.check(reading.read(text)))
    names = ("initial_connection", "initial_fraction", "initial_loops", "feed_forward", "num_hidden")
    made: dict[str, Any] = {name: values[f"agent.evolution.{name}"] for name in names}
    genomes = first(Settings(**made), size=150)
    ours = [joined(genomes, row) for row in range(150)]
    assert {len(one) for one in ours} == {len(one) for one in theirs}
    assert set().union(*ours) == set().union(*theirs)  # of 150 draws every possible one came
    if "partial" not in kind:
        assert {frozenset(one) for one in ours} == {frozenset(one) for one in theirs}


def test_when_a_run_ends_is_what_the_file_says() -> None:
    from rlkit.neat.ini import checking, reading
    from rlkit.neat.ini.conversion import converted, differences
    from rlkit.neat.ini.writing import corrected

    text = corrected("[NEAT]\nfitness_criterion = mean\nreset_on_extinction = False\n")
    for written, expected, lines in ((text, ("mean", False), 1), (corrected(""), ("max", True), 0)):
        checked = checking.check(reading.read(written))
        assert not checked.mistakes
        values = converted(checked)
        found = values["agent.fitness_criterion"], values["agent.evolution.reset_on_extinction"]
        assert found == expected
        told = {one.key: one.text for one in differences(checked)}
        assert ("fitness_criterion" in told) == lines
        assert ("reset_on_extinction" in told) == (not lines)  # the new population keeps the champion here
        assert not [text for key, text in told.items() if "not used" in text and "num_inputs" not in key]


def test_new_nodes_and_connections_begin_as_their_defaults_say() -> None:
    names = ["tanh", "relu", "sin"]
    genomes = first(Settings(activations=names, activation_default="relu", enabled_default="disabled"))
    assert set(genomes.activation[genomes.has_node].tolist()) == {1}
    assert not genomes.enabled[genomes.has_connection].any()
    drawn = first(Settings(activations=names, enabled_default="random"))
    assert set(drawn.activation[drawn.has_node].tolist()) == {0, 1, 2}
    assert 0.3 < drawn.enabled[drawn.has_connection].float().mean() < 0.7
    settings = Settings(activations=names, activation_default="sin", node_add_prob=1.0, conn_add_prob=0.0)
    grown = mutate(
        first(replace(settings, activation_default="relu")), settings, 3, 2, Innovations(50, 2), draws()
    )
    assert set(grown.activation[grown.has_node & (grown.node >= 2)].tolist()) == {2}


def test_uniform_values() -> None:
    number = Number(init_mean=1.0, init_stdev=0.5, init_type="uniform", max_value=1.5)
    values = fresh(number, draws(), 20_000)
    assert 0.0 <= values.min() < 0.01
    assert 1.49 < values.max() <= 1.5
    assert abs(float(values.mean()) - 0.75) < 0.02
    assert abs(float(values.var()) - 1.5**2 / 12) < 0.01
    values = fresh(replace(number, min_value=0.5, max_value=30.0), draws(), 20_000)
    assert 0.5 <= values.min() < 0.51  # min_value … mean + 2 stdev
    assert 1.99 < values.max() <= 2.0


# ---------------------------------------------------------------------- mutation


def changes(settings: Settings, size: int = 4_000) -> list[tuple[int, int]]:
    """Of many genomes with one hidden node: how many nodes and connections each gained."""
    one = genome([0, 1], [(0, -1, 0, 1.0, True), (1, -1, 1, 1.0, True), (2, 1, 0, 1.0, True)])
    many = one.take(torch.zeros(size, dtype=torch.int64))
    after = mutate(many, settings, 3, 1, Innovations(10, 2), draws())
    nodes = after.has_node.sum(1) - 2
    links = after.has_connection.sum(1) - 3
    return list(zip(nodes.tolist(), links.tolist(), strict=True))


def test_at_most_one_structural_mutation() -> None:
    rates = dict.fromkeys(STRUCTURAL, 0.25) | {"conn_add_prob": 0.5}  # 1.25 in all: shrunk to 1
    kinds = {(1, 2): 0.25, (-1, -2): 0.25, (0, 1): 0.5, (0, -1): 0.25}
    seen = changes(Settings(single_structural_mutation=True, **rates))
    assert set(seen) == set(kinds)
    for kind, rate in kinds.items():
        assert abs(seen.count(kind) / len(seen) - rate / 1.25) < 0.03
    assert set(changes(Settings(**rates))) > set(kinds)
    some = changes(Settings(single_structural_mutation=True, **dict.fromkeys(STRUCTURAL, 0.1)))
    assert abs(some.count((0, 0)) / len(some) - 0.6) < 0.03


def test_a_surer_structural_mutation() -> None:
    rates = {"node_add_prob": 1.0, "conn_add_prob": 0.0, "enabled_mutate_rate": 0.0}
    bare = first(Settings(initial_connection="none"), inputs=2, outputs=1)
    surer = Settings(structural_mutation_surer=True, **rates)
    assert mutate(bare, Settings(**rates), 2, 1, Innovations(9, 1), draws()).has_connection.sum() == 0
    grown = mutate(first(Settings(initial_connection="none"), inputs=2, outputs=1), surer, 2, 1,
                   Innovations(9, 1), draws())  # fmt: skip
    assert grown.has_connection.sum(1).tolist() == [1] * 40
    assert not (grown.node[grown.has_node] > 0).any()  # a connection instead of a node

    full = genome([0], [(0, -1, 0, 1.0, True), (1, -2, 0, 1.0, False)])
    chosen = torch.tensor([True])
    again = add_connection(full.take(torch.tensor([0])), chosen, surer, 2, 1, Innovations(9, 1), draws())
    assert again.enabled[again.has_connection].tolist() == [True, True]
    kept = add_connection(full.take(torch.tensor([0])), chosen, Settings(), 2, 1, Innovations(9, 1), draws())
    assert kept.enabled[kept.has_connection].tolist() == [True, False]


def test_switches_move_as_their_rates_say() -> None:
    def share(enabled: str, **rates: float) -> float:
        genomes = first(Settings(enabled_default=enabled), size=2_000)
        mutate_values(genomes, Settings(weights_mutate_prob=0.0, **rates), draws())
        return float(genomes.enabled[genomes.has_connection].float().mean())

    # A switch that is drawn anew falls on either side: half of the rate changes it.
    on = {"enabled_mutate_rate": 0.1, "enabled_rate_to_true_add": 0.3}
    assert abs(share("disabled", **on) - 0.2) < 0.02
    assert abs(share("enabled", **on) - 0.95) < 0.02
    assert abs(share("enabled", enabled_mutate_rate=0.0, enabled_rate_to_false_add=0.5) - 0.75) < 0.02


# ---------------------------------------------------------------------- species


def test_species_improve_by_the_fitness_that_is_asked_for() -> None:
    fitness = torch.tensor([1.0, 5.0, 3.0, 8.0, 2.0, 7.0, 7.5], dtype=torch.float64)
    members = [0, 0, 0, 1, 1, 1, 1]
    expected = {"max": [5.0, 8.0], "min": [1.0, 2.0], "mean": [3.0, 6.125], "median": [3.0, 7.25]}
    for kind, best in expected.items():
        settings = Settings(species_fitness=kind, compatibility_threshold=0.5, weight_coefficient=1.0,
                            weight=Number(init_stdev=0.0))  # fmt: skip
        species = SpeciesSet(settings)
        genomes = first(settings, size=7)
        genomes.weight[3:] = 9.0
        species.speciate(genomes, 0)
        assert species.members.tolist() == members
        species.stagnant(fitness, 0)
        assert [one.best for one in species.species] == best, kind


def test_a_species_has_at_least_so_many_children() -> None:
    settings = Settings(min_species_size=7, compatibility_threshold=0.3, weight_coefficient=1.0, elitism=2)
    evolution = Evolution(40, 3, 2, settings, draws())
    evolution.species.species = evolution.species.species[:4]
    evolution.species.members = torch.arange(40) % 4
    seen: list[int] = []

    def spied(fitness: Any, members: Any, alive: list[int], size: int, least: int) -> list[int]:
        seen.append(least)
        return real(fitness, members, alive, size, least)

    from rlkit.neat import reproduction

    real = reproduction.offspring
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduction, "offspring", spied)
        evolution.advance(torch.arange(40) % 4 * 100.0)
    assert seen == [7]


def test_a_default_that_cannot_be_drawn_is_refused() -> None:
    told = contradiction(Settings(activations=["relu"], activation_default="tanh"), 20)
    assert told is not None
    assert "activation_default=tanh is not among" in told
    assert contradiction(Settings(activations=["relu"], activation_default="relu"), 20) is None
