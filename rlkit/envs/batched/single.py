"""One lane as a Gymnasium environment: what plays (seed, actions) of a batched lane again, with frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from rlkit.config import EnvConfig
from rlkit.envs.batched.counting import uniforms
from rlkit.envs.batched.tasks import TASKS
from rlkit.envs.headless import draw_off_screen


def time_limit(config: EnvConfig) -> int:
    """Steps after which an episode is cut: the configuration's, else the environment's own."""
    own = gym.spec(config.id).max_episode_steps
    assert own is not None  # all five have one
    return config.max_episode_steps or own


class LaneEnv(gym.Env):
    """The batched task alone: the same first state from the same seed, the same floats from every step.

    Gymnasium's own environment draws the frames, from this one's state.
    """

    def __init__(self, config: EnvConfig, render_mode: str | None = None) -> None:
        if render_mode:
            draw_off_screen(config.id)
        self._inner: Any = gym.make(config.id, render_mode=render_mode, **config.kwargs).unwrapped
        self.metadata, self.render_mode = self._inner.metadata, render_mode
        self.spec = gym.spec(config.id)
        self.observation_space, self.action_space = self._inner.observation_space, self._inner.action_space
        self._task = TASKS[config.id](1, torch.device("cpu"), **config.kwargs)
        self._limit, self._elapsed = time_limit(config), 0
        self._dtype = torch.int64 if isinstance(self.action_space, gym.spaces.Discrete) else torch.float32

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        chosen = int(self.np_random.integers(2**31)) if seed is None else seed
        self._state = self._task.initial(uniforms(torch.tensor([chosen]), self._task.draws))
        self._elapsed, self._last = 0, None
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._last = action
        one = torch.as_tensor(np.asarray(action)).reshape(1).to(self._dtype)
        self._state, reward, terminated = self._task.move(self._state, one)
        self._elapsed += 1
        truncated = self._elapsed >= self._limit
        return self._observation(), float(reward), bool(terminated), truncated, {}

    def render(self) -> Any:
        self._task.pose(self._inner, self._state[:, 0], self._last)
        return self._inner.render()

    def close(self) -> None:
        self._inner.close()

    def _observation(self) -> np.ndarray:
        return self._task.observe(self._state)[0].numpy()


@dataclass(frozen=True)
class LaneMaker:
    """Makes a `LaneEnv`; picklable."""

    config: EnvConfig
    render_mode: str | None = None

    def __call__(self) -> gym.Env:
        return LaneEnv(self.config, self.render_mode)
