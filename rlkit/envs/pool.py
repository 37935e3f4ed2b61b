"""The engine `envpool`: EnvPool's C++ environments, stepped together by its own threads.

It serves what EnvPool has under Gymnasium's ids, without wrappers, and Atari with the standard preprocessing.
EnvPool takes a seed when it is made and never again, and resets by itself one step late (NEXT_STEP), so its
episodes cannot be played again: a resumed run begins new ones and says so, and films show evaluations.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlkit.config import EnvConfig
from rlkit.envs import catalog, scratch
from rlkit.envs.factory import EnvMaker
from rlkit.envs.vector import VectorEnvs
from rlkit.seeding import derive
from rlkit.types import Envs

_GROUPS = ("classic", "toy_text", "mujoco")  # the same tasks under the same ids, v5 of MuJoCo alone


def why_not(config: EnvConfig, wrappers: dict[str, dict[str, Any]]) -> str | None:
    """Why EnvPool cannot serve this environment, or None."""
    if find_spec("envpool") is None:
        return f"it needs envpool: pip install '{catalog.DISTRIBUTION}[fast]'"
    group = catalog.group_of(config.id)
    if group is None or group.name not in _GROUPS:
        return f"it serves the groups {', '.join(_GROUPS)}"
    if group.name == "mujoco" and not config.id.endswith("-v5"):
        return "its MuJoCo tasks are the v5 ones"
    if wrappers:
        return f"its environments take no wrappers, and there is {next(iter(wrappers))}"
    if config.kwargs:
        return f"its environments take no env.kwargs, and there is {next(iter(config.kwargs))}"
    if config.id not in _known():
        return "EnvPool has no environment of this name"
    return None


def make(
    config: EnvConfig,
    wrappers: dict[str, dict[str, Any]],
    num_envs: int,
    *,
    seed: int,
    stream: str,
    device: torch.device | str,
    with_actions: tuple[int, ...],
    capture: Callable[..., Any] | None = None,
) -> Envs:
    """Lanes in EnvPool's threads (as many as it thinks right); there is no tensor step to capture."""
    options: dict[str, Any] = {"seed": seed_of(seed, stream)}
    if config.max_episode_steps is not None:
        options["max_episode_steps"] = config.max_episode_steps
    venv = PoolLanes(config, num_envs, options)
    return VectorEnvs(venv, seed=seed, stream=stream, device=device, with_actions=with_actions)


def seed_of(seed: int, stream: str) -> int:
    """What EnvPool is seeded with, of a run's seed."""
    return derive(seed, f"envpool/{stream}") % 2**31


def film_maker(
    config: EnvConfig, wrappers: dict[str, dict[str, Any]], render_mode: str | None
) -> Callable[[], gym.Env] | None:
    """None: EnvPool's episodes cannot be played again, and its own render kills the process for MuJoCo."""
    return None


class PoolLanes(VectorEnv):
    """EnvPool with Gymnasium's spaces; what it calls its own are those of one environment, in its types."""

    def __init__(self, config: EnvConfig, num_envs: int, options: dict[str, Any]) -> None:
        one = EnvMaker(config)()
        self.single_observation_space, self.single_action_space = one.observation_space, one.action_space
        self.metadata = {**one.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
        self.spec, self.render_mode = one.spec, None
        one.close()
        self.num_envs = num_envs
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        # Its MuJoCo models greet with warnings, on the screen and in a file where the process stands.
        with scratch.working_directory(), contextlib.redirect_stdout(io.StringIO()):
            self._pool = import_module("envpool").make(
                config.id, env_type="gymnasium", num_envs=num_envs, **options
            )
        self._action_dtype = self._pool.action_space.dtype
        # Its own `step` spends more on naming what comes back than we on all that follows. This is the
        # binding that it calls: arrays in the order of these keys, fresh at every step.
        # What is sent says twice whose actions follow: all lanes'.
        lanes, keys = np.arange(num_envs, dtype=np.int32), self._pool._state_keys
        self._sent: list[Any] = [lanes] * (len(self._pool._action_keys) - 1)
        self._told = tuple(keys.index(name) for name in ("obs", "reward", "done", "trunc"))

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """All lanes. The seed was chosen when the pool was made; another one is ignored by EnvPool."""
        obs, _ = self._pool.reset()
        return obs, {}

    def step_async(self, actions: Any) -> None:
        self._pool._send([*self._sent, np.ascontiguousarray(actions, self._action_dtype)])

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        told, (obs, reward, done, truncated) = self._pool._recv(), self._told
        over, late = told[done], told[truncated]  # whoever is late is done, too
        return told[obs], told[reward], over & ~late if np.count_nonzero(over) else over, late, {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self.step_async(actions)
        return self.step_wait()

    def close_extras(self, **kwargs: Any) -> None:
        self._pool.close()


def _known() -> list[str]:
    names: list[str] = import_module("envpool").list_all_envs()
    return names
