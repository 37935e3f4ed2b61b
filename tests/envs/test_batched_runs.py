"""Whole runs on `env.engine=torch`: they train, film exactly, evaluate elsewhere, and resume bit by bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from resume.harness import TINY, compare, log_of, run

from rlkit import cli
from rlkit.config import EnvConfig
from rlkit.envs.batched.tasks import TASKS
from rlkit.envs.engines import choose

EVERY = ("trainer.log_every=256", "trainer.eval_every=600", "trainer.checkpoint_every=500")
COMMON = (*TINY, *EVERY, "env.num_envs=8", "env.engine=torch", "trainer.total_steps=1600")
RUNS = {
    "dqn": (*COMMON, "agent=dqn", "env.max_episode_steps=20", "agent.learning_starts=200",
            "agent.buffer_size=800", "agent.batch_size=32"),
    "ppo": (*COMMON, "agent=ppo", "env=pendulum", "env.max_episode_steps=25", "agent.horizon=40",
            "agent.epochs=2"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(RUNS))
def test_killed_and_continued_equals_uninterrupted(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, whole, cut = RUNS[name], tmp_path / "whole", tmp_path / "cut"
    assert run(words, whole) == 0, log_of(whole).read_text()
    assert run(words, cut, kill=("row", 4)) == -9, log_of(cut).read_text()
    assert run(words, cut, resume="run") == 0, log_of(cut).read_text()
    assert cli.main(["runs", "diff", str(whole), str(cut)]) == 0, capsys.readouterr().out
    compare(whole, cut)
    assert "inexact" not in log_of(cut).read_text()


def test_films_of_training_show_the_episodes_that_were_played(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = (*TINY, "agent=random", "env.num_envs=4", "env.engine=torch", "env.max_episode_steps=15",
             "monitor.video=every:2", "monitor.codec=mpeg4", "trainer.eval_every=0",
             "trainer.total_steps=300")  # fmt: skip
    assert run(words, folder) == 0, log_of(folder).read_text()
    notes = [json.loads(path.read_text()) for path in (folder / "monitor").glob("*.meta.json")]
    assert len(notes) >= 2
    assert all(note["exact"] for note in notes)


def test_auto_takes_it_where_lanes_are_many() -> None:
    for env_id in TASKS:
        assert choose(EnvConfig(id=env_id, num_envs=64), {}).name == "torch"
        assert choose(EnvConfig(id=env_id, num_envs=63), {}).name == "sync"
    assert choose(EnvConfig(num_envs=64), {"clip_reward": {}}).name == "sync"
