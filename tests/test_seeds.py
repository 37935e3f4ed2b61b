"""Seeds decide everything and evaluation disturbs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from rlkit import cli, session
from rlkit.runs import Run

DQN = ("agent=dqn", "agent.learning_starts=100", "agent.batch_size=32", "trainer.total_steps=1000")
PPO = ("agent=ppo", "agent.horizon=64", "agent.epochs=2", "agent.normalize_obs=true",
       "agent.normalize_returns=true", "env.num_envs=4", "trainer.total_steps=1024")  # fmt: skip
RECORDS = ("monitor=default", "monitor.video=none", "monitor.eval_video=none", "trainer.log_every=100")
EVALUATED = ("trainer.eval_every=250", "trainer.eval_episodes=7", "trainer.eval_envs=3")
AGENTS = pytest.mark.parametrize("agent", [DQN, PPO], ids=["dqn", "ppo"])
Train = Callable[..., Run]


def curve(run: Run, *, without: str = "time") -> list[dict[str, Any]]:
    """The rows of metrics without the wall clock, and without one more group of keys."""
    rows = []
    for row in run.metrics():
        kept = {key: value for key, value in row.items() if key.split("/")[0] not in ("time", without)}
        rows.append(kept)
    return rows


def weights(run: Run) -> dict[str, torch.Tensor]:
    path = max((run.path / "checkpoints").glob("step-*")) / "state.pt"
    state = torch.load(path, weights_only=True)["agent"]
    found: dict[str, torch.Tensor] = state.get("online") or state["network"]
    return found


def equal(a: Run, b: Run) -> bool:
    left, right = weights(a), weights(b)
    return all(torch.equal(left[name], right[name]) for name in left)


@AGENTS
def test_same_seed_same_curve_other_seed_another(agent: tuple[str, ...], short_run: Train) -> None:
    first, again, other = (short_run(*agent, *RECORDS, f"seed={seed}") for seed in (3, 3, 4))
    assert curve(first) == curve(again)
    assert equal(first, again)
    assert curve(first) != curve(other)
    assert not equal(first, other)
    starts = [run.episodes()[0]["seed"] for run in (first, again, other)]
    assert starts[0] == starts[1] != starts[2]


def test_nothing_depends_on_or_changes_the_global_generators(short_run: Train) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = short_run(*DQN, *RECORDS)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert equal(first, short_run(*DQN, *RECORDS))


def test_four_lanes_start_differently(short_run: Train) -> None:
    run = short_run("agent=random", *RECORDS, "env.num_envs=4", "trainer.total_steps=600")
    episodes = run.episodes()
    firsts = {episode["env_index"]: episode for episode in reversed(episodes)}
    assert sorted(firsts) == [0, 1, 2, 3]
    assert len({episode["seed"] for episode in episodes}) == len(episodes)
    obs = torch.load(  # where the four lanes stand at the end
        max((run.path / "checkpoints").glob("step-*")) / "state.pt", weights_only=True
    )["envs"]["obs"]["obs"]
    assert len({tuple(row) for row in obs.tolist()}) == 4


@AGENTS
def test_evaluation_leaves_training_untouched(agent: tuple[str, ...], short_run: Train) -> None:
    """The same curve with and without it, but for its own keys and the rows that it adds."""
    without = short_run(*agent, *RECORDS, "trainer.log_every=256")
    evaluated = short_run(*agent, *RECORDS, "trainer.log_every=256", *EVALUATED, "trainer.eval_every=512")
    assert equal(without, evaluated)
    rows = curve(without, without="eval")
    assert curve(evaluated, without="eval") == rows
    assert any("eval/return_mean" in row for row in evaluated.metrics())
    training = [episode for episode in evaluated.episodes() if episode["type"] == "t"]
    clock = {"timestamp", "elapsed"}
    assert [{k: v for k, v in e.items() if k not in clock} for e in training] == [
        {k: v for k, v in e.items() if k not in clock} for e in without.episodes()
    ]


@AGENTS
def test_eval_of_best_gives_exactly_what_was_logged(
    agent: tuple[str, ...], short_run: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = short_run(*agent, *RECORDS, *EVALUATED)
    logged = {row["step"]: row["eval/return_mean"] for row in run.metrics() if "eval/return_mean" in row}
    best = max(logged.values())
    assert len(set(logged.values())) > 1
    assert run.score == best
    capsys.readouterr()
    words = [f"run={run.path}", "checkpoint=best", "episodes=7", "json=true"]
    found = []
    for _ in range(2):
        assert cli.main(["eval", *words]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    assert found[0]["mean"] == best == logged[run.info["best_step"]]
    assert len(found[0]["returns"]) == 7
    assert session.evaluate(run.path).mean == best
    recorded = [e for e in run.episodes() if e["type"] == "e" and e["step"] == run.info["best_step"]]
    assert found[0]["returns"] == [episode["return"] for episode in recorded]
    assert found[0]["seeds"] == [episode["seed"] for episode in recorded]


def test_the_final_test_uses_seeds_that_chose_nothing(short_run: Train) -> None:
    run = short_run("agent=random", *RECORDS, *EVALUATED, "trainer.test_episodes=20",
                    "trainer.total_steps=500")  # fmt: skip
    by_kind: dict[str, set[int]] = {}
    for episode in run.episodes():
        by_kind.setdefault(episode.get("evaluation", "training"), set()).add(episode["seed"])
    assert {kind: len(seeds) for kind, seeds in by_kind.items() if kind != "training"} == {
        "eval": 7,
        "test": 20,
    }
    assert not by_kind["eval"] & by_kind["test"]
    assert not by_kind["training"] & (by_kind["eval"] | by_kind["test"])
