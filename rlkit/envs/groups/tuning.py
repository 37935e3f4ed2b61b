"""Group 7, parameter tuning: hyperparameters chosen from epoch to epoch, in torch, under the old ids."""

from __future__ import annotations

import gymnasium as gym

_CLASSES = {
    "ConvergenceControl-v0": "ConvergenceControl",
    "CNNClassifierTraining-v0": "CNNClassifierTraining",
}


def owns(env_id: str) -> bool:
    return env_id in _CLASSES


def register() -> None:
    """An episode ends by itself, after its last epoch: no time limit is needed."""
    for env_id, name in _CLASSES.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point=f"rlkit.envs.tuning.env:{name}")


def ids() -> list[str]:
    return list(_CLASSES)
