"""Exploration that lives in the environment: the chapter's `RandomActionWrapper`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

_BITS = 48  # of a seed belong to the environment; the 15 above say where the schedule stands
_LAST = 2**15 - 2


class RandomAction(gym.Wrapper):
    """With probability epsilon the executed action is a sample of the action space (`RandomActionWrapper`).

    Silent, and drawn from a generator of its own, seeded by `reset(seed=…)`: the same seed and actions give
    the same episode. `info["action_executed"]` says what was done.

    With `final_epsilon`, epsilon moves there linearly in the first `decay_episodes` episodes of its lane and
    is constant within each. So that an episode stays decided by (seed, actions), the place in the schedule
    travels in the seed: `info["replay_seed"]` is the number that plays this very episode again. An evaluation
    that keeps the wrapper (`in_evaluation`) begins the schedule anew.
    """

    training_only: ClassVar[bool] = True
    changes_reward: ClassVar[bool] = False

    def __init__(
        self,
        env: gym.Env,
        epsilon: float = 0.1,
        final_epsilon: float | None = None,
        decay_episodes: int | None = None,
        in_evaluation: bool = False,
    ) -> None:
        super().__init__(env)
        for name, value in (("epsilon", epsilon), ("final_epsilon", final_epsilon)):
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must lie in 0..1, not {value}")
        if (final_epsilon is None) != (decay_episodes is None):
            raise ValueError(
                "a schedule needs both final_epsilon and decay_episodes; leave both out for none"
            )
        if decay_episodes is not None and not 1 <= decay_episodes <= _LAST:
            raise ValueError(f"decay_episodes must lie in 1..{_LAST}, not {decay_episodes}")
        self.epsilon = epsilon
        self._first, self._final, self._decay = epsilon, final_epsilon, decay_episodes
        self._episode = -1  # episodes of this lane before the running one
        self._random = np.random.default_rng()
        self._actions = deepcopy(env.action_space)  # lanes often share one object

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        inner = seed
        if self._decay is not None and self._final is not None:
            inner = self._enter(seed)
            done = min(self._episode / self._decay, 1.0)
            self.epsilon = self._first + (self._final - self._first) * done
        if inner is not None:
            self._random = np.random.default_rng([inner % 2**32, 0x5EED])
            # A seed of its own: the environment's generator is seeded alike, and actions that follow its
            # first state would not be random.
            self._actions.seed(int(self._random.integers(2**31)))
        obs, info = self.env.reset(seed=inner, options=options)
        if self._decay is not None and inner is not None:
            low = int(info.get("replay_seed", inner))
            info["replay_seed"] = low | (self._episode + 1) << _BITS
        return obs, info

    def _enter(self, seed: int | None) -> int | None:
        """Stand at the episode that the seed names, or the next one; the environment's part of the seed."""
        told = 0 if seed is None else seed >> _BITS
        self._episode = told - 1 if told else min(self._episode + 1, _LAST)
        return None if seed is None else seed & (2**_BITS - 1)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self._random.random() < self.epsilon:
            action = self._actions.sample()
        obs, reward, terminated, truncated, info = self.env.step(action)
        info["action_executed"] = action
        return obs, reward, terminated, truncated, info
