"""Standing again where a run stood: the running episodes of all lanes, played once more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from rlkit.spaces import ActionSpec
from rlkit.types import State


@dataclass
class Replayed:
    obs: Any  # Gymnasium's batched observation where the actions end
    returns: np.ndarray  # [N] of the running episodes, as the agent saw them
    history: list[np.ndarray]  # actions asked for [N, A], one entry a vector step
    begin: np.ndarray  # [N] the entry at which each lane's running episode begins


def replay(venv: VectorEnv, spec: ActionSpec, state: State) -> Replayed:
    """Step all lanes together so that they arrive together: the lane with fewer actions starts later."""
    actions: list[np.ndarray] = [a.numpy() for a in state["actions"]]
    n = len(actions)
    lengths = np.asarray([len(a) for a in actions])
    longest = int(lengths.max(initial=0))
    seeds = [0 if s is None else s for s in state["seeds"]]
    zero = spec.clip(torch.zeros(1, spec.width, dtype=spec.dtype)).numpy()[0]
    history: list[np.ndarray] = []
    returns = np.zeros(n)
    obs, _ = venv.reset(seed=seeds)
    ended = np.zeros(n, dtype=bool)
    for t in range(longest):
        begin = lengths == longest - t
        restart = begin | ended
        if t and restart.any():
            obs, _ = venv.reset(seed=seeds, options={"reset_mask": restart})
        returns[begin] = 0.0
        late = longest - lengths
        waiting = _harmless(obs, zero, n)
        row = np.stack([actions[i][t - late[i]] if t >= late[i] else waiting[i] for i in range(n)])
        history.append(row)
        obs, reward, terminated, truncated, _ = venv.step(spec.to_env(row))
        ended = terminated | truncated
        returns += reward
    fresh = lengths == 0
    if longest and (fresh | ended).any():
        obs, _ = venv.reset(seed=seeds, options={"reset_mask": fresh | ended})
    returns[fresh] = 0.0
    return Replayed(obs, returns, history, longest - lengths)


def _harmless(obs: Any, zero: np.ndarray, n: int) -> list[np.ndarray]:
    """An action [A] for each lane that still waits: a legal one where the observation says what is legal."""
    if isinstance(obs, dict) and "action_mask" in obs:
        return list(obs["action_mask"].argmax(axis=1)[:, None])
    return [zero] * n
