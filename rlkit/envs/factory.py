"""From names to environments: one environment, its wrappers in order, and lanes of it on an engine."""

from __future__ import annotations

import difflib
import logging
import os
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv

from rlkit import registry
from rlkit.config import EnvConfig
from rlkit.envs.lanes import Lanes
from rlkit.envs.vector import VectorEnvs
from rlkit.envs.wrappers import RawReturn
from rlkit.errors import UserError
from rlkit.spaces import ActionSpec, ObsSpec

log = logging.getLogger("rlkit")

_GRACE = 20  # seconds that a worker process outlives SIGTERM


@dataclass(frozen=True)
class EnvMaker:
    """Makes one wrapped environment per call; picklable, so that worker processes can call it too."""

    config: EnvConfig
    wrappers: dict[str, dict[str, Any]] = field(default_factory=dict)
    training: bool = True
    render_mode: str | None = None  # rgb_array or ansi, to film; "human" opens a window
    check: bool = False  # Gymnasium's own checker: on for the probe, too slow for lanes

    def __call__(self) -> gym.Env:
        env = self._make()
        chosen = [(name, registry.wrappers.get(name), arguments) for name, arguments in self.wrappers.items()]
        if not self.training:
            chosen = [c for c in chosen if not getattr(c[1], "training_only", False)]
        if any(getattr(wrapper, "changes_reward", True) for _, wrapper, _ in chosen):
            env = RawReturn(env)
        for name, wrapper, arguments in chosen:
            try:
                env = wrapper(env, **(arguments or {}))
            except Exception as error:
                raise UserError(f"wrapper {name} does not fit {self.config.id}: {error}") from error
        return env

    def _make(self) -> gym.Env:
        if self.render_mode:
            _headless()
        arguments = dict(self.config.kwargs)
        if self.render_mode:
            arguments["render_mode"] = self.render_mode
        if self.config.max_episode_steps is not None:
            arguments["max_episode_steps"] = self.config.max_episode_steps
        if self.config.id in registry.envs:
            made = registry.envs.get(self.config.id)
            if not isinstance(made, str):
                limit = arguments.pop("max_episode_steps", None)
                env = made(**arguments)
                return gym.wrappers.TimeLimit(env, limit) if limit else env
            return gym.make(made, disable_env_checker=not self.check, **arguments)
        return gym.make(self.config.id, disable_env_checker=not self.check, **arguments)


@dataclass(frozen=True)
class _Worker:
    """A maker for worker processes: Ctrl-C reaches the whole process group, and the trainer still needs them.

    A worker ends when the trainer closes it, or when the trainer's end of the pipe is gone.
    """

    maker: EnvMaker
    parent: int  # its process id: a vector environment also makes one environment there, to read its spaces

    def __call__(self) -> gym.Env:
        if os.getpid() != self.parent:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, _end_soon)
        return self.maker()


def _end_soon(number: int, frame: Any) -> None:
    """SIGTERM may be for all processes of a job: leave the trainer time to save."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "alarm"):
        signal.alarm(_GRACE)


@dataclass(frozen=True)
class EnvInfo:
    """What one probe environment told: its spaces, what counts as solved, whether it can be filmed."""

    obs: ObsSpec
    action: ActionSpec
    threshold: float | None
    time_limit: int | None
    fps: int
    film_mode: str | None  # rgb_array, ansi, or None: it cannot be filmed

    @property
    def can_render(self) -> bool:
        return self.film_mode is not None


def probe(config: EnvConfig, wrappers: dict[str, dict[str, Any]]) -> EnvInfo:
    """Make one environment, read what it says of itself, close it; bad input becomes one sentence."""
    check_id(config.id)
    try:
        env = EnvMaker(config, wrappers, check=True)()
    except UserError:
        raise
    except gym.error.Error as error:
        raise UserError(f"env.id={config.id} cannot be made: {_first_line(error)}") from error
    except (ImportError, TypeError, ValueError) as error:
        raise UserError(f"env.id={config.id} cannot be made: {_first_line(error)}") from error
    try:
        obs, action = ObsSpec.of(env.observation_space), ActionSpec.of(env.action_space)
        modes = env.metadata.get("render_modes") or []
        spec = env.spec
        threshold = config.solved_at if config.solved_at is not None else spec and spec.reward_threshold
        return EnvInfo(
            obs,
            action,
            None if threshold is None else float(threshold),
            spec.max_episode_steps if spec else config.max_episode_steps,
            int(env.metadata.get("render_fps") or 30),
            next((mode for mode in ("rgb_array", "ansi") if mode in modes), None),
        )
    finally:
        env.close()


def check_id(name: str) -> None:
    """Refuse an unknown environment, naming the nearest; `module:Id` imports the module first."""
    if name in registry.envs:
        return
    module, _, bare = name.rpartition(":")
    if module:
        registry.import_here(module)
    try:
        gym.spec(bare)
    except gym.error.Error as error:
        known = [*gym.registry, *registry.envs.names()]
        near = difflib.get_close_matches(bare, known, n=3, cutoff=0.5)
        hint = (
            f"; nearest: {', '.join(near)}"
            if near
            else "; an id of your own package is written my_pkg:MyEnv-v0"
        )
        raise UserError(f"env.id={name}: {_first_line(error)}{hint}") from error


def _headless() -> None:
    """Let SDL draw off screen where there is no display, without its complaint about XDG_RUNTIME_DIR."""
    if not sys.platform.startswith("linux") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())


def choose_engine(config: EnvConfig) -> str:
    """`auto` is sync: for light environments worker processes cost more than they bring."""
    return "sync" if config.engine == "auto" else config.engine


def make_venv(maker: EnvMaker, num_envs: int, engine: str) -> VectorEnv:
    """A Gymnasium vector environment in DISABLED autoreset mode; observations are copied at our boundary."""
    if engine == "async":
        workers = [_Worker(maker, os.getpid())] * num_envs
        return AsyncVectorEnv(workers, shared_memory=True, copy=False, autoreset_mode=AutoresetMode.DISABLED)
    return Lanes([maker] * num_envs)


def make_envs(
    config: EnvConfig,
    wrappers: dict[str, dict[str, Any]],
    *,
    seed: int,
    stream: str = "train",
    num_envs: int | None = None,
    engine: str | None = None,
    training: bool = True,
    device: torch.device | str = "cpu",
    with_actions: tuple[int, ...] = (),
) -> VectorEnvs:
    """Lanes of the configured environment, ready to reset. Evaluation passes `training=False`."""
    maker = EnvMaker(config, wrappers, training=training)
    venv = make_venv(maker, num_envs or config.num_envs, engine or choose_engine(config))
    return VectorEnvs(venv, seed=seed, stream=stream, device=device, with_actions=with_actions)


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
