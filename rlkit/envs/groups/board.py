"""Group 4, board games: Go and Hex against an opponent, over OpenSpiel's rules."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

_GAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "Go9x9-v0": ("Go", {"size": 9}),
    "Go13x13-v0": ("Go", {"size": 13}),
    "Go19x19-v0": ("Go", {"size": 19}),
    "Hex5x5-v0": ("Hex", {"size": 5}),
    "Hex9x9-v0": ("Hex", {"size": 9}),
    "Hex11x11-v0": ("Hex", {"size": 11}),
}


def owns(env_id: str) -> bool:
    return env_id in _GAMES


def register() -> None:
    """A game ends by itself, after its last legal move or `max_moves`: no time limit is needed."""
    for env_id, (name, kwargs) in _GAMES.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point=f"rlkit.envs.board.game:{name}", kwargs=dict(kwargs))


def ids() -> list[str]:
    return list(_GAMES)
