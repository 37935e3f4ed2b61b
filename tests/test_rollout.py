"""The rollout: values of true successors, wherever clocks ended, and state in the middle."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces as S
from torch import Tensor

from rlkit.memory.rollout import Rollout
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import TimeStep, Tree

T, N = 6, 4
OBS = ObsSpec.of(S.Dict({"x": S.Box(-np.inf, np.inf, (1,), np.float32), "k": S.Discrete(10_000)}))
ACTION = ActionSpec.of(S.Box(-1, 1, (2,), np.float32))
Ends = dict[tuple[int, int], str]

# By (t, lane): several clocks at once, at the first and the last row, beside a real end, twice running.
ENDS: Ends = {
    (0, 1): "truncated",
    (2, 0): "truncated",
    (2, 2): "truncated",
    (2, 3): "terminated",
    (3, 2): "truncated",
    (4, 0): "both",
    (5, 1): "truncated",
    (5, 3): "truncated",
}


class Source:
    """Vector steps whose observations are numbers that never come twice."""

    def __init__(self, ends: Ends, resets_late: bool = False) -> None:
        self.ends, self.resets_late, self.made, self.t = ends, resets_late, 0, 0
        self.obs = self.fresh(N)
        self.waiting = [False] * N

    def fresh(self, n: int) -> list[int]:
        self.made += n
        return list(range(self.made - n, self.made))

    def step(self) -> tuple[Tree, Tensor, dict[str, Tensor], TimeStep, list[int]]:
        """What `Rollout.add` takes, and the numbers of the true successors."""
        before, reached = list(self.obs), self.fresh(N)
        ends = ["" if self.waiting[n] else self.ends.get((self.t, n), "") for n in range(N)]
        self.obs = [
            self.fresh(1)[0] if end and not self.resets_late else r
            for end, r in zip(ends, reached, strict=True)
        ]
        valid = [not waiting for waiting in self.waiting]
        self.waiting = [bool(end) and self.resets_late for end in ends]
        ended = tuple(n for n in range(N) if ends[n])
        after = tree(self.obs)
        step = TimeStep(
            after,
            torch.full((N, 2), 9.0),
            torch.tensor([float(number) for number in before]),
            torch.tensor([end in ("terminated", "both") for end in ends]),
            torch.tensor([end in ("truncated", "both") for end in ends]),
            tree(reached) if ended and not self.resets_late else after,
            torch.tensor(valid),
            sum(valid),
            tuple(n for n in range(N) if ends[n] == "truncated"),
            ended,
        )
        self.t = (self.t + 1) % T
        action = torch.tensor([[number, -number] for number in before], dtype=torch.float32)
        return tree(before), action, {"log_prob": -step.reward}, step, reached


def tree(numbers: list[int]) -> Tree:
    k = torch.tensor(numbers)
    return {"x": k.float()[:, None] / 2, "k": k}


def worth(obs: Tree) -> Tensor:
    """The value of an observation: a plain function of it."""
    return obs["k"].float() * 3 + obs["x"][..., 0]


def build() -> Rollout:
    return Rollout(OBS, ACTION, T, N, ("log_prob",), torch.device("cpu"))


@pytest.mark.parametrize("resets_late", [False, True])
@pytest.mark.parametrize("ends", [ENDS, {}, {(t, n): "truncated" for t in range(T) for n in range(N)}])
def test_next_value_is_the_value_of_the_true_successor(ends: Ends, resets_late: bool) -> None:
    source, rollout = Source(ends, resets_late), build()
    for _ in range(3):  # cleared and filled again: nothing of the last one stays
        successors, checked = [], 0
        for t in range(T):
            assert rollout.size == t
            assert not rollout.full
            *given, reached = source.step()
            rollout.add(*given)
            successors.append(reached)
        assert rollout.full
        following = rollout.next_value(worth(rollout.obs), worth(rollout.successors()))
        for t in range(T):
            for n in range(N):
                if rollout.terminated[t, n] or not rollout.valid[t, n]:
                    continue
                assert float(following[t, n]) == float(worth(tree([successors[t][n]]))[0])
                checked += 1
        assert checked > T * N // 2 - 3
        rows = sum(how == "truncated" for how in ends.values())
        assert worth(rollout.successors()).shape[0] <= N + rows
        rollout.clear()


def test_rows_hold_what_was_added() -> None:
    source, rollout = Source(ENDS), build()
    given = [source.step() for _ in range(T)]
    for *row, _ in given:
        rollout.add(*row)
    for t, (obs, action, memo, step, _) in enumerate(given):
        assert torch.equal(rollout.obs["k"][t], obs["k"])
        assert torch.equal(rollout.action[t], action)  # what was chosen, not what was executed
        assert torch.equal(rollout.columns["log_prob"][t], memo["log_prob"])
        for name in ("reward", "terminated", "truncated", "valid"):
            assert torch.equal(getattr(rollout, name)[t], getattr(step, name))
    flat = rollout.flat(rollout.obs["k"])
    assert flat.shape == (T * N,)
    assert flat[N + 2] == rollout.obs["k"][1, 2]


def test_rows_are_copies() -> None:
    source, rollout = Source(ENDS), build()
    obs, action, memo, step, _ = source.step()
    rollout.add(obs, action, memo, step)
    kept = {name: leaf.clone() for name, leaf in rollout.obs.items()}
    for leaf in (*obs.values(), action, memo["log_prob"], step.reward):
        leaf.fill_(77)
    assert all(torch.equal(rollout.obs[name][0], kept[name][0]) for name in kept)
    assert not (rollout.action[0] == 77).any()
    assert not (rollout.columns["log_prob"][0] == 77).any()
    assert not (rollout.reward[0] == 77).any()


@pytest.mark.parametrize("size", [0, 1, 3, T])
def test_state_in_the_middle(size: int) -> None:
    source, rollout = Source(ENDS), build()
    given: list[Any] = [source.step()[:4] for _ in range(T)]
    for row in given[:size]:
        rollout.add(*row)
    buffer = io.BytesIO()
    torch.save(rollout.state_dict(), buffer)
    buffer.seek(0)

    again, other = build(), Source(ENDS)
    for _ in range(4):  # it held something else before
        again.add(*other.step()[:4])
    again.load_state_dict(torch.load(buffer, weights_only=True))
    assert again.size == size
    for row in given[size:]:
        rollout.add(*row)
        again.add(*row)
    assert again.full
    for name in ("action", "reward", "terminated", "truncated", "valid"):
        assert torch.equal(getattr(again, name), getattr(rollout, name))
    assert torch.equal(again.columns["log_prob"], rollout.columns["log_prob"])
    assert all(torch.equal(again.obs[name], rollout.obs[name]) for name in rollout.obs)
    values = [r.next_value(worth(r.obs), worth(r.successors())) for r in (rollout, again)]
    assert torch.equal(*values)


def test_episodes_that_a_resume_could_not_continue_are_cut() -> None:
    """Rows of lanes that begin anew after loading do not join two episodes: the old one bootstraps."""
    source, rollout = Source({(2, 0): "terminated", (2, 1): "truncated"}), build()
    for _ in range(3):
        rollout.add(*source.step()[:4])
    again = build()
    again.load_state_dict(rollout.state_dict())
    reached = source.obs[2]  # where lane 2 stood when it was saved
    source.obs = [source.obs[0], source.fresh(1)[0], source.fresh(1)[0], source.obs[3]]
    for _ in range(T - 3):
        again.add(*source.step()[:4])
    assert again.truncated[2].tolist() == [False, True, True, False]
    assert again.terminated[2].tolist() == [True, False, False, False]
    following = again.next_value(worth(again.obs), worth(again.successors()))
    assert float(following[2, 2]) == float(worth(tree([reached]))[0])
    assert float(following[2, 3]) == float(worth(tree([int(again.obs["k"][3, 3])]))[0])
