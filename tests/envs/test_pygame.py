"""The pixel games: rules by hand-written players, both observations, frames; MiniGrid and MinAtar adapted."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rlkit.envs import catalog

GAMES = ("Catcher-v0", "FlappyBird-v0", "PixelPong-v0")


def made(env_id: str, **kwargs: Any) -> gym.Env:
    if catalog.group_of(env_id).missing(env_id):  # type: ignore[union-attr]
        pytest.skip(f"{env_id} is not installed")
    catalog.prepare(env_id)
    return gym.make(env_id, disable_env_checker=True, **kwargs)


def catcher(obs: np.ndarray) -> int:
    return 0 if abs(obs[3]) < 0.03 else 1 + int(obs[3] > 0)


def flyer(obs: np.ndarray) -> int:
    return int(obs[3] < -0.07)


def tennis(obs: np.ndarray) -> int:
    return 0 if abs(obs[6]) < 0.03 else 1 + int(obs[6] > 0)


PLAYERS = {"Catcher-v0": catcher, "FlappyBird-v0": flyer, "PixelPong-v0": tennis}


def total(env: gym.Env, player: Any, seed: int) -> float:
    obs, _ = env.reset(seed=seed)
    result, ended = 0.0, False
    while not ended:
        obs, reward, terminated, truncated, _ = env.step(player(obs))
        result, ended = result + float(reward), terminated or truncated
    return result


@pytest.mark.parametrize("env_id", GAMES)
@pytest.mark.parametrize("obs", ["pixels", "state"])
def test_the_checker_is_content(env_id: str, obs: str) -> None:
    check_env(made(env_id, obs=obs).unwrapped, skip_render_check=True)


@pytest.mark.parametrize("env_id", GAMES)
def test_a_good_player_beats_a_random_one(env_id: str) -> None:
    env, random = made(env_id, obs="state"), np.random.default_rng(0)
    threshold = env.spec.reward_threshold  # type: ignore[union-attr]
    good = [total(env, PLAYERS[env_id], seed) for seed in range(3)]
    bad = [total(env, lambda _: int(random.integers(env.action_space.n)), seed) for seed in range(3)]  # type: ignore[attr-defined]
    assert max(bad) < 0 < min(good)
    if env_id == "Catcher-v0":
        assert min(good) >= threshold


@pytest.mark.parametrize("env_id", [*GAMES, "MiniGrid-Empty-5x5-v0", "MinAtar/Breakout-v1"])
def test_an_episode_is_decided_by_seed_and_actions_and_nothing_changes_later(env_id: str) -> None:
    runs = []
    for env in (made(env_id), made(env_id)):
        env.reset(seed=3)
        env.step(1)
        kept, random = [env.reset(seed=7)[0]], np.random.default_rng(1)
        copies = [kept[0].copy()]
        for _ in range(60):
            obs, _, terminated, truncated, _ = env.step(int(random.integers(env.action_space.n)))  # type: ignore[attr-defined]
            assert env.observation_space.contains(obs)
            kept.append(obs)
            copies.append(obs.copy())
            if terminated or truncated:
                break
        assert all(np.array_equal(a, b) for a, b in zip(kept, copies, strict=True))
        runs.append(np.array(kept))
    assert np.array_equal(*runs)


@pytest.mark.parametrize("env_id", [*GAMES, "MiniGrid-Empty-5x5-v0", "MinAtar/Breakout-v1"])
def test_frames_are_pictures_that_move(env_id: str) -> None:
    env = made(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    first: Any = env.render()
    env.step(1)
    second: Any = env.render()
    assert first.dtype == np.uint8
    assert first.shape[2] == 3
    assert first.shape[0] % 2 == first.shape[1] % 2 == 0
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 1
    assert not np.array_equal(first, second)


def test_frames_of_the_games_open_no_window() -> None:
    import pygame

    env = made("Catcher-v0", render_mode="rgb_array")
    env.reset(seed=0)
    env.render()
    assert not pygame.display.get_init() or pygame.display.get_surface() is None


@pytest.mark.parametrize("kwargs", [{"obs": "sound"}, {"lives": 0}])
def test_bad_arguments_are_said(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        made("Catcher-v0", **kwargs)


def test_packages_are_told_by_the_name_alone() -> None:
    group = catalog.group_of("MiniGrid-Empty-5x5-v0")
    assert group is not None
    assert group.name == "pygame"
    assert group.packages_of("BabyAI-GoToObj-v0") == ("minigrid",)
    assert group.packages_of("MinAtar/Breakout-v1") == ("minatar",)
    assert group.packages_of("Catcher-v0") == ()
    group.module.register()
    assert ("MinAtar/Breakout-v1" in gym.registry) == (find_spec("minatar") is not None)
