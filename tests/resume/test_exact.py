"""A run that was killed and continued equals one that never stopped, bit for bit."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rlkit import cli, load_run
from rlkit.agents.dqn import DQN
from rlkit.envs.vector import VectorEnvs
from rlkit.logger import Logger

from .faulty import register
from .harness import (
    TINY,
    command,
    compare,
    log_of,
    passes,
    run,
)

EVERY = ("trainer.log_every=100", "trainer.eval_every=300", "trainer.checkpoint_every=250")
DQN_WORDS = ("agent=dqn", "agent.learning_starts=200", "agent.buffer_size=600", "agent.epsilon_steps=800",
             "agent.batch_size=32", "agent.target_every=150", "agent.n_step=3")  # fmt: skip
PPO_WORDS = ("agent=ppo", "agent.horizon=64", "agent.epochs=2", "agent.normalize_obs=true",
             "agent.normalize_returns=true", "agent.target_kl=0.05")  # fmt: skip
NEAT_WORDS = ("agent=neat", "agent.population=16", "agent.trials=2", "env.num_envs=5",
              "agent.evolution.node_add_prob=0.3", "agent.evolution.conn_add_prob=0.5")  # fmt: skip
FILMS = ("monitor.video=every:6", "monitor.eval_video=every:2", "monitor.codec=mpeg4",
         "monitor.max_frames=12")  # fmt: skip
RUNS: dict[str, tuple[str, ...]] = {
    "random": ("agent=random", "env.num_envs=3", "trainer.total_steps=1200"),
    "random-tuple": ("agent=random", "env=blackjack", "env.num_envs=2", "trainer.total_steps=1200"),
    "random-async": ("agent=random", "env.num_envs=2", "env.engine=async", "trainer.total_steps=600"),
    "dqn-1": (*DQN_WORDS, *FILMS, "trainer.total_steps=1200"),
    "dqn-3": (*DQN_WORDS, "env.num_envs=3", "wrappers=[random_action,clip_reward]",
              "env.max_episode_steps=20", "trainer.total_steps=1400"),
    "ppo-1": (*PPO_WORDS, "env=pendulum", "env.max_episode_steps=30", "trainer.total_steps=1000"),
    "ppo-3": (*PPO_WORDS, "env.num_envs=3", "env.max_episode_steps=25", "trainer.total_steps=1400"),
    "neat": (*NEAT_WORDS, "env.max_episode_steps=25", "trainer.total_steps=1400"),
    # Who wins once is checked and does not win twenty times: every generation has its checks.
    "neat-checked": (*NEAT_WORDS, "env=blackjack", "env.solved_at=0.9", "agent.trials=1",
                     "trainer.total_steps=600", "trainer.check_episodes=20"),
    "neat-recurrent": (*NEAT_WORDS, "agent.evolution.feed_forward=false", "env=pendulum", "env.num_envs=40",
                       "env.max_episode_steps=20", "trainer.total_steps=1400"),
    "neat-torch": (*NEAT_WORDS, "agent.trials=3", "agent.same_seeds=false", "env.engine=torch",
                   "env.num_envs=70", "env.max_episode_steps=25", "trainer.total_steps=1400"),
}  # fmt: skip

# Where each run is killed; more than one place means one kill after the other.
PLACES: dict[str, list[tuple[str, ...]]] = {
    "random": [("step",), ("record",), ("test",)],
    "random-tuple": [("step", "step")],
    "random-async": [("step",)],
    "dqn-1": [("step",), ("film",), ("filmed",), ("evaluation",), ("segment",), ("state",), ("published",),
              ("early",), ("row", "rewound"), ("step", "cut", "replay")],
    "dqn-3": [("step", "step"), ("manifest",), ("retained",), ("flushed",)],
    "ppo-1": [("step",), ("publish",), ("evaluation", "save")],
    "ppo-3": [("step", "step"), ("evaluation",), ("saved",), ("test",)],
    "neat": [("step", "step"), ("evaluation",), ("published",), ("early",)],
    "neat-checked": [("check",), ("step", "check")],
    "neat-recurrent": [("step", "step"), ("saved",)],
    "neat-torch": [("row", "row"), ("published",)],
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


def a_call(place: str, counts: dict[str, int], seed: str, resumed: bool, again: bool) -> tuple[str, int]:
    """Which pass of a place is the last one: any of those that the whole run makes.

    again: the run is killed once more later: enough has to be left for that.
    """
    if place == "early":
        return "step", 40  # before the first checkpoint
    if place in ("replay", "rewound", "cut"):
        return place, 1  # while the checkpoint is being restored
    highest = counts[place] // 3 if resumed else counts[place] // 2 if again else counts[place]
    return place, random.Random(seed).randint(1, max(1, highest))


@pytest.mark.parametrize(("name", "places"), CASES, ids=["-".join((name, *places)) for name, places in CASES])
def test_killed_and_continued_equals_uninterrupted(
    name: str, places: tuple[str, ...], reference: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, folder = reference(name), tmp_path / "cut"
    counts = passes(whole)
    for number, place in enumerate(places):
        kill = a_call(place, counts, f"{name}{places}{number}", number > 0, number + 1 < len(places))
        code = run(words_of(name), folder, kill=kill, resume="run" if number else None)
        assert code == -9, f"{kill}: {log_of(folder).read_text()}"
    assert run(words_of(name), folder, resume="run") == 0, log_of(folder).read_text()
    assert cli.main(["runs", "diff", str(whole), str(folder)]) == 0, capsys.readouterr().out
    compare(whole, folder)


# ---------------------------------------------------------------------- what would not be exact is seen


def forget_explorer() -> None:
    """A planted fault: DQN's exploration starts over on resume."""
    original = DQN.load_state_dict

    def load_state_dict(agent: DQN, state: dict[str, Any], policy_only: bool = False) -> None:
        fresh = agent._explore.get_state()
        original(agent, state, policy_only)
        agent._explore.set_state(fresh)

    DQN.load_state_dict = load_state_dict  # type: ignore[method-assign]


def forget_buffer() -> None:
    """A planted fault: what was added to the logger since the last row is lost."""
    original = Logger.load_state_dict
    Logger.load_state_dict = lambda logger, state: original(logger, state | {"values": {}})  # type: ignore[method-assign]


def forget_lane() -> None:
    """A planted fault: lane 0's running episode begins anew."""
    original = VectorEnvs.load_state_dict

    def load_state_dict(envs: VectorEnvs, state: dict[str, Any]) -> None:
        original(envs, state)
        envs._begin[0] = envs._steps()

    VectorEnvs.load_state_dict = load_state_dict  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("fault", "seen"),
    [(forget_explorer, "weights   DIFFERENT"), (forget_buffer, "metrics   DIFFERENT"),
     (forget_lane, "episodes  DIFFERENT")],
)  # fmt: skip
def test_planted_faults_are_seen(
    fault: Any, seen: str, reference: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, folder = reference("dqn-1"), tmp_path / "cut"
    assert run(words_of("dqn-1"), folder, kill=("step", 420)) == -9
    assert run(words_of("dqn-1"), folder, resume="run", patch=fault) == 0
    assert cli.main(["runs", "diff", str(whole), str(folder)]) == 1
    assert seen in capsys.readouterr().out
    with pytest.raises(AssertionError):
        compare(whole, folder)


@pytest.mark.parametrize(("what", "exact"), [("", True), ("unseeded", False)])
def test_an_environment_that_ignores_its_seed_is_named(what: str, exact: bool, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = (*TINY, *EVERY, "agent=random", "env.id=Faulty", "trainer.total_steps=600")
    patch = register(what=what)
    where = (f"run.dir={folder}", f"run.root={tmp_path}")
    assert command((*words, *where), folder, kill=("step", 404), patch=patch) == -9
    assert command((*words, f"resume={folder}"), folder, patch=patch) == 0, log_of(folder).read_text()
    info = load_run(folder).info
    assert info["resume_exact"] is exact
    assert ("environment" in str(info["resume_inexact"])) is not exact
    assert ("not exact: environment" in (folder / "train.log").read_text()) is not exact


def test_a_save_writes_only_new_rows(tmp_path: Path) -> None:
    """The bytes of replay on disk grow with the steps since the last save, not with the replay."""
    folder = tmp_path / "run"
    words = (*TINY, *DQN_WORDS, "agent.buffer_size=5000", "trainer.checkpoint_every=200",
             "trainer.eval_every=0", "trainer.total_steps=2000")  # fmt: skip
    assert run(words, folder, kill=("step", 1300)) == -9
    before = {path.name: path.stat() for path in (folder / "checkpoints" / "segments").iterdir()}
    assert run(words, folder, resume="run") == 0
    segments = sorted((folder / "checkpoints" / "segments").iterdir())
    spans = [tuple(map(int, path.name.split("-")[1:3])) for path in segments]
    assert spans == [(first, first + 200) for first in range(0, 2000, 200)]
    sizes = [path.stat().st_size for path in segments]
    assert max(sizes) < 1.5 * min(sizes)
    for path in segments[:6]:  # untouched since the first process wrote them
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (
            before[path.name].st_ino,
            before[path.name].st_mtime_ns,
        )
