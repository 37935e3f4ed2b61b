"""What a vector environment's `info` says about a step, read in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from rlkit.spaces import ActionSpec

Info = dict[str, Any]

READ = ("action_executed", "life_lost", "raw_return", "replay_seed")  # what the boundary looks at


def wanted(info: Info) -> Info:
    """Of one environment's info, what the boundary looks at."""
    return {name: info[name] for name in READ if name in info} if info else {}


def raw_return(told: list[Info], lane: int) -> float | None:
    """The environment's own return so far in this lane, where a wrapper keeps it (`RawReturn`)."""
    found = None
    for part in told:
        if "raw_return" in part and part["_raw_return"][lane]:
            found = float(part["raw_return"][lane])
    return found


def replay_seeds(info: Info) -> list[tuple[int, int]]:
    """(lane, seed) of the lanes that were just reset and say by which seed this very episode begins again."""
    if "replay_seed" not in info:
        return []
    return [(lane, int(info["replay_seed"][lane])) for lane in np.flatnonzero(info["_replay_seed"]).tolist()]


def lives_lost(info: Info) -> np.ndarray | None:
    """[N] bool: lanes that lost a life while their game goes on (`episodic_life`), or None."""
    lost = info.get("life_lost")
    return lost if isinstance(lost, np.ndarray) and np.count_nonzero(lost) else None


def executed(told: list[Info], asked: torch.Tensor, spec: ActionSpec) -> torch.Tensor:
    """[N, A] what a wrapper really did, where it says so (`info["action_executed"]`)."""
    told = [part for part in told if "action_executed" in part]
    if not told:
        return asked
    action = asked.cpu().numpy().copy()  # rows are put in place quicker than in a tensor
    for part in told:
        lanes, value = np.flatnonzero(part["_action_executed"]), part["action_executed"]
        if isinstance(value, np.ndarray) and value.dtype != object:
            action[lanes] = spec.rows_from_env(value[lanes])
        else:
            for lane in lanes.tolist():
                action[lane] = spec.rows_from_env(_of_lane(value, lane, spec.space))[0]
    return torch.from_numpy(action).to(asked.device)


def _of_lane(value: Any, lane: int, space: spaces.Space) -> Any:
    """One lane's part of a batched info: Gymnasium batches dictionaries by key and anything else by row."""
    if isinstance(space, spaces.Dict):
        return {name: _of_lane(value[name], lane, inner) for name, inner in space.items()}
    return value[lane]
