"""Group 5, Box2D: what a user of an old id is told, and that pictures are learnt from."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rlkit.config import EnvConfig
from rlkit.envs.factory import probe
from rlkit.errors import UserError
from rlkit.runs import Run
from tests.envs.needs import needs

needs("Box2D")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LunarLander-v2", "LunarLander-v3"),
        ("LunarLanderContinuous-v2", "LunarLanderContinuous-v3"),
        ("BipedalWalker-v2", "BipedalWalker-v3"),
        ("CarRacing-v2", "CarRacing-v3"),
    ],
)
def test_an_old_id_names_the_one_to_use(old: str, new: str) -> None:
    with pytest.raises(UserError, match=f"{old}: .*deprecated.*use `{new}`"):
        probe(EnvConfig(id=old), {})


def test_the_car_is_steered_from_pixels(short_run: Callable[..., Run]) -> None:
    run = short_run(
        "env=car_racing", "agent=ppo", "agent.horizon=16", "agent.minibatch_size=8", "agent.epochs=1",
        "trainer.total_steps=32", "net.cnn_features=16",
    )  # fmt: skip
    assert run.status == "done"
    assert any("loss/policy" in row for row in run.metrics())
