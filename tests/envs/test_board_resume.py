"""Board games resume exactly, opponents and all, also where an illegal move is an error."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rlkit.config import EnvConfig
from rlkit.envs.engines import make_envs
from rlkit.types import Decision, Envs
from tests.envs.needs import needs

needs("pyspiel")


def advance(envs: Envs, steps: int, random: torch.Generator) -> list[torch.Tensor]:
    """Random legal moves."""
    seen = []
    for _ in range(steps):
        mask = envs.obs["action_mask"]
        envs.send(Decision(torch.multinomial(mask.float(), 1, generator=random)))
        step = envs.recv()
        seen += [step.obs["board"].clone(), step.reward.clone()]
    return seen


@pytest.mark.parametrize("opponent", ["random", "mcts"])
@pytest.mark.parametrize("color", ["black", "random"])
def test_a_run_stands_again_where_its_games_stood(opponent: str, color: str) -> None:
    kwargs = {"size": 5, "illegal": "error", "opponent": opponent, "simulations": 20, "color": color}
    config = EnvConfig(id="Hex5x5-v0", num_envs=4, kwargs=kwargs)

    def lanes() -> Any:
        return make_envs(config, {}, seed=5, engine="sync")

    for stop in range(20, 40):
        one, other = lanes(), lanes()
        one.reset()
        advance(one, stop, torch.Generator().manual_seed(0))
        other.load_state_dict(one.state_dict())
        assert other.resume_inexact is None
        a, b = (advance(envs, 30, torch.Generator().manual_seed(1)) for envs in (one, other))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
