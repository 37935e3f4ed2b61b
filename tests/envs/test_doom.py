"""Group 10, Doom: ends of episodes, stray files, processes and signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlkit.config import EnvConfig
from rlkit.envs import catalog, scratch
from rlkit.envs.engines import make_envs
from rlkit.envs.factory import EnvMaker, probe
from rlkit.errors import UserError
from rlkit.types import Decision
from tests.envs.needs import needs

needs("vizdoom")

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {"frame_skip": 4, "screen_size": [60, 80], "grey": True}


def make(name: str = "VizdoomBasic-v1", **arguments: Any) -> gym.Env:
    return EnvMaker(EnvConfig(id=name, kwargs={**SMALL, **arguments}))()


def test_ten_scenarios_and_no_id_that_must_be_bought() -> None:
    ids = catalog.GROUPS[9].module.ids()
    assert len(ids) == 20
    catalog.prepare(ids[0])
    assert all(name in gym.registry for name in ids)
    with pytest.raises(UserError, match=r"doom.wad is sold.*Freedoom"):
        probe(EnvConfig(id="VizdoomDoomE1M1-S1-v0"), {})


def test_running_out_of_time_is_a_truncation_with_the_last_picture() -> None:
    env = make()  # 300 tics from tic 14 on
    env.reset(seed=0)
    before, over, steps = None, False, 0
    while not over:
        obs, _, terminated, truncated, _ = env.step(0)
        over, steps = terminated or truncated, steps + 1
        if not over:
            before = obs
    env.close()
    assert (terminated, truncated, steps) == (False, True, 75)
    assert before is not None
    assert obs["screen"].any()
    assert np.array_equal(obs["screen"], before["screen"])


def test_death_is_a_termination() -> None:
    env = make("VizdoomDefendCenter-v1")
    env.reset(seed=0)
    over = False
    while not over:
        _, reward, terminated, truncated, _ = env.step(0)
        over = terminated or truncated
    env.close()
    assert (terminated, truncated, reward) == (True, False, -1.0)


def test_seed_and_actions_decide_an_episode_and_what_was_returned_stays() -> None:
    def play(env: gym.Env, seed: int) -> list[np.ndarray]:
        actions = np.random.default_rng(7)
        screens = [env.reset(seed=seed)[0]["screen"]]
        screens += [env.step(int(actions.integers(4)))[0]["screen"] for _ in range(30)]
        return screens

    one, two = make("VizdoomDefendLine-v1"), make("VizdoomDefendLine-v1")  # at once
    first = play(one, 3)
    copies = [screen.copy() for screen in first]
    other, again, elsewhere = play(one, 4), play(one, 3), play(two, 3)
    one.close()
    two.close()
    assert all(map(np.array_equal, first, copies))
    assert all(map(np.array_equal, first, again))
    assert all(map(np.array_equal, first, elsewhere))
    assert not all(map(np.array_equal, first, other))


def test_observations_are_small_and_films_are_not() -> None:
    env = EnvMaker(EnvConfig(id="VizdoomBasic-v1", kwargs=SMALL), render_mode="rgb_array")()
    obs, _ = env.reset(seed=0)
    frame: Any = env.render()
    assert obs["screen"].shape == (60, 80, 1)
    assert (frame.shape, frame.dtype) == ((240, 320, 3), np.uint8)
    assert env.metadata["render_fps"] == 9  # 35 tics a second, 4 of them an action
    over = False
    while not over:
        *_, terminated, truncated, _ = env.step(0)
        over = terminated or truncated
    last: Any = env.render()
    env.close()
    assert last.std() > 10  # ViZDoom shows black after the end


def test_mouse_buttons_have_bounds() -> None:
    env = make("VizdoomDeathmatch-v1", delta_limit=5.0)
    space = env.action_space
    assert isinstance(space, gym.spaces.Dict)
    assert space["continuous"] == gym.spaces.Box(-5, 5, (3,), np.float32)
    env.action_space.seed(0)
    env.reset(seed=0)
    assert env.observation_space.contains(env.step(env.action_space.sample())[0])
    env.close()


@pytest.mark.parametrize("engine", ["sync", "async"])
def test_two_games_write_into_the_scratch_folder_and_clean_up(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, run = tmp_path / "here", tmp_path / "run"
    here.mkdir()
    monkeypatch.chdir(here)
    with scratch.use(run):
        envs = make_envs(
            EnvConfig(id="VizdoomTakeCover-v1", num_envs=2, kwargs=SMALL), {}, seed=0, engine=engine
        )
        envs.reset()
        envs.send(Decision(torch.zeros(2, 1, dtype=torch.int64)))
        step = envs.recv()
        during = sorted(path.name for path in run.iterdir())
        envs.close()
    assert step.count == 2
    assert len(during) == 2
    assert all(name.startswith("doom-") for name in during)
    assert list(run.iterdir()) == []
    assert list(here.iterdir()) == []


PLAYER = """
import os, signal, sys, time
from pathlib import Path
from rlkit.config import EnvConfig
from rlkit.envs.factory import EnvMaker

got = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: got.append(number))
env = EnvMaker(EnvConfig(id="VizdoomBasic-v1"))()
env.reset(seed=0)
if sys.argv[1] == "signals":
    for number in (signal.SIGINT, signal.SIGTERM):
        os.killpg(0, number)
        time.sleep(0.2)
    print(env.step(0)[1], got)
    env.close()
else:
    threads = Path("/proc/self/task").iterdir()
    print(*[(thread / "children").read_text().strip() for thread in threads], flush=True)
    time.sleep(60)
"""


def player(what: str, where: Path) -> subprocess.Popen[str]:
    """A process that plays Doom, in a session of its own."""
    command = [sys.executable, "-c", PLAYER, what]
    variables = {**os.environ, "RLKIT_SCRATCH": str(where)}
    return subprocess.Popen(
        command, env=variables, start_new_session=True, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def test_signals_for_the_whole_job_leave_the_game_alone(tmp_path: Path) -> None:
    """Ctrl-C ends the game as well, unless it is told otherwise: the run could not be saved."""
    said, _ = player("signals", tmp_path).communicate(timeout=60)
    assert said == f"-1.0 {[int(signal.SIGINT), int(signal.SIGTERM)]}\n"


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="util-linux has setpriv")
def test_a_game_does_not_outlive_whoever_started_it(tmp_path: Path) -> None:
    starter = player("sleep", tmp_path)
    assert starter.stdout is not None
    games = [int(number) for number in starter.stdout.readline().split()]
    starter.kill()
    starter.stdout.close()
    starter.wait()
    assert len(games) == 1
    deadline = time.monotonic() + 10
    while b"vizdoom" in cmdline(games[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    alive = b"vizdoom" in cmdline(games[0])
    if alive:
        os.kill(games[0], signal.SIGKILL)
    assert not alive


def cmdline(pid: int) -> bytes:
    """Empty when the process is dead but not yet buried."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("arguments", [{"screen_size": [84]}, {"delta_limit": 0}])
def test_bad_arguments_are_one_sentence(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"cannot be made: {next(iter(arguments))}"):
        probe(EnvConfig(id="VizdoomBasic-v1", kwargs=arguments), {})
