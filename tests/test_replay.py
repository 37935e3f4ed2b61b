"""Replay against a plain Python log: every transition, in every state of the ring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces as S
from torch import Tensor

from rlkit.memory.replay import Batch, Replay
from rlkit.seeding import generator
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import TimeStep, Tree

OBS = ObsSpec.of(S.Dict({"v": S.Box(-np.inf, np.inf, (2,), np.float32), "i": S.Discrete(1_000_000)}))
ACTION = ActionSpec.of(S.Discrete(1_000))
CPU = torch.device("cpu")
GAMMA = 0.9


@dataclass
class Row:
    """What happened to one lane at one step, in Python numbers; an observation is its number."""

    obs: int
    action: int
    reward: float
    terminated: bool
    truncated: bool
    valid: bool
    next_obs: int


class World:
    """Random lanes. The last one resets as NEXT_STEP engines do: a row on which nothing happens."""

    def __init__(self, lanes: int, end: float, seed: int = 0) -> None:
        self.lanes, self.end = lanes, end
        self.random = np.random.default_rng(seed)
        self.made = 0
        self.obs = [self.fresh() for _ in range(lanes)]
        self.resetting = False
        self.log: list[list[Row]] = []

    def fresh(self) -> int:
        self.made += 1
        return self.made

    def step(self) -> tuple[Tree, TimeStep]:
        """The observations decided on, and what came of it; `log` grows by one row."""
        rows = []
        for lane in range(self.lanes):
            valid = not (lane == self.lanes - 1 and self.resetting)
            terminated, truncated = (self.random.random(2) < self.end) & valid
            reward = float(self.random.integers(-8, 9)) if valid else 0.0
            action = int(self.random.integers(1_000))
            rows.append(Row(self.obs[lane], action, reward, terminated, truncated, valid, self.fresh()))
        before = tree(self.obs)
        self.log.append(rows)
        ended = [row.terminated or row.truncated for row in rows]
        self.resetting = ended[-1]
        for lane, row in enumerate(rows):
            own_reset = ended[lane] and lane < self.lanes - 1
            self.obs[lane] = self.fresh() if own_reset else row.next_obs
        flags = {
            name: torch.tensor([getattr(row, name) for row in rows]) for name in ("terminated", "truncated")
        }
        after, reached = tree(self.obs), tree([row.next_obs for row in rows])
        return before, TimeStep(
            after,
            torch.tensor([[row.action] for row in rows]),
            torch.tensor([row.reward for row in rows]),
            flags["terminated"],
            flags["truncated"],
            reached if any(ended) else after,
            torch.tensor([row.valid for row in rows]),
            sum(row.valid for row in rows),
            tuple(n for n, row in enumerate(rows) if row.truncated and not row.terminated),
            tuple(n for n in range(self.lanes) if ended[n]),
        )


def tree(numbers: list[int]) -> Tree:
    i = torch.tensor(numbers)
    return {"v": torch.stack([i.float(), -i.float()], dim=1), "i": i}


def expected(log: list[list[Row]], row: int, lane: int, n: int) -> dict[str, Any]:
    """The transition over up to n steps, straight from the log."""
    total, factor = 0.0, 1.0
    for k in range(n):
        now = log[row + k][lane]
        total, factor = total + factor * now.reward, factor * GAMMA
        if now.terminated or now.truncated:
            break
    first = log[row][lane]
    return {
        "obs": first.obs,
        "action": first.action,
        "reward": total,
        "factor": 0.0 if now.terminated else factor,
        "next_obs": now.next_obs,
        "valid": first.valid,
    }


def check_all(replay: Replay, log: list[list[Row]], n: int) -> int:
    """Every transition that can be sampled equals the log's; returns how many there are."""
    lanes = len(log[0])
    pairs = [(r, lane) for r in range(replay.oldest, len(log) - n + 1) for lane in range(lanes)]
    batch = replay.gather(torch.tensor([r * lanes + lane for r, lane in pairs]))
    assert len(pairs) == batch.reward.shape[0]
    for b, (r, lane) in enumerate(pairs):
        want = expected(log, r, lane, n)
        assert float(batch.weight[b]) == float(want["valid"])
        if not want["valid"]:
            continue
        assert int(batch.obs["i"][b]) == want["obs"]
        assert batch.obs["v"][b].tolist() == [want["obs"], -want["obs"]]
        assert batch.action[b].tolist() == [want["action"]]
        assert float(batch.reward[b]) == pytest.approx(want["reward"], abs=1e-5)
        assert float(batch.factor[b]) == pytest.approx(want["factor"], abs=1e-6)
        if want["factor"] > 0:
            assert int(batch.next_obs["i"][b]) == want["next_obs"]
            assert batch.next_obs["v"][b].tolist() == [want["next_obs"], -want["next_obs"]]
    return len(pairs)


def build(n: int = 1, lanes: int = 3, rows: int = 12) -> Replay:
    return Replay(OBS, ACTION, rows * lanes, lanes, CPU, n, GAMMA)


@pytest.mark.parametrize("n", [1, 3, 5])
@pytest.mark.parametrize(("lanes", "end"), [(1, 0.15), (3, 0.15), (3, 0.6), (4, 0.0)])
def test_every_transition_equals_the_log(n: int, lanes: int, end: float) -> None:
    world, replay = World(lanes, end), build(n, lanes)
    seen = invalid = 0
    for t in range(5 * replay.rows):
        replay.add(*world.step())
        assert replay.ready is (t + 1 >= n)
        assert len(replay) == min(t + 1, replay.rows) * lanes
        if replay.ready:
            seen += check_all(replay, world.log, n)
    invalid = sum(not row.valid for rows in world.log for row in rows)
    assert seen > 4 * replay.rows * lanes
    assert invalid > 0 or end == 0 or lanes == 1
    ends = [(row.terminated, row.truncated) for rows in world.log for row in rows]
    if end:
        assert {(True, False), (False, True)} <= set(ends)


def test_rows_are_taken_up_to_the_capacity() -> None:
    assert Replay(OBS, ACTION, 100, 7, CPU).rows == 15
    assert Replay(OBS, ACTION, 2, 4, CPU, n=5).rows == 5  # room for one window at least


@pytest.mark.parametrize("n", [1, 3])
def test_samples_are_uniform(n: int) -> None:
    world, replay = World(3, 0.1), build(n)
    for _ in range(40):
        replay.add(*world.step())
    cells, size = (replay.rows - n + 1) * 3, 60_000
    batch = replay.sample(size, generator(0, "sample"))
    counts = torch.unique(batch.obs["i"], return_counts=True)[1].double()
    assert len(counts) == cells
    chi2 = float(((counts - size / cells).square() / (size / cells)).sum())
    assert chi2 < (cells - 1) + 4 * (2 * (cells - 1)) ** 0.5
    alive = {row.obs for rows in world.log[replay.oldest : len(world.log) - n + 1] for row in rows}
    assert set(batch.obs["i"].tolist()) == alive


def test_the_same_generator_draws_the_same_batch() -> None:
    world, replay = World(3, 0.1), build()
    for _ in range(20):
        replay.add(*world.step())
    one, same = (replay.sample(32, generator(1, "sample")) for _ in range(2))
    assert torch.equal(one.obs["i"], same.obs["i"])
    assert not torch.equal(one.obs["i"], replay.sample(32, generator(2, "sample")).obs["i"])


# ---------------------------------------------------------------------- rows as data


def copied(replay: Replay, pieces: int, into: Replay) -> Replay:
    """State and rows written and read back in pieces, as checkpoints do it."""
    into.load_state_dict(replay.state_dict())
    start = replay.oldest
    while start < replay.total:
        stop = min(start + pieces, replay.total)
        rows = {name: leaf.clone() for name, leaf in replay.read_rows(start, stop).items()}
        into.write_rows(start, rows)
        start = stop
    return into


def same(a: Batch, b: Batch) -> bool:
    pairs = list(zip(a.tensors(), b.tensors(), strict=True))
    for x, y in pairs:
        if isinstance(x, Tensor) and not torch.equal(x, y):  # type: ignore[arg-type]
            return False
    living = a.factor > 0  # the successor of an end is whatever lies there
    return all(
        torch.equal(x[k], y[k]) if x is a.obs else torch.equal(x[k][living], y[k][living])
        for x, y in pairs
        if isinstance(x, dict)
        for k in x
    )


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("filled", [0, 5, 12, 31])
@pytest.mark.parametrize("n", [1, 3])
def test_a_copy_gives_and_learns_the_same(n: int, filled: int, used: bool) -> None:
    world, replay, into = World(3, 0.3), build(n), build(n)
    if used:  # a replay that held something else before, final observations too
        other = World(3, 0.5, seed=1)
        for _ in range(17):
            into.add(*other.step())
    for _ in range(filled):
        replay.add(*world.step())
    again = copied(replay, 4, into)
    assert (again.total, again.oldest, len(again)) == (replay.total, replay.oldest, len(replay))
    for _ in range(30):
        if replay.ready:
            pair = [r.sample(64, generator(world.made, "sample")) for r in (replay, again)]
            assert same(*pair)
            check_all(again, world.log, n)
        step = world.step()
        replay.add(*step)
        again.add(*step)


def test_another_capacity_is_refused() -> None:
    replay = build(rows=12)
    replay.add(*World(3, 0.0).step())
    with pytest.raises(ValueError, match="12 rows, this one 13"):
        build(rows=13).load_state_dict(replay.state_dict())


# ---------------------------------------------------------------------- memory


def tensors_of(replay: Replay) -> dict[int, int]:
    """Every storage behind the replay's attributes: address → bytes."""
    found: dict[int, int] = {}
    for value in vars(replay).values():
        for x in value.values() if isinstance(value, dict) else [value]:
            if isinstance(x, Tensor):
                found[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
    return found


WIDE = ObsSpec.of(S.Box(-1, 1, (64,), np.float32))


def wide_step(t: int, lanes: int, every: int) -> TimeStep:
    obs = {"obs": torch.full((lanes, 64), float(t))}
    cut = torch.tensor([t % every == every - 1] * lanes)
    ended = tuple(range(lanes)) if bool(cut[0]) else ()
    no, zeros, yes = torch.zeros_like(cut), torch.zeros(lanes), torch.ones_like(cut)
    action = torch.zeros(lanes, 1, dtype=torch.int64)
    return TimeStep(obs, action, zeros, no, cut, obs, yes, lanes, ended, ended)


@pytest.mark.parametrize("lanes", [1, 4])
def test_predicted_bytes_are_enough_and_within_two_percent(lanes: int) -> None:
    replay = Replay(WIDE, ACTION, 20_000, lanes, CPU)
    assert sum(tensors_of(replay).values()) == 0  # nothing is taken before the first row
    obs = {"obs": torch.zeros(lanes, 64)}
    for t in range(25_000 // lanes):
        replay.add(obs, step := wide_step(t, lanes, 200))
        obs = step.obs
    actual, predicted = sum(tensors_of(replay).values()), Replay.nbytes(WIDE, ACTION, 20_000, lanes)
    assert actual <= predicted <= 1.02 * actual


def test_an_observation_is_stored_once() -> None:
    replay = Replay(WIDE, ACTION, 8_000, 4, CPU)
    obs = {"obs": torch.zeros(4, 64)}
    for t in range(20):
        replay.add(obs, step := wide_step(t, 4, 1_000))
        obs = step.obs
    largest = sorted(tensors_of(replay).values())[-2:]
    assert largest[1] == (8_000 // 4 + 1) * 4 * WIDE.nbytes
    assert sum(tensors_of(replay).values()) < 1.2 * largest[1]


def test_final_observations_are_forgotten_with_their_rows() -> None:
    replay = Replay(WIDE, ACTION, 500, 1, CPU)
    obs, sizes = {"obs": torch.zeros(1, 64)}, []
    for t in range(20_000):
        replay.add(obs, step := wide_step(t, 1, 10))
        obs = step.obs
        sizes.append(next(iter(replay._final.values())).shape[0])
    assert max(sizes) <= 128  # 50 of them live at a time; the table doubles
    assert sizes[-1] == sizes[1_000]
    assert len(replay._final_rows) <= 51
