"""Classic control as batched tensors, on any device: `env.engine=torch`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import torch

from rlkit.config import EnvConfig
from rlkit.envs.batched.lanes import RECORDED_LANES, BatchedEnvs
from rlkit.envs.batched.single import LaneMaker, time_limit
from rlkit.envs.batched.stepping import Advance
from rlkit.envs.batched.tasks import TASKS, arguments_of
from rlkit.spaces import ActionSpec, ObsSpec

__all__ = ["RECORDED_LANES", "BatchedEnvs", "film_maker", "make", "why_not"]


def why_not(config: EnvConfig, wrappers: dict[str, dict[str, Any]]) -> str | None:
    """The reason why the engine cannot serve this environment, or None."""
    if config.id not in TASKS:
        return f"it has only {', '.join(TASKS)}"
    if wrappers:
        return f"it takes no wrappers ({', '.join(wrappers)})"
    known = arguments_of(config.id)
    for name, value in config.kwargs.items():
        if name not in known:
            return f"it does not know env.kwargs.{name}"
        if not isinstance(value, bool | int | float):
            return f"env.kwargs.{name} must be a number"
    return None


def make(
    config: EnvConfig,
    wrappers: dict[str, dict[str, Any]],
    num_envs: int,
    *,
    seed: int,
    stream: str = "train",
    device: torch.device | str = "cpu",
    with_actions: tuple[int, ...] = (),
    recorded_lanes: int = RECORDED_LANES,
    capture: Callable[[Advance], Advance] | None = None,
) -> BatchedEnvs:
    """The lanes; `capture` makes the step faster, as `rlkit.accel.capture` does (`BatchedEnvs` says more)."""
    space = gym.make(config.id, **config.kwargs)
    obs, action = ObsSpec.of(space.observation_space), ActionSpec.of(space.action_space)
    space.close()
    return BatchedEnvs(
        partial(TASKS[config.id], **config.kwargs),
        num_envs,
        limit=time_limit(config),
        obs_spec=obs,
        action_spec=action,
        seed=seed,
        stream=stream,
        device=device,
        with_actions=with_actions,
        recorded_lanes=recorded_lanes,
        capture=capture,
    )


def film_maker(
    config: EnvConfig, wrappers: dict[str, dict[str, Any]], render_mode: str | None
) -> Callable[[], gym.Env] | None:
    """Makes the environment that plays a lane's episode again, with frames."""
    return LaneMaker(config, render_mode)
