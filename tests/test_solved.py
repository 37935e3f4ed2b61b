"""Solved: the mean of 100 consecutive training episodes against the reward boundary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rlkit import cli
from rlkit.envs.batched.lanes import BatchedEnvs
from rlkit.solved import Solved

if TYPE_CHECKING:
    from rlkit.runs import Run


def first_solved(returns: list[float], boundary: float, window: int) -> int | None:
    """The definition, written out: how many episodes there were when a window first reached the boundary."""
    for last in range(window, len(returns) + 1):
        if np.mean(returns[last - window : last]) >= boundary:
            return last
    return None


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_first_window_that_reaches_the_boundary(seed: int) -> None:
    rng = np.random.default_rng(seed)
    returns = (np.arange(400) + rng.normal(0, 60, 400)).tolist()
    solved = Solved(250.0)
    for number, value in enumerate(returns, start=1):
        solved.add(value, step=10 * number)
    expected = first_solved(returns, 250.0, 100)
    assert expected is not None
    assert (solved.episode, solved.step) == (expected, 10 * expected)
    assert solved.best == pytest.approx(max(np.mean(returns[i - 100 : i]) for i in range(100, 401)))


def test_ninety_nine_episodes_are_not_enough_and_the_boundary_itself_is() -> None:
    solved = Solved(0.1)
    for number in range(99):
        solved.add(0.1, number)
    assert solved.step is None
    assert solved.best is None
    solved.add(0.1, 99)
    assert solved.step is None or sum([0.1] * 100) / 100 >= 0.1  # as the plain mean rounds
    solved = Solved(1.0)
    for number in range(100):
        solved.add(1.0, number)
    assert (solved.step, solved.episode) == (99, 100)


def test_a_boundary_that_nobody_named_is_never_reached() -> None:
    solved = Solved(None)
    for number in range(200):
        solved.add(1e9, number)
    assert solved.step is None
    assert solved.best == 1e9


@pytest.mark.parametrize("cut", [1, 99, 100, 150, 299])
def test_state_is_everything(cut: int) -> None:
    returns = np.random.default_rng(1).normal(0, 1, 300).tolist()
    whole, first = Solved(0.15), Solved(0.15)
    for number, value in enumerate(returns):
        whole.add(value, number)
    for number, value in enumerate(returns[:cut]):
        first.add(value, number)
    second = Solved(0.15)
    second.load_state_dict(first.state_dict())
    for number, value in enumerate(returns[cut:], start=cut):
        second.add(value, number)
    assert second.state_dict() == whole.state_dict()


def test_training_stops_when_solved_and_says_so(
    short_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("agent=random", "env=cartpole", "env.solved_at=15", "trainer.total_steps=20000")
    run = short_run(*words, "trainer.stop_when_solved=true", "logger=[jsonl,terminal]")
    assert run.status == "stopped"
    assert run.info["steps"] == run.info["solved_step"] < 10_000
    assert run.info["solved_episode"] >= 100
    assert f"training solved at step {run.info['steps']:,}" in capsys.readouterr().out
    assert cli.main(["runs", "ls", str(run.path.parent)]) == 0
    assert "at " in capsys.readouterr().out
    whole = short_run(*words)
    assert whole.status == "done"
    assert whole.info["solved_step"] == run.info["solved_step"]
    assert whole.info["steps"] == 20_000


def test_an_engine_that_does_not_tell_what_ended(
    short_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device the host's facts are None: training stops all the same, when the episodes are asked for."""
    original = BatchedEnvs.recv
    monkeypatch.setattr(
        BatchedEnvs, "recv", lambda envs: replace(original(envs), ended_lanes=None, begun_lanes=None)
    )
    run = short_run(
        "agent=random", "env=cartpole", "env.engine=torch", "env.solved_at=15", "trainer.log_every=1000",
        "trainer.total_steps=20000", "trainer.stop_when_solved=true",
    )  # fmt: skip
    assert run.status == "stopped"
    assert run.info["solved_step"] <= run.info["steps"] < run.info["solved_step"] + 1000 < 10_000


def test_a_run_that_would_learn_nothing_says_so(
    short_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("agent=ppo", "env.num_envs=4", "trainer.total_steps=400", "logger=[terminal]")
    short_run(*words, "agent.horizon=101")
    assert "nothing will be learnt: ppo begins after 404 steps of 400" in capsys.readouterr().out
    short_run(*words, "agent.horizon=100")
    assert "nothing will be learnt" not in capsys.readouterr().out
