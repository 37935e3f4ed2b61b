"""Bugs planted on purpose: the checks of this folder must notice each of them.

The bugs are those that were found in well-known code: time limits treated as ends, bootstraps from the
wrong observation, rows learnt from in which nothing happened, rewards that leak into the episode before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from correctness.harness import (
    check_chain,
    check_clock,
    check_evaluation_changes_nothing,
    check_no_temptation,
    check_one_normalizer,
    dqn,
    ppo,
)
from rlkit import returns
from rlkit.agents import ppo as ppo_module
from rlkit.agents.ppo import ModeActor
from rlkit.envs.vector import VectorEnvs
from rlkit.memory import replay as replay_module
from rlkit.memory.replay import Batch, Replay
from rlkit.memory.rollout import Rollout
from rlkit.types import TimeStep, Tree

Plant = Callable[[pytest.MonkeyPatch], None]
Check = Callable[[], None]


# ---------------------------------------------------------------------- the bugs


def done_in_gae(patch: pytest.MonkeyPatch) -> None:
    """done = terminated or truncated."""

    def buggy(
        reward: Tensor, value: Tensor, nxt: Tensor, term: Tensor, trunc: Tensor, *rest: float
    ) -> Tensor:
        return returns.gae(reward, value, nxt, term | trunc, trunc, *rest)

    patch.setattr(ppo_module, "gae", buggy)


def done_in_replay(patch: pytest.MonkeyPatch) -> None:
    """done = terminated or truncated."""
    add = Replay.add

    def buggy(self: Replay, obs: Tree, step: TimeStep) -> None:
        add(self, obs, replace(step, terminated=step.terminated | step.truncated))

    patch.setattr(Replay, "add", buggy)


def _change_steps(patch: pytest.MonkeyPatch, change: Callable[[TimeStep], TimeStep]) -> None:
    recv = VectorEnvs.recv
    patch.setattr(VectorEnvs, "recv", lambda self: change(recv(self)))


def done_at_the_boundary(patch: pytest.MonkeyPatch) -> None:
    """The boundary reports every end as a termination."""
    _change_steps(patch, lambda s: replace(s, terminated=s.terminated | s.truncated, truncated_lanes=()))


def ends_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Episodes run into one another: terminated successors are bootstrapped from."""
    _change_steps(patch, lambda s: replace(s, terminated=torch.zeros_like(s.terminated)))


def reset_rows_learnt(patch: pytest.MonkeyPatch) -> None:
    """Rows in which a lane was only reset pass for transitions."""
    _change_steps(patch, lambda s: replace(s, valid=torch.ones_like(s.valid)))


def final_obs_ignored_at_the_boundary(patch: pytest.MonkeyPatch) -> None:
    """The successor is the first observation of the next episode."""
    _change_steps(patch, lambda s: replace(s, next_obs=s.obs))


def final_obs_ignored_in_rollout(patch: pytest.MonkeyPatch) -> None:
    """The successor of a truncated row is the row after it."""

    def buggy(self: Rollout, value: Tensor, successor_value: Tensor) -> Tensor:
        return torch.cat([value[1:], successor_value[None, : self.lanes]])

    patch.setattr(Rollout, "next_value", buggy)


def timeout_bootstrapped_from_obs_in_rollout(patch: pytest.MonkeyPatch) -> None:
    """A truncated row is bootstrapped from V(s_t) instead of V(s_{t+1})."""
    right = Rollout.next_value

    def buggy(self: Rollout, value: Tensor, successor_value: Tensor) -> Tensor:
        return torch.where(self.truncated, value, right(self, value, successor_value))

    patch.setattr(Rollout, "next_value", buggy)


def final_obs_ignored_in_replay(patch: pytest.MonkeyPatch) -> None:
    """The successor of a truncated row is the row after it."""
    patch.setattr(Replay, "_keep_final", lambda self, row, lane, obs: None)


def timeout_bootstrapped_from_obs_in_replay(patch: pytest.MonkeyPatch) -> None:
    """A truncated row is its own successor."""
    add = Replay.add

    def buggy(self: Replay, obs: Tree, step: TimeStep) -> None:
        add(self, obs, replace(step, next_obs=obs))

    patch.setattr(Replay, "add", buggy)


def one_gamma_too_few(patch: pytest.MonkeyPatch) -> None:
    """After k rewards the bootstrap is discounted by gamma^(k−1)."""

    def buggy(r: Tensor, term: Tensor, trunc: Tensor, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
        total, factor, last = returns.n_step(r, term, trunc, gamma)
        return total, factor / gamma, last

    patch.setattr(replay_module, "n_step", buggy)


def one_gamma_too_many(patch: pytest.MonkeyPatch) -> None:
    """After k rewards the bootstrap is discounted by gamma^(k+1)."""
    gather = Replay.gather

    def buggy(self: Replay, pick: Tensor) -> Batch:
        batch = gather(self, pick)
        return replace(batch, factor=batch.factor * self._gamma)

    patch.setattr(Replay, "gather", buggy)


def advantage_leaks(patch: pytest.MonkeyPatch) -> None:
    """The sum over time does not stop at the end of an episode."""

    def buggy(
        reward: Tensor, value: Tensor, nxt: Tensor, term: Tensor, trunc: Tensor, gamma: float, lam: float
    ) -> Tensor:
        delta = returns.gae(reward, value, nxt, term, trunc, gamma, 0.0)  # lambda 0: one step each
        for t in range(len(delta) - 2, -1, -1):
            delta[t] += gamma * lam * delta[t + 1]
        return delta

    patch.setattr(ppo_module, "gae", buggy)


def advantage_leaks_at_timeouts(patch: pytest.MonkeyPatch) -> None:
    """The sum over time stops at terminations only."""

    def buggy(
        reward: Tensor, value: Tensor, nxt: Tensor, term: Tensor, trunc: Tensor, *rest: float
    ) -> Tensor:
        return returns.gae(reward, value, nxt, term, torch.zeros_like(trunc), *rest)

    patch.setattr(ppo_module, "gae", buggy)


def n_step_leaks_at_timeouts(patch: pytest.MonkeyPatch) -> None:
    """Windows run on into the next episode."""

    def buggy(r: Tensor, term: Tensor, trunc: Tensor, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
        return returns.n_step(r, term, torch.zeros_like(trunc), gamma)

    patch.setattr(replay_module, "n_step", buggy)


def normalizer_learns_in_evaluation(patch: pytest.MonkeyPatch) -> None:
    """Playing changes the running statistics."""
    right = ModeActor.__call__

    def buggy(self: ModeActor, obs: Tree, first: Tensor) -> Tensor:
        assert self._network.norm is not None
        self._network.norm.update(obs)
        return right(self, obs, first)

    patch.setattr(ModeActor, "__call__", buggy)


def actor_does_not_normalize(patch: pytest.MonkeyPatch) -> None:
    """The greedy policy looks at raw observations."""

    def buggy(self: ModeActor, obs: Tree, first: Tensor) -> Tensor:
        norm, self._network.norm = self._network.norm, None
        try:
            params = self._network.params(obs).detach()
        finally:
            self._network.norm = norm
        return self._distribution.mode(params)

    patch.setattr(ModeActor, "__call__", buggy)


# ---------------------------------------------------------------------- who must notice

NEXT_STEP, SAME_STEP = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP

CASES: list[tuple[Plant, str, Check]] = [
    (done_in_gae, "ppo", lambda: check_clock(ppo(), True)),
    (done_in_replay, "dqn", lambda: check_clock(dqn(), True)),
    (done_in_replay, "dqn-3-step", lambda: check_clock(dqn(3), True)),
    (done_at_the_boundary, "ppo", lambda: check_clock(ppo(), True, SAME_STEP)),
    (done_at_the_boundary, "dqn", lambda: check_clock(dqn(), True, NEXT_STEP)),
    (ends_forgotten, "ppo", lambda: check_clock(ppo(), False)),
    (ends_forgotten, "dqn", lambda: check_clock(dqn(), False)),
    (reset_rows_learnt, "ppo", lambda: check_clock(ppo(), True, NEXT_STEP)),
    (reset_rows_learnt, "dqn", lambda: check_clock(dqn(), True, NEXT_STEP)),
    (reset_rows_learnt, "dqn-3-step", lambda: check_clock(dqn(3), True, NEXT_STEP)),
    (final_obs_ignored_at_the_boundary, "ppo", lambda: check_chain(ppo())),
    (final_obs_ignored_at_the_boundary, "dqn", lambda: check_chain(dqn(), SAME_STEP)),
    (final_obs_ignored_in_rollout, "ppo", lambda: check_chain(ppo(), SAME_STEP)),
    (timeout_bootstrapped_from_obs_in_rollout, "ppo", lambda: check_chain(ppo())),
    (final_obs_ignored_in_replay, "dqn", lambda: check_chain(dqn())),
    (final_obs_ignored_in_replay, "dqn-3-step", lambda: check_chain(dqn(3))),
    (timeout_bootstrapped_from_obs_in_replay, "dqn", lambda: check_chain(dqn(), NEXT_STEP)),
    (one_gamma_too_few, "dqn-3-step", lambda: check_clock(dqn(3), True)),
    (one_gamma_too_many, "dqn", lambda: check_clock(dqn(), False)),
    (advantage_leaks, "ppo", lambda: check_no_temptation(ppo(), False)),
    (advantage_leaks_at_timeouts, "ppo", lambda: check_no_temptation(ppo(), True)),
    (n_step_leaks_at_timeouts, "dqn-3-step", lambda: check_no_temptation(dqn(3), True)),
    (normalizer_learns_in_evaluation, "ppo", check_evaluation_changes_nothing),
    (actor_does_not_normalize, "ppo", check_one_normalizer),
]  # fmt: skip


@pytest.mark.parametrize(
    ("plant", "check"), [(p, c) for p, _, c in CASES], ids=[f"{p.__name__}-{who}" for p, who, _ in CASES]
)
def test_planted_bug_is_noticed(plant: Plant, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=r"learnt, true|leaked|playing changed|a scale of its own"):
        check()


@pytest.mark.parametrize("check", [check_evaluation_changes_nothing, check_one_normalizer])
def test_normalizer(check: Check) -> None:
    """The two checks that no other file calls, without a bug."""
    check()
