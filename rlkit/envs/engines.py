"""Engines: ways to step N lanes of one environment, and which of them suits an environment.

sync, async   Gymnasium environments with their wrappers, in this process or in worker processes
ale           ale-py's vector environment: Atari with the standard preprocessing, in C++ threads
envpool       EnvPool, in C++ threads
torch         classic control as batched tensors, on any device

The last three are modules with three functions: `why_not(config, wrappers)` gives the reason why the engine
cannot serve, or None; `make(…)` gives the lanes; `film_maker(…)` gives a maker of one environment that plays
(seed, actions) of a lane again with frames, or None where that is not possible: such runs film their
evaluations, which have an environment of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch
from gymnasium.vector import VectorEnv

from rlkit.config import EnvConfig
from rlkit.envs import ale, batched, pool, workers
from rlkit.envs.factory import EnvMaker
from rlkit.envs.lanes import Lanes
from rlkit.envs.vector import VectorEnvs
from rlkit.envs.workers import cores
from rlkit.envs.wrappers.frames import stack_of
from rlkit.errors import UserError
from rlkit.spaces import ObsSpec
from rlkit.types import Envs

Wrappers = dict[str, dict[str, Any]]

SPECIAL: dict[str, Any] = {"ale": ale, "envpool": pool, "torch": batched}

_MANY = {"torch": 64, "ale": 4}  # lanes from which an engine of its own is worth it
_CORES = {"ale": 4}  # … and cores: its threads are what is gained, exact resuming what is lost


@dataclass(frozen=True)
class Choice:
    """The engine of a run, and why it is this one."""

    name: str
    why: str


def choose(config: EnvConfig, wrappers: Wrappers) -> Choice:
    """What `env.engine` means for this environment; UserError where it cannot be had."""
    name = config.engine
    if name == "async" or name in SPECIAL:
        reason = SPECIAL.get(name, workers).why_not(config, wrappers)
        if reason:
            raise UserError(f"env.engine={name} cannot serve {config.id}: {reason}; env.engine=auto can.")
    if name == "async":
        return Choice(name, f"asked for; processes: {workers.how_many(config.num_envs, config.workers)}")
    if name != "auto":
        return Choice(name, "asked for")
    for name, many in _MANY.items():
        if config.num_envs < many or cores() < _CORES.get(name, 1):
            continue
        if SPECIAL[name].why_not(config, wrappers) is None:
            where = f"{config.num_envs} lanes of {config.id}"
            instead = "; env.engine=sync resumes exactly" if name == "ale" else ""
            return Choice(name, f"auto: {where} are fastest there{instead}")
    return Choice("sync", "auto: fastest for environments as light as most are")


def make_venv(maker: EnvMaker, num_envs: int, engine: str) -> VectorEnv:
    """A Gymnasium vector environment in DISABLED autoreset mode; observations are copied at our boundary."""
    if engine == "async":
        return workers.Workers(maker, num_envs, maker.config.workers)
    return Lanes([maker] * num_envs)


def make_envs(
    config: EnvConfig,
    wrappers: Wrappers,
    *,
    seed: int,
    stream: str = "train",
    num_envs: int | None = None,
    engine: str | None = None,
    training: bool = True,
    device: torch.device | str = "cpu",
    with_actions: tuple[int, ...] = (),
    capture: Callable[..., Any] | None = None,
) -> Envs:
    """Lanes of the configured environment, ready to reset.

    Evaluation passes `training=False`, and an engine that steps Gymnasium's own environments. capture: makes
    a step that is a pure function of tensors faster (the torch engine's).
    """
    lanes = num_envs or config.num_envs
    name = engine or choose(config, wrappers).name
    if name in SPECIAL:
        made: Envs = SPECIAL[name].make(
            config, wrappers, lanes, seed=seed, stream=stream, device=device, with_actions=with_actions,
            capture=capture,
        )  # fmt: skip
        return made
    venv = make_venv(EnvMaker(config, wrappers, training=training), lanes, name)
    obs = ObsSpec.of(venv.single_observation_space, stack_of(wrappers))
    return VectorEnvs(venv, seed=seed, stream=stream, device=device, obs_spec=obs, with_actions=with_actions)


def film_maker(
    config: EnvConfig, wrappers: Wrappers, engine: str, render_mode: str | None
) -> Callable[[], gym.Env] | None:
    """Makes the environment in which a training episode is played again to be filmed, if that is possible."""
    if engine in SPECIAL:
        maker: Callable[[], gym.Env] | None = SPECIAL[engine].film_maker(config, wrappers, render_mode)
        return maker
    return EnvMaker(config, wrappers, render_mode=render_mode)
