"""What is wrong with an environment of one's own: everything at once, where, and the line that mends it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np

from rlkit.config import EnvConfig
from rlkit.envs import bridges
from rlkit.envs.factory import EnvMaker, check_id
from rlkit.envs.failing import mend, place, sentence
from rlkit.envs.headless import draw_off_screen
from rlkit.errors import UserError
from rlkit.registry import import_here
from rlkit.spaces import ActionSpec, ObsSpec, describe

_STEPS = 50  # of the episode that is looked at closely
_PATIENCE = 1_000  # steps in which an episode without a time limit should end
_SPACES = ("observation_space", "action_space")
_RESET = "def reset(self, *, seed=None, options=None):  super().reset(seed=seed)"
_FIVE = "return obs, reward, terminated, truncated, {}"
_METADATA = 'metadata = {"render_modes": ["rgb_array"], "render_fps": 30}'
_DRAW = "return a NumPy array of uint8 [height, width, 3]"


@dataclass(frozen=True)
class Finding:
    what: str
    where: str  # Class.method, file:line
    fix: str  # the line to write
    advice: bool = False  # it trains all the same


@dataclass(frozen=True)
class Trainable:
    """An id that makes an environment which trains as it is: tried, not guessed."""

    env_id: str
    obs: ObsSpec
    action: ActionSpec
    ends: bool  # a random episode ended, or has a time limit


def diagnose(name: str, kwargs: Mapping[str, Any] | None = None) -> list[Finding]:
    """All that is found for `module:Class`, `module:Id-v0` or a registered id; UserError if there is none.

    kwargs: arguments of the constructor. Whatever the environment raises is a finding, never an exception.
    """
    told = dict(kwargs or {})
    make = _maker(plain(name))
    if lacking := [word for word in _required(make) if word not in told]:
        words = ", ".join(f"{word}: VALUE" for word in lacking)
        fix = f"def __init__(self, {lacking[0]}=…), or: rlkit envs check {name} 'kwargs={{{words}}}'"
        return [Finding(f"the constructor needs {', '.join(lacking)}", _line_of(make, "__init__"), fix)]
    try:
        env = make(**told)
    except UserError:
        raise
    except Exception as error:
        return [Finding(f"the constructor raises {sentence(error)}", place(error), mend(error))]
    doctor = _Doctor(env, make, told, name)
    try:
        doctor.look()
    finally:
        doctor.close(env)
    return doctor.found


def plain(name: str) -> str:
    """`gym:module:Class` is looked at as `module:Class`: what the bridge mends is to be told."""
    return name.removeprefix(bridges.PREFIX) if name.count(":") > 1 else name


def trainable(name: str, kwargs: Mapping[str, Any] | None = None) -> Trainable | None:
    """How the environment trains today: under its own name, or else by the bridge. None: not at all."""
    for env_id in dict.fromkeys((plain(name), name, bridges.PREFIX + plain(name))):
        if ":" not in env_id.removeprefix(bridges.PREFIX) and env_id != name:
            continue  # gym:Id is another environment, the old gym's own
        try:
            return _tried(env_id, dict(kwargs or {}))
        except Exception:
            continue
    return None


def _tried(env_id: str, kwargs: dict[str, Any]) -> Trainable:
    """Make it as a run does and play it as a run does; any exception says that it does not train."""
    check_id(env_id)
    env = EnvMaker(EnvConfig(env_id, kwargs=kwargs))()
    try:
        obs, action = ObsSpec.of(env.observation_space), ActionSpec.of(env.action_space)
        env.action_space.seed(0)
        limited = env.spec is not None and env.spec.max_episode_steps is not None
        seen, _ = env.reset(seed=0)
        ends = limited
        for _ in range(_STEPS if limited else _PATIENCE):
            seen, reward, terminated, truncated, info = env.step(env.action_space.sample())
            if not env.observation_space.contains(seen) or not np.isfinite(float(reward)):
                raise ValueError("it leaves its space")
            if not isinstance(info, dict):
                raise TypeError("info is no dict")
            if terminated or truncated:
                ends = True
                break
        return Trainable(env_id, obs, action, ends)
    finally:
        env.close()


def _maker(name: str) -> Callable[..., Any]:
    module, colon, attribute = name.partition(":")
    if colon and module != "gym":
        try:
            import_here(module)
        except UserError:
            raise
        except BaseException as error:  # SystemExit too: a script without a main guard
            raise UserError(f"the module {module} fails: {sentence(error)}, {place(error)}") from error
        target = getattr(import_module(module), attribute, None)
        if callable(target):
            made: Callable[..., Any] = target
            return made
    check_id(name)

    def make(**kwargs: Any) -> Any:
        mode = kwargs.pop("render_mode", None)
        return EnvMaker(EnvConfig(name, kwargs=kwargs), render_mode=mode)()

    return make


def _parameters(function: Any) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


def _required(function: Any) -> list[str]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [item.name for item in _parameters(function) if item.default is item.empty and item.kind in named]


def _takes(function: Any, word: str) -> bool:
    return any(item.name == word or item.kind is item.VAR_KEYWORD for item in _parameters(function))


def _line_of(kind: Any, method: str) -> str:
    """Where a method was written: Class.method, file:line."""
    title = f"{kind.__name__}{'.' + method if method else ''}"
    try:
        code = getattr(kind, method) if method else kind
        return f"{title}, {inspect.getsourcefile(code)}:{inspect.getsourcelines(code)[1]}"
    except (AttributeError, OSError, TypeError):
        return title


class _Doctor:
    def __init__(self, env: Any, make: Callable[..., Any], told: dict[str, Any], name: str) -> None:
        self.whole, self.env = env, getattr(env, "unwrapped", env)
        self.make, self.told, self.name = make, told, name
        self.found: list[Finding] = []

    def say(self, what: str, method: str, fix: str, advice: bool = False) -> None:
        self._add(Finding(what, _line_of(type(self.env), method), fix, advice))

    def raised(self, method: str, error: Exception) -> None:
        self._add(Finding(f"{method} raises {sentence(error)}", place(error, type(self.env)), mend(error)))

    def _add(self, finding: Finding) -> None:
        if (finding.what, finding.fix) not in [(f.what, f.fix) for f in self.found]:
            self.found.append(finding)

    def look(self) -> None:
        if not isinstance(self.env, gym.Env):
            name = plain(self.name)
            fix = f"class {type(self.env).__name__}(gymnasium.Env):  (or unchanged: env.id=gym:{name})"
            self.say(f"{type(self.env).__name__} is no gymnasium.Env", "", fix)
        if self._spaces():
            one = self._play()
            two = self._play() if one is not None else None
            if one is not None and two is not None and not _same(one, two):
                fix = "super().reset(seed=seed), and draw from self.np_random alone"
                self.say("two episodes with one seed and the same actions differ", "reset", fix)
            if one is not None:
                self._picture()

    def _spaces(self) -> bool:
        """Whether both spaces are Gymnasium's."""
        good = True
        for kind in _SPACES:
            space = getattr(self.env, kind, None)
            if space is None:
                fix = f"self.{kind} = gymnasium.spaces.Box(-1.0, 1.0, (4,))"
                self.say(f"{kind} is missing", "__init__", fix)
            elif not isinstance(space, gym.Space):
                what = f"{kind} is a space of {type(space).__module__}"
                self.say(what, "__init__", "from gymnasium import spaces")
            good = good and isinstance(space, gym.Space)
        return good

    # ------------------------------------------------------------------ an episode

    def _play(self) -> list[Any] | None:
        """A trace of one seeded episode, or None where it could not be played."""
        try:
            answer = self._reset()
        except Exception as error:
            self.raised("reset", error)
            return None
        if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict):
            obs = answer[0]
        else:
            self.say("reset returns the observation alone", "reset", "return obs, {}")
            obs = answer
        self._obs(obs, "reset")
        self.env.action_space.seed(0)
        trace, kept, copy = [_frozen(obs)], obs, _frozen(obs)
        for _ in range(_STEPS):
            action = self.env.action_space.sample()
            try:
                answer = self.env.step(action)
            except Exception as error:
                self.raised("step", error)
                return None
            if not isinstance(answer, tuple) or len(answer) not in (4, 5):
                count = f"{len(answer)} values" if isinstance(answer, tuple) else type(answer).__name__
                self.say(f"step returns {count}", "step", _FIVE)
                return None
            if len(answer) == 4:
                what = "step returns 4 values: `done` does not say whether the task ended or the clock"
                fix = "return obs, reward, terminated, False, info  (limit: register(max_episode_steps=…))"
                self.say(what, "step", fix)
            obs, reward, *flags, info = answer
            self._values(reward, flags, info)
            self._obs(obs, "step")
            if not _same([kept], [copy]):
                fix = "return self.state.copy(), …"
                self.say("an observation changes after it was returned", "step", fix)
            kept, copy = obs, _frozen(obs)
            trace += [copy, _frozen(reward)]
            if any(bool(np.any(flag)) for flag in flags):
                break
        return trace

    def _reset(self) -> Any:
        if _takes(self.env.reset, "seed"):
            return self.env.reset(seed=0)
        self.say("reset takes no seed", "reset", _RESET)
        if hasattr(self.env, "seed"):  # the old door
            self.env.seed(0)
        return self.env.reset()

    def _values(self, reward: Any, flags: list[Any], info: Any) -> None:
        if not isinstance(info, dict):
            self.say(f"info is {type(info).__name__}, not a dict", "step", "return …, {}")
        for flag in flags:
            if not isinstance(flag, bool | np.bool_):
                what = f"an end flag is {type(flag).__name__}, not bool"
                self.say(what, "step", "terminated = bool(terminated)")
        if isinstance(reward, bool) or not isinstance(reward, int | float | np.integer | np.floating):
            what = f"the reward is {type(reward).__name__}, not a number"
            self.say(what, "step", "reward = float(reward)")
        elif not np.isfinite(reward):
            self.say(f"the reward is {reward}", "step", "reward must be finite")

    def _obs(self, obs: Any, method: str) -> None:
        space = self.env.observation_space
        if space.contains(obs):
            return
        if not isinstance(space, gym.spaces.Box):
            what = f"the observation {obs!r:.60} is not in {describe(space)}"
            self.say(what, method, "return what the space says")
            return
        array = np.asarray(obs)
        if array.dtype != space.dtype:
            fix = f"obs = np.asarray(obs, dtype=np.{space.dtype})"
            self.say(f"the observation is {array.dtype}, its space {space.dtype}", method, fix)
        elif not isinstance(obs, np.ndarray):
            fix = f"obs = np.asarray(obs, dtype=np.{space.dtype})"
            self.say(f"the observation is {type(obs).__name__}, no NumPy array", method, fix)
        if array.shape != space.shape:
            fix = f"observation_space = Box(…, shape={array.shape})"
            self.say(f"the observation has the shape {array.shape}, its space {space.shape}", method, fix)
        elif np.issubdtype(array.dtype, np.number) and not np.isfinite(array).all():
            self.say("the observation is not finite", method, "divide by nothing that can be 0")
        elif np.issubdtype(array.dtype, np.number) and np.any((array < space.low) | (array > space.high)):
            fix = "widen low and high of the Box, or np.clip(obs, low, high)"
            self.say("the observation lies outside its space", method, fix)

    # ------------------------------------------------------------------ a picture

    def _picture(self) -> None:
        """What render gives in the mode in which films are made."""
        metadata = getattr(self.env, "metadata", None) or {}
        old = list(metadata.get("render.modes") or ())
        modes = list(metadata.get("render_modes") or old)
        if not modes:
            self.say('metadata names no "render_modes": it cannot be filmed', "", _METADATA, advice=True)
            return
        mode = next((mode for mode in ("rgb_array", "ansi") if mode in modes), None)
        if mode is None:
            what = f'"render_modes" names {", ".join(map(str, modes))} alone: it cannot be filmed'
            self.say(what, "", _METADATA, advice=True)
            return
        if old and "render_modes" not in metadata:
            self.say('metadata says "render.modes", which nobody reads now', "", _METADATA)
        by_call = _takes(self.env.render, "mode")
        if by_call:
            fix = "def __init__(self, render_mode=None), and render(self) draws for self.render_mode"
            self.say("render takes its mode at every call", "render", fix)
        elif not self._takes_mode():
            fix = "def __init__(self, render_mode=None):  self.render_mode = render_mode"
            self.say(f"{mode} is declared, but the constructor takes no render_mode", "__init__", fix)
            return
        try:
            drawn = self._drawn(mode, by_call)
        except Exception as error:
            self.raised("render", error)
            return
        if mode == "ansi" and not isinstance(drawn, str) and not hasattr(drawn, "getvalue"):
            self.say(f"render returns {type(drawn).__name__}, not text", "render", 'return "…"')
        if mode == "rgb_array" and not _is_picture(drawn):
            what = f"render returns {_told(drawn)}, not a picture of uint8 [height, width, 3]"
            self.say(what, "render", _DRAW)

    def _takes_mode(self) -> bool:
        return not isinstance(self.make, type) or _takes(self.make, "render_mode")

    def _drawn(self, mode: str, by_call: bool) -> Any:
        draw_off_screen(plain(self.name))
        if by_call:
            return self.env.render(mode=mode)
        env = self.make(**self.told, render_mode=mode)
        try:
            inner = getattr(env, "unwrapped", env)
            inner.reset(seed=0) if _takes(inner.reset, "seed") else inner.reset()
            return inner.render()
        finally:
            self.close(env)

    def close(self, env: Any) -> None:
        try:
            getattr(env, "close", lambda: None)()
        except Exception as error:
            self.raised("close", error)


def _is_picture(drawn: Any) -> bool:
    return (
        isinstance(drawn, np.ndarray) and drawn.dtype == np.uint8 and drawn.ndim == 3 and drawn.shape[2] == 3
    )


def _told(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return "nothing" if value is None else type(value).__name__


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _frozen(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_frozen(part) for part in value]
    return np.array(value)


def _same(one: list[Any], two: list[Any]) -> bool:
    try:
        np.testing.assert_equal(_frozen(one), _frozen(two))
    except AssertionError:
        return False
    return True
