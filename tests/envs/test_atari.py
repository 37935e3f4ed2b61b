"""Group 2: what the old names mean, and the standard preprocessing beside Gymnasium's."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from rlkit.config import EnvConfig
from rlkit.envs import catalog, engines
from rlkit.envs.factory import EnvMaker, probe
from rlkit.envs.groups import atari
from rlkit.envs.wrappers import RandomAction
from rlkit.envs.wrappers import atari as wrappers
from rlkit.errors import UserError
from rlkit.types import Decision
from tests.envs.needs import needs

needs("ale_py", "cv2")

STANDARD: dict[str, dict[str, Any]] = {
    name: {}
    for name in (
        "noop_reset",
        "max_and_skip",
        "episodic_life",
        "fire_reset",
        "grey_screen",
        "clip_reward",
        "frame_stack",
    )
}
GREY = {"obs_type": "grayscale"}
BREAKOUT = EnvConfig(id="BreakoutNoFrameskip-v4", kwargs=GREY)


def made(env_id: str, **kwargs: Any) -> Any:
    catalog.prepare(env_id)
    return gym.make(env_id, disable_env_checker=True, **kwargs)


# ---------------------------------------------------------------------- ids


@pytest.mark.parametrize("version", ["v0", "v4"])
@pytest.mark.parametrize("ram", ["", "-ram"])
@pytest.mark.parametrize(("kind", "frames"), [("", {2, 3, 4}), ("Deterministic", {4}), ("NoFrameskip", {1})])
def test_the_twelve_breakouts_mean_what_they_meant(
    kind: str, frames: set[int], ram: str, version: str
) -> None:
    env = made(f"Breakout{ram}{kind}-{version}")
    obs, info = env.reset(seed=0)
    assert obs.shape == ((128,) if ram else (210, 160, 3))
    assert obs in env.observation_space
    counted, before = set(), info["episode_frame_number"]
    for _ in range(60):
        info = env.step(0)[4]
        counted.add(info["episode_frame_number"] - before)
        before = info["episode_frame_number"]
    assert counted == frames
    ale = env.unwrapped.ale
    assert ale.getFloat("repeat_action_probability") == (0.25 if version == "v0" else 0.0)
    assert ale.getInt("max_num_frames_per_episode") == 108_000


def test_space_invaders_is_the_exception() -> None:
    assert made("SpaceInvadersDeterministic-v4").unwrapped._frameskip == 3
    assert made("SpaceInvaders-ramDeterministic-v0").unwrapped._frameskip == 3


def test_every_id_of_the_console_is_known_and_registered() -> None:
    atari.register()
    atari.register()
    registered = {name for name, spec in gym.registry.items() if str(spec.entry_point).startswith("ale_py")}
    assert registered == set(atari.ids())
    assert len(registered) == 848
    assert all(atari.owns(name) for name in registered)
    assert not any(atari.owns(name) for name in ("CartPole-v1", "Blackjack-v1", "ALE/Nothing-v5", "Go9x9-v0"))


def test_a_missing_package_is_named_with_the_line_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs ale_py: pip install 'rlkit-lab\[atari\]'"):
        catalog.prepare("Breakout-ramDeterministic-v0")


@pytest.mark.parametrize("env_id", ["Breakout-ram-v0", "PongDeterministic-v4"])
def test_gymnasium_finds_no_fault(env_id: str) -> None:
    check_env(made(env_id).unwrapped, skip_render_check=True)


# ---------------------------------------------------------------------- preprocessing


@pytest.mark.parametrize("game", ["Breakout", "Qbert", "DemonAttack"])
def test_the_newest_frame_is_that_of_gymnasium(game: str) -> None:
    """… after games that were over or left in the middle, too: Gymnasium loads the ROM at every reset."""
    env_id = f"{game}NoFrameskip-v4"
    some = {name: {} for name in ("noop_reset", "max_and_skip", "grey_screen", "frame_stack")}
    ours = EnvMaker(EnvConfig(id=env_id, kwargs=GREY), some)()
    theirs = gym.wrappers.AtariPreprocessing(made(env_id))
    random = np.random.default_rng(0)
    seen: list[np.ndarray] = []
    ends = 0
    obs, _ = ours.reset(seed=3)
    expected, _ = theirs.reset(seed=3)
    first = obs.copy()
    for t in range(480):
        np.testing.assert_array_equal(obs[-1], expected)
        seen.append(obs[-1])
        action = int(random.integers(4))
        obs, *mine = ours.step(action)
        expected, *yours = theirs.step(action)
        assert mine == yours  # info, too
        ends += mine[1]
        if mine[1] or (game != "Breakout" and t % 120 == 119):
            obs, _ = ours.reset(seed=100 + t)
            expected, _ = theirs.reset(seed=100 + t)
    assert len(np.unique(np.stack(seen), axis=0)) > 100
    assert all(np.array_equal(first[0], row) for row in first)
    assert game != "Breakout" or ends >= 2


def test_the_rom_is_loaded_once_unless_the_console_draws_from_the_seed() -> None:
    def loads(env_id: str) -> int:
        env: Any = made(env_id)
        load, calls = env.unwrapped.load_game, []
        env.unwrapped.load_game = lambda: (calls.append(1), load())
        env = wrappers.NoopReset(env)
        for seed in range(3):
            env.reset(seed=seed)
        return len(calls)

    assert loads("BreakoutNoFrameskip-v4") == 1
    assert loads("BreakoutNoFrameskip-v0") == 3


def test_sticky_actions_are_decided_by_the_seed() -> None:
    env = EnvMaker(EnvConfig(id="BreakoutNoFrameskip-v0", kwargs=GREY), STANDARD)()

    def episode(seed: int) -> np.ndarray:
        env.reset(seed=seed)
        return np.stack([env.step(2 + t % 2)[0][-1] for t in range(30)])

    first, other = episode(5), episode(6)
    np.testing.assert_array_equal(first, episode(5))
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("limit", [401, 402, 403, 404])
def test_frames_that_nobody_looks_at_change_nothing(limit: int) -> None:
    """At the frame limit the successor is what drawing every frame gives: agents bootstrap from it."""
    env_id, kwargs = "PongNoFrameskip-v4", GREY | {"max_num_frames_per_episode": limit}
    quick, slow = (wrappers.MaxAndSkip(made(env_id, **kwargs)) for _ in range(2))
    assert quick._blind is not None
    slow._blind = None
    random = np.random.default_rng(limit)
    quick.reset(seed=0), slow.reset(seed=0)
    truncated = False
    while not truncated:
        action = int(random.integers(6))
        expected, found = slow.step(action), quick.step(action)
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[1:] == expected[1:]
        truncated = found[3]
    assert found[4]["episode_frame_number"] == limit


def test_a_wrapper_that_counts_frames_beneath_counts_all_of_them() -> None:
    env = wrappers.MaxAndSkip(gym.wrappers.TimeLimit(made("BreakoutNoFrameskip-v4", **GREY), 10))
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(3)] == [False, False, True]


def test_noop_starts_differ_by_seed_and_stay_in_range() -> None:
    env = EnvMaker(BREAKOUT, {"noop_reset": {"noop_max": 5}})()
    counts = [env.reset(seed=seed)[1]["episode_frame_number"] for seed in range(16)]
    assert set(counts) == {1, 2, 3, 4, 5}
    assert counts == [env.reset(seed=seed)[1]["episode_frame_number"] for seed in range(16)]


@pytest.mark.parametrize(("env_id", "frames"), [("ALE/Breakout-v5", "4"), ("Breakout-v4", "2 to 4"),
                                            ("BreakoutDeterministic-v0", "4")])  # fmt: skip
def test_a_second_frame_skip_is_refused(env_id: str, frames: str) -> None:
    message = rf"already skips {frames} frames: use BreakoutNoFrameskip-v4 or env.kwargs.frameskip=1"
    with pytest.raises(UserError, match=message):
        probe(EnvConfig(id=env_id, kwargs=GREY), STANDARD)


def test_what_does_not_fit_says_so() -> None:
    with pytest.raises(UserError, match="obs_type=grayscale"):
        probe(EnvConfig(id="PongNoFrameskip-v4"), STANDARD)
    with pytest.raises(UserError, match="compares images"):
        probe(EnvConfig(id="Pong-ramNoFrameskip-v4"), {"max_and_skip": {}})
    for name in ("noop_reset", "episodic_life", "fire_reset"):
        with pytest.raises(UserError, match=f"{name} is for Atari games"):
            probe(EnvConfig(id="CartPole-v1"), {name: {}})


class Scripted(gym.Env):
    """A console of which only the flags matter: frame k ends as `ends` says, `deaths` cost one of 3 lives."""

    observation_space = gym.spaces.Box(0, 255, (2, 2), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def __init__(
        self, ends: set[int], meanings: tuple[str, ...] = ("NOOP", "FIRE"), deaths: tuple[int, ...] = ()
    ) -> None:
        self.ends, self.meanings, self.deaths = ends, meanings, deaths
        self.frame, self.resets, self.pressed = 0, 0, 0
        self.ale = self

    def lives(self) -> int:
        return 3 - sum(frame <= self.frame for frame in self.deaths)

    def get_action_meanings(self) -> list[str]:
        return list(self.meanings)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.resets += 1
        return self._obs(), {}

    def step(self, action: Any) -> Any:
        self.frame += 1
        self.pressed += int(action == 1)
        return self._obs(), 1.0, self.frame in self.ends, False, {}

    def _obs(self) -> np.ndarray:
        return np.full((2, 2), (10 * self.frame + self.resets) % 256, dtype=np.uint8)


def test_fire_is_one_frame_and_its_outcome_is_what_is_seen() -> None:
    game = Scripted(set())
    obs, _ = wrappers.FireReset(wrappers.MaxAndSkip(game)).reset(seed=0)
    assert (game.pressed, game.frame, int(obs[0, 0])) == (1, 1, 11)


def test_a_game_that_ends_at_fire_begins_again() -> None:
    game = Scripted({1})
    obs, _ = wrappers.FireReset(game).reset(seed=0)
    assert (game.resets, int(obs[0, 0])) == (2, 12)


def test_a_game_without_fire_is_left_alone() -> None:
    game = Scripted(set(), ("NOOP", "UP"))
    wrappers.FireReset(game).reset(seed=0)
    assert game.frame == 0
    assert made("MsPacmanNoFrameskip-v4").unwrapped.get_action_meanings().count("FIRE") == 0


def test_fire_is_pressed_after_every_lost_life() -> None:
    game = Scripted({40}, deaths=(6, 15, 39))
    env = wrappers.FireReset(wrappers.MaxAndSkip(game))
    env.reset(seed=0)  # frame 1
    told = [env.step(0)[4].get("action_executed") for _ in range(10)]
    assert told == [None, None, 1, None, 1, None, None, None, None, None]  # no life left: nothing to begin
    assert game.pressed == 1 + 4 + 4


def test_fire_is_not_pressed_again_where_it_is_not_wanted_or_a_new_game_began() -> None:
    game = Scripted(set(), deaths=(6,))
    env = wrappers.FireReset(wrappers.MaxAndSkip(game), each_life=False)
    env.reset(seed=0)
    assert not any("action_executed" in env.step(0)[4] for _ in range(5))
    game = Scripted(set(), deaths=(6,))
    env = wrappers.FireReset(wrappers.MaxAndSkip(game))
    env.reset(seed=0)
    env.step(0), env.step(0)
    env.reset(seed=1)
    assert "action_executed" not in env.step(0)[4]


def test_what_a_wrapper_further_in_really_did_is_told() -> None:
    env = wrappers.FireReset(RandomAction(Scripted(set(), deaths=(3,)), epsilon=1.0))
    env.reset(seed=0)
    env.step(0), env.step(0)
    told = []
    for seed in range(8):
        env.env.reset(seed=seed)
        env._waits = True
        told.append(env.step(0)[4]["action_executed"])
    assert set(told) == {0, 1}


def test_a_skip_ends_where_the_game_does() -> None:
    game = Scripted({6})
    env = wrappers.MaxAndSkip(game)
    env.reset(seed=0)
    assert env.step(0)[1:3] == (4.0, False)
    assert env.step(0)[1:3] == (2.0, True)
    assert game.frame == 6


# ---------------------------------------------------------------------- lives at the vector boundary


@pytest.mark.parametrize("engine", ["sync", "ale"])
def test_a_lost_life_ends_nothing_but_the_row(engine: str) -> None:
    envs = engines.make_envs(BREAKOUT, STANDARD, seed=1, num_envs=2, engine=engine)
    envs.reset()
    random = np.random.default_rng(0)
    lost, episodes = 0, []
    before: set[int] = set()  # lanes whose game was over at the step before
    for _ in range(400):
        envs.send(Decision(torch.from_numpy(random.integers(4, size=(2, 1)))))
        step = envs.recv()
        finished = envs.drain()
        over = {episode.lane for episode in finished}
        episodes += finished
        for lane in set(step.ended_lanes or ()) - over:
            lost += 1
            assert step.terminated[lane]
            assert not step.truncated[lane]
            assert lane not in (step.begun_lanes or ())
            assert torch.equal(step.next_obs["obs"][lane], step.obs["obs"][lane])
        assert set(step.begun_lanes or ()) == (before if engine == "ale" else over)  # ale begins a step later
        assert step.valid.tolist() == [engine != "ale" or lane not in before for lane in range(2)]
        before = over
    envs.close()
    assert lost >= 4 * len(episodes)
    assert episodes


@pytest.mark.parametrize("engine", ["sync", "ale"])
def test_who_never_fires_loses_all_lives_all_the_same(engine: str) -> None:
    """Breakout waits for FIRE: an evaluation of a policy that stands still would last 27,000 steps."""
    evaluated = {
        name: told for name, told in STANDARD.items() if name not in ("episodic_life", "clip_reward")
    }
    envs = engines.make_envs(BREAKOUT, evaluated, seed=1, num_envs=2, engine=engine)
    envs.reset()
    fired, episodes = 0, []
    for _ in range(130):
        envs.send(Decision(torch.zeros(2, 1, dtype=torch.int64)))
        step = envs.recv()
        finished = envs.drain()
        assert set(step.ended_lanes or ()) == {episode.lane for episode in finished}  # a life is no end
        fired += int((step.action == 1).sum())
        episodes += finished
    envs.close()
    assert [episode.length for episode in episodes] == [pytest.approx(124, abs=6)] * 2
    assert fired == 2 * 4


def test_evaluation_drops_life_and_clip() -> None:
    env = EnvMaker(BREAKOUT, STANDARD, training=False)()
    names = []
    while isinstance(env, gym.Wrapper):
        names.append(type(env).__name__)
        env = env.env
    assert names[:5] == ["FrameStack", "GreyScreen", "FireReset", "MaxAndSkip", "NoopReset"]
