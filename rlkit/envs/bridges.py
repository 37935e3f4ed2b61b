"""Environments of the old `gym`: `env.id=gym:CartPole-v1`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym


def is_old(env_id: str) -> bool:
    return env_id.startswith("gym:")


def check_old(env_id: str) -> None:
    raise NotImplementedError


def make_old(env_id: str, arguments: dict[str, Any]) -> gym.Env:
    raise NotImplementedError
