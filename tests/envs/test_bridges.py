"""Old environments on today's API: ids of gym 0.26, and objects of 0.21 that know nothing of any gym."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import rlkit
from rlkit.config import EnvConfig, RunConfig, require_trusted
from rlkit.envs import bridges, engines, factory
from rlkit.errors import UserError

from .needs import ALL

with_gym = pytest.mark.skipif(not ALL and find_spec("gym") is None, reason="gym is not installed")

OLD = '''
import random
import numpy as np

class Box:  # as gym's own, which need not be there
    low, high, shape, dtype = np.full(3, -1, np.float32), np.full(3, 1, np.float32), (3,), np.dtype("float32")

class Env:
    """Four values, reset() without info, seed(), render(mode=); it changes the array that it handed out."""
    metadata = {"render.modes": ["rgb_array"], "video.frames_per_second": 12}
    reward_threshold = 9.0
    observation_space = Box()
    action_space = [0, 1]

    def __init__(self, length=10, clock=True):
        self.length, self.clock, self.random, self.array = length, clock, random.Random(), np.zeros(3)

    def seed(self, seed=None):
        self.random.seed(seed)

    def reset(self):
        self.left = self.length
        self.array[:] = self.random.random()
        return self.array

    def step(self, action):
        assert action in (0, 1)
        self.left -= 1
        self.array[:] = self.random.random()
        done = self.left == 0
        info = {"TimeLimit.truncated": True} if done and self.clock else {}
        return self.array, self.random.random(), done, info

    def render(self, mode="human"):
        assert mode == "rgb_array"
        return np.full((40, 60, 3), int(255 * self.array[0]), np.uint8)

def make(length=4):
    return Env(length)

class NoSpaces(Env):
    action_space = None

NUMBER = 3
'''

REGISTERING = """
import gym
from gym import spaces

class Env(gym.Env):  # 0.21: no seed(), no info, np_random of the base class
    observation_space = spaces.Discrete(5, start=-2)
    action_space = spaces.Tuple((spaces.Discrete(2), spaces.Box(0.0, 1.0, (2,))))

    def reset(self):
        return int(self.np_random.integers(-2, 3))

    def step(self, action):
        assert self.action_space.contains(action), action
        return int(self.np_random.integers(-2, 3)), 1.0, False, {}

gym.register("Bridged-v0", Env, max_episode_steps=7, reward_threshold=6.5)
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, text in (("old_env_21", OLD), ("old_env_registering", REGISTERING)):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("old_env_21", "old_env_registering"):
        sys.modules.pop(name, None)


def make(env_id: str, **arguments: Any) -> gymnasium.Env:
    factory.check_id(env_id)
    return bridges.make_old(env_id, arguments)


def play(env: gymnasium.Env, steps: int, seed: int = 3) -> list[Any]:
    """Everything that was seen, episode after episode."""
    env.action_space.seed(5)
    seen: list[Any] = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert env.observation_space.contains(obs), obs
        seen += [obs, reward, terminated, truncated]
        if terminated or truncated:
            seen.append(env.reset()[0])
    return seen


def same(a: list[Any], b: list[Any]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# ------------------------------------------------------------------ gym 0.26


@with_gym
def test_an_id_of_the_old_gym_says_the_same_of_itself() -> None:
    env = make("gym:CartPole-v1")
    assert isinstance(env.action_space, gymnasium.spaces.Discrete)
    assert isinstance(env.observation_space, gymnasium.spaces.Box)
    assert env.spec is not None
    assert (env.spec.max_episode_steps, env.spec.reward_threshold) == (500, 475.0)
    assert env.metadata["render_fps"] == 50
    told = factory.probe(EnvConfig(id="gym:CartPole-v1"), {})
    assert (told.threshold, told.time_limit, told.fps, told.film_mode) == (475.0, 500, 50, "rgb_array")


@with_gym
def test_old_and_new_cartpole_play_the_same_episode() -> None:
    """The physics did not change between gym 0.26 and Gymnasium, nor how a seed becomes a state."""
    old, new = make("gym:CartPole-v1"), gymnasium.make("CartPole-v1")
    ours, theirs = play(old, 60), play(new, 60)
    assert np.allclose(
        np.concatenate([np.ravel(x) for x in ours]), np.concatenate([np.ravel(x) for x in theirs])
    )


@with_gym
@pytest.mark.parametrize("env_id", ["CartPole-v1", "MountainCarContinuous-v0", "Taxi-v3", "FrozenLake-v1"])
def test_seeds_reproduce_and_frames_move(env_id: str) -> None:
    env = make(f"gym:{env_id}", render_mode="rgb_array")
    first = play(env, 40)
    frame = env.render()
    assert same(first, play(env, 40))
    assert not same(first, play(env, 40, seed=4))
    assert isinstance(frame, np.ndarray)
    assert (frame.dtype, frame.ndim, frame.shape[2]) == (np.uint8, 3, 3)
    assert frame.std() > 0


@with_gym
def test_a_time_limit_can_be_chosen() -> None:
    for limit in (5, 300):
        env = make("gym:Pendulum-v1", max_episode_steps=limit)
        env.reset(seed=0)
        steps = 1
        while not env.step(env.action_space.sample())[3]:
            steps += 1
        assert steps == limit


@with_gym
def test_an_id_that_a_module_registers() -> None:
    env = make("gym:old_env_registering:Bridged-v0")
    assert env.observation_space == gymnasium.spaces.Discrete(5, start=-2)
    assert isinstance(env.action_space, gymnasium.spaces.Tuple)
    assert env.spec is not None
    assert (env.spec.max_episode_steps, env.spec.reward_threshold) == (7, 6.5)
    seen = play(env, 21)
    assert seen[28] is True  # truncated at step 7
    assert same(seen, play(env, 21))  # though it has no seed()


@with_gym
@pytest.mark.parametrize("engine", ["sync", "async"])
def test_engines_play_it(engine: str) -> None:
    config = EnvConfig(id="gym:CartPole-v1", num_envs=2, engine=engine)
    envs = engines.make_envs(config, {}, seed=1)
    try:
        assert envs.reset().obs["obs"].shape == (2, 4)
    finally:
        envs.close()


@with_gym
def test_gym_is_silent_and_leaves_the_sound_alone(tmp_path: Path) -> None:
    code = (
        "import os; from rlkit.envs.bridges import make_old; env = make_old('gym:CartPole-v1');"
        "env.reset(seed=0); env.step(1); print(os.environ.get('SDL_AUDIODRIVER'))"
    )
    env = {k: v for k, v in os.environ.items() if k != "SDL_AUDIODRIVER"}
    env["PYTHONPATH"] = str(Path(rlkit.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("None", "")


@with_gym
def test_a_run_with_films_and_an_unknown_id(tmp_path: Path) -> None:
    words = ["env.id=gym:CartPole-v1", "agent=random", "trainer.total_steps=200", "logger=[jsonl]",
             "trainer.test_episodes=0", f"run.root={tmp_path}"]  # fmt: skip
    run = rlkit.train(rlkit.compose(words))
    assert run.info["env"] == "gym:CartPole-v1"
    assert list(run.path.glob("monitor/*.mp4"))
    with pytest.raises(UserError, match="nearest: CartPole-v1"):
        rlkit.compose(["env.id=gym:CartPol-v1"])


# ------------------------------------------------------------------ objects that need no gym


def test_an_object_of_four_values() -> None:
    env = make("gym:old_env_21:Env", render_mode="rgb_array")
    assert env.action_space == gymnasium.spaces.Discrete(2)
    assert env.metadata == {"render_modes": ["rgb_array"], "render_fps": 12}
    assert env.spec is not None
    assert env.spec.reward_threshold == 9.0
    first = play(env, 30)
    assert same(first, play(env, 30))
    obs, _ = env.reset(seed=0)
    kept = obs.copy()
    for _ in range(10):
        _, reward, terminated, truncated, info = env.step(0)
    assert np.array_equal(obs, kept)  # though the old object changed its array
    assert (terminated, truncated, info) == (False, True, {"TimeLimit.truncated": True})
    assert isinstance(reward, float)
    assert env.render().shape == (40, 60, 3)


def test_its_arguments_and_factories() -> None:
    env = make("gym:old_env_21:Env", length=3, clock=False)
    env.reset(seed=0)
    assert [env.step(1)[2:4] for _ in range(3)][-1] == (True, False)
    env = make("gym:old_env_21:make")
    env.reset(seed=0)
    assert [env.step(1)[3] for _ in range(4)] == [False, False, False, True]


def test_it_is_trained_filmed_and_resumed(tmp_path: Path) -> None:
    words = ["env.id=gym:old_env_21:Env", "agent=random", "trainer.total_steps=95", "logger=[jsonl]",
             "trainer.eval_every=0", "trainer.test_episodes=0", f"run.root={tmp_path}"]  # fmt: skip
    run = rlkit.train(rlkit.compose(words))
    assert list(run.path.glob("monitor/*.mp4"))
    config = EnvConfig(id="gym:old_env_21:Env", num_envs=2)
    envs, again = (engines.make_envs(config, {}, seed=1) for _ in range(2))
    envs.reset()
    for _ in range(13):
        envs.send(_zeros())
        envs.recv()
    again.load_state_dict(envs.state_dict())
    assert again.resume_inexact is None  # type: ignore[attr-defined]
    for lanes in (envs, again):
        lanes.send(_zeros())
    assert np.array_equal(envs.recv().next_obs["obs"], again.recv().next_obs["obs"])


def _zeros() -> Any:
    import torch

    from rlkit.types import Decision

    return Decision(torch.zeros(2, 1, dtype=torch.int64))


def test_no_gym_is_needed_for_it_but_is_for_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridges, "find_spec", lambda name: None)
    for name in [name for name in sys.modules if name == "gym" or name.startswith("gym.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gym", None)  # importing it fails
    play(make("gym:old_env_21:Env"), 12)
    monkeypatch.delitem(sys.modules, "gym")
    with pytest.raises(UserError, match=r"needs the old gym: pip install 'rlkit-lab\[gym\]'"):
        factory.check_id("gym:CartPole-v1")


@pytest.mark.parametrize(
    ("env_id", "said"),
    [
        ("gym:old_env_21:Emv", "the module old_env_21 has no Emv; nearest: Env"),
        ("gym:old_env_21:NUMBER", "NUMBER is no class and no function"),
        ("gym:no_such_module:Env", "there is no module 'no_such_module'"),
        ("gym:gym:make", "write gym:CartPole-v1, or gym:my_module:Env"),
        ("gym:gym:old_env_21:Env", "write gym:CartPole-v1"),
        ("gym:évil:Env", "write gym:CartPole-v1"),
        ("gym:", "write gym:CartPole-v1"),
    ],
)
def test_what_cannot_be_found(env_id: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        factory.check_id(env_id)
    assert said in str(caught.value)


def test_what_cannot_be_made() -> None:
    with pytest.raises(UserError, match="the object has no action_space; give it one"):
        make("gym:old_env_21:NoSpaces")
    with pytest.raises(UserError, match=r"cannot be made: .*unexpected keyword argument 'lenth'"):
        make("gym:old_env_21:Env", lenth=3)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (4, gymnasium.spaces.Discrete(4)),
        ([0, 1, 2], gymnasium.spaces.Discrete(3)),
        ((-np.ones(2), np.ones(2)), gymnasium.spaces.Box(-1, 1, (2,))),
        ({"a": 2}, gymnasium.spaces.Dict({"a": gymnasium.spaces.Discrete(2)})),
    ],
)
def test_plain_data_as_a_space(given: Any, meant: gymnasium.Space) -> None:
    assert bridges.to_space(given) == meant


@pytest.mark.parametrize("given", ["left", [1, 2], 0, random.Random()])
def test_what_is_no_space(given: Any) -> None:
    with pytest.raises(UserError, match="has no counterpart"):
        bridges.to_space(given)


def test_a_stored_run_imports_no_module_of_its_own() -> None:
    require_trusted(RunConfig(env=EnvConfig(id="gym:CartPole-v1")))
    stored = RunConfig(env=EnvConfig(id="gym:old_env_21:Env"))
    with pytest.raises(UserError, match=r"add plugins=\[old_env_21\]"):
        require_trusted(stored)
    require_trusted(stored, ["old_env_21"])
