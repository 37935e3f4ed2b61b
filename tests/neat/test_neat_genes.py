"""Crossover, distance, historical markings and structural mutation, against examples made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from by_hand import Gene, check, draws, evolved, genes_of, genome, has_cycle, nodes_of, population

from rlkit.neat import innovation
from rlkit.neat.crossover import crossover
from rlkit.neat.innovation import Innovations
from rlkit.neat.mutation import add_connection, add_node, delete_connection, delete_node, reachable
from rlkit.neat.settings import Settings
from rlkit.neat.species import Distances

# Figure 4 of the paper: both parents' genes 1 to 5, then what each has alone. Inputs −1 −2 −3, output 0.
MATCHING: list[Gene] = [
    (1, -1, 0, 1.0, True),
    (2, -2, 0, 2.0, False),
    (3, -3, 0, 3.0, True),
    (4, -2, 1, 4.0, True),
]
FIRST = genome([0, 1], [*MATCHING, (5, 1, 0, 5.0, True), (8, -1, 1, 8.0, True)])
SECOND = genome(
    [0, 1, 2],
    [*((n, s, t, 10 * w, e) for n, s, t, w, e in MATCHING), (5, 1, 0, 50.0, False), (6, 1, 2, 60.0, True),
     (7, 2, 0, 70.0, True), (9, -3, 1, 90.0, True), (10, -1, 2, 100.0, True)],
)  # fmt: skip


def test_crossover_takes_structure_from_the_fitter_and_matching_genes_from_both() -> None:
    first, second = torch.zeros(400, dtype=torch.int64), torch.ones(400, dtype=torch.int64)
    children = crossover(population(FIRST, SECOND), second, first, 0.75, draws())
    seen: dict[int, set[float]] = {}
    for row in range(400):
        genes = genes_of(children, row)
        assert [gene[:3] for gene in genes] == [gene[:3] for gene in genes_of(SECOND)]
        assert nodes_of(children, row) == [0, 1, 2]
        for number, _, _, weight, _ in genes:
            seen.setdefault(number, set()).add(weight)
    assert seen == {
        1: {1.0, 10.0}, 2: {2.0, 20.0}, 3: {3.0, 30.0}, 4: {4.0, 40.0}, 5: {5.0, 50.0},
        6: {60.0}, 7: {70.0}, 9: {90.0}, 10: {100.0},
    }  # fmt: skip
    from_second = torch.tensor(
        [[gene[3] >= 10 for gene in genes_of(children, row)[:5]] for row in range(400)]
    )
    assert ((from_second.float().mean(0) - 0.5).abs() < 0.1).all()


def test_a_gene_disabled_in_either_parent_is_disabled_three_times_of_four() -> None:
    first, second = torch.zeros(2_000, dtype=torch.int64), torch.ones(2_000, dtype=torch.int64)
    children = crossover(population(FIRST, SECOND), first, second, 0.75, draws())
    share = children.enabled.float().mean(0)
    assert share[[0, 2, 3, 5]].tolist() == [1.0] * 4  # 5: gene 8, which only the fitter has
    assert share[1] == pytest.approx(0.25, abs=0.04)  # in both
    assert share[4] == pytest.approx(0.25, abs=0.04)  # in the other one


def test_rows_are_no_wider_than_the_widest_genome() -> None:
    both = population(FIRST, SECOND)
    alone = both.take(torch.tensor([0])).trimmed()
    assert genes_of(alone) == genes_of(FIRST)
    assert (alone.innovation.shape[1], alone.node.shape[1]) == (len(genes_of(FIRST)), len(nodes_of(FIRST)))
    assert both.trimmed().innovation.shape == both.innovation.shape
    none = genome([0], []).trimmed()
    assert none.weight.shape == (1, 1)


@pytest.mark.parametrize(("excess", "disjoint"), [(1.0, 1.0), (2.0, 0.5)])
def test_distance_is_equation_one(excess: float, disjoint: float) -> None:
    """Beyond 8 lie 9 and 10; 6, 7 and 8 are disjoint; five genes match."""
    settings = Settings(
        excess_coefficient=excess, disjoint_coefficient=disjoint, weight_coefficient=0.4, small_genome=0
    )
    weights = (9 + 18 + 27 + 36 + 45) / 5
    expected = excess * 2 / 9 + disjoint * 3 / 9 + 0.4 * weights
    both = population(FIRST, SECOND)
    found = Distances(both, settings).to(both)
    assert found.flatten().tolist() == pytest.approx([0.0, expected, expected, 0.0])
    small = Distances(both, replace(settings, small_genome=20)).to(both)  # N is 1
    assert float(small[0, 1]) == pytest.approx(excess * 2 + disjoint * 3 + 0.4 * weights)


def test_distance_to_genes_that_died_out_and_to_nothing() -> None:
    settings = Settings(
        excess_coefficient=2.0, disjoint_coefficient=1.0, small_genome=0, weight_coefficient=1.0
    )
    empty = genome([0], [])
    other = genome([0], [(3, -3, 0, 5.0, True), (99, -1, 0, 1.0, True)])  # 99 is nobody's here
    found = Distances(population(empty, FIRST), settings).to(population(other, empty))
    # FIRST and other: 3 matches (3 against 5); 1, 2, 4, 5, 8 disjoint; 99 excess
    assert found.flatten().tolist() == pytest.approx([2.0, 0.0, (5 + 2) / 6 + 2.0, 2.0])


def test_distances_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    genomes = evolved(Settings(node_add_prob=0.3, conn_add_prob=0.5), 40, 3, 2, 8).genomes
    whole = Distances(genomes, Settings()).to(genomes)
    monkeypatch.setattr("rlkit.neat.species._BLOCK", 1)
    alone = Distances(genomes, Settings()).to(genomes)
    assert torch.allclose(whole, alone, atol=1e-5)
    assert torch.allclose(whole, whole.T, atol=1e-5)
    rows = torch.tensor([5, 17])
    assert torch.allclose(Distances(genomes, Settings()).to(genomes, rows), whole[rows], atol=1e-5)
    assert whole.max() > 1.0


# ---------------------------------------------------------------------- historical markings


def test_the_same_connection_of_one_generation_gets_the_same_number() -> None:
    marks = Innovations(next_number=10, next_node=4)
    numbers = marks.connections(torch.tensor([-1, 3, -1, 3]), torch.tensor([0, 0, 0, 2])).tolist()
    assert numbers[0] == numbers[2]
    assert sorted(set(numbers)) == [10, 11, 12]
    assert marks.next_number == 13
    later = marks.connections(torch.tensor([-1]), torch.tensor([0])).tolist()
    assert later == [13]  # another generation, another number
    assert (
        marks.connections(torch.tensor([], dtype=torch.int64), torch.tensor([], dtype=torch.int64)).tolist()
        == []
    )


def test_the_same_split_of_one_generation_gets_the_same_node_and_numbers() -> None:
    marks = Innovations(next_number=10, next_node=4)
    node, into, out = (x.tolist() for x in marks.splits(torch.tensor([7, 2, 7])))
    assert node == [5, 4, 5]
    assert into == [12, 10, 12]
    assert out == [13, 11, 13]
    assert (marks.next_number, marks.next_node) == (14, 6)


def test_add_node_splits_a_connection() -> None:
    parent = genome([0], [(0, -1, 0, 0.7, True), (1, -2, 0, 0.3, False)])
    marks = Innovations(2, 1)
    child = add_node(
        parent.take(torch.tensor([0, 0, 0])), torch.tensor([True, False, True]), Settings(), marks, draws()
    )
    split: list[Gene] = [
        (0, -1, 0, 0.7, False),
        (1, -2, 0, 0.3, False),
        (2, -1, 1, 1.0, True),
        (3, 1, 0, 0.7, True),
    ]
    for row, expected, nodes in ((0, split, [0, 1]), (1, genes_of(parent), [0]), (2, split, [0, 1])):
        assert nodes_of(child, row) == nodes
        assert [(*g[:3], round(g[3], 6), g[4]) for g in genes_of(child, row)] == [
            (*g[:3], round(g[3], 6), g[4]) for g in expected
        ]
    assert child.bias[0, 1] == 0
    assert (marks.next_number, marks.next_node) == (4, 2)


def test_add_connection_picks_every_free_pair_and_nothing_else() -> None:
    """Inputs −1 −2, output 0, hidden 1 → 2 → 0: free are those that close no circle and are not there yet."""
    parent = genome([0, 1, 2], [(0, -1, 1, 1.0, True), (1, 1, 2, 1.0, True), (2, 2, 0, 1.0, False)])
    rows = torch.zeros(600, dtype=torch.int64)
    for feed_forward in (True, False):
        settings, marks = Settings(feed_forward=feed_forward), Innovations(3, 3)
        child = add_connection(
            parent.take(rows), torch.ones(600, dtype=torch.bool), settings, 2, 1, marks, draws()
        )
        added = [genes_of(child, row)[3] for row in range(600)]
        free = {(-2, 1), (-1, 2), (-2, 2), (-1, 0), (-2, 0), (1, 0)}
        if not feed_forward:
            free |= {(0, 0), (0, 1), (0, 2), (1, 1), (2, 1), (2, 2)}
        assert {gene[1:3] for gene in added} == free
        assert len({gene[0] for gene in added}) == len(free)
        counts = [sum(gene[1:3] == pair for gene in added) for pair in free]
        assert min(counts) > 600 / len(free) / 2  # uniformly
        check(child, 2)


def test_a_full_genome_gains_no_connection() -> None:
    full = genome([0], [(0, -1, 0, 1.0, False)])
    child = add_connection(full, torch.tensor([True]), Settings(), 1, 1, Innovations(1, 1), draws())
    assert genes_of(child) == genes_of(full)


def test_deletion_takes_a_hidden_node_with_its_connections_but_no_output() -> None:
    parent = genome([0, 1], [(0, -1, 0, 1.0, True), (2, -1, 1, 1.0, True), (3, 1, 0, 2.0, True)])
    yes = torch.tensor([True])
    child = delete_node(parent.take(torch.tensor([0])), yes, 1, draws())
    assert nodes_of(child) == [0]
    assert genes_of(child) == [(0, -1, 0, 1.0, True)]
    assert nodes_of(delete_node(child, yes, 1, draws())) == [0]
    assert len(genes_of(delete_connection(parent, yes, draws()))) == 2


def test_reachable_is_the_closure() -> None:
    chain = torch.zeros(1, 5, 5, dtype=torch.bool)
    for node in range(4):
        chain[0, node + 1, node] = True
    assert torch.equal(reachable(chain)[0], torch.ones(5, 5).tril(-1).bool())


WILD = Settings(node_add_prob=0.3, conn_add_prob=0.6, node_delete_prob=0.05, conn_delete_prob=0.05)


@pytest.mark.parametrize("feed_forward", [True, False])
def test_evolved_genomes_are_sound(feed_forward: bool) -> None:
    evolution = evolved(replace(WILD, feed_forward=feed_forward), 60, 3, 2, 15)
    check(evolution.genomes, 3)
    cycles = sum(has_cycle(evolution.genomes, row) for row in range(60))
    assert cycles == 0 if feed_forward else cycles > 10
    assert len(set(evolution.ids.tolist())) == 60
    assert evolution.genomes.has_node.sum(1).max() > 5


def test_a_planted_error_in_numbering_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that are used again name two different genes."""
    original = innovation.Innovations.connections

    def forgetful(self: Innovations, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        before = self.next_number
        found = original(self, source, target)
        self.next_number = before + 1
        return found

    monkeypatch.setattr(innovation.Innovations, "connections", forgetful)
    with pytest.raises(AssertionError):
        check(evolved(WILD, 60, 3, 2, 15).genomes, 3)
