"""What NEAT learns, and what a champion must show before it stops a run: fresh episodes hold the goal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

import rlkit
from rlkit.agents.neat import NEAT, Champion, NEATConfig
from rlkit.checkpoint import Checkpoints
from rlkit.config import AccelConfig, NetConfig
from rlkit.errors import UserError
from rlkit.evaluator import Evaluator
from rlkit.neat.reproduction import RIVALS
from rlkit.neat.trials import trial_seeds
from rlkit.seeding import episode_seed
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import AgentSetup, Score

if TYPE_CHECKING:
    from rlkit.runs import Run

# Poles that stand for 60 steps.
WORDS = ("agent=neat", "agent.population=20", "env.num_envs=10", "env.max_episode_steps=60",
         "trainer.total_steps=4000", "trainer.check_episodes=50", "trainer.log_every=100")  # fmt: skip
GOAL = ("env.solved_at=59", "seed=4")


@pytest.fixture
def lucky(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first champions of a run were lucky: their fresh episodes are poor."""
    original, series = Evaluator.__call__, []

    def call(evaluator: Evaluator, actor: Any) -> Any:
        score, episodes = original(evaluator, actor)
        if evaluator._stream == "check":
            series.append(score)
            if len(series) <= RIVALS:
                score = Score((10.0, 11.0), score.lengths, score.seeds)
        return score, episodes

    monkeypatch.setattr(Evaluator, "__call__", call)


def checked(run: Run) -> list[float]:
    """The mean of every row's checks (several checks of one generation are one row)."""
    return [row["check/return_mean"] for row in run.metrics() if "check/return_mean" in row]


@pytest.mark.usefixtures("lucky")
def test_a_lucky_champion_goes_on_and_a_good_one_stops(short_run: Callable[..., Run]) -> None:
    run = short_run(*WORDS, *GOAL)
    first, *_, last = checked(run)
    assert first == 10.5  # reached in training, not held: training went on
    assert run.status == "stopped"
    assert run.info["confirmed"] >= 59
    assert run.info["checks"] > RIVALS
    assert run.info["steps"] < 4_000
    assert last > first
    assert [*run.metrics()][-1]["step"] == run.info["steps"]  # what was decided last is told, too


def test_without_a_check_the_boundary_stops_nothing(short_run: Callable[..., Run]) -> None:
    run = short_run(*WORDS, *GOAL, "trainer.check_episodes=0", "trainer.total_steps=2500")
    assert (run.status, run.info["checks"], run.info["confirmed"]) == ("done", 0, None)
    assert not checked(run)


def test_an_evaluation_alone_does_not_stop_it(
    short_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its episodes are always the same ones: they choose, they do not confirm."""
    words = (*WORDS, "trainer.stop_at_return=15", "trainer.total_steps=2000", "trainer.eval_every=200",
             "trainer.eval_episodes=2")  # fmt: skip
    assert short_run(*words).info["steps"] < 2000
    monkeypatch.setattr(NEAT, "confirm", lambda agent, goal, check: False)
    run = short_run(*words)
    assert run.info["score"] > 15
    assert run.status == "done"


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int]]]:
    """The stream and the seeds of everything that evaluators play."""
    found: list[tuple[str, list[int]]] = []
    original = Evaluator.__call__

    def call(evaluator: Evaluator, actor: Any) -> Any:
        found.append((evaluator._stream, list(evaluator.seeds)))
        return original(evaluator, actor)

    monkeypatch.setattr(Evaluator, "__call__", call)
    return found


@pytest.mark.usefixtures("lucky")
def test_checks_play_what_nobody_has_played(
    short_run: Callable[..., Run], played: list[tuple[str, list[int]]]
) -> None:
    run = short_run(*WORDS, *GOAL, "trainer.eval_every=200", "trainer.eval_episodes=5",
                    "trainer.test_episodes=5")  # fmt: skip
    checks = [seeds for stream, seeds in played if stream == "check"]
    assert len(checks) == run.info["checks"] > 1
    fresh = {seed for seeds in checks for seed in seeds}
    assert len(fresh) == 50 * len(checks)  # none twice
    others = {seed for stream, seeds in played if stream != "check" for seed in seeds}
    trained = {seed for g in range(100) for seed in trial_seeds(4, g, 20, 1, True).tolist()}
    assert len(others) == 10
    assert not fresh & (others | trained)
    assert fresh == {episode_seed(4, "check", n + 1, k) for n in range(len(checks)) for k in range(50)}


def test_what_was_confirmed_is_kept_as_the_best(
    short_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However lucky an earlier champion's evaluation was."""
    original, scores = Evaluator.__call__, iter([1e6] + [0.0] * 1000)

    def call(evaluator: Evaluator, actor: Any) -> Any:
        score, episodes = original(evaluator, actor)
        if evaluator._stream == "eval":
            score = Score((next(scores),), score.lengths, score.seeds)
        return score, episodes

    monkeypatch.setattr(Evaluator, "__call__", call)
    run = short_run(*WORDS, *GOAL, "trainer.eval_every=200", "trainer.eval_episodes=2")
    assert run.status == "stopped"
    assert Checkpoints(run.path / "checkpoints").load("best").step == run.info["steps"]


def test_a_run_that_stopped_goes_on_only_for_more(short_run: Callable[..., Run]) -> None:
    run = short_run(*WORDS, *GOAL)
    again = f"resume={run.path}"
    with pytest.raises(UserError, match=r"stopped at step .* what it stopped for"):
        short_run(again)
    before = run.info["steps"]
    assert short_run(again, "trainer.stop_at_return=61").info["steps"] >= 4_000
    assert before < 4_000


# ---------------------------------------------------------------------- the agent's part


@pytest.fixture
def agent() -> Iterator[NEAT]:
    """One finished generation of 12: fitness 0 … 11 by row."""
    import gymnasium as gym

    env = gym.make("CartPole-v1")
    setup = AgentSetup(ObsSpec.of(env.observation_space), ActionSpec.of(env.action_space), 4, 100,
                       torch.device("cpu"), 0, NetConfig(), AccelConfig())  # fmt: skip
    agent = NEAT(replace(NEATConfig(), population=12), setup)
    agent.evolution.advance(torch.arange(12.0))
    yield agent
    env.close()


def verdicts(means: dict[int, float], seen: list[int]) -> Callable[[Any], float]:
    def check(actor: Champion) -> float:
        seen.append(actor.facts["genome_id"])
        return means.get(actor.facts["genome_id"], 0.0)

    return check


def test_the_first_that_holds_is_the_champion(agent: NEAT) -> None:
    seen: list[int] = []
    genome = {rival.id: rival.genome for rival in agent.evolution.rivals}
    assert agent.confirm(9.0, verdicts({11: 8.9, 10: 9.0, 9: 99.0}, seen))
    assert seen == [11, 10]
    assert agent.actor().facts["genome_id"] == 10
    assert torch.equal(agent.evolution.champion().weight, genome[10].weight)
    assert agent.evolution.best == [10.0]


def test_if_none_holds_the_highest_mean_is_the_champion(agent: NEAT) -> None:
    seen: list[int] = []
    assert not agent.confirm(9.0, verdicts({11: 3.0, 10: 5.0, 9: 4.0}, seen))
    assert seen == [11, 10, 9]  # 8 did not reach it in training
    assert agent.actor().facts["genome_id"] == 10


def test_nobody_is_checked_who_did_not_reach_it_and_never_more_than_a_few(agent: NEAT) -> None:
    seen: list[int] = []
    assert not agent.confirm(11.5, verdicts({}, seen))
    assert not seen
    assert agent.actor().facts["genome_id"] == 11
    assert not agent.confirm(0.5, verdicts({}, seen))
    assert seen == [11, 10, 9, 8, 7]
    assert len(seen) == RIVALS


@pytest.mark.parametrize(("criterion", "reached"), [("max", 11.0), ("mean", 5.5), ("min", 0.0)])
def test_nobody_is_checked_before_the_criterion_has_reached_the_goal(
    agent: NEAT, criterion: str, reached: float
) -> None:
    """The generation's best, mean or worst fitness, as neat-python's fitness_criterion."""
    agent.config = replace(agent.config, fitness_criterion=criterion)
    seen: list[int] = []
    assert not agent.confirm(reached + 0.1, verdicts({11: 99.0}, seen))
    assert not seen
    assert agent.confirm(reached, verdicts({11: 99.0}, seen))
    assert seen == [11]


def test_of_equals_the_oldest_is_first(agent: NEAT) -> None:
    ids = agent.evolution.ids.clone()
    agent.evolution.advance(torch.ones(12))
    assert [rival.id for rival in agent.evolution.rivals] == sorted(ids.tolist())[:RIVALS]


def test_checks_do_not_change_evolution(agent: NEAT) -> None:
    state = agent.state_dict()["evolution"]["genomes"]
    before = {name: value.clone() for name, value in state.items()}
    agent.confirm(9.0, verdicts({10: 9.0}, []))
    after = agent.state_dict()["evolution"]["genomes"]
    assert all(torch.equal(before[name], after[name]) for name in before)


# ---------------------------------------------------------------------- minutes


@pytest.mark.learning
def test_the_plain_command_solves_cartpole(short_run: Callable[..., Run]) -> None:
    """Within the 50,000 steps of every run, by the final test's own 100 episodes."""
    runs = [
        short_run("agent=neat", "env=cartpole", f"seed={seed}", "trainer.eval_every=2500",
                  "trainer.test_episodes=100")
        for seed in range(10)
    ]  # fmt: skip
    assert sum(bool(run.info["solved"]) for run in runs) >= 9
    assert all(run.info["steps"] <= 50_000 for run in runs)


@pytest.mark.learning
def test_the_preset_solves_cartpole(short_run: Callable[..., Run]) -> None:
    run = short_run("experiment=neat_cartpole", "trainer.test_episodes=100")
    assert run.info["solved"]
    assert rlkit.load_run(run.path).status == "stopped"
