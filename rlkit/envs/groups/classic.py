"""Group 1, classic control: Gymnasium's five tasks."""

from __future__ import annotations

_IDS = ("CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1", "Acrobot-v1")


def owns(env_id: str) -> bool:
    return env_id in _IDS or env_id == "CartPole-v0"  # the chapter's; still registered


def register() -> None:
    """Gymnasium registers them itself."""


def ids() -> list[str]:
    return list(_IDS)
