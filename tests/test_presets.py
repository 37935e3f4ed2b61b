"""Every preset learns twice with finite numbers, saves, reloads and evaluates, in small."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

import rlkit
from rlkit import session
from rlkit.checkpoint import Checkpoints
from rlkit.config import conf_dir
from rlkit.envs import catalog

EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))


def _learnt_here(preset: str) -> bool:
    """Those that need no package, and two that do; the others are run by tests/envs/test_groups.py."""
    written = yaml.safe_load((conf_dir() / "env" / f"{preset}.yaml").read_text(encoding="utf-8"))
    group = catalog.group_of(str(written.get("id", "")))
    alone = group is None or not group.packages_of(written["id"])
    return alone or (preset in ("breakout", "lunarlander") and not group.missing())


ENVS = [path.stem for path in sorted((conf_dir() / "env").glob("*.yaml")) if _learnt_here(path.stem)]

SMALL = (
    "logger=[jsonl] monitor.video=none monitor.eval_video=none trainer.log_every=1 trainer.eval_every=0 "
    "trainer.eval_episodes=2 trainer.eval_envs=2 trainer.test_episodes=0 env.max_episode_steps=30 "
    "trainer.total_steps=70"
).split()
SHRINK = {
    "ppo": "agent.horizon=16 agent.minibatch_size=8 agent.epochs=1 env.num_envs=2".split(),
    "dqn": "agent.learning_starts=20 agent.train_every=5 agent.batch_size=8 agent.buffer_size=1_000".split(),
    "neat": (
        "agent.population=4 agent.trials=1 agent.evolution.target_species=0 env.num_envs=2 "
        "env.max_episode_steps=6 trainer.check_episodes=0"
    ).split(),
    "random": [],
}


def run_small(words: list[str], agent: str, root: Path) -> None:
    run = rlkit.train(rlkit.compose([*words, *SMALL, *SHRINK[agent], f"run.root={root}"]))
    assert run.status == "done"
    learnt = [row for row in run.metrics() if any(name.startswith(("loss/", "neat/")) for name in row)]
    if agent != "random":
        assert len(learnt) >= 2
        assert all(math.isfinite(value) for row in learnt for value in row.values())
    loaded = Checkpoints(run.path / "checkpoints").load("latest", stores=True)
    assert loaded.step == run.info["steps"] >= 70
    score = session.evaluate(run.path, checkpoint="latest")
    assert len(score.returns) == 2
    assert all(0 < length <= 30 for length in score.lengths)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment(name: str, tmp_path: Path) -> None:
    agent = rlkit.compose([f"experiment={name}"]).agent.name
    run_small([f"experiment={name}"], agent, tmp_path)


@pytest.mark.parametrize("name", ENVS)
def test_env(name: str, tmp_path: Path) -> None:
    run_small([f"env={name}", "agent=ppo"], "ppo", tmp_path)


@pytest.mark.parametrize("net", sorted(path.stem for path in (conf_dir() / "net").glob("*.yaml")))
def test_net(net: str, tmp_path: Path) -> None:
    run_small([f"net={net}"], "dqn", tmp_path)
