"""The in-process engine: environments stepped one after the other, with as little around them as possible.

It is what Gymnasium's SyncVectorEnv does in DISABLED mode, without what we never use of it: for light
environments the batching around a step costs more than the step. A test holds the two equal; of the infos
only those are batched that the boundary reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from rlkit.envs.infos import wanted


class Lanes(VectorEnv):
    """N environments in this process. Returned arrays are overwritten by the next call: copy what you keep.

    Whoever uses it resets ended lanes: `reset(seed=[…], options={"reset_mask": [N] bool})`.
    """

    def __init__(self, makers: Sequence[Callable[[], gym.Env]]) -> None:
        self.envs = [make() for make in makers]
        first = self.envs[0]
        self.num_envs = len(self.envs)
        self.metadata = {**first.metadata, "autoreset_mode": AutoresetMode.DISABLED}
        self.render_mode, self.spec = first.render_mode, first.spec
        self.single_observation_space, self.single_action_space = first.observation_space, first.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._observations: Any = create_empty_array(self.single_observation_space, n=self.num_envs)
        self._flat = isinstance(self.single_observation_space, spaces.Box | spaces.Discrete)
        self._whole_actions = isinstance(self.single_action_space, spaces.Box | spaces.Discrete)
        self._rows: list[Any] = [None] * self.num_envs  # newest observation of each lane, where not flat
        self._rewards = np.zeros(self.num_envs)
        self._terminated = np.zeros(self.num_envs, dtype=bool)
        self._truncated = np.zeros(self.num_envs, dtype=bool)
        self.parked: np.ndarray | None = None  # [N] bool: lanes that `step` leaves alone

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """All lanes, or those of `options["reset_mask"]`; the others keep their observation."""
        mask = (options or {}).get("reset_mask")
        seeds = [None if seed is None else seed + i for i in range(self.num_envs)] if not isinstance(
            seed, Sequence
        ) else seed  # fmt: skip
        infos: dict[str, Any] = {}
        for lane, env in enumerate(self.envs):
            if mask is None or mask[lane]:
                obs, info = env.reset(seed=seeds[lane])
                self._keep(lane, obs)
                infos = self._add_info(infos, wanted(info), lane)
        return self._batched(), infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of every lane that is not parked; flags and rewards are fresh arrays [N]."""
        infos: dict[str, Any] = {}
        parked = None if self.parked is None else self.parked.tolist()
        rewards, terminated, truncated = self._rewards.copy(), self._terminated.copy(), self._truncated.copy()
        singles = actions if self._whole_actions else iterate(self.action_space, actions)
        for lane, action in enumerate(singles):
            if parked and parked[lane]:
                continue
            obs, rewards[lane], terminated[lane], truncated[lane], info = self.envs[lane].step(action)
            self._keep(lane, obs)
            if read := wanted(info):
                infos = self._add_info(infos, read, lane)
        return self._batched(), rewards, terminated, truncated, infos

    def close_extras(self, **kwargs: Any) -> None:
        for env in self.envs:
            env.close()

    def _keep(self, lane: int, obs: Any) -> None:
        if self._flat:
            self._observations[lane] = obs
        else:
            self._rows[lane] = obs

    def _batched(self) -> Any:
        if self._flat:
            return self._observations
        return concatenate(self.single_observation_space, self._rows, self._observations)
