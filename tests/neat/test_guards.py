"""What no change may break: markings within a generation, values that mutate, who begets whom, any number of
lanes, and a state that continues exactly at every step.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from by_hand import Gene, check, draws, genes_of, genome, nodes_of, population
from resume.harness import same

from rlkit.agents.neat import NEAT, NEATConfig
from rlkit.config import AccelConfig, EnvConfig, NetConfig
from rlkit.envs.engines import make_envs
from rlkit.neat.crossover import crossover
from rlkit.neat.genes import NONE, aligned
from rlkit.neat.initial import first_generation
from rlkit.neat.mutation import mutate_values, perturbed
from rlkit.neat.network import build
from rlkit.neat.reproduction import Evolution, Parents, choose_parents
from rlkit.neat.settings import AGGREGATIONS, Number, Settings
from rlkit.neat.trials import trial_seeds
from rlkit.types import AgentSetup, Episode

WILD = Settings(node_add_prob=0.4, conn_add_prob=0.6, node_delete_prob=0.1, conn_delete_prob=0.1,
                max_stagnation=2, species_elitism=0, elitism_size=1)  # fmt: skip

# ---------------------------------------------------------------------- historical markings as evolution goes


@pytest.mark.parametrize("feed_forward", [True, False])
def test_markings_of_a_generation_are_one_to_one(feed_forward: bool) -> None:
    """New numbers of one generation and the pairs they join: each names exactly one of the other."""
    evolution = Evolution(80, 3, 2, replace(WILD, feed_forward=feed_forward), draws())
    random = torch.Generator().manual_seed(1)
    shared = rising = 0
    for _ in range(12):
        first, node = evolution.innovations.next_number, evolution.innovations.next_node
        old = {gene[0] for row in range(80) for gene in genes_of(evolution.genomes, row)}
        evolution.advance(torch.rand(80, generator=random))
        check(evolution.genomes, 3)
        genes = [gene[:3] for row in range(80) for gene in genes_of(evolution.genomes, row)]
        new = {gene for gene in genes if gene[0] >= first}
        assert len({gene[0] for gene in new}) == len({gene[1:] for gene in new}) == len(new)
        assert {gene[0] for gene in genes} - old == {gene[0] for gene in new}
        assert all(gene[0] < evolution.innovations.next_number for gene in genes)
        nodes = [n for row in range(80) for n in nodes_of(evolution.genomes, row)]
        assert max(nodes) < evolution.innovations.next_node
        # a node that was born now was born by one split, and one split bears one node, everywhere
        born: dict[int, set[tuple[int, int]]] = {}
        split: dict[int, set[int]] = {}
        for row in range(80):
            for one in [n for n in nodes_of(evolution.genomes, row) if n >= node]:
                genes_here = sorted(genes_of(evolution.genomes, row))
                mine = [gene for gene in genes_here if one in gene[1:3]]
                if len(mine) < 2:
                    continue
                into, out = mine[:2]
                if into[2] == one == out[1] and out[0] == into[0] + 1:  # neither was deleted again
                    born.setdefault(one, set()).add((into[1], out[2]))
                    for gene in genes_here:
                        if gene[1:3] == (into[1], out[2]):  # the gene that was split
                            split.setdefault(gene[0], set()).add(one)
        assert all(len(found) == 1 for found in (*born.values(), *split.values()))
        shared += sum(count > 1 for gene, count in Counter(genes).items() if gene in new)
        rising += evolution.innovations.next_number > first
    assert shared > 10, "no mutation happened twice in a generation: the test sees nothing"
    assert rising == 12


def test_numbers_and_ids_never_collide_through_extinctions() -> None:
    """One meaning per number and one genome per id, over the whole life of a population that often dies."""
    evolution = Evolution(30, 3, 2, replace(WILD, compatibility_threshold=9.0), draws(3))
    random = torch.Generator().manual_seed(2)
    meaning: dict[int, tuple[int, int]] = {}
    known: dict[int, list[Gene]] = {}
    species: dict[int, int] = {}
    for _ in range(40):
        for row, number in enumerate(evolution.ids.tolist()):
            genes = genes_of(evolution.genomes, row)
            assert known.setdefault(number, genes) == genes
            for gene in genes:
                assert meaning.setdefault(gene[0], gene[1:3]) == gene[1:3]
        for one in evolution.species.species:
            assert species.setdefault(one.id, one.created) == one.created
        before = evolution.extinctions
        fitness = torch.rand(30, generator=random) - evolution.generation  # nobody ever improves
        best = int(evolution.ids[int(fitness.argmax())])
        evolution.advance(fitness)
        assert evolution.champion_ids[-1] == best
        if evolution.extinctions > before:
            assert best in evolution.ids.tolist()
    assert evolution.extinctions > 3
    assert evolution.generation == len(evolution.best) == len(evolution.champion_ids) == 40
    assert evolution.champions is not None
    for row, number in enumerate(evolution.champion_ids):
        assert genes_of(evolution.champions, row) == known[number]


def test_empty_slots_are_never_aligned() -> None:
    a, b = torch.tensor([[2, 5, NONE, NONE]]), torch.tensor([[5, 7, NONE]])
    place, there = aligned(a, b)
    assert there.tolist() == [[False, True, False, False]]
    assert int(place[0, 1]) == 0


# ---------------------------------------------------------------------- values


def test_values_are_perturbed_replaced_or_left() -> None:
    number = Number(init_mean=5.0, init_stdev=0.1, mutate_rate=0.5, mutate_power=0.2, replace_rate=0.2)
    before = torch.zeros(40_000)
    after = perturbed(before, number, draws())
    replaced, left = after > 4, after == 0
    moved = ~replaced & ~left
    for share, expected in ((moved, 0.5), (replaced, 0.2), (left, 0.3)):
        assert float(share.float().mean()) == pytest.approx(expected, abs=0.01)
    assert float(after[moved].std()) == pytest.approx(0.2, rel=0.03)
    assert float(after[moved].mean()) == pytest.approx(0.0, abs=0.01)
    assert float(after[replaced].std()) == pytest.approx(0.1, rel=0.05)
    assert float(after[replaced].mean()) == pytest.approx(5.0, abs=0.01)
    narrow = replace(number, min_value=-0.1, max_value=4.9)
    held = perturbed(before, narrow, draws())
    assert (float(held.min()), float(held.max())) == (pytest.approx(-0.1), pytest.approx(4.9))


def test_a_genomes_values_change_together_and_only_at_their_rates() -> None:
    many = genome([0, 1], [(0, -1, 0, 1.0, True), (1, -2, 1, 2.0, False)]).take(torch.zeros(4_000).long())
    still = Settings(weights_mutate_prob=0.0, enabled_mutate_rate=0.0)
    child = many.take(torch.arange(4_000))
    mutate_values(child, still, draws())
    for name in ("weight", "bias", "response", "enabled", "activation", "aggregation"):
        assert torch.equal(getattr(child, name), getattr(many, name)), name
    settings = Settings(
        weights_mutate_prob=0.3, enabled_mutate_rate=0.2, activations=["tanh", "sin", "abs"],
        activation_mutate_rate=0.6, aggregations=["sum", "max"], aggregation_mutate_rate=0.4,
        weight=Number(mutate_rate=1.0, replace_rate=0.0), bias=Number(mutate_rate=1.0, replace_rate=0.0),
    )  # fmt: skip
    mutate_values(child, settings, draws())
    changed = torch.cat([child.weight != many.weight, child.bias != many.bias], dim=1)
    assert torch.equal(changed.all(1), changed.any(1))
    assert float(changed[:, 0].float().mean()) == pytest.approx(0.3, abs=0.03)
    assert torch.equal(child.response, many.response)
    switched = (child.enabled != many.enabled).float().mean(0)  # half of those drawn come out as they were
    assert switched.tolist() == pytest.approx([0.1, 0.1], abs=0.02)
    assert float((child.activation != 0).float().mean()) == pytest.approx(0.6 * 2 / 3, abs=0.03)
    assert float((child.aggregation != 0).float().mean()) == pytest.approx(0.4 / 2, abs=0.03)
    assert (int(child.activation.max()), int(child.aggregation.max())) == (2, 1)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_every_aggregation_is_neat_pythons(name: str) -> None:
    library = pytest.importorskip("neat", reason="pip install neat-python")
    their = library.aggregations.AggregationFunctionSet().get(name)
    settings = Settings(aggregations=[name], activations=["identity"])
    for weights in ([0.7], [0.7, -2.0], [-1.0, 0.5, 3.0], [2.0, -3.0, 0.1, -0.2]):
        n = len(weights)
        one = genome([0], [(k, -1 - k, 0, w, True) for k, w in enumerate(weights)])
        x = torch.tensor([[0.5, 1.5, -1.0, 2.0][:n]])
        expected = their([w * v for w, v in zip(weights, x[0].tolist(), strict=True)])
        assert float(build(one, n, 1, settings)(x)[0]) == pytest.approx(expected, rel=1e-5, abs=1e-6)


# ---------------------------------------------------------------------- the first generation


@pytest.mark.parametrize("kind", ["full", "none", "one_input", "partial"])
def test_the_first_generation_is_connected_as_wanted(kind: str) -> None:
    settings = Settings(initial_connection=kind, initial_fraction=0.5)
    genomes, marks = first_generation(200, 3, 2, settings, draws())
    pairs = [tuple(gene[1:3] for gene in genes_of(genomes, row)) for row in range(200)]
    everything = {(-1 - i, o) for i in range(3) for o in range(2)}
    if kind == "full":
        assert {frozenset(found) for found in pairs} == {frozenset(everything)}
    elif kind == "none":
        assert set(pairs) == {()}
    elif kind == "one_input":
        assert {frozenset(found) for found in pairs} == {frozenset({(i, 0), (i, 1)}) for i in (-1, -2, -3)}
    else:
        assert {pair for found in pairs for pair in found} == everything
        assert sum(map(len, pairs)) / 200 == pytest.approx(3.0, abs=0.3)
    check(genomes, 3)  # one number, one pair, for everybody
    assert marks.next_number > max((g[0] for row in range(200) for g in genes_of(genomes, row)), default=-1)
    assert all(nodes_of(genomes, row) == [0, 1] for row in (0, 199))
    if kind != "none":
        assert float(genomes.weight[genomes.has_connection].std()) == pytest.approx(1.0, abs=0.1)


def test_hidden_nodes_of_the_first_generation() -> None:
    genomes, marks = first_generation(3, 2, 1, Settings(num_hidden=2), draws())
    pairs = {(gene[1], gene[2]) for gene in genes_of(genomes, 1)}
    assert pairs == {(-1, 0), (-2, 0), (-1, 1), (-2, 1), (-1, 2), (-2, 2), (1, 0), (2, 0)}
    assert nodes_of(genomes, 2) == [0, 1, 2]
    assert (marks.next_number, marks.next_node) == (8, 3)


# ---------------------------------------------------------------------- who begets whom


def test_nodes_are_inherited_like_genes() -> None:
    """Biases of shared nodes from either parent, of others from the fitter one."""
    fitter, other = genome([0, 1, 4], [(0, -1, 0, 1.0, True)]), genome([0, 2, 4], [(0, -1, 0, 1.0, True)])
    other.bias = other.bias + 10
    first, second = torch.zeros(600, dtype=torch.int64), torch.ones(600, dtype=torch.int64)
    child = crossover(population(fitter, other), first, second, 0.75, draws())
    assert all(nodes_of(child, row) == [0, 1, 4] for row in range(600))
    shares = (child.bias > 5).float().mean(0).tolist()
    assert shares == pytest.approx([0.5, 0.0, 0.5], abs=0.08)


def test_matching_genes_are_found_wherever_they_stand() -> None:
    """The fitter parent lacks the other's first gene, so that the shared one stands in another slot."""
    fitter = genome([0], [(3, -2, 0, 1.0, True), (5, -3, 0, 1.0, True)])
    other = genome([0], [(0, -1, 0, 7.0, True), (3, -2, 0, 2.0, False)])
    first, second = torch.zeros(600, dtype=torch.int64), torch.ones(600, dtype=torch.int64)
    child = crossover(population(fitter, other), first, second, 1.0, draws())
    assert set(child.weight[:, 0].tolist()) == {1.0, 2.0}
    assert set(child.weight[:, 1].tolist()) == {1.0}
    assert not child.enabled[:, 0].any()  # disabled in one, and disable_prob is 1
    assert child.enabled[:, 1].all()


def test_the_fitter_parent_gives_the_structure_and_a_coin_decides_between_equals() -> None:
    settings = Settings(
        node_add_prob=0.0, conn_add_prob=0.0, weights_mutate_prob=0.0, enabled_mutate_rate=0.0
    )
    evolution = Evolution(2, 2, 1, settings, draws())
    gene: Gene = (0, -1, 0, 1.0, True)
    evolution.genomes = population(genome([0], [gene]), genome([0, 1], [gene, (5, -1, 1, 1.0, True)]))
    zeros = torch.zeros(400, dtype=torch.int64)
    for fitness, share in (([1.0, 2.0], 1.0), ([2.0, 1.0], 0.0), ([1.0, 1.0], 0.5)):
        parents = Parents(torch.tensor([], dtype=torch.int64), zeros, zeros + 1)
        children = evolution._breed(torch.tensor(fitness, dtype=torch.float64), parents)
        found = sum(nodes_of(children, row) == [0, 1] for row in range(400)) / 400
        assert found == pytest.approx(share, abs=0.0 if share in (0, 1) else 0.1)


def test_as_many_champions_as_elitism_says() -> None:
    fitness = torch.tensor([3.0, 9.0, 1.0, 7.0, 5.0, 2.0, 8.0], dtype=torch.float64)
    members = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    settings = Settings(elitism=2, elitism_size=4)
    parents = choose_parents(fitness, members, [0, 1], [5, 5], settings, draws())
    assert parents.elite.tolist() == [6, 3]  # the species of three is too small
    assert len(parents.first) == 8
    settings = Settings(elitism=3, elitism_size=1)
    parents = choose_parents(fitness, members, [0, 1], [2, 8], settings, draws())
    assert parents.elite.tolist() == [1, 0, 6, 3, 4]  # no more than it may have children
    settings = Settings(elitism=0, elitism_size=1)
    assert len(choose_parents(fitness, members, [0], [7], settings, draws()).elite) == 0


# ---------------------------------------------------------------------- lanes and exact continuation


class World:
    """An agent and its environments, stepped as the trainer steps them."""

    def __init__(self, config: NEATConfig, lanes: int, engine: str, env: str = "CartPole-v1") -> None:
        options = EnvConfig(id=env, max_episode_steps=9, num_envs=lanes)
        self.envs = make_envs(options, {}, seed=5, num_envs=lanes, engine=engine)
        self.agent = NEAT(config, AgentSetup(self.envs.obs_spec, self.envs.action_spec, lanes, 1_000,
                                             torch.device("cpu"), 5, NetConfig(), AccelConfig()))  # fmt: skip
        self.obs: Any = None
        self.now = 0
        self.episodes: list[Episode] = []
        self.ends: list[tuple[int, int]] = []  # steps and episodes when a generation ended

    def begin(self) -> World:
        self.obs = self.envs.reset(self.agent.first_seeds()).obs
        return self

    def step(self) -> None:
        decision = self.agent.act(self.obs, self.now)
        self.envs.send(decision)
        step = self.envs.recv()
        self.agent.observe(self.obs, decision, step)
        self.obs, self.now = step.obs, self.now + step.count
        self.episodes += self.envs.drain()
        if self.agent.learn(self.now) is not None:
            self.ends.append((self.now, len(self.episodes)))

    def state(self) -> bytes:
        buffer = io.BytesIO()
        torch.save({"agent": self.agent.state_dict(), "envs": self.envs.state_dict()}, buffer)
        return buffer.getvalue()

    def continued(self, config: NEATConfig, lanes: int, engine: str, state: bytes) -> None:
        loaded = torch.load(io.BytesIO(state), weights_only=True)
        self.agent.load_state_dict(loaded["agent"])
        self.envs.load_state_dict(loaded["envs"])
        assert getattr(self.envs, "resume_inexact", None) is None
        self.obs, self.now = self.envs.obs, loaded["envs"]["now"]


QUICK = NEATConfig(population=5, trials=3, evolution=Settings(node_add_prob=0.3, conn_add_prob=0.5))
LANES = [(5, 3, 64, "sync"), (7, 1, 1, "sync"), (5, 1, 7, "async"), (5, 3, 64, "torch"), (7, 3, 1, "torch")]


@pytest.mark.parametrize(("genomes", "trials", "lanes", "engine"), LANES)
@pytest.mark.parametrize("same_seeds", [True, False])
def test_steps_of_a_generation_are_those_of_its_episodes(
    genomes: int, trials: int, lanes: int, engine: str, same_seeds: bool
) -> None:
    """Every trial is one episode with the seed it was dealt, and nothing else is counted: no parked lane."""
    if engine == "async" and not same_seeds:
        pytest.skip("worker processes start slowly, and seeds are dealt in one place for all engines")
    config = replace(QUICK, population=genomes, trials=trials, same_seeds=same_seeds)
    world = World(config, lanes, engine).begin()
    while len(world.ends) < 3:
        world.step()
    world.envs.close()
    steps = seen = 0
    for generation, (now, count) in enumerate(world.ends):
        episodes = world.episodes[seen:count]
        assert len(episodes) == genomes * trials
        assert now - steps == sum(episode.length for episode in episodes)
        dealt = trial_seeds(5, generation, genomes, trials, same_seeds).tolist()
        assert Counter(episode.seed for episode in episodes) == Counter(dealt)
        by_genome = sum(episode.reward for episode in episodes) / (genomes * trials)
        assert len(set(dealt)) == (trials if same_seeds else genomes * trials)
        assert by_genome > 0
        steps, seen = now, count


EXACT = {
    "1-sync": (replace(QUICK, population=3, trials=2), 1, "sync", "CartPole-v1"),
    "4-sync-own-seeds": (replace(QUICK, same_seeds=False), 4, "sync", "CartPole-v1"),
    "40-sync-recurrent": (replace(QUICK, evolution=replace(QUICK.evolution, feed_forward=False)), 40, "sync",
                          "Pendulum-v1"),
    "4-torch": (replace(QUICK, same_seeds=False), 4, "torch", "CartPole-v1"),
    "40-torch-recurrent": (replace(QUICK, evolution=replace(QUICK.evolution, feed_forward=False)), 40,
                           "torch", "Pendulum-v1"),
    "blocks": (replace(QUICK, trials=2, evolution=replace(QUICK.evolution, aggregations=["sum", "max"])), 6,
               "sync", "CartPole-v1"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_every_step_continues_exactly(name: str) -> None:
    """At each step of two generations: saved, loaded into new objects, one step on, the same state."""
    config, lanes, engine, env = EXACT[name]
    world = World(config, lanes, engine, env).begin()
    world.step()
    other = World(config, lanes, engine, env)
    at_ends = 0
    while len(world.ends) < 2:
        before, generation = world.state(), len(world.ends)
        other.continued(config, lanes, engine, before)
        world.step()
        other.step()
        assert other.now == world.now
        same(torch.load(io.BytesIO(world.state())), torch.load(io.BytesIO(other.state())))
        at_ends += len(world.ends) > generation
    assert at_ends == 2
    assert len(other.agent.evolution.champion_ids) == 2
    other.envs.close()
    world.envs.close()
