"""Group 5, Box2D: a lander, a walker and a racing car, from Gymnasium."""

from __future__ import annotations

_IDS = (
    "LunarLander-v3",
    "LunarLanderContinuous-v3",
    "BipedalWalker-v3",
    "BipedalWalkerHardcore-v3",
    "CarRacing-v3",
)


def owns(env_id: str) -> bool:
    return env_id in _IDS  # of older versions Gymnasium says itself which id to use


def register() -> None:
    """Gymnasium registers them itself."""


def ids() -> list[str]:
    return list(_IDS)
