"""Environments that fail, break numbers or never end, and what a user writes wrongly: one sentence each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import yaml

import rlkit
from rlkit import cli, load_run, registry
from rlkit.agents.neat import NEAT, greedy
from rlkit.errors import NumbersBroke, UserError
from rlkit.neat.contradictions import contradiction
from rlkit.neat.settings import Number, Settings
from rlkit.runs import Run
from rlkit.spaces import ActionSpec

Train = Callable[..., Run]


class Fragile(gym.Env):
    """Episodes of six steps, or endless ones; after `at` steps of a lane `what` goes wrong, if anything.

    lives: every second step a life is lost, as Atari's wrapper tells it.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    what: str = ""  # of all of them
    at = 40
    endless = lives = False

    def __init__(self) -> None:
        self.steps = self.place = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if self.what == "reset" and self.steps >= self.at:
            raise ArithmeticError("the floor gave way")
        self.place, self.pull = 0, float(self.np_random.normal())
        return self._obs(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.place += 1
        due = self.steps == self.at
        if self.what == "step" and due:
            raise ArithmeticError("the floor gave way")
        broken = {"nan": np.nan, "inf": np.inf, "huge": 1e39}
        reward = broken[self.what] if self.what in broken and due else float(action) + self.pull
        info = {"life_lost": True} if self.lives and self.place % 2 == 0 and self.place < 6 else {}
        return self._obs(), reward, self.place == 6 and not self.endless, False, info

    def _obs(self) -> np.ndarray:
        broken = self.what == "observation" and self.steps == self.at
        return np.array([self.place, np.nan if broken else self.pull], np.float32)


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> type[Fragile]:
    class Mine(Fragile):
        pass

    monkeypatch.setitem(registry.envs._targets, "neat/fragile", Mine)
    return Mine


WORDS = ("agent=neat", "env.id=neat/fragile", "agent.population=5", "agent.trials=3", "env.num_envs=4",
         "agent.evolution.node_add_prob=0.3", "trainer.log_every=30", "trainer.total_steps=600")  # fmt: skip


def rows(run: Run) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("time")} for row in found]


# ---------------------------------------------------------------------- environments that go wrong


@pytest.mark.parametrize(
    ("what", "kind", "text"),
    [("step", ArithmeticError, "the floor gave way"), ("reset", ArithmeticError, "the floor gave way"),
     ("nan", NumbersBroke, "the reward nan in lane"), ("inf", NumbersBroke, "the reward inf in lane"),
     ("huge", NumbersBroke, r"the reward 1e\+39 in lane"),
     ("observation", NumbersBroke, "non-finite observation")],
)  # fmt: skip
def test_what_breaks_is_told_and_the_run_goes_on_from_its_checkpoint(
    what: str, kind: type[Exception], text: str, fragile: type[Fragile], short_run: Train, tmp_path: Path
) -> None:
    whole = short_run(*WORDS, f"run.dir={tmp_path / 'whole'}", "trainer.checkpoint_every=50")
    fragile.what = what
    folder = tmp_path / "cut"
    with pytest.raises(kind, match=text) as caught:
        short_run(*WORDS, f"run.dir={folder}", "trainer.checkpoint_every=50")
    said, info = str(caught.value), load_run(folder).info
    assert "\n" not in said
    assert info["status"] == "failed"
    assert info["error"].startswith(kind.__name__)
    assert info["checkpoint"] is not None
    if kind is NumbersBroke:
        assert f"the last good checkpoint is {info['checkpoint']}" in said
    assert 100 <= info["steps"] < 250
    fragile.what = ""
    again = short_run(f"resume={folder}")
    assert (again.status, again.info["resume_exact"]) == ("done", True)
    assert rows(again) == rows(whole)
    assert max(row.get("neat/generation", 0) for row in rows(again)) == 5  # 15 trials of 6 steps each


def test_a_lost_life_is_no_end_of_a_trial(fragile: type[Fragile], short_run: Train) -> None:
    """Genomes are judged by whole games: what `episodic_life` tells other agents changes nothing."""
    plain = short_run(*WORDS, "agent.evolution.feed_forward=false")
    fragile.lives = True
    assert rows(short_run(*WORDS, "agent.evolution.feed_forward=false")) == rows(plain)


def test_an_environment_without_an_end_is_cut(
    fragile: type[Fragile],
    short_run: Train,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A cap, and it is said; evaluations have it, and so has the run resumed by its own words."""
    fragile.endless = True
    monkeypatch.setattr(NEAT, "episode_cut", 10)
    caplog.set_level("INFO", "rlkit")
    run = short_run(*WORDS, "trainer.eval_every=300", "trainer.eval_episodes=2", "trainer.test_episodes=2")
    said = "neat/fragile names no time limit: episodes are cut after 10 steps (env.max_episode_steps=N"
    assert said in caplog.text
    assert {row["eval/length_mean"] for row in rows(run) if "eval/length_mean" in row} == {10.0}
    assert max(row.get("neat/generation", 0) for row in rows(run)) == 3
    again = rlkit.train(rlkit.compose([*WORDS, f"resume={run.path}", "trainer.total_steps=750"]))
    assert max(row.get("neat/generation", 0) for row in rows(again)) == 4
    caplog.clear()
    own = short_run(*WORDS, "env.max_episode_steps=8")
    assert "names no time limit" not in caplog.text
    assert yaml.safe_load((own.path / "config.yaml").read_text())["env"]["max_episode_steps"] == 8
    plain = short_run("agent=neat", "agent.population=2", "trainer.total_steps=100")
    assert yaml.safe_load((plain.path / "config.yaml").read_text())["env"]["max_episode_steps"] is None


@pytest.mark.usefixtures("fragile")
def test_extinction_ends_a_run_that_wants_no_new_population(short_run: Train, tmp_path: Path) -> None:
    words = (*WORDS, "agent.evolution.max_stagnation=1", "agent.evolution.species_elitism=0")
    assert max(row.get("neat/extinctions", 0) for row in rows(short_run(*words))) >= 1
    folder = tmp_path / "over"
    with pytest.raises(UserError, match=r"^All species have died out after generation") as caught:
        short_run(*words, "agent.evolution.reset_on_extinction=false", f"run.dir={folder}")
    assert "\n" not in str(caught.value)
    info = load_run(folder).info
    assert (info["status"], info["error"]) == ("failed", f"UserError: {caught.value}")


def test_a_budget_below_one_generation_is_told(
    fragile: type[Fragile], short_run: Train, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rlkit")
    short_run(*WORDS, "trainer.total_steps=60")
    assert "nothing was learnt: 8 of the first generation's 15 trials were finished; raise" in caplog.text
    caplog.clear()
    short_run(*WORDS, "trainer.total_steps=91")
    assert "nothing was learnt" not in caplog.text


@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_a_loop_that_overflows_is_a_poor_genome_and_no_broken_run(
    activation: str, fragile: type[Fragile], short_run: Train
) -> None:
    """Weights of 30 around a circle leave float32 within an episode; saved and evaluated all the same."""
    monster = ("agent.evolution.feed_forward=false", f"agent.evolution.activations=[{activation}]",
               "agent.evolution.conn_add_prob=1.0", "agent.evolution.weight.init_stdev=30")  # fmt: skip
    fragile.endless = True
    run = short_run(
        *WORDS, *monster, "env.max_episode_steps=60", "trainer.total_steps=4000", "trainer.eval_every=2000",
        "trainer.checkpoint_every=500", "trainer.eval_episodes=2",
    )  # fmt: skip
    assert run.status == "done"
    assert max(row.get("neat/generation", 0) for row in rows(run)) == 3


@pytest.mark.parametrize("choices", [2, 3, 7, 20])
def test_the_greatest_output_is_chosen_and_of_equals_the_first(choices: int) -> None:
    spec = ActionSpec.of(gym.spaces.Discrete(choices))
    outputs = torch.randint(0, 5, (choices, 300), generator=torch.Generator().manual_seed(0)).float()
    expected = [column.index(max(column)) for column in outputs.T.tolist()]
    assert greedy(spec, outputs, {})[:, 0].tolist() == expected


def test_outputs_that_are_no_numbers_choose_something_legal() -> None:
    nan, inf = float("nan"), float("inf")
    outputs = torch.tensor([[nan, 1.0, -2.0], [-inf, -inf, -inf], [inf, nan, 3.0]]).T
    single = ActionSpec.of(gym.spaces.Discrete(3))
    assert greedy(single, outputs, {}).flatten().tolist() == [1, 0, 0]
    mask = {"action_mask": torch.tensor([[0, 0, 1], [0, 1, 1], [0, 1, 1]])}
    assert greedy(single, outputs, mask).flatten().tolist() == [2, 1, 2]
    box = greedy(ActionSpec.of(gym.spaces.Box(-2.0, 2.0, (3,))), outputs, {})
    assert bool(torch.isfinite(box).all())


# ---------------------------------------------------------------------- what a user writes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("agent.population=1",), "agent.population must be at least 2, not 1."),
        (("agent.population=many",), "agent.population must be a whole number, not 'many'."),
        (("agent.trials=0",), "agent.trials must be at least 1"),
        (("agent.fitness=max",), "agent.fitness must be one of mean, median, min, not 'max'."),
        (("env.num_envs=0",), "env.num_envs must be between 1 and 65536, not 0."),
        (("agent.evolution.connection_add_prob=0.1",), "did you mean agent.evolution.conn_add_prob?"),
        (("agent.evolution.weight.mutate_pwer=1",), "did you mean agent.evolution.weight.mutate_power?"),
        (("agent.populaton=9",), "did you mean agent.population?"),
        (("agent.evolution.conn_add_prob=2",), "must be between 0.0 and 1.0, not 2.0."),
        (("agent.evolution.activations=[tahn]",), "must be one of tanh"),
        (("agent.evolution.activations=[]",), "agent.evolution.activations is empty"),
        (("agent.evolution.weight.min_value=31",), "agent.evolution.weight.min_value=31 is above"),
        (("agent.evolution.bias.init_mean=99",), "agent.evolution.bias.init_mean=99 is outside -30 … 30"),
        (("agent.evolution.activation_mutate_rate=0.1",), "has nothing to choose from"),
        (("agent.evolution.target_species=200",), "is more than agent.population=150"),
        (("env=pixel_pong",), "make it a vector with wrappers=[resize,flatten]"),
        (("env.engine=envpool",), "which env.engine=envpool cannot take; write env.engine=sync or async."),
    ],
)
def test_one_sentence_and_exit_2(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["train", "agent=neat", f"run.root={tmp_path / 'runs'}", *words]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert told.startswith("rlkit: error: ")
    assert "\n" not in told
    assert not (tmp_path / "runs").exists()


def test_contradictions() -> None:
    assert contradiction(Settings(), 150) is None
    assert contradiction(Settings(), 2) is None
    assert "keeps the whole population of 3" in str(contradiction(Settings(elitism=3), 3))
    assert "names one twice" in str(contradiction(Settings(aggregations=["sum", "sum"]), 9))
    both = Settings(target_species=12, max_species=9)
    assert "agent.evolution.max_species=9 allows" in str(contradiction(both, 50))
    assert contradiction(Settings(target_species=12, max_species=0), 50) is None
    rates = Settings(weight=Number(mutate_rate=0.9, replace_rate=0.2))
    assert "add up to 1.1, more than 1" in str(contradiction(rates, 50))
    assert contradiction(Settings(weight=Number(mutate_rate=0.7, replace_rate=0.3)), 50) is None
