from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import torch

from rlkit.config import EnvConfig
from rlkit.types import Envs


def why_not(config: EnvConfig, wrappers: dict[str, dict[str, Any]]) -> str | None:
    return "it is not built"


def make(
    config: EnvConfig,
    wrappers: dict[str, dict[str, Any]],
    num_envs: int,
    *,
    seed: int,
    stream: str,
    device: torch.device | str,
    with_actions: tuple[int, ...],
) -> Envs:
    raise NotImplementedError


def film_maker(
    config: EnvConfig, wrappers: dict[str, dict[str, Any]], render_mode: str | None
) -> Callable[[], gym.Env] | None:
    return None
