"""A run that was killed and continued equals one that never stopped, bit for bit."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rlkit import cli
from rlkit.agents.dqn import DQN
from .harness import (
    TINY,
    episodes,
    event_steps,
    log_of,
    newest_state,
    passes,
    replay_rows,
    rows,
    run,
    same,
)

EVERY = ("trainer.log_every=100", "trainer.eval_every=300", "trainer.checkpoint_every=250")
DQN_WORDS = ("agent=dqn", "agent.learning_starts=200", "agent.buffer_size=600", "agent.epsilon_steps=800",
             "agent.batch_size=32", "agent.target_every=150", "agent.n_step=3")  # fmt: skip
PPO_WORDS = ("agent=ppo", "agent.horizon=64", "agent.epochs=2", "agent.normalize_obs=true",
             "agent.normalize_returns=true", "agent.target_kl=0.05")  # fmt: skip
FILMS = ("monitor.video=every:6", "monitor.eval_video=every:2", "monitor.codec=mpeg4",
         "monitor.max_frames=12")  # fmt: skip
RUNS: dict[str, tuple[str, ...]] = {
    "random": ("agent=random", "env.num_envs=3", "trainer.total_steps=1200"),
    "random-tuple": ("agent=random", "env=blackjack", "env.num_envs=2", "trainer.total_steps=1200"),
    "dqn-1": (*DQN_WORDS, *FILMS, "trainer.total_steps=1200"),
    "dqn-3": (*DQN_WORDS, "env.num_envs=3", "wrappers=[random_action,clip_reward]", "env.max_episode_steps=20",
              "trainer.total_steps=1400"),  # fmt: skip
    "ppo-1": (*PPO_WORDS, "env=pendulum", "env.max_episode_steps=30", "trainer.total_steps=1000"),
    "ppo-3": (*PPO_WORDS, "env.num_envs=3", "env.max_episode_steps=25", "trainer.total_steps=1400"),
}  # fmt: skip

# Where each run is killed; more than one place means one kill after the other.
PLACES: dict[str, list[tuple[str, ...]]] = {
    "random": [("step",), ("record",), ("test",), ("info",)],
    "random-tuple": [("step", "step")],
    "dqn-1": [("step",), ("film",), ("filmed",), ("evaluation",), ("segment",), ("state",), ("published",),
              ("early",), ("row", "rewound"), ("step", "cut", "replay")],
    "dqn-3": [("step", "step"), ("manifest",), ("retained",), ("flushed",)],
    "ppo-1": [("step",), ("publish",), ("evaluation", "save")],
    "ppo-3": [("step", "step"), ("evaluation",), ("saved",), ("test",)],
}  # fmt: skip
CASES = [(name, places) for name, listed in PLACES.items() for places in listed]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of an uninterrupted run, made when first asked for."""

    @cache
    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name) / "whole"
        assert run(words_of(name), folder) == 0, log_of(folder).read_text()
        return folder

    return make


def words_of(name: str) -> tuple[str, ...]:
    return (*TINY, *EVERY, *RUNS[name])


def a_call(place: str, counts: dict[str, int], seed: str, resumed: bool) -> tuple[str, int]:
    """Which pass of a place is the last one: any of those that the whole run makes."""
    if place == "early":
        return "step", 40  # before the first checkpoint
    if place in ("replay", "rewound", "cut"):
        return place, 1  # while the checkpoint is being restored
    highest = max(1, counts[place] // 3) if resumed else counts[place]
    return place, random.Random(seed).randint(1, highest)


@pytest.mark.parametrize(("name", "places"), CASES, ids=["-".join((name, *places)) for name, places in CASES])
def test_killed_and_continued_equals_uninterrupted(
    name: str, places: tuple[str, ...], reference: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, folder = reference(name), tmp_path / "cut"
    counts = passes(whole)
    for number, place in enumerate(places):
        kill = a_call(place, counts, f"{name}{places}{number}", number > 0)
        code = run(words_of(name), folder, kill=kill, resume="run" if number else None)
        assert code == -9, f"{kill}: {log_of(folder).read_text()}"
    assert run(words_of(name), folder, resume="run") == 0, log_of(folder).read_text()
    assert cli.main(["runs", "diff", str(whole), str(folder)]) == 0, capsys.readouterr().out
    compare(whole, folder)


def compare(whole: Path, folder: Path) -> None:
    """The same verdict without the code under test."""
    same(newest_state(whole), newest_state(folder))
    same(replay_rows(whole), replay_rows(folder))
    assert rows(whole) == rows(folder)
    steps = [row["step"] for row in rows(folder)]
    assert steps == sorted(set(steps))
    assert episodes(whole) == episodes(folder)
    found = event_steps(folder)
    assert found == event_steps(whole)
    assert all(there == sorted(set(there)) for there in found.values())
    assert {path.name for path in (whole / "checkpoints").iterdir()} == {
        path.name for path in (folder / "checkpoints").iterdir()
    }
