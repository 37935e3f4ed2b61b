"""Probes of growing difficulty: the first that fails names the broken part."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import Space, spaces

from correctness.harness import GAMMA, Make, check_values, dqn, greedy_reward, ppo, train
from rlkit.agents.dqn import DQNConfig
from rlkit.agents.ppo import PPOConfig
from rlkit.envs.probe import Choice, Constant, Echo, Match, Sign, TwoStep

LEARNERS = [
    pytest.param(dqn(), id="dqn"),
    pytest.param(dqn(n_step=3), id="dqn-3-step"),
    pytest.param(ppo(), id="ppo"),
]

VALUES: list[tuple[Make, dict[float, float]]] = [
    (Constant, {0.0: 1.0}),
    (Sign, {-1.0: -1.0, 1.0: 1.0}),
    (TwoStep, {0.0: GAMMA, 1.0: 1.0}),
    (Choice, {0.0: 1.0}),
    (Match, {-1.0: 1.0, 1.0: 1.0}),
]

SPACES: dict[str, Space] = {
    "discrete": spaces.Discrete(4),
    "discrete-from-minus-one": spaces.Discrete(3, start=-1),
    "multidiscrete": spaces.MultiDiscrete([3, 2]),
    "multidiscrete-with-start": spaces.MultiDiscrete([[2, 3], [3, 2]], start=[[1, -2], [0, 5]]),
    "multibinary": spaces.MultiBinary(3),
    "box": spaces.Box(np.array([-1, 0], np.float32), np.array([3, 10], np.float32)),
    "tuple": spaces.Tuple((spaces.Discrete(3), spaces.Box(-2, 1, (1,), np.float32))),
    "nested-dict": spaces.Dict(
        {
            "hand": spaces.Dict({"grip": spaces.Discrete(3, start=2), "keys": spaces.MultiBinary(2)}),
            "walk": spaces.Tuple((spaces.Box(0, 4, (1,), np.float32), spaces.MultiDiscrete([2, 2]))),
        }
    ),
}


@pytest.mark.parametrize(("make", "values"), VALUES, ids=[make.__name__ for make, _ in VALUES])
@pytest.mark.parametrize("config", LEARNERS)
def test_values(config: DQNConfig | PPOConfig, make: Make, values: dict[float, float]) -> None:
    check_values(train(make, config, 1_000), values, tolerance=0.15)


@pytest.mark.parametrize("make", [Choice, Match])
@pytest.mark.parametrize("config", LEARNERS)
def test_best_actions(config: DQNConfig | PPOConfig, make: Make) -> None:
    assert greedy_reward(train(make, config, 1_000), make) == 1.0


@pytest.mark.parametrize("name", SPACES)
def test_ppo_repeats_the_observation_in_every_action_space(name: str) -> None:
    def make() -> Echo:
        return Echo(SPACES[name])

    assert greedy_reward(train(make, ppo(), 4_096, lanes=8), make) >= 0.9


@pytest.mark.parametrize("name", ["discrete", "discrete-from-minus-one"])
def test_dqn_repeats_the_observation(name: str) -> None:
    def make() -> Echo:
        return Echo(SPACES[name])

    assert greedy_reward(train(make, dqn(), 2_000, lanes=8), make) >= 0.9


@pytest.mark.parametrize("name", SPACES)
def test_repeating_is_not_easy(name: str) -> None:
    """An agent that has learnt nothing is far from the goal of the tests above."""

    def make() -> Echo:
        return Echo(SPACES[name])

    assert greedy_reward(train(make, ppo(), 8, lanes=8), make) < 0.8
