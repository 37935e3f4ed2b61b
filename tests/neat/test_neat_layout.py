"""Populations as tensors: masks of many nodes, lanes that share buffers, trials dealt out without a look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import draws, evolved, genes_of, genome, population
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rlkit.arriving import Arriving
from rlkit.config import EnvConfig
from rlkit.envs import batched
from rlkit.envs.batched.lanes import BatchedEnvs
from rlkit.neat.genes import Genomes
from rlkit.neat.lanes import LaneNetworks
from rlkit.neat.network import build
from rlkit.neat.reproduction import Evolution
from rlkit.neat.settings import Settings
from rlkit.neat.species import Distances
from rlkit.neat.trials import Trials
from rlkit.types import Decision

IDENTITY = Settings(activations=["identity"])

# ---------------------------------------------------------------------- networks of many nodes


def chain(length: int, weight: float) -> Genomes:
    """Input → hidden 1 → 2 → … → output 0, with a skip of 0.5 from the middle; node ids do not follow it."""
    ids = [1 + (k * 37) % length for k in range(length)]  # length and 37 have no common divisor
    ends = [-1, *ids, 0]
    genes = [(k, a, b, weight, True) for k, (a, b) in enumerate(pairwise(ends))]
    genes.append((length + 1, ids[(length - 1) // 2], 0, 0.5, True))
    one = genome(list(range(length + 1)), genes)
    one.bias.zero_()
    return one


@pytest.mark.parametrize("length", [61, 62, 130])
def test_more_nodes_than_bits_of_a_mask(length: int) -> None:
    """A chain hands its input on node by node; what a short neighbour needs is not mixed up with it."""
    both = population(chain(length, 1.0), chain(2, 3.0))
    nets = build(both, 1, 1, IDENTITY)
    assert len(nets.layers) == length + 1
    lanes = LaneNetworks(nets, 2)
    lanes.assign(torch.arange(2))
    x = torch.tensor([[2.0], [1.0]])
    for outputs in (nets(x)[0][:, 0], lanes(x, lanes.zero_memory())[0][0]):
        assert outputs.tolist() == [2.0 + 0.5 * 2.0, 3.0 * 3.0 * 3.0 + 0.5 * 3.0]


def test_recurrent_memory_of_many_nodes() -> None:
    """In a recurrent chain a signal takes a step per connection."""
    settings = Settings(activations=["identity"], feed_forward=False)
    nets = build(chain(70, 1.0), 1, 1, settings)
    lanes = LaneNetworks(nets, 1)
    memory, seen = lanes.zero_memory(), []
    for _ in range(73):
        outputs, memory = lanes(torch.tensor([[4.0]]), memory)
        seen.append(float(outputs))
    assert seen == [0.0] * 35 + [2.0] * 35 + [6.0] * 3


@pytest.mark.parametrize("hidden", [2, 70])
def test_a_cycle_is_refused(hidden: int) -> None:
    genes = [(k, k, k + 1, 1.0, True) for k in range(1, hidden)]
    genes += [(hidden, hidden, 1, 1.0, True), (hidden + 1, 1, 0, 1.0, True)]
    with pytest.raises(ValueError, match="cycle"):
        build(genome(list(range(hidden + 1)), genes), 1, 1, IDENTITY)


@pytest.mark.parametrize("feed_forward", [True, False])
def test_lanes_do_not_see_what_was_played_before(feed_forward: bool) -> None:
    """Buffers are used again: a lane that has played another genome gives what a new one gives."""
    settings = Settings(node_add_prob=0.3, conn_add_prob=0.5, feed_forward=feed_forward)
    evolution = evolved(settings, 30, 3, 2, 10)
    nets = build(evolution.genomes, 3, 2, evolution.settings)
    random = torch.Generator().manual_seed(0)
    used = LaneNetworks(nets, 5)
    for _ in range(4):
        rows, x = torch.randint(30, (5,), generator=random), torch.randn(5, 3, generator=random)
        used.assign(rows)
        new = LaneNetworks(nets, 5)
        new.assign(rows)
        kept = used(x, used.zero_memory())
        before = [part.clone() for part in kept]
        assert all(map(torch.equal, kept, new(x, new.zero_memory())))
        used(x + 1, used.zero_memory())
        assert all(map(torch.equal, kept, before))  # what was handed out stays as it is


def test_lanes_play_whom_they_are_told_whatever_was_said_before() -> None:
    """As many lanes as genomes in another order, and a first word about some of them only."""
    evolution = evolved(Settings(node_add_prob=0.3, conn_add_prob=0.5), 12, 3, 2, 8)
    nets, x = build(evolution.genomes, 3, 2, evolution.settings), torch.randn(12, 3)
    for rows in (torch.arange(12), torch.arange(12).flip(0), torch.arange(12) // 2):
        expected = nets.take(rows)(x)[0].T
        for changed in (None, torch.tensor([3]), torch.arange(12)):
            lanes = LaneNetworks(nets, 12)
            lanes.assign(rows, changed)
            torch.testing.assert_close(lanes(x, lanes.zero_memory())[0], expected)
            lanes.assign(rows.roll(1), changed)
            moved = torch.zeros(12, dtype=torch.bool)
            moved[torch.arange(12) if changed is None else changed] = True
            now = torch.where(moved, rows.roll(1), rows)
            torch.testing.assert_close(lanes(x, lanes.zero_memory())[0], nets.take(now)(x)[0].T)


# ---------------------------------------------------------------------- evolution


def test_a_generation_leaves_its_parents_as_they_are() -> None:
    evolution = Evolution(40, 3, 2, Settings(node_add_prob=0.5, conn_add_prob=0.5, elitism=0), draws())
    parents = evolution.genomes
    before = {name: value.clone() for name, value in parents.state_dict().items()}
    evolution.advance(torch.rand(40, generator=torch.Generator().manual_seed(1)))
    assert evolution.genomes is not parents
    assert all(torch.equal(value, before[name]) for name, value in parents.state_dict().items())


def test_an_empty_slot_matches_no_gene() -> None:
    """The other's gene has the number after the population's last: it is that of no slot here."""
    mine = population(genome([0], [(0, -1, 0, 1.0, True)]),
                      genome([0], [(0, -1, 0, 1.0, True), (4, -2, 0, 1.0, True)]))  # fmt: skip
    settings = Settings(excess_coefficient=1.0, disjoint_coefficient=1.0, weight_coefficient=1.0)
    for number in (0, 1, 4, 5):
        other = genome([0], [(number, -1, 0, 1.0, True)])
        lonely = [len({0} ^ {number}), len({0, 4} ^ {number})]
        assert Distances(mine, settings).to(other)[:, 0].tolist() == lonely, number
    full = genome([0], [(0, -1, 0, 1.0, True), (4, -2, 0, 1.0, True)])  # no empty slot at all
    assert Distances(full, settings).to(full).tolist() == [[0.0]]
    bare = genome([0], [])
    assert Distances(bare, settings).to(genome([0], [(0, -1, 0, 1.0, True)])).tolist() == [[1.0]]


def test_a_node_is_added_where_rows_are_full() -> None:
    """The widest genome grows although its row has no empty slot, and its neighbour keeps its genes."""
    settings = Settings(node_add_prob=1.0, conn_add_prob=0.0, compatibility_threshold=99.0, elitism=0,
                        crossover_prob=0.0)  # fmt: skip
    evolution = Evolution(2, 2, 1, settings, draws())
    for generation in range(1, 6):
        evolution.advance(torch.tensor([1.0, 0.0]))
        assert [len(genes_of(evolution.genomes, row)) for row in range(2)] == [2 + 2 * generation] * 2


# ---------------------------------------------------------------------- trials, dealt out on a device


def test_trials_go_to_idle_lanes_first_and_in_order() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        n, total = int(random.integers(1, 9)), int(random.integers(1, 12))
        trials = Trials(total, 1, n, torch.arange(total) + 50, torch.device("cpu"))
        trials.task = torch.from_numpy(np.where(random.random(n) < 0.5, random.integers(0, total, n), -1))
        trials._started[:total] = torch.from_numpy(random.random(total) < 0.5)
        trials._reserve()
        idle = [lane for lane in range(n) if trials.task[lane] < 0]
        order = idle + [lane for lane in range(n) if lane not in idle]
        left = [k for k in range(total) if not trials._started[k]]
        expected = dict(zip(order, left, strict=False))
        assert trials.reserved.tolist() == [expected.get(lane, -1) for lane in range(n)]
        assert trials.seeds.tolist() == [expected.get(lane, -51) + 50 for lane in range(n)]


class Late(Arriving):
    """Tells as a device does: without a look at what was sent before someone reads it."""

    def __init__(self, numbers: int) -> None:
        self.sent = torch.zeros(numbers, dtype=torch.int64)

    def send(self, values: Tensor) -> None:
        self.sent = values.view(-1)

    def read(self) -> list[int]:
        with allowed():
            return list(map(int, self.sent))


class NoLook(TorchDispatchMode):
    """Refuses what would wait for a device: a number, or a shape that depends on numbers."""

    on = True
    waits = ("aten._local_scalar_dense", "aten.nonzero", "aten.equal", "aten.masked_select", "aten._unique")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        masks = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and x.dtype == torch.bool]
        waits = str(func).startswith(self.waits) or (str(func).startswith("aten.index.") and masks)
        assert not (NoLook.on and waits), f"{func} waits"
        return func(*args, **(kwargs or {}))


@contextmanager
def allowed() -> Iterator[None]:
    NoLook.on = False
    try:
        yield
    finally:
        NoLook.on = True


def judged(lanes: int, on_device: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], int]:
    """Fitness of 9 genomes, two trials each, that act at random, and the vector steps that it took."""
    wrap = (lambda function: function) if on_device else None
    envs: BatchedEnvs = batched.make(EnvConfig(id="CartPole-v1", max_episode_steps=30), {}, lanes, seed=3,
                                     capture=wrap)  # fmt: skip
    trials = Trials(9, 2, lanes, torch.arange(18) * 7, torch.device("cpu"))
    envs.reset(trials.first_seeds())
    if on_device:
        trials._host, trials._counts = False, Late(2)
        envs._arriving, envs._counting = Late(1), False
        monkeypatch.setattr(torch.Tensor, "tolist", None)
        monkeypatch.setattr(torch.Tensor, "numpy", None)
    steps, counted = 0, 0
    with NoLook() if on_device else allowed():
        while not trials.complete and steps < 1_000:
            action = ((trials.genome + steps // 3) % 2)[:, None]  # of the genome alone, not of its lane
            envs.send(Decision(action, seeds=trials.seeds))
            step = envs.recv()
            trials.observe(step)
            steps, counted = steps + 1, counted + step.count
    monkeypatch.undo()
    assert trials.complete
    return trials.fitness("mean").tolist(), steps


@pytest.mark.parametrize("lanes", [2, 4, 18, 25])
def test_a_device_is_not_looked_at_in_a_step(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the host would see at once it hears one step later; who plays what stays the same."""
    fitness, steps = judged(lanes, False, monkeypatch)
    assert len(set(fitness)) > 1
    assert judged(lanes, True, monkeypatch) == (fitness, steps + 1)


def test_a_look_is_seen() -> None:
    """The guard of the test above."""
    with NoLook():
        for look in (
            lambda x: bool(x.any()),
            lambda x: int(x.sum()),
            lambda x: x.nonzero(),
            lambda x: x[x > 0],
        ):
            with pytest.raises(AssertionError, match="waits"):
                look(torch.ones(3))
