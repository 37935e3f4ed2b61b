"""The diagnosis of an environment of one's own finds everything at once, and nothing where all is well."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rlkit.envs.checking import diagnose


class Old(gym.Env):
    observation_space = spaces.Box(-1.0, 1.0, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.s = np.zeros(2)

    def reset(self) -> Any:  # type: ignore[override]
        self.s = np.random.default_rng().normal(size=2) * 5
        return self.s

    def step(self, action: Any) -> Any:
        self.s += 1
        return self.s, "x", 0, {}


def test_all_faults_are_told_with_their_line() -> None:
    found = diagnose(f"{__name__}:Old")
    told = " | ".join(f.what for f in found)
    for fault in (
        "render_modes", "takes no seed", "observation alone", "float64, its space float32",
        "outside its space",
        "4 values", "flag is int", "reward is str", "changes after it was returned", "with one seed",
    ):  # fmt: skip
        assert fault in told
    where = {f.what[:4]: f.where for f in found}["step"]
    line = Old.step.__code__.co_firstlineno
    assert where.startswith("Old.step, ")
    assert where.endswith(f"test_checking.py:{line}")
    assert all(f.fix for f in found)


@pytest.mark.parametrize("name", ["CartPole-v1", "Taxi-v4", "Blackjack-v1", "Pendulum-v1"])
def test_gymnasiums_own_are_fine(name: str) -> None:
    assert diagnose(name) == []
