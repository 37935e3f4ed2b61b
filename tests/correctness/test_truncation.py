"""Truncation is not termination: for every agent, in every autoreset mode, by learning it."""

from __future__ import annotations

import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import TimeLimit

from correctness.harness import (
    GAMMA,
    MODES,
    STEPS,
    check_chain,
    check_clock,
    check_no_temptation,
    check_values,
    dqn,
    ppo,
    train,
)
from rlkit.agents.dqn import DQNConfig
from rlkit.agents.ppo import PPOConfig
from rlkit.envs.probe import Clock

LEARNERS = [
    pytest.param(dqn(), id="dqn"),
    pytest.param(dqn(n_step=3), id="dqn-3-step"),
    pytest.param(ppo(), id="ppo"),
]
ENDS = [pytest.param(True, id="truncated"), pytest.param(False, id="terminated")]


@pytest.mark.parametrize("truncate", ENDS)
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("config", LEARNERS)
def test_clock(config: DQNConfig | PPOConfig, mode: AutoresetMode, truncate: bool) -> None:
    """Reward 1 for ever is worth 1 / (1 − gamma); reward 1 for k steps the finite sum."""
    check_clock(config, truncate, mode)


@pytest.mark.parametrize("truncate", ENDS)
@pytest.mark.parametrize("config", LEARNERS)
def test_clock_in_one_lane(config: DQNConfig | PPOConfig, truncate: bool) -> None:
    check_clock(config, truncate, lanes=1)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("config", LEARNERS)
def test_bootstrap_from_the_final_observation(config: DQNConfig | PPOConfig, mode: AutoresetMode) -> None:
    check_chain(config, mode)


@pytest.mark.parametrize("config", LEARNERS)
def test_both_flags_at_once_are_a_termination(config: DQNConfig | PPOConfig) -> None:
    """The clock runs out in the very step in which the MDP ends: there is nothing to bootstrap from."""
    agent = train(lambda: TimeLimit(Clock(5, truncate=False), 5), config, STEPS[config.name])
    check_values(agent, Clock(5, truncate=False).values(GAMMA), tolerance=0.25)


@pytest.mark.parametrize("truncate", ENDS)
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED], ids=lambda m: m.value)
@pytest.mark.parametrize("config", LEARNERS[1:])
def test_nothing_leaks_between_episodes(
    config: DQNConfig | PPOConfig, mode: AutoresetMode, truncate: bool
) -> None:
    check_no_temptation(config, truncate, mode)
