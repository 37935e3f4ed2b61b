"""Group 9, PyGame: three pixel games written here; MiniGrid and MinAtar where they are installed."""

from __future__ import annotations

from importlib.util import find_spec

import gymnasium as gym

from rlkit.envs.pixel import extras

# id → entry point, time limit in steps, reward threshold
_OURS = {
    "Catcher-v0": ("catcher:Catcher", 1_000, 35.0),
    "FlappyBird-v0": ("flappy_bird:FlappyBird", 1_000, 25.0),
    "PixelPong-v0": ("pong:PixelPong", 3_000, 4.0),
}


def owns(env_id: str) -> bool:
    return env_id in _OURS or bool(packages(env_id))


def packages(env_id: str) -> tuple[str, ...]:
    """What an id needs beyond pygame-ce, which the base has."""
    if env_id.startswith(("MiniGrid-", "BabyAI-")):
        return ("minigrid",)
    return ("minatar",) if env_id.startswith("MinAtar/") else ()


def register() -> None:
    """Ours always; the extras where their package is there."""
    for env_id, (entry, limit, threshold) in _OURS.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point=f"rlkit.envs.pixel.{entry}",
                max_episode_steps=limit,
                reward_threshold=threshold,
            )
    if find_spec("minigrid"):
        extras.register_minigrid()
    if find_spec("minatar"):
        extras.register_minatar()


def ids() -> list[str]:
    return [*_OURS, *(name for name in gym.registry if packages(name))]
