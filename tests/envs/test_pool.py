"""The engine `envpool`: the same tasks behind the same boundary, with the same statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlkit.config import EnvConfig
from rlkit.envs.engines import choose, make_envs
from rlkit.envs.pool import PoolLanes
from rlkit.errors import UserError
from rlkit.types import Decision, Envs
from tests.envs.needs import needs

needs("envpool")


def lean(obs: torch.Tensor) -> torch.Tensor:
    """A policy that balances a little: push to where the pole leans."""
    return (obs[:, 2] > 0).long()[:, None]


def returns(envs: Envs, episodes: int) -> np.ndarray:
    """Returns of the first `episodes` of every lane: equally many of each, or short ones would count more."""
    step = envs.reset()
    found: list[list[float]] = [[] for _ in range(envs.num_envs)]
    while min(map(len, found)) < episodes:
        envs.send(Decision(lean(step.obs["obs"])))
        step = envs.recv()
        for episode in envs.drain():
            found[episode.lane].append(episode.reward)
    envs.close()
    return np.asarray([row[:episodes] for row in found]).ravel()


def test_the_same_preset_gives_the_same_statistics() -> None:
    config = EnvConfig(id="CartPole-v1", num_envs=16)
    theirs = returns(make_envs(config, {}, seed=0, engine="envpool"), 12)
    ours = returns(make_envs(config, {}, seed=0, engine="sync"), 12)
    error = np.sqrt(theirs.var() / len(theirs) + ours.var() / len(ours))
    assert ours.std() > 1  # the policy does not always do equally well
    assert abs(theirs.mean() - ours.mean()) < 4 * error


def test_ends_and_resetting_rows_are_told() -> None:
    config = EnvConfig(id="CartPole-v1", num_envs=3, max_episode_steps=7)
    envs = make_envs(config, {}, seed=1, engine="envpool")
    step = envs.reset()
    lengths, invalid = [], 0
    for _ in range(200):
        envs.send(Decision(lean(step.obs["obs"])))
        step = envs.recv()
        invalid += int((~step.valid).sum())
        assert step.count == int(step.valid.sum())
        assert not step.terminated[~step.valid].any()
        assert step.reward[~step.valid].eq(0).all()
        episodes = envs.drain()
        assert [e.lane for e in episodes] == list(step.ended_lanes or ())
        lengths += [e.length for e in episodes]
        assert all(e.truncated and not e.terminated for e in episodes)
    assert set(lengths) == {7}
    assert invalid == len(lengths) == 3 * 25  # a row to reset in after each seven steps


def test_seeds_really_seed() -> None:
    config = EnvConfig(id="Pendulum-v1", num_envs=4)
    first = [make_envs(config, {}, seed=seed, engine="envpool").reset().obs["obs"] for seed in (0, 0, 1)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])
    assert len({tuple(row.tolist()) for row in first[0]}) == 4


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "HalfCheetah-v5"])
def test_it_is_what_envpools_own_step_gives(name: str) -> None:
    options = {"seed": 3, "max_episode_steps": 20}
    ours = PoolLanes(EnvConfig(id=name), 3, options)
    theirs = __import__("envpool").make(name, env_type="gymnasium", num_envs=3, **options)
    assert np.array_equal(ours.reset()[0], theirs.reset()[0])
    ours.action_space.seed(0)
    ends = 0
    for _ in range(50):
        action = ours.action_space.sample()
        one, other = ours.step(action), theirs.step(np.asarray(action, theirs.action_space.dtype))
        for mine, their in zip(one[:4], other[:4], strict=True):
            assert mine.dtype == their.dtype
            assert np.array_equal(mine, their)
        ends += int(one[2].sum() + one[3].sum())
    assert ends > 3
    ours.close()


def test_returned_arrays_never_change_later() -> None:
    venv = PoolLanes(EnvConfig(id="Pendulum-v1"), 3, {"seed": 3})
    kept = [venv.reset()[0]]
    copies = [kept[0].copy()]
    for _ in range(30):
        kept.append(venv.step(np.zeros((3, 1), np.float32))[0])
        copies.append(kept[-1].copy())
    assert all(np.array_equal(a, b) for a, b in zip(kept, copies, strict=True))
    assert not np.array_equal(copies[1], copies[2])


def test_actions_of_another_type_arrive() -> None:
    """EnvPool's MuJoCo takes float64, Gymnasium's float32."""
    envs = make_envs(EnvConfig(id="HalfCheetah-v5", num_envs=2), {}, seed=0, engine="envpool")
    first = envs.reset().obs["obs"].clone()
    envs.send(Decision(torch.full((2, 6), 0.5)))
    step = envs.recv()
    assert step.reward.isfinite().all()
    assert not torch.equal(step.obs["obs"], first)
    envs.close()


@pytest.mark.parametrize(
    ("config", "wrappers", "reason"),
    [
        (EnvConfig(id="CartPole-v1"), {"random_action": {}}, "no wrappers, and there is random_action"),
        (EnvConfig(id="FrozenLake-v1", kwargs={"is_slippery": False}), {}, "no env.kwargs, and there is is_"),
        (EnvConfig(id="Copy-v0"), {}, "serves the groups"),
        (EnvConfig(id="HalfCheetah-v4"), {}, "v5|serves the groups"),
    ],
)
def test_what_it_cannot_serve_is_refused(config: EnvConfig, wrappers: dict, reason: str) -> None:
    config.engine = "envpool"
    with pytest.raises(UserError, match=reason):
        choose(config, wrappers)


def test_auto_never_takes_it() -> None:
    assert choose(EnvConfig(id="HalfCheetah-v5", num_envs=64), {}).name != "envpool"
