"""Numbers that nothing can be learnt from end the run, with the lane and the step."""

from __future__ import annotations

import numpy as np

from rlkit.errors import NumbersBroke

_LARGEST = float(np.finfo(np.float32).max)  # reward that can be learnt from


def surely_finite(array: np.ndarray) -> bool:
    """Whether no entry is NaN or beyond float32. False where that is not sure: then it is worth looking.

    One product is the cheapest test, and vdot, unlike dot, does not warn of overflow.
    """
    return bool(np.vdot(array, array) < _LARGEST)


def check_obs(name: str, array: np.ndarray, step: int) -> None:
    """Observations [N, ...] of one leaf; raises NumbersBroke."""
    if not surely_finite(array):
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        if len(bad):
            raise NumbersBroke(
                f"the environment returned a non-finite observation ({name}) in lane {bad[0]} at step {step}"
            )


def check_reward(reward: np.ndarray, step: int) -> None:
    """Rewards [N]; raises NumbersBroke."""
    if not surely_finite(reward):
        bad = np.flatnonzero(~(np.abs(reward) <= _LARGEST))
        if len(bad):
            raise NumbersBroke(
                f"the environment returned the reward {reward[bad[0]]} in lane {bad[0]} at step {step}"
            )
