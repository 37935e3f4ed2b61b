"""The pixel games: rules by hand-written players, every observation, frames; MiniGrid and MinAtar adapted."""

from __future__ import annotations

import importlib.util
import itertools
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import rlkit
from rlkit.config import EnvConfig
from rlkit.envs import catalog
from rlkit.envs.engines import make_envs
from rlkit.envs.factory import EnvMaker
from rlkit.envs.groups import pygame as group
from rlkit.envs.pixel.catcher import Catcher
from rlkit.envs.pixel.flappy_bird import FlappyBird
from rlkit.envs.pixel.game import PixelGame, grey
from rlkit.envs.pixel.pong import PixelPong
from rlkit.errors import UserError
from rlkit.nets.encoders import is_image
from rlkit.types import Decision

GAMES = {"Catcher-v0": Catcher, "FlappyBird-v0": FlappyBird, "PixelPong-v0": PixelPong}
EXTRAS = (
    "MiniGrid-Empty-5x5-v0",
    "MiniGrid-DoorKey-8x8-v0",
    "BabyAI-GoToObj-v0",
    *(f"MinAtar/{game}-v1" for game in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")),
)
ALL = (*GAMES, *EXTRAS)


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def here(env_id: str) -> None:
    if catalog.group_of(env_id).missing(env_id):  # type: ignore[union-attr]
        pytest.skip(f"{env_id} is not installed")


def made(env_id: str, **kwargs: Any) -> gym.Env:
    here(env_id)
    catalog.prepare(env_id)
    return gym.make(env_id, disable_env_checker=True, **kwargs)


# ---------------------------------------------------------------------- players


def catcher(obs: np.ndarray) -> int:
    return 0 if abs(obs[3]) < 0.03 else 1 + int(obs[3] > 0)


def flyer(obs: np.ndarray) -> int:
    return int(obs[3] < -0.07)


def tennis(obs: np.ndarray) -> int:
    return 0 if abs(obs[6]) < 0.02 else 1 + int(obs[6] > 0)


PLAYERS = {"Catcher-v0": catcher, "FlappyBird-v0": flyer, "PixelPong-v0": tennis}


def total(env: gym.Env, player: Any, seed: int) -> float:
    obs, _ = env.reset(seed=seed)
    result, ended = 0.0, False
    while not ended:
        obs, reward, terminated, truncated, _ = env.step(player(obs))
        result, ended = result + float(reward), terminated or truncated
    return result


@pytest.mark.parametrize("env_id", GAMES)
def test_a_good_player_reaches_the_threshold_and_a_random_one_loses(env_id: str) -> None:
    env, random = made(env_id, obs="state"), np.random.default_rng(0)
    good = [total(env, PLAYERS[env_id], seed) for seed in range(10)]
    bad = [total(env, lambda _: int(random.integers(actions(env))), seed) for seed in range(10)]
    assert np.mean(bad) < 0
    assert np.mean(good) >= env.spec.reward_threshold  # type: ignore[union-attr,operator]


def actions(env: gym.Env) -> int:
    return int(env.action_space.n)  # type: ignore[attr-defined]


# ---------------------------------------------------------------------- rules


def test_a_fruit_caught_pays_and_a_fruit_missed_costs_a_life() -> None:
    game = Catcher(obs="state", lives=2)
    game.reset(seed=0)
    seen = []
    for paddle, fruit in ((30.0, 33.0), (0.0, 40.0), (30.0, 24.5), (30.0, 23.5)):
        game._paddle, game._x, game._y = paddle, fruit, 68.0
        _, reward, over, _, _ = game.step(0)
        seen.append((reward, over))
    assert seen == [(1.0, False), (-1.0, False), (1.0, False), (-1.0, True)]


def test_every_course_of_pipes_can_be_flown() -> None:
    """40 pipes on 20 seeds, and the hardest course there is: from the highest gap to the lowest and back."""
    games = [FlappyBird(obs="state") for _ in range(21)]
    extremes = itertools.cycle((10.0, 42.0))
    games[20]._gap = lambda: next(extremes)  # type: ignore[method-assign]
    for seed, game in enumerate(games):
        obs, _ = game.reset(seed=seed)
        passed, over = 0.0, False
        while passed < 40 and not over:
            obs, reward, over, _, _ = game.step(flyer(obs))
            passed += reward
        assert (seed, passed, over) == (seed, 40.0, False)


@pytest.mark.parametrize("action", [0, 1])
def test_a_bird_that_only_falls_or_only_rises_crashes(action: int) -> None:
    game = FlappyBird(obs="state")
    game.reset(seed=0)
    rewards, over = [], False
    while not over:
        _, reward, over, _, _ = game.step(action)
        rewards.append(reward)
    assert rewards == [0.0] * (len(rewards) - 1) + [-1.0]
    assert len(rewards) < 25


def test_a_bird_crashes_into_a_pipe_but_not_into_its_gap() -> None:
    for top, over in ((30.0, False), (50.0, True), (1.0, True)):
        game = FlappyBird(obs="state")
        game.reset(seed=0)
        game._pipes[0] = [20.0, top]  # around the bird, which is 42 high
        assert game.step(0)[2] is over


def test_a_point_goes_to_who_played_the_ball_past_the_other() -> None:
    game = PixelPong(obs="state", points=2)
    game.reset(seed=0)
    seen = []
    for x, velocity in ((1.0, -3.0), (81.0, 3.0), (1.0, -3.0)):
        game._x, game._vx, game._y, game._vy = x, velocity, 5.0, 0.0
        _, reward, over, _, _ = game.step(0)
        seen.append((reward, over))
    assert seen == [(1.0, False), (-1.0, False), (1.0, True)]


def test_a_paddle_sends_the_ball_back_the_steeper_the_further_from_its_centre() -> None:
    game = PixelPong(obs="state")
    game.reset(seed=0)
    for height, steep in ((42.0 - 1.5, 0.0), (42.0 - 1.5 + 4.75, 1.5), (42.0 - 1.5 - 4.75, -1.5)):
        game._me, game._x, game._vx, game._y, game._vy = 34.0, 72.0, 3.0, height, 0.0
        game.step(0)
        assert (game._vx, game._vy) == (-3.0, pytest.approx(steep))


# ---------------------------------------------------------------------- observations


@pytest.mark.parametrize("env_id", GAMES)
@pytest.mark.parametrize("obs", ["pixels", "grey", "state"])
def test_the_checker_is_content(env_id: str, obs: str) -> None:
    check_env(made(env_id, obs=obs).unwrapped, skip_render_check=True)


@pytest.mark.parametrize("env_id", EXTRAS)
def test_the_checker_is_content_with_what_others_wrote_behind_our_adapters(env_id: str) -> None:
    env = made(env_id)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version")
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize("game", GAMES.values())
def test_the_three_observations_tell_of_the_same_game(game: type[PixelGame]) -> None:
    color, dull, told = game(obs="pixels"), game(obs="grey"), game(obs="state")
    random = np.random.default_rng(0)
    for env in (color, dull, told):
        env.reset(seed=4)
    for _ in range(40):
        action = int(random.integers(game.actions))
        image, reward, over, _, _ = color.step(action)
        shades, *same = dull.step(action)
        state, *again = told.step(action)
        assert same[:2] == again[:2] == [reward, over]
        weighed = image.astype(float) @ (0.299, 0.587, 0.114)
        assert np.abs(weighed - shades).max() <= 1
        assert np.allclose(state, np.clip(color.state(), -1, 1))
        if over:
            break


@pytest.mark.parametrize("game", GAMES.values())
def test_everything_stands_out_in_grey(game: type[PixelGame]) -> None:
    env = game()
    env.reset(seed=0)
    shades = {grey(shape.color) for shape in [*env.scenery(), *env.shapes()]}
    assert min(abs(shade - grey(env.background)) for shade in shades) >= 40


def test_the_ball_is_as_large_wherever_it_is() -> None:
    game = PixelPong(obs="grey")
    game.reset(seed=0)
    for place in (20.0, 20.3, 20.5, 21.5, 22.7):
        game._x = game._y = place
        assert (game._observe() == 255).sum() == 9


@pytest.mark.parametrize("preset", ["flappy_bird", "pixel_pong"])
def test_the_presets_show_velocity_by_four_grey_frames(preset: str) -> None:
    config = rlkit.compose([f"env={preset}"])
    envs = make_envs(config.env, config.wrappers, seed=0)
    try:
        leaf = envs.obs_spec.leaves[0]
        assert (leaf.shape, leaf.stack, is_image(leaf)) == ((4, 84, 84), 4, True)
        envs.reset()
        for _ in range(4):
            envs.send(Decision(torch.zeros((1, 1), dtype=torch.int64)))
            step = envs.recv()
        frames = next(iter(step.obs.values()))[0]
        assert all(not torch.equal(frames[i], frames[i + 1]) for i in range(3))
    finally:
        envs.close()
    state = rlkit.compose([f"env={preset}", "env.kwargs.obs=state"])
    env = EnvMaker(state.env, state.wrappers)()
    assert env.reset(seed=0)[0].shape == (4, FlappyBird.features if preset == "flappy_bird" else 7)


@pytest.mark.parametrize("env_id", ALL)
def test_an_episode_is_decided_by_seed_and_actions_and_nothing_changes_later(env_id: str) -> None:
    runs = [played(made(env_id), 7), played(made(env_id), 7)]
    assert all(np.array_equal(*pair) for pair in zip(*runs, strict=True))


def played(env: gym.Env, seed: int) -> list[np.ndarray]:
    """What an episode of up to 100 steps returns, after steps of another; each observation as it came."""
    env.reset(seed=3)
    env.step(1)
    kept, random = [env.reset(seed=seed)[0]], np.random.default_rng(1)
    copies = [kept[0].copy()]
    for _ in range(100):
        obs, reward, terminated, truncated, _ = env.step(int(random.integers(actions(env))))
        assert env.observation_space.contains(obs)
        kept += [obs, np.array(reward)]
        copies += [obs.copy(), np.array(reward)]
        if terminated or truncated:
            break
    assert all(np.array_equal(a, b) for a, b in zip(kept, copies, strict=True))
    return kept


@pytest.mark.parametrize("env_id", [*GAMES, "MiniGrid-DoorKey-8x8-v0", "MinAtar/Breakout-v1"])
def test_another_seed_is_another_episode(env_id: str) -> None:
    env = made(env_id)
    episodes = [played(env, seed) for seed in range(4)]
    flat = [b"".join(np.ascontiguousarray(part).tobytes() for part in episode[:80]) for episode in episodes]
    assert len(set(flat)) >= 3  # a ball of Breakout has but two places to start


# ---------------------------------------------------------------------- frames


@pytest.mark.parametrize("env_id", ALL)
def test_frames_are_pictures_that_move(env_id: str) -> None:
    env = made(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    first: Any = env.render()
    before = first.copy()
    for _ in range(5):
        env.step(1)
    second: Any = env.render()
    assert first.dtype == np.uint8
    assert first.shape[2] == 3
    assert first.shape[0] % 2 == first.shape[1] % 2 == 0
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 1
    assert not np.array_equal(first, second)
    assert np.array_equal(first, before)


@pytest.mark.parametrize("env_id", GAMES)
def test_a_frame_shows_what_the_net_sees_and_the_score(env_id: str) -> None:
    env = made(env_id, render_mode="rgb_array")
    obs, _ = env.reset(seed=1)
    for _ in range(10):
        obs, *_ = env.step(0)
    frame: Any = env.render()
    small = frame.reshape(84, 4, 84, 4, 3).mean(axis=(1, 3))
    away = np.abs(small - obs).max(axis=2) > 60
    assert away[12:].mean() < 0.02  # rounded corners
    assert (frame[:36] == 255).all(axis=2).any()  # the score is white
    env.unwrapped.caption = lambda: "77"  # type: ignore[attr-defined]
    later: Any = env.render()
    assert not np.array_equal(later[:36], frame[:36])
    assert np.array_equal(later[36:], frame[36:])


@pytest.mark.parametrize("env_id", GAMES)
def test_a_window_is_opened_and_closed(env_id: str) -> None:
    import pygame

    env = made(env_id, render_mode="human")
    env.reset(seed=0)
    env.step(1)
    assert pygame.display.get_surface().get_size() == (336, 336)
    env.close()
    env.close()
    assert not pygame.display.get_init()


def test_frames_of_the_games_open_no_window() -> None:
    import pygame

    env = made("Catcher-v0", render_mode="rgb_array")
    env.reset(seed=0)
    env.render()
    assert not pygame.display.get_init() or pygame.display.get_surface() is None


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("Catcher-v0", {"obs": "sound"}),
        ("Catcher-v0", {"lives": 0}),
        ("PixelPong-v0", {"points": 0}),
        ("FlappyBird-v0", {"render_mode": "ansi"}),
        ("MinAtar/Breakout-v1", {"sticky": 2}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*render_mode='ansi'")  # Gymnasium's warning, before our error
def test_bad_arguments_are_said(env_id: str, kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        made(env_id, **kwargs).reset()


# ---------------------------------------------------------------------- MiniGrid and MinAtar


def test_packages_are_told_by_the_name_alone() -> None:
    ours = catalog.group_of("MiniGrid-Empty-5x5-v0")
    assert ours is not None
    assert ours.name == "pygame"
    assert ours.packages_of("BabyAI-GoToObj-v0") == ("minigrid",)
    assert ours.packages_of("MinAtar/Breakout-v1") == ("minatar",)
    assert ours.packages_of("Catcher-v0") == ()


@pytest.mark.parametrize("missing", ["minigrid", "minatar"])
def test_one_package_missing_leaves_the_rest(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def spec(name: str) -> Any:
        return None if name == missing else found(name)

    monkeypatch.setattr(group, "find_spec", spec)
    monkeypatch.setattr(catalog, "find_spec", spec)
    registry = {name: known for name, known in gym.registry.items() if not group.owns(name)}
    monkeypatch.setattr(gym, "registry", registry)
    monkeypatch.setattr("gymnasium.envs.registration.registry", registry)
    env_id = {"minigrid": "MiniGrid-Empty-5x5-v0", "minatar": "MinAtar/Breakout-v1"}[missing]
    group.register()
    assert set(GAMES) <= set(group.ids())
    assert not any(missing in group.packages(name) for name in group.ids())
    with pytest.raises(UserError, match=rf"needs {missing}: pip install '.*\[pygame\]'"):
        catalog.prepare(env_id)
    gym.make("Catcher-v0").reset(seed=0)


def test_the_view_of_a_grid_is_one_hot_and_the_mission_is_told() -> None:
    env = made("BabyAI-GoToObj-v0")
    obs, info = env.reset(seed=0)
    raw = env.unwrapped.gen_obs()  # type: ignore[attr-defined]
    kinds, colors, states = np.split(obs[:-4], np.cumsum([49 * 11, 49 * 6]))
    for part, levels, plane in ((kinds, 11, 0), (colors, 6, 1), (states, 4, 2)):
        assert np.array_equal(part.reshape(7, 7, levels).argmax(-1), raw["image"][..., plane])
        assert (part.reshape(49, levels).sum(axis=1) == 1).all()
    assert (obs[-4:].argmax(), obs[-4:].sum()) == (raw["direction"], 1)
    assert info["mission"] == raw["mission"]


def test_registering_twice_wraps_once_and_mazes_that_cannot_be_made_are_not_listed() -> None:
    here("MiniGrid-Empty-5x5-v0")
    for _ in range(2):
        group.register()
    env = made("MiniGrid-Empty-5x5-v0")
    assert str(env).count("GridView") == 1
    for name in (name for name in gym.registry if name.startswith("MiniGrid-WFC-")):
        if name in group.ids():
            gym.make(name).reset(seed=0)
        else:
            with pytest.raises(UserError, match="packed without"):
                gym.make(name)


def test_a_grid_is_the_same_in_worker_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here("MiniGrid-DoorKey-8x8-v0")
    monkeypatch.chdir(tmp_path)
    config, seen = EnvConfig(id="MiniGrid-DoorKey-8x8-v0", num_envs=2), []
    for engine in ("sync", "async"):
        envs = make_envs(config, {}, seed=5, engine=engine)
        try:
            seen.append([*envs.reset().obs.values()])
            for action in (0, 2, 1):
                envs.send(Decision(torch.full((2, 1), action)))
                seen[-1] += [*envs.recv().obs.values()]
        finally:
            envs.close()
    assert all(torch.equal(*pair) for pair in zip(*seen, strict=True))
    assert not torch.equal(seen[0][0][0], seen[0][1][1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Gymnasium takes version 0 for an old one
def test_version_0_of_minatar_has_every_action_and_version_1_those_that_count() -> None:
    assert [actions(made(f"MinAtar/Breakout-v{version}")) for version in (0, 1)] == [6, 3]


def test_the_first_sticky_action_of_an_episode_repeats_nothing() -> None:
    env = made("MinAtar/Breakout-v1", sticky=1.0)
    first, _ = env.reset(seed=0)
    env.step(1)
    env.unwrapped._game.last_action = 3  # type: ignore[attr-defined]
    again, _ = env.reset(seed=0)
    assert np.array_equal(first, again)
    assert np.array_equal(env.step(2)[0][..., 0], first[..., 0])  # the paddle stays
