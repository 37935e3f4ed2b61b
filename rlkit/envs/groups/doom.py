"""Group 10, Doom: ViZDoom's ten scenarios on Freedoom's free graphics.

The maps of the games themselves work by name, too (`VizdoomFreedoom1E1M1-S1-v0`); those of the commercial
games need their WAD files. What our class changes of ViZDoom's is said in `rlkit.envs.doom`.
"""

from __future__ import annotations

import gymnasium as gym

_SCENARIOS = (
    "Basic",
    "DeadlyCorridor",
    "DefendCenter",
    "DefendLine",
    "HealthGathering",
    "HealthGatheringSupreme",
    "MyWayHome",
    "PredictPosition",
    "TakeCover",
    "Deathmatch",
)
_OURS = "rlkit.envs.doom:Doom"


def owns(env_id: str) -> bool:
    return env_id.startswith("Vizdoom")


def register() -> None:
    """ViZDoom's ids under their names, made by our class."""
    import vizdoom.gymnasium_wrapper
    from vizdoom.gymnasium_wrapper import DEFAULT_VIZDOOM_ENTRYPOINT as THEIRS

    assert vizdoom.gymnasium_wrapper  # imported for its registrations
    for spec in gym.registry.values():
        if spec.entry_point == THEIRS:
            spec.entry_point = _OURS


def ids() -> list[str]:
    return [f"Vizdoom{name}{kind}-v1" for kind in ("", "-MultiBinary") for name in _SCENARIOS]
