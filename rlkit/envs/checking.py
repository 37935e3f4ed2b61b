"""What is wrong with an environment of one's own: everything at once, where, and the line that mends it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np

from rlkit.config import EnvConfig
from rlkit.envs.factory import EnvMaker, check_id
from rlkit.errors import UserError
from rlkit.registry import import_here
from rlkit.spaces import describe

_STEPS = 50


@dataclass(frozen=True)
class Finding:
    what: str
    where: str  # Class.method, file:line
    fix: str  # the line to write


def diagnose(name: str) -> list[Finding]:
    """All that is found for `module:Class`, `module:Id-v0` or a registered id; UserError if none."""
    make = _maker(name)
    try:
        env = make()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{name} cannot be made: {type(error).__name__}: {error}") from error
    doctor = _Doctor(getattr(env, "unwrapped", env))
    try:
        doctor.look()
    finally:
        getattr(env, "close", lambda: None)()
    return doctor.found


def _maker(name: str) -> Callable[[], Any]:
    module, colon, attribute = name.partition(":")
    if colon and module != "gym":
        import_here(module)
        target = getattr(import_module(module), attribute, None)
        if callable(target):
            made: Callable[[], Any] = target
            return made
    check_id(name)
    return EnvMaker(EnvConfig(name))


class _Doctor:
    def __init__(self, env: Any) -> None:
        self.env = env
        self.found: list[Finding] = []

    def say(self, what: str, method: str, fix: str) -> None:
        finding = Finding(what, self._where(method), fix)
        if finding not in self.found:
            self.found.append(finding)

    def _where(self, method: str) -> str:
        kind = type(self.env)
        code = getattr(kind, method, kind) if method else kind
        try:
            file, line = inspect.getsourcefile(code), inspect.getsourcelines(code)[1]
        except (OSError, TypeError):
            return f"{kind.__name__}.{method}".rstrip(".")
        return f"{kind.__name__}{'.' + method if method else ''}, {file}:{line}"

    def look(self) -> None:
        if not isinstance(self.env, gym.Env):
            self.say(
                "the class is no gymnasium.Env",
                "",
                "class MyEnv(gymnasium.Env):  (or run the old one unchanged: env.id=gym:MyEnv-v0)",
            )
        for kind in ("observation_space", "action_space"):
            space = getattr(self.env, kind, None)
            if space is None:
                self.say(
                    f"{kind} is missing", "__init__", f"self.{kind} = gymnasium.spaces.Box(-1.0, 1.0, (4,))"
                )
            elif not isinstance(space, gym.Space):
                self.say(
                    f"{kind} is a space of {type(space).__module__}",
                    "__init__",
                    "from gymnasium import spaces",
                )
        metadata = getattr(self.env, "metadata", None) or {}
        if not metadata.get("render_modes"):
            fix = 'metadata = {"render_modes": ["rgb_array"], "render_fps": 30}'
            self.say('metadata names no "render_modes": it cannot be filmed', "", fix)
        if any(
            not isinstance(getattr(self.env, k, None), gym.Space)
            for k in ("observation_space", "action_space")
        ):
            return
        one, two = self._play(), self._play()
        if one is not None and two is not None and not _same(one, two):
            fix = "super().reset(seed=seed), and draw from self.np_random alone"
            self.say("two episodes with one seed and the same actions differ", "reset", fix)

    def _play(self) -> list[Any] | None:
        """A trace of one seeded episode, or None where it could not be played."""
        try:
            answer = self.env.reset(seed=0)
        except TypeError as error:
            fix = "def reset(self, *, seed=None, options=None):  super().reset(seed=seed)"
            self.say(f"reset takes no seed ({error})", "reset", fix)
            answer = self.env.reset()
        if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict):
            obs = answer[0]
        else:
            self.say("reset returns the observation alone", "reset", "return obs, {}")
            obs = answer
        self._obs(obs, "reset")
        self.env.action_space.seed(0)
        trace, kept, copy = [_frozen(obs)], obs, _frozen(obs)
        for _ in range(_STEPS):
            answer = self.env.step(self.env.action_space.sample())
            if not isinstance(answer, tuple) or len(answer) not in (4, 5):
                self.say(
                    f"step returns {type(answer).__name__}",
                    "step",
                    "return obs, reward, terminated, truncated, {}",
                )
                return None
            if len(answer) == 4:
                self.say(
                    "step returns 4 values: `done` does not say whether the task ended or the clock",
                    "step",
                    "return obs, reward, terminated, False, info  (limit: register(max_episode_steps=…))",
                )
                obs, reward, done, info = answer
                flags = [done]
            else:
                obs, reward, *flags, info = answer
            if not isinstance(info, dict):
                self.say(f"info is {type(info).__name__}, not a dict", "step", "return …, {}")
            for flag in flags:
                if not isinstance(flag, bool | np.bool_):
                    self.say(
                        f"an end flag is {type(flag).__name__}, not bool",
                        "step",
                        "terminated = bool(terminated)",
                    )
            if isinstance(reward, bool) or not isinstance(reward, int | float | np.integer | np.floating):
                self.say(
                    f"the reward is {type(reward).__name__}, not a number", "step", "reward = float(reward)"
                )
            elif not np.isfinite(reward):
                self.say(f"the reward is {reward}", "step", "reward must be finite")
            self._obs(obs, "step")
            if not _same([kept], [copy]):
                self.say(
                    "an observation changes after it was returned", "step", "return self.state.copy(), …"
                )
            kept, copy = obs, _frozen(obs)
            trace += [copy, _frozen(reward)]
            if any(bool(np.any(flag)) for flag in flags):
                break
        return trace

    def _obs(self, obs: Any, method: str) -> None:
        space = self.env.observation_space
        if space.contains(obs):
            return
        if isinstance(space, gym.spaces.Box):
            array = np.asarray(obs)
            if array.dtype != space.dtype:
                fix = f"obs = np.asarray(obs, dtype=np.{space.dtype})"
                self.say(f"the observation is {array.dtype}, its space {space.dtype}", method, fix)
            if array.shape != space.shape:
                fix = f"observation_space = Box(…, shape={array.shape})"
                self.say(f"the observation has the shape {array.shape}, its space {space.shape}", method, fix)
            elif np.any(array < space.low) or np.any(array > space.high):
                fix = "widen low and high of the Box, or np.clip(obs, low, high)"
                self.say("the observation lies outside its space", method, fix)
            return
        self.say(
            f"the observation {obs!r:.60} is not in {describe(space)}", method, "return what the space says"
        )


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
