"""(seed, actions) decide an episode, whatever is wrapped around it: runs resume and films show what was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces as S

import rlkit
from rlkit.config import EnvConfig
from rlkit.envs.engines import make_envs
from rlkit.envs.factory import EnvMaker
from rlkit.envs.vector import VectorEnvs
from rlkit.envs.wrappers import RandomAction
from rlkit.types import Decision, Episode

IMAGES: dict[str, Any] = {"add_render_observation": {}}


class Dice(gym.Env):
    """Its rewards and its end are drawn at every step from the generator that wrappers may draw from, too."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = S.Box(0.0, 1.0, (3,), np.float32)
    action_space = S.Discrete(3)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.at = np.zeros(3, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = self.np_random.random(3, np.float32)
        return self.at.copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.at = self.np_random.random(3, np.float32)
        return self.at.copy(), float(self.at[action]), bool(self.np_random.random() < 0.05), False, {}

    def render(self) -> np.ndarray:
        return np.full((16, 20, 3), 255 * self.at, np.uint8)


NAME = f"{__name__}:Dice"
DRAWING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # wrappers, arguments of the environment
    "sticky_action": (
        {"sticky_action": {"repeat_action_probability": 0.4, "repeat_action_duration": [1, 3]}}, {}
    ),
    "delay_observation": ({"delay_observation": {"delay": 2}}, {}),
    "random_action": ({"random_action": {"epsilon": 0.5}}, {}),
    "schedule": ({"random_action": {"epsilon": 1.0, "final_epsilon": 0.1, "decay_episodes": 6}}, {}),
    "schedule and sticky": (
        {
            "sticky_action": {"repeat_action_probability": 0.4},
            "random_action": {"epsilon": 1.0, "final_epsilon": 0.0, "decay_episodes": 4},
        },
        {},
    ),
    "add_white_noise": (
        {"add_white_noise": {"probability_of_noise_per_pixel": 0.3}} | IMAGES, {"render_mode": "rgb_array"}
    ),
    "obstruct_view": (
        {"obstruct_view": {"obstructed_pixels_ratio": 0.3, "obstruction_width": 4}} | IMAGES,
        {"render_mode": "rgb_array"},
    ),
}  # fmt: skip
every = pytest.mark.parametrize("case", DRAWING)


def lanes(case: str, n: int = 3) -> VectorEnvs:
    wrappers, kwargs = DRAWING[case]
    config = EnvConfig(NAME, num_envs=n, kwargs=kwargs)
    envs = make_envs(config, wrappers, seed=4, engine="sync", with_actions=tuple(range(n)))
    assert isinstance(envs, VectorEnvs)
    return envs


def advance(envs: VectorEnvs, steps: int, generator: torch.Generator) -> list[Any]:
    seen: list[Any] = []
    for _ in range(steps):
        envs.send(Decision(envs.action_spec.sample(envs.num_envs, generator)))
        step = envs.recv()
        seen += [step.obs["obs"].tolist(), step.reward.tolist(), step.action.tolist()]
    return seen


@every
def test_a_run_goes_on_where_it_stood(case: str) -> None:
    one, other = lanes(case), lanes(case)
    one.reset()
    advance(one, 150, torch.Generator().manual_seed(0))
    state, finished = one.state_dict(), one.drain()
    assert len(finished) > 6
    assert max(len(actions) for actions in state["actions"]) > 3
    other.reset()
    other.load_state_dict(state)
    assert other.resume_inexact is None
    again = advance(other, 120, torch.Generator().manual_seed(1))
    assert again == advance(one, 120, torch.Generator().manual_seed(1))


@every
def test_an_episode_alone_and_watched_is_the_same(case: str) -> None:
    """A film asks for a frame at every step, which must not disturb what happens."""
    wrappers, kwargs = DRAWING[case]
    envs = lanes(case)
    envs.reset()
    advance(envs, 150, torch.Generator().manual_seed(0))
    episodes = envs.drain()
    assert len(episodes) > 6
    for episode in episodes:
        env = EnvMaker(EnvConfig(NAME, kwargs=kwargs), wrappers, render_mode="rgb_array")()
        replayed(env, episode, envs)


def replayed(env: gym.Env, episode: Episode, envs: VectorEnvs) -> None:
    assert episode.actions is not None
    env.reset(seed=episode.seed)
    total, over = 0.0, False
    for row in episode.actions:
        assert not over
        np.testing.assert_array_equal(env.render(), env.render())  # asked twice, the same is seen
        _, reward, terminated, truncated, _ = env.step(envs.action_spec.to_env_single(row))
        total, over = total + float(reward), terminated or truncated
    assert over
    assert total == pytest.approx(episode.reward_train, abs=1e-9)


def test_noise_is_new_at_every_step_and_in_every_episode() -> None:
    for name in ("add_white_noise", "obstruct_view"):
        wrappers, kwargs = DRAWING[name]
        env = EnvMaker(EnvConfig("CartPole-v1", kwargs=kwargs), wrappers)()

        def noise(seed: int, at: int, env: gym.Env = env) -> np.ndarray:
            obs = env.reset(seed=seed)[0]
            for _ in range(at):
                obs = env.step(0)[0]
            return np.argwhere((obs != env.unwrapped.render()).any(axis=-1))

        assert 0.2 < len(noise(0, 0)) / (400 * 600) < 0.35
        assert np.array_equal(noise(0, 2), noise(0, 2))
        assert not np.array_equal(noise(0, 1), noise(0, 2))
        assert not np.array_equal(noise(0, 1), noise(1, 1))


def test_what_is_done_at_random_does_not_follow_from_where_one_starts() -> None:
    """Environment and action space are seeded alike by many; then "random" actions know the first state."""
    env = RandomAction(gym.make("CartPole-v1"), 1.0)
    first, actions = [], []
    for seed in range(500):
        first.append(env.reset(seed=seed)[0])
        actions.append(np.mean([env.step(0)[4]["action_executed"] for _ in range(4)]))
    for coordinate in np.transpose(first):
        assert abs(np.corrcoef(coordinate, actions)[0, 1]) < 0.15


def test_films_of_explored_episodes_are_exact(tmp_path: Path) -> None:
    words = (
        f"env.id={NAME} agent=random trainer.total_steps=400 trainer.eval_every=0 trainer.test_episodes=0 "
        "logger=[] monitor.video=every:2 wrappers=[sticky_action,random_action] "
        "wrappers.sticky_action.repeat_action_probability=0.3 wrappers.random_action.epsilon=1.0 "
        "wrappers.random_action.final_epsilon=0.0 wrappers.random_action.decay_episodes=4"
    ).split()
    run = rlkit.train(rlkit.compose([*words, f"run.root={tmp_path}"]))
    told = [json.loads(path.read_text()) for path in (run.path / "monitor").glob("*.meta.json")]
    assert len(told) >= 3
    assert all(film["exact"] for film in told)
