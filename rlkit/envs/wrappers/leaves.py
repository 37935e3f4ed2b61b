"""Observations as agents here want them: a flat Dict of leaves, and what is legal beside what is seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rlkit.spaces import describe


class ActionMask(gym.Wrapper):
    """Legal actions [n] int8 join the observation: {"obs": …, "action_mask": …}, a Dict gains the key.

    They are read from `info["action_mask"]` (Taxi), or the environment's `action_masks()` or `action_mask`.
    ValueError at once where the environment offers none of these, or its actions are not Discrete.
    """

    changes_reward: ClassVar[bool] = False

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        if not isinstance(env.action_space, spaces.Discrete):
            raise ValueError(f"action_mask needs a Discrete action, not {describe(env.action_space)}")
        self._actions = int(env.action_space.n)
        inner = env.observation_space
        self._own = dict(inner.spaces) if isinstance(inner, spaces.Dict) else None
        if self._own is not None and "action_mask" in self._own:
            raise ValueError("the observation already has an action_mask: leave the wrapper out")
        beside = {"obs": inner} if self._own is None else self._own
        self.observation_space = spaces.Dict({**beside, "action_mask": spaces.MultiBinary(self._actions)})
        self._asked = next(
            (name for name in ("action_masks", "action_mask") if env.has_wrapper_attr(name)), None
        )
        _, info = env.reset(seed=0)
        self._mask(info)  # refused before the run begins

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        return self._joined(obs, info), info

    def step(self, action: Any) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._joined(obs, info), reward, terminated, truncated, info

    def _joined(self, obs: Any, info: dict[str, Any]) -> dict[str, Any]:
        beside = {"obs": obs} if self._own is None else obs
        return {**beside, "action_mask": self._mask(info)}

    def _mask(self, info: dict[str, Any]) -> np.ndarray:
        found: Any = info.get("action_mask")
        if found is None and self._asked:
            found = self.env.get_wrapper_attr(self._asked)
            found = found() if callable(found) else found
        if found is None:
            raise ValueError('it needs info["action_mask"], action_masks() or action_mask of the environment')
        mask = np.array(found, np.int8)  # a copy: what was returned never changes
        if mask.shape != (self._actions,):
            raise ValueError(f"action_mask has the shape {mask.shape} where {self._actions} actions exist")
        return mask


class DictToLeaves(gym.ObservationWrapper):
    """A nested Dict or Tuple becomes one flat Dict of chosen leaves with short names.

    A leaf is called by its path, "arm/0"; its short name is the last part of it where that is unique.
    `include` keeps only these leaves, `exclude` drops them (paths, their beginnings, or short names), and
    `rename` {old: new} gives names.
    """

    changes_reward: ClassVar[bool] = False

    def __init__(
        self,
        env: gym.Env,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        rename: dict[str, str] | None = None,
    ) -> None:
        super().__init__(env)
        inner = env.observation_space
        if not isinstance(inner, spaces.Dict | spaces.Tuple):
            raise ValueError(f"dict_to_leaves needs a Dict or Tuple observation, not {describe(inner)}")
        every = dict(_leaves(inner))
        lasts = [path[-1] for path in every]
        short = {path: path[-1] if lasts.count(path[-1]) == 1 else "/".join(path) for path in every}

        def chosen(wanted: Sequence[str]) -> set[tuple[str, ...]]:
            found: set[tuple[str, ...]] = set()
            for name in wanted:
                parts = tuple(name.split("/"))
                mine = {path for path in every if path[: len(parts)] == parts or short[path] == name}
                if not mine:
                    raise ValueError(
                        f"there is no leaf {name!r}; there are {', '.join(map('/'.join, every))}"
                    )
                found |= mine
            return found

        kept = set(every) if include is None else chosen(include)
        kept -= chosen(exclude)
        if not kept:
            raise ValueError("no leaf is left: include more, or exclude less")
        self._names = {path: short[path] for path in every if path in kept}
        for old, new in (rename or {}).items():
            for path in chosen([old]) & kept:
                self._names[path] = new
        if len(set(self._names.values())) < len(self._names):
            raise ValueError("two leaves would share a name: rename one leaf at a time")
        self.observation_space = spaces.Dict({name: every[path] for path, name in self._names.items()})

    def observation(self, observation: Any) -> dict[str, Any]:
        return {name: _follow(observation, path) for path, name in self._names.items()}


def _leaves(
    space: spaces.Space, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], spaces.Space]]:
    if isinstance(space, spaces.Dict):
        for name, inner in space.items():
            yield from _leaves(inner, (*path, str(name)))
    elif isinstance(space, spaces.Tuple):
        for number, inner in enumerate(space.spaces):
            yield from _leaves(inner, (*path, str(number)))
    else:
        yield path, space


def _follow(value: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        value = value[int(part)] if isinstance(value, tuple) else value[part]
    return value
