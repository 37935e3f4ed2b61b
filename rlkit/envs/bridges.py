"""Environments of the old `gym`, unchanged beside NumPy 2.

    env.id=gym:CartPole-v1           an id of gym 0.26 (the extra [gym] brings it)
    env.id=gym:my_old_env:Env        a class or a function that makes one, from a module of your own
    env.id=gym:my_old_env:Mine-v0    an old id which that module registers

Gym's own `make` is not used: its checker fails with NumPy 2 (`numpy.bool8`), and it cannot make environments
in the style of 0.21 in the same way. The class behind the id is built, and `OldEnv` speaks for it, in any
dialect that it answers: `step` with 4 or 5 values, `reset` with or without info, `seed()` or `reset(seed=)`,
`render(mode=)` or `render_mode=`. Objects that never import gym need no gym here either.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from rlkit import registry
from rlkit.errors import UserError

log = logging.getLogger("rlkit")

Info = dict[str, Any]

PREFIX = "gym:"
_MODULE = re.compile(r"[A-Za-z_][\w.]*")  # as in config.require_trusted, which refuses those of stored runs
INSTALL = "pip install 'rlkit-lab[gym]'"


def is_old(env_id: str) -> bool:
    return env_id.startswith(PREFIX)


def check_old(env_id: str) -> None:
    """Refuse what cannot be found, in one sentence that names the nearest."""
    _find(env_id)


def make_old(env_id: str, arguments: dict[str, Any] | None = None) -> gymnasium.Env:
    """An old environment on today's API, with its time limit, reward threshold and frame rate.

    arguments: of its constructor; `render_mode` and `max_episode_steps` are understood for all of them.
    Raises UserError where there is no such environment, or it cannot be made.
    """
    create, told, old_spec = _find(env_id)
    given = {**told, **(arguments or {})}
    render_mode, limit = given.pop("render_mode", None), given.pop("max_episode_steps", None)
    if render_mode is not None and _takes(create, "render_mode"):
        given["render_mode"] = render_mode
    try:
        made = create(**given)
    except Exception as error:
        if isinstance(error, (ImportError, TypeError, ValueError)) or _is_gyms(error):
            raise UserError(f"env.id={env_id} cannot be made: {_first_line(error)}") from error
        raise
    own_spec = old_spec or getattr(made, "spec", None)
    if old_spec is not None:
        getattr(made, "unwrapped", made).spec = old_spec  # as gym.make does; some read it
    if limit is not None:
        _lengthen(made, limit)
    limit = limit or getattr(own_spec, "max_episode_steps", None)
    threshold = getattr(own_spec, "reward_threshold", None)
    if threshold is None:
        threshold = getattr(made, "reward_threshold", None)
    env: gymnasium.Env = OldEnv(made, env_id, render_mode)
    env.spec = EnvSpec(
        env_id,
        entry_point="rlkit.envs.bridges:make_old",
        reward_threshold=threshold,
        max_episode_steps=limit,
        kwargs={"env_id": env_id, "arguments": dict(arguments or {})},
    )
    return gymnasium.wrappers.TimeLimit(env, limit) if limit else env


class OldEnv(gymnasium.Env):
    """Speaks for one old environment. Observations are copies in the dtype of their space."""

    def __init__(self, env: Any, name: str, render_mode: str | None = None) -> None:
        missing = [word for word in ("observation_space", "action_space") if getattr(env, word, None) is None]
        if missing:
            raise UserError(f"env.id={name}: the object has no {' and no '.join(missing)}; give it one.")
        self.old = env
        self.observation_space = to_space(env.observation_space, f"env.id={name}: its observation_space")
        self.action_space = to_space(env.action_space, f"env.id={name}: its action_space")
        self.metadata = _metadata(getattr(env, "metadata", None) or {})
        self.render_mode = render_mode
        self._name = name
        self._seeded_at_reset = _takes(env.reset, "seed")
        self._render_by_argument = _takes(env.render, "mode") if hasattr(env, "render") else False

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        """The seed reaches the old environment by whichever door it has; if none, a warning says so once."""
        super().reset(seed=seed)
        words: Info = (
            {"options": options} if options is not None and _takes(self.old.reset, "options") else {}
        )
        if self._seeded_at_reset:
            result = self.old.reset(seed=seed, **words)
        else:
            if seed is not None:
                self._seed(seed)
            result = self.old.reset(**words)
        info: Info = {}
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict):
            result, info = result
        return _in_space(self.observation_space, result), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        """Five values. Of four, `info["TimeLimit.truncated"]` says what kind of end `done` is."""
        result = self.old.step(action)
        if len(result) == 5:
            obs, reward, terminated, truncated, info = result
        elif len(result) == 4:
            obs, reward, done, info = result
            truncated = bool(done) and bool(info.get("TimeLimit.truncated", False))
            terminated = bool(done) and not truncated
        else:
            raise UserError(
                f"env.id={self._name}: step() returned {len(result)} values; "
                "the old API has (observation, reward, done, info)."
            )
        obs = _in_space(self.observation_space, obs)
        return obs, float(reward), bool(terminated), bool(truncated), dict(info)

    def render(self) -> Any:
        """A frame [H, W, 3] uint8, or text."""
        if self.render_mode is None or not hasattr(self.old, "render"):
            return None
        drawn = self.old.render(mode=self.render_mode) if self._render_by_argument else self.old.render()
        if isinstance(drawn, list) and drawn:
            drawn = drawn[-1]  # frames since the last call
        if hasattr(drawn, "getvalue"):
            return drawn.getvalue()  # text games of 0.21 returned a StringIO
        return np.array(drawn, dtype=np.uint8) if self.render_mode == "rgb_array" else drawn

    def close(self) -> None:
        if hasattr(self.old, "close"):
            self.old.close()

    def _seed(self, seed: int) -> None:
        core = getattr(self.old, "unwrapped", self.old)
        if hasattr(core, "seed"):
            self.old.seed(seed) if hasattr(self.old, "seed") else core.seed(seed)
        elif hasattr(core, "_np_random"):  # gym 0.26's Env, whose subclass does not pass the seed on
            core._np_random = import_module("gym.utils.seeding").np_random(seed)[0]
        elif self._name not in _unseeded:
            _unseeded.add(self._name)
            log.warning("%s has neither seed() nor reset(seed=): its episodes cannot be repeated", self._name)


_unseeded: set[str] = set()  # names that the warning was given for


# ---------------------------------------------------------------------- finding


def _find(env_id: str) -> tuple[Callable[..., Any], Info, Any]:
    """What makes the environment, the arguments that its registration gives it, and the old spec if any."""
    module, _, name = env_id.removeprefix(PREFIX).rpartition(":")
    if not name or module == "gym" or (module and not _MODULE.fullmatch(module)):
        raise UserError(f"env.id={env_id}: write {PREFIX}CartPole-v1, or {PREFIX}my_module:Env for your own.")
    known: list[str] = []
    if module:
        _quieten()
        try:
            registry.import_here(module)
        except UserError as error:
            if not find_spec("gym") and "needs gym" in str(error):
                raise UserError(f"env.id={env_id} needs the old gym: {INSTALL}") from error
            raise
        owner = sys.modules[module]
        made = getattr(owner, name, None)
        if callable(made):
            return made, {}, None
        if made is not None:
            raise UserError(
                f"env.id={env_id}: {name} is no class and no function, so it makes no environment."
            )
        known = [word for word, thing in vars(owner).items() if callable(thing) and not word.startswith("_")]
    specs = old_specs(env_id) if not module or "gym" in sys.modules else {}
    if name in specs:
        spec = specs[name]
        if spec.entry_point is None:
            raise UserError(f"env.id={env_id} was deprecated in gym itself and has no code any more.")
        return _entry(env_id, spec.entry_point), dict(spec.kwargs), spec
    near = difflib.get_close_matches(name, [*known, *specs], n=3, cutoff=0.5)
    where = f"the module {module}" if module else "the old gym"
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise UserError(f"env.id={env_id}: {where} has no {name}{hint}.")


def old_specs(env_id: str = "") -> dict[str, Any]:
    """What the old gym has registered, by id. UserError with the line that installs it."""
    if find_spec("gym") is None:
        raise UserError(f"env.id={env_id} needs the old gym: {INSTALL}")
    _quieten()
    found: dict[str, Any] = import_module("gym.envs.registration").registry
    return found


def _quieten() -> None:
    """Keep gym from its notice on stderr, and from choosing the sound driver of this process, at import."""
    if "gym" in sys.modules or find_spec("gym") is None:
        return
    if find_spec("gym_notices") is not None:
        import_module("gym_notices.notices").notices.clear()
    sound = os.environ.get("SDL_AUDIODRIVER")
    import_module("gym")
    os.environ.pop("SDL_AUDIODRIVER", None)
    if sound is not None:
        os.environ["SDL_AUDIODRIVER"] = sound


def _entry(env_id: str, entry_point: Any) -> Callable[..., Any]:
    if callable(entry_point):
        return entry_point
    module, _, name = str(entry_point).partition(":")
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except Exception as error:
        if isinstance(error, (ImportError, AttributeError)) or _is_gyms(error):
            raise UserError(f"env.id={env_id} cannot be made: {_first_line(error)}") from error
        raise
    return found


# ---------------------------------------------------------------------- translating


def to_space(space: Any, what: str = "the space") -> spaces.Space:
    """Gymnasium's space for one of the old gym, told by its class's name; gym need not be there.

    Plain data is understood where it can mean only one thing: n or [0, …, n−1] is Discrete(n), a pair of
    arrays is the Box between them, a mapping is a Dict. Raises UserError for anything else.
    """
    if isinstance(space, spaces.Space):
        return space
    if isinstance(space, int | np.integer) and not isinstance(space, bool) and space > 0:
        return spaces.Discrete(int(space))
    if isinstance(space, list | tuple | range):
        items = list(space)
        if items and all(isinstance(x, int | np.integer) for x in items) and items == list(range(len(items))):
            return spaces.Discrete(len(items))
        if len(items) == 2 and all(isinstance(x, np.ndarray) for x in items):
            return spaces.Box(np.float32(items[0]), np.float32(items[1]), dtype=np.float32)
    if isinstance(space, dict):
        return spaces.Dict({name: to_space(part, what) for name, part in space.items()})
    kinds = {kind.__name__ for kind in type(space).__mro__}
    if "Box" in kinds:
        return spaces.Box(space.low, space.high, space.shape, space.dtype)
    if "Discrete" in kinds:
        return spaces.Discrete(int(space.n), start=int(getattr(space, "start", 0)))
    if "MultiDiscrete" in kinds:
        return spaces.MultiDiscrete(np.asarray(space.nvec))
    if "MultiBinary" in kinds:
        return spaces.MultiBinary(space.n)
    if "Tuple" in kinds:
        return spaces.Tuple(tuple(to_space(part, what) for part in space.spaces))
    if "Dict" in kinds:
        return spaces.Dict({name: to_space(part, what) for name, part in space.spaces.items()})
    raise UserError(
        f"{what} is {space!r}, which has no counterpart; make it a gymnasium.spaces.Box, Discrete, "
        "MultiDiscrete, MultiBinary, Tuple or Dict."
    )


def _in_space(space: spaces.Space, value: Any) -> Any:
    """The value as its space wants it: a copy, because old environments hand out arrays that they change."""
    if isinstance(space, spaces.Discrete):
        return space.dtype.type(np.asarray(value).item())
    if isinstance(space, spaces.Tuple):
        return tuple(_in_space(part, x) for part, x in zip(space.spaces, value, strict=True))
    if isinstance(space, spaces.Dict):
        return {name: _in_space(part, value[name]) for name, part in space.spaces.items()}
    return np.array(value, dtype=space.dtype)


def _metadata(old: Info) -> Info:
    """Under today's names; those of 0.21 had dots."""
    new = {name: value for name, value in old.items() if "." not in name}
    new["render_modes"] = list(old.get("render_modes") or old.get("render.modes") or ())
    fps = old.get("render_fps", old.get("video.frames_per_second"))
    if fps:
        new["render_fps"] = fps
    return new


def _lengthen(env: Any, limit: int) -> None:
    """Give a time limit that the environment brings itself the length that was asked for."""
    while env is not None:
        if type(env).__name__ == "TimeLimit":
            env._max_episode_steps = limit
        env = vars(env).get("env") if hasattr(env, "__dict__") else None


def _takes(function: Any, word: str) -> bool:
    """Whether the parameter can be passed by name; a wrapper's **kwargs say yes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == word or p.kind is p.VAR_KEYWORD for p in parameters)


def _is_gyms(error: BaseException) -> bool:
    return any(kind.__module__ == "gym.error" for kind in type(error).__mro__)


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
