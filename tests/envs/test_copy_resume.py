"""Rising lengths: the level travels in the seed, so a run stands again where its curriculum stood."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rlkit.config import EnvConfig
from rlkit.envs.engines import make_envs
from rlkit.envs.factory import EnvMaker
from rlkit.types import Decision, Envs, Tree


def copier(obs: Tree) -> torch.Tensor:
    """A perfect policy: write what you see, go right."""
    see = obs["obs"]
    return torch.stack([torch.ones_like(see), torch.ones_like(see), see.clamp(max=4)], dim=1)


def advance(envs: Envs, steps: int) -> list[Any]:
    seen: list[Any] = []
    for _ in range(steps):
        envs.send(Decision(copier(envs.obs)))
        step = envs.recv()
        seen += [step.obs["obs"].tolist(), step.reward.tolist()]
    return seen


@pytest.mark.parametrize("wrappers", [{}, {"random_action": {"epsilon": 0.02}}])
def test_a_run_stands_again_where_its_curriculum_stood(wrappers: dict[str, dict[str, Any]]) -> None:
    config = EnvConfig(id="Copy-v0", num_envs=3)

    def lanes() -> Any:
        return make_envs(config, wrappers, seed=5, engine="sync", with_actions=(0, 1, 2))

    one, other = lanes(), lanes()
    one.reset()
    advance(one, 203)
    state = one.state_dict()
    episodes = one.drain()
    other.reset()
    other.load_state_dict(state)
    assert other.resume_inexact is None
    assert advance(other, 300) == advance(one, 300)
    episodes += one.drain()
    assert max(e.seed >> 32 & 255 for e in episodes) >= 4
    env = EnvMaker(EnvConfig(id="Copy-v0"), wrappers)()
    for e in episodes[::7]:  # each can be played again, alone
        env.reset(seed=e.seed)
        rewards = [float(env.step(one.action_spec.to_env_single(row))[1]) for row in e.actions]
        assert sum(rewards) == e.reward_train
