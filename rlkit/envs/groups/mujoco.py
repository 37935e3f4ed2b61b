"""Group 6, MuJoCo: bodies with joints, from Gymnasium. Frames need EGL or OSMesa, see `headless`."""

from __future__ import annotations

import logging
from datetime import datetime

from rlkit.envs import scratch

log = logging.getLogger("rlkit")

_BODIES = (
    "HalfCheetah",
    "Hopper",
    "Walker2d",
    "Ant",
    "Humanoid",
    "Swimmer",
    "Reacher",
    "Pusher",
    "InvertedPendulum",
    "InvertedDoublePendulum",
    "HumanoidStandup",
)
_told: set[str] = set()  # kinds of warning that this process has passed on


def owns(env_id: str) -> bool:
    body, _, version = env_id.rpartition("-")
    return body in _BODIES and version in ("v4", "v5")


def register() -> None:
    """Gymnasium registers them itself; MuJoCo's warnings go where they leave no file in the way."""
    import mujoco

    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_warn)


def ids() -> list[str]:
    return [f"{body}-v5" for body in _BODIES]


def _warn(message: str) -> None:
    """What MuJoCo would write to MUJOCO_LOG.TXT in the working directory, and print, each time again.

    Deprecated attributes of Gymnasium's own models are nothing that a user can mend: only the file has them.
    """
    with (scratch.folder() / "MUJOCO_LOG.TXT").open("a", encoding="utf-8") as file:
        file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} WARNING: {message}\n")
    kind = message.split(" at ")[0]
    if kind not in _told and "deprecated" not in message:
        _told.add(kind)
        log.warning("MuJoCo: %s", message)
