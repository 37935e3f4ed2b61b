"""From names to environments: one environment with its wrappers in order, and what it tells of itself."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from rlkit import registry
from rlkit.config import EnvConfig
from rlkit.envs import bridges, catalog
from rlkit.envs.headless import draw_off_screen, film_mode
from rlkit.envs.wrappers import RawReturn
from rlkit.envs.wrappers.frames import stack_of
from rlkit.errors import UserError
from rlkit.spaces import ActionSpec, ObsSpec


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
            chosen = [c for c in chosen if stays_in_evaluation(c[1], c[2])]
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
            draw_off_screen(self.config.id)
        arguments = dict(self.config.kwargs)
        if self.render_mode:
            arguments["render_mode"] = self.render_mode
        if self.config.max_episode_steps is not None:
            arguments["max_episode_steps"] = self.config.max_episode_steps
        if bridges.is_old(self.config.id):
            return bridges.make_old(self.config.id, arguments)
        if self.config.id in registry.envs:
            made = registry.envs.get(self.config.id)
            if not isinstance(made, str):
                limit = arguments.pop("max_episode_steps", None)
                env = made(**arguments)
                return gym.wrappers.TimeLimit(env, limit) if limit else env
            return gym.make(made, disable_env_checker=not self.check, **arguments)
        catalog.prepare(self.config.id)
        return gym.make(self.config.id, disable_env_checker=not self.check, **arguments)


def stays_in_evaluation(wrapper: Any, arguments: Mapping[str, Any] | None) -> bool:
    """Whether evaluation and play keep a wrapper: unless it is for training only and not asked to stay."""
    return not getattr(wrapper, "training_only", False) or bool((arguments or {}).get("in_evaluation"))


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
        obs = ObsSpec.of(env.observation_space, stack_of(wrappers))
        action = ActionSpec.of(env.action_space)
        modes = env.metadata.get("render_modes") or []
        spec = env.spec
        threshold = config.solved_at if config.solved_at is not None else spec and spec.reward_threshold
        return EnvInfo(
            obs,
            action,
            None if threshold is None else float(threshold),
            spec.max_episode_steps if spec else config.max_episode_steps,
            int(env.metadata.get("render_fps") or 30),
            film_mode(config.id, modes),
        )
    finally:
        env.close()


def check_id(name: str) -> None:
    """Refuse an unknown environment, naming the nearest; `module:Id` imports the module first."""
    if name in registry.envs:
        return
    if bridges.is_old(name):
        return bridges.check_old(name)
    catalog.prepare(name)
    module, _, bare = name.rpartition(":")
    if module:
        registry.import_here(module)
    try:
        gym.spec(bare)
    except gym.error.Error as error:
        known = list(dict.fromkeys([*gym.registry, *registry.envs.names(), *catalog.installed_ids()]))
        near = difflib.get_close_matches(bare, known, n=3, cutoff=0.5)
        hint = (
            f"; nearest: {', '.join(near)}"
            if near
            else "; an id of your own package is written my_pkg:MyEnv-v0"
        )
        raise UserError(f"env.id={name}: {_first_line(error)}{hint}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
