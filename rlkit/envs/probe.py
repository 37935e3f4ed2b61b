"""Probe environments: each asks one question of a learning algorithm, and its answer is known in closed form.

Seconds of learning on one core. A probe that fails says which part is broken: the value (`Constant`), the
observation (`Sign`), the discount (`TwoStep`), the advantage (`Choice`), all of them together (`Match`),
the spaces (`Echo`), the ends of episodes (`Clock`, `CutChain`, `Temptation`).
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

Obs = np.ndarray
Info = dict[str, Any]
Outcome = tuple[Any, float, bool, bool, Info]  # what `step` returns


def _line(low: float, high: float) -> spaces.Box:
    return spaces.Box(low, high, (1,), np.float32)


def _point(x: float) -> Obs:
    return np.array([x], dtype=np.float32)


class Constant(gym.Env):
    """One step, observation 0, reward 1. V(0) = 1: can a value be learnt at all?"""

    observation_space = _line(0.0, 1.0)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Obs, Info]:
        super().reset(seed=seed)
        return _point(0.0), {}

    def step(self, action: Any) -> Outcome:
        return _point(0.0), 1.0, True, False, {}


class Sign(gym.Env):
    """One step, observation ±1 at random, reward = observation. V(x) = x: does the value see it?"""

    observation_space = _line(-1.0, 1.0)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Obs, Info]:
        super().reset(seed=seed)
        self._sign = 1.0 if self.np_random.random() < 0.5 else -1.0
        return _point(self._sign), {}

    def step(self, action: Any) -> Outcome:
        return _point(self._sign), self._sign, True, False, {}


class TwoStep(gym.Env):
    """Observation 0, then 1; reward 1 only at the end. V(0) = gamma, V(1) = 1: is the future discounted?"""

    observation_space = _line(0.0, 1.0)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Obs, Info]:
        super().reset(seed=seed)
        self._second = False
        return _point(0.0), {}

    def step(self, action: Any) -> Outcome:
        if self._second:
            return _point(1.0), 1.0, True, False, {}
        self._second = True
        return _point(1.0), 0.0, False, False, {}


class Choice(gym.Env):
    """One step, observation 0; action 1 earns 1, action 0 earns −1: does the policy follow the reward?"""

    observation_space = _line(0.0, 1.0)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Obs, Info]:
        super().reset(seed=seed)
        return _point(0.0), {}

    def step(self, action: Any) -> Outcome:
        return _point(0.0), 1.0 if action == 1 else -1.0, True, False, {}


class Match(gym.Env):
    """One step, observation ±1 at random; action 1 is right for +1 and action 0 for −1; reward ±1."""

    observation_space = _line(-1.0, 1.0)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Obs, Info]:
        super().reset(seed=seed)
        self._sign = 1.0 if self.np_random.random() < 0.5 else -1.0
        return _point(self._sign), {}

    def step(self, action: Any) -> Outcome:
        right = (action == 1) == (self._sign > 0)
        return _point(self._sign), 1.0 if right else -1.0, True, False, {}


# ---------------------------------------------------------------------- every action space


class Echo(gym.Env):
    """One step: repeat the observation, which is a random member of the action space.

    Serves any space of Discrete, MultiDiscrete, MultiBinary and bounded Box, nested in Tuple and Dict. The
    reward is the mean agreement over the leaves, 1 at best.
    """

    def __init__(self, space: spaces.Space) -> None:
        self.action_space = self.observation_space = space

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        super().reset(seed=seed)
        self._target = draw(self.action_space, self.np_random)
        return self._target, {}

    def step(self, action: Any) -> Outcome:
        assert self.action_space.contains(action), f"{action} is not in {self.action_space}"
        reward = float(np.mean(agreement(self.action_space, action, self._target)))
        return self._target, reward, True, False, {}


def draw(space: spaces.Space, rng: np.random.Generator) -> Any:
    """A uniform member of the space, from the given generator (spaces have generators of their own)."""
    if isinstance(space, spaces.Dict):
        return {name: draw(inner, rng) for name, inner in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple([draw(inner, rng) for inner in space.spaces])
    if isinstance(space, spaces.Discrete):
        return space.dtype.type(rng.integers(space.n) + space.start)
    if isinstance(space, spaces.MultiDiscrete):
        return (rng.integers(space.nvec) + space.start).astype(space.dtype)
    if isinstance(space, spaces.MultiBinary):
        return rng.integers(2, size=space.shape).astype(space.dtype)
    return rng.uniform(space.low, space.high).astype(space.dtype)


def agreement(space: spaces.Space, action: Any, target: Any) -> list[float]:
    """One number per leaf: the share of equal integers; 1 − 2 |distance| / range, averaged, for a Box."""
    if isinstance(space, spaces.Dict):
        parts = [agreement(inner, action[name], target[name]) for name, inner in space.items()]
        return [x for part in parts for x in part]
    if isinstance(space, spaces.Tuple):
        zipped = zip(space.spaces, action, target, strict=True)
        return [x for inner, a, t in zipped for x in agreement(inner, a, t)]
    if isinstance(space, spaces.Box):
        return [float(np.mean(1 - 2 * np.abs(action - target) / (space.high - space.low)))]
    return [float(np.mean(np.equal(action, target)))]


# ---------------------------------------------------------------------- the ends of episodes


class Clock(gym.Env):
    """Reward 1 at each of `steps` steps; then the clock ends the episode, or the MDP does.

    Truncated: the observation is always 1, nobody can see the clock, so V = 1 / (1 − gamma).
    Terminated: the observation is the share of steps to go, so V(k / steps) = (1 − gamma^k) / (1 − gamma).
    """

    observation_space = _line(0.0, 1.0)
    action_space = spaces.Discrete(2)

    def __init__(self, steps: int = 5, truncate: bool = True) -> None:
        self.steps, self.truncate = steps, truncate

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Obs, Info]:
        super().reset(seed=seed)
        self._left = self.steps
        return self._see(), {}

    def step(self, action: Any) -> Outcome:
        self._left -= 1
        over = self._left == 0
        return self._see(), 1.0, over and not self.truncate, over and self.truncate, {}

    def _see(self) -> Obs:
        return _point(1.0 if self.truncate else self._left / self.steps)

    def values(self, gamma: float) -> dict[float, float]:
        """V of every observation that an episode begins a step with."""
        if self.truncate:
            return {1.0: 1 / (1 - gamma)}
        return {k / self.steps: (1 - gamma**k) / (1 - gamma) for k in range(1, self.steps + 1)}


class CutChain(gym.Env):
    """A (0) → B (1) → B → …: reward 0 in A, 1 in B, cut off by the clock in B after one, two or three steps.

    V(B) = 1 / (1 − gamma), V(A) = gamma · V(B). The final observation B is worth more than A, from which the
    next episode begins and from which a one-step episode was cut: bootstrapping from either is seen.
    """

    observation_space = _line(0.0, 1.0)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Obs, Info]:
        super().reset(seed=seed)
        self._left = int(self.np_random.choice([1, 1, 2, 3]))
        self._in_b = False
        return _point(0.0), {}

    def step(self, action: Any) -> Outcome:
        reward = 1.0 if self._in_b else 0.0
        self._in_b = True
        self._left -= 1
        return _point(1.0), reward, False, self._left == 0, {}

    def values(self, gamma: float) -> dict[float, float]:
        """V of both states."""
        return {0.0: gamma / (1 - gamma), 1.0: 1 / (1 - gamma)}


class Temptation(gym.Env):
    """One step: action 0 earns 1; action 1 earns nothing, but `bonus` more in the lane's NEXT episode.

    An episode's return is all that counts, so action 0 is right. Whoever lets rewards leak across the end of
    an episode is tempted.
    """

    observation_space = _line(0.0, 1.0)
    action_space = spaces.Discrete(2)

    def __init__(self, truncate: bool, bonus: float = 3.0) -> None:
        self.truncate, self.bonus = truncate, bonus
        self._gift = 0.0  # outlives the episode

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Obs, Info]:
        super().reset(seed=seed)
        return _point(1.0), {}

    def step(self, action: Any) -> Outcome:
        reward = self._gift + (1.0 if action == 0 else 0.0)
        self._gift = 0.0 if action == 0 else self.bonus
        return _point(1.0), reward, not self.truncate, self.truncate, {}
