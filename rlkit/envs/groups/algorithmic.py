"""Group 3, algorithmic: tasks on tapes (Zaremba et al. 2016), written here under their old ids."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

_MODULE = "rlkit.envs.algorithmic"

# id → class, arguments, reward threshold (those of OpenAI Gym 0.x)
_TASKS: dict[str, tuple[str, dict[str, Any], float]] = {
    "Copy-v0": ("Copy", {}, 25.0),
    "DuplicatedInput-v0": ("DuplicatedInput", {}, 9.0),
    "RepeatCopy-v0": ("RepeatCopy", {}, 75.0),
    "Reverse-v0": ("Reverse", {}, 25.0),
    "ReversedAddition-v0": ("ReversedAddition", {"rows": 2}, 25.0),
    "ReversedAddition3-v0": ("ReversedAddition", {"rows": 3}, 25.0),
}


def owns(env_id: str) -> bool:
    return env_id in _TASKS


def register() -> None:
    for env_id, (name, kwargs, threshold) in _TASKS.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point=f"{_MODULE}:{name}",
                max_episode_steps=200,
                reward_threshold=threshold,
                kwargs=dict(kwargs),
            )


def ids() -> list[str]:
    return list(_TASKS)
