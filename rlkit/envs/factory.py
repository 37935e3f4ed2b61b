"""From names to environments: one environment with its wrappers in order, and what it tells of itself."""

from __future__ import annotations

import difflib
import re
import sys
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
            told = {key: value for key, value in (arguments or {}).items() if key != "in_evaluation"}
            try:
                env = wrapper(env, **told)
            except Exception as error:
                raise UserError(f"wrapper {name} does not fit {self.config.id}: {error}") from error
        return env

    def _make(self) -> gym.Env:
        arguments = dict(self.config.kwargs)
        if self.render_mode:
            arguments["render_mode"] = self.render_mode
        elif drawing(self.wrappers):
            arguments.setdefault("render_mode", "rgb_array")
        if arguments.get("render_mode"):
            draw_off_screen(self.config.id)
        if self.config.max_episode_steps is not None:
            arguments["max_episode_steps"] = self.config.max_episode_steps
        if bridges.is_old(self.config.id):
            return bridges.make_old(self.config.id, arguments)
        if self.config.id in registry.envs:
            made = registry.envs.get(self.config.id)
            if not isinstance(made, str):
                limit = arguments.pop("max_episode_steps", None)
                return _limited(made(**arguments), limit)
            return gym.make(made, disable_env_checker=not self.check, **arguments)
        if (own := own_class(self.config.id)) is not None:
            limit = arguments.pop("max_episode_steps", None)
            return _limited(own(**arguments), limit)
        catalog.prepare(self.config.id)
        return gym.make(self.config.id, disable_env_checker=not self.check, **arguments)


def drawing(chosen: Mapping[str, Any]) -> str | None:
    """The wrapper that looks at frames, so that every lane has to draw them; None without such a one."""
    return next((name for name in chosen if getattr(registry.wrappers.get(name), "draws", False)), None)


def _limited(env: gym.Env, limit: int | None) -> gym.Env:
    return gym.wrappers.TimeLimit(env, limit) if limit else env


def own_class(name: str) -> type[gym.Env] | None:
    """The class behind `module:Class`, the module imported; None where this is something else.

    UserError where the class is one of the old API, which the bridge runs.
    """
    module, _, attribute = name.rpartition(":")
    if not module or not attribute.isidentifier():
        return None  # ids hold a hyphen or a slash, or were registered without a version
    registry.import_here(module)
    found = getattr(sys.modules[module], attribute, None)
    if attribute in gym.registry or not isinstance(found, type):
        return None
    if not issubclass(found, gym.Env):
        raise UserError(
            f"env.id={name}: {attribute} is no gymnasium.Env; one of the old API runs as env.id=gym:{name}."
        )
    return found


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
    except (gym.error.Error, ImportError, TypeError, ValueError) as error:
        looks = drawing(wrappers)
        if looks and ("render_mode" in str(error) or "takes no arguments" in str(error)):
            raise UserError(
                f"wrapper {looks} does not fit {config.id}: it needs an environment that draws frames "
                f"(render_mode=rgb_array): {_first_line(error).rstrip('.')}."
            ) from error
        way = _way_out(config.id, error)
        raise UserError(
            f"env.id={config.id} cannot be made: {_first_line(error).rstrip('.')}{way}."
        ) from error
    try:
        if ":" in config.id:
            _try(env, config.id)
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


def _try(env: gym.Env, name: str) -> None:
    """A reset and a step of the user's own environment: what fails at once shall not cost a run folder."""
    where = "reset"
    try:
        env.reset(seed=0)
        env.action_space.seed(0)
        where = "step"
        _obs, _reward, _terminated, _truncated, _info = env.step(env.action_space.sample())
    except UserError:
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {_first_line(error).rstrip('.')}"
        raise UserError(
            f"env.id={name} fails in {where} ({told}); `rlkit envs check {name}` says what to mend."
        ) from error


def _way_out(name: str, error: BaseException) -> str:
    """What to write instead of an id or of arguments that cannot be made."""
    if isinstance(error, TypeError):
        return "; its arguments are written env.kwargs.NAME=VALUE"
    kin = re.compile(re.escape(name.rpartition("-v")[0]) + r"-v(\d+)")
    versions = {int(found[1]): known for known in gym.registry if (found := kin.fullmatch(known))}
    newest = versions[max(versions)] if versions else name
    return f"; write env.id={newest}" if newest != name else ""


def check_id(name: str) -> None:
    """Refuse an unknown environment, naming the nearest; `module:Id` and `module:Class` import the module."""
    if name in registry.envs:
        return
    if bridges.is_old(name):
        return bridges.check_old(name)
    if own_class(name) is not None:
        return
    catalog.prepare(name)
    module, _, bare = name.rpartition(":")
    if module:
        registry.import_here(module)
    try:
        gym.spec(bare)
    except gym.error.Error as error:
        own = [word for word, thing in vars(sys.modules[module]).items() if _is_env(thing)] if module else []
        known = list(dict.fromkeys([*own, *gym.registry, *registry.envs.names(), *catalog.installed_ids()]))
        near = difflib.get_close_matches(bare, known, n=3, cutoff=0.5)
        hint = (
            f"; nearest: {', '.join(near)}"
            if near
            else "; an id of your own package is written my_pkg:MyEnv-v0"
        )
        raise UserError(f"env.id={name}: {_first_line(error).rstrip('.')}{hint}.") from error


def _is_env(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, gym.Env) and thing is not gym.Env


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
