"""The engine `ale`: the same frames, rewards, ends and records as our wrapper list on `sync`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rlkit.config import EnvConfig
from rlkit.envs import ale, engines
from rlkit.types import Decision, Envs, Episode, TimeStep
from tests.envs.needs import needs

needs("ale_py", "cv2")

Wrappers = dict[str, dict[str, Any]]
STANDARD: Wrappers = {
    "noop_reset": {"noop_max": 30},
    "max_and_skip": {"skip": 4},
    "episodic_life": {},
    "fire_reset": {},
    "grey_screen": {"height": 84, "width": 84},
    "clip_reward": {"low": -1.0, "high": 1.0},
    "frame_stack": {"size": 4},
}
CALM = STANDARD | {"noop_reset": {"noop_max": 0}}  # nothing left to chance


def game(name: str, **kwargs: Any) -> EnvConfig:
    return EnvConfig(id=f"{name}NoFrameskip-v4", kwargs={"obs_type": "grayscale"} | kwargs)


def made(name: str, engine: str, wrappers: Wrappers, lanes: int = 2, seed: int = 0, **kwargs: Any) -> Any:
    return engines.make_envs(game(name, **kwargs), wrappers, seed=seed, num_envs=lanes, engine=engine)


def play(envs: Envs, actions: np.ndarray) -> TimeStep:
    envs.send(Decision(torch.from_numpy(actions[:, None])))
    return envs.recv()


def records(episodes: list[Episode]) -> list[tuple[Any, ...]]:
    return [
        (e.id, e.lane, e.seed, e.reward, e.reward_train, e.length, e.terminated, e.truncated, e.last_step)
        for e in episodes
    ]


# ---------------------------------------------------------------------- equal to the wrappers


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [("Breakout", {}), ("SpaceInvaders", {}), ("Qbert", {}), ("Pong", {"max_num_frames_per_episode": 400})],
)
def test_every_step_is_that_of_the_wrappers(name: str, kwargs: dict[str, Any]) -> None:
    # Without FIRE at the start Pong's 400 frames are 100 steps: the limit falls on the last frame of a step.
    calm = {key: CALM[key] for key in CALM if (name, key) != ("Pong", "fire_reset")}
    ours, theirs = (made(name, engine, calm, **kwargs) for engine in ("sync", "ale"))
    assert theirs.obs_spec.leaves == ours.obs_spec.leaves
    theirs._seeded = True  # some games remember the last one; a seeded reset loads the cartridge again
    mine, yours = ours.reset(), theirs.reset()
    assert torch.equal(mine.obs["obs"], yours.obs["obs"])
    assert torch.equal(yours.obs["obs"][:, 0], yours.obs["obs"][:, 3])  # the stack repeats its first frame
    random = np.random.default_rng(0)
    ended: set[str] = set()
    for _ in range(500):
        actions = random.integers(ours.action_spec.space.n, size=2)
        mine, yours = play(ours, actions), play(theirs, actions)
        for flag in ("action", "reward", "terminated", "truncated", "valid"):
            assert torch.equal(getattr(mine, flag), getattr(yours, flag)), flag
        for lanes in ("truncated_lanes", "ended_lanes", "begun_lanes"):
            assert getattr(mine, lanes) == getattr(yours, lanes), lanes
        assert torch.equal(mine.obs["obs"], yours.obs["obs"])
        # Where a game is over, ale-py's last picture is an old one: nobody bootstraps from it.
        useful = [lane for lane in range(2) if lane not in mine.begun_lanes or lane in mine.truncated_lanes]
        assert torch.equal(mine.next_obs["obs"][useful], yours.next_obs["obs"][useful])
        assert torch.equal(mine.next_obs["obs"][:, :-1], yours.next_obs["obs"][:, :-1])
        told = records(theirs.drain())
        assert records(ours.drain()) == told
        ended |= {"terminated" if row[6] else "truncated" for row in told}
    assert ended == ({"truncated"} if name == "Pong" else {"terminated"})
    ours.close(), theirs.close()


def test_the_frame_limit_cuts_at_the_same_step_wherever_it_falls() -> None:
    lengths = {}
    for engine in ("sync", "ale"):
        envs = made("Pong", engine, CALM, lanes=1, max_num_frames_per_episode=123)  # 1 + 4 × 30.5
        envs.reset()
        steps = [play(envs, np.array([k % 6])) for k in range(62)]
        lengths[engine] = [k for k, step in enumerate(steps, 1) if step.truncated.any()]
        assert not torch.equal(steps[30].next_obs["obs"][0, 3], steps[29].next_obs["obs"][0, 3])
        envs.close()
    assert lengths == {"sync": [31, 62], "ale": [31, 62]}


def test_records_keep_the_score_that_clipping_hides() -> None:
    envs = made("SpaceInvaders", "ale", STANDARD)
    envs.reset()
    random = np.random.default_rng(0)
    rewards, episodes = [], []
    for _ in range(500):
        rewards.append(play(envs, random.integers(6, size=2)).reward)
        episodes += envs.drain()
    assert set(torch.stack(rewards).unique().tolist()) == {0.0, 1.0}
    assert episodes
    assert all(e.reward >= 5 * e.reward_train > 0 for e in episodes)


@pytest.mark.parametrize("name", ["Breakout", "Pong"])
def test_games_begin_anew_beside_the_others_next_step(name: str) -> None:
    """The row in which a game begins is not valid, wherever its end came from; there is no other reset."""
    limit = {"max_num_frames_per_episode": 250} if name == "Pong" else {}
    envs = made(name, "ale", STANDARD, lanes=3, **limit)
    resets = []
    reset = envs._venv.reset
    envs._venv.reset = lambda **given: resets.append(given) or reset(**given)
    envs.reset()
    random = np.random.default_rng(0)
    over: list[int] = []
    episodes: list[Episode] = []
    rewards = np.zeros(3)
    for _ in range(450):
        step = play(envs, random.integers(4, size=3))
        assert list(step.begun_lanes or ()) == over
        assert step.valid.tolist() == [lane not in over for lane in range(3)]
        assert step.reward[over].eq(0).all()
        assert not step.terminated[over].any()
        for lane in over:  # one frame, four times: nothing of the last game
            assert (step.obs["obs"][lane] == step.obs["obs"][lane, 3]).all()
        finished = envs.drain()
        rewards += step.reward.numpy()
        for episode in finished:
            assert episode.reward_train == rewards[episode.lane]
            rewards[episode.lane] = 0
        over = sorted(episode.lane for episode in finished)
        episodes += finished
    assert len(resets) == 1
    assert len(episodes) >= 3
    assert {episode.truncated for episode in episodes} == {name == "Pong"}
    if name == "Pong":
        assert {episode.length for episode in episodes} <= set(range(40, 64))
    envs.close()


class Scripted:
    """Games of two lanes that say what they are told to: (paid, lives, episode frames, over) a step."""

    def __init__(self, *told: tuple[list[int], list[int], list[int], list[bool]]) -> None:
        self.told, self.resets = list(told), []  # type: ignore[var-annotated]
        self.frame = np.zeros((2, 4, 84, 84), dtype=np.uint8)

    def send(self, actions: np.ndarray) -> None:
        pass

    def recv(self) -> tuple[Any, ...]:
        paid, lives, frames, over = self.told.pop(0)
        info = {"lives": np.array(lives, np.int32), "episode_frame_number": np.array(frames, np.int32)}
        return self.frame.copy(), np.array(paid, np.int32), np.array(over), np.zeros(2, bool), info

    def reset(self, *, seed: np.ndarray, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        self.resets.append(options["reset_mask"].tolist())
        names = ("lives", "episode_frame_number")
        return self.frame.copy(), {name: np.full(2, 5, np.int32) for name in names}


def test_what_happens_where_a_game_ends_is_nobody_elses() -> None:
    lanes = ale.AleLanes(game("Breakout", max_num_frames_per_episode=100), STANDARD, 2)
    lanes._games = scripted = Scripted(
        ([3, 0], [7, 5], [96, 40], [False, False]),
        ([2, 0], [6, 4], [100, 44], [False, False]),  # lane 0 loses a life in the step in which it is cut
        ([9, 1], [5, 4], [104, 48], [False, False]),  # its first step pays, has fewer lives, is late again
        ([4, 0], [4, 0], [8, 52], [False, True]),  # a life; lane 1 is over
    )
    lanes.reset(seed=0)
    scripted.resets.clear()
    actions = np.zeros(2, dtype=np.int64)
    told = [lanes.step(actions) for _ in range(4)]
    rewards, terminated, truncated, infos = ([step[k] for step in told] for k in (1, 2, 3, 4))
    assert np.stack(rewards).tolist() == [[1, 0], [1, 0], [0, 1], [1, 0]]
    assert [x.tolist() for x in truncated] == [[False, False], [True, False], [False, False], [False, False]]
    assert [x.tolist() for x in terminated][3] == [False, True]
    assert scripted.resets == [[True, False]]  # the one that the games know nothing of
    assert [info["raw_return"].tolist() if "raw_return" in info else None for info in infos] == [
        None, [5, 0], None, [4, 1]
    ]  # fmt: skip
    lost = [info["life_lost"].tolist() if "life_lost" in info else [False, False] for info in infos]
    assert lost == [[False, False], [False, True], [False, False], [True, False]]
    lanes.close()


def test_the_frame_limit_is_not_missed_where_an_episode_begins_late() -> None:
    lanes = ale.AleLanes(game("Breakout", max_num_frames_per_episode=100), STANDARD, 2)
    calm = [False, False]
    lanes._games = Scripted(
        ([0, 0], [5, 5], [8, 52], [False, True]),
        ([0, 0], [5, 5], [12, 99], calm),  # lane 1 begins close to the limit
        ([0, 0], [5, 5], [16, 103], calm),
        ([0, 0], [5, 5], [20, 4], calm),
        ([0, 0], [5, 5], [98, 8], calm),  # so does lane 0, which was reset before
        ([0, 0], [5, 5], [102, 12], calm),
    )
    lanes.reset(seed=0)
    actions = np.zeros(2, dtype=np.int64)
    truncated = [lanes.step(actions)[3].tolist() for _ in range(4)]
    lanes.reset(seed=[1, 0], options={"reset_mask": np.array([True, False])})
    truncated += [lanes.step(actions)[3].tolist() for _ in range(2)]
    assert truncated == [calm, calm, [False, True], calm, calm, [True, False]]
    lanes.close()


# ---------------------------------------------------------------------- an episode is (seed, actions)


def test_an_episode_is_decided_by_seed_and_actions() -> None:
    venv = ale.AleLanes(game("Breakout", repeat_action_probability=0.25), STANDARD, 3)
    random = np.random.default_rng(0)
    actions = random.integers(4, size=60)

    def episode(lane: int, seed: int) -> np.ndarray:
        seeds, mask = [7, 7, 7], np.arange(3) == lane
        seeds[lane] = seed
        first = venv.reset(seed=seeds, options={"reset_mask": mask})[0][lane].copy()
        asked = [np.where(mask, action, random.integers(4, size=3)) for action in actions]
        return np.stack([first, *(venv.step(row)[0][lane].copy() for row in asked)])

    venv.reset(seed=[1, 2, 3])
    first = episode(0, 11)
    np.testing.assert_array_equal(first, episode(0, 11))
    np.testing.assert_array_equal(first, episode(2, 11))
    assert not np.array_equal(first, episode(1, 12))


def test_seeds_that_a_decision_brings_decide_its_episodes() -> None:
    """Its own resets are seedless, because that is quick; asked for a seed it plays that very episode."""

    def frames_of(seed: int) -> torch.Tensor:
        """What lane 0 shows 25 steps into the episode that `seed` decides."""
        envs = made("Breakout", "ale", STANDARD, lanes=2, max_num_frames_per_episode=300)
        envs.reset()
        since = None
        while since != 25:
            envs.send(Decision(torch.zeros(2, 1, dtype=torch.int64), seeds=torch.tensor([seed, 5])))
            step = envs.recv()
            since = 0 if 0 in step.begun_lanes else None if since is None else since + 1
        shown: torch.Tensor = step.obs["obs"][0]
        return shown

    assert torch.equal(frames_of(3), frames_of(3))
    assert any(not torch.equal(frames_of(3), frames_of(seed)) for seed in (4, 6, 7))


def test_a_run_is_decided_by_its_seed_and_resuming_says_what_is_lost() -> None:
    def lanes() -> Envs:
        return made("Breakout", "ale", STANDARD, lanes=3, repeat_action_probability=0.25)

    one, two = lanes(), lanes()
    one.reset()
    two.reset()
    actions = np.random.default_rng(0).integers(4, size=(330, 3))
    episodes = []
    for row in actions:
        expected, found = play(one, row), play(two, row)
        assert torch.equal(expected.obs["obs"], found.obs["obs"])
        episodes += one.drain()
    assert episodes
    assert all(e.seed is None for e in episodes)
    three: Any = lanes()
    three.load_state_dict(one.state_dict())
    assert "start new episodes" in str(three.resume_inexact)


def test_a_state_between_two_games_says_what_is_lost_too() -> None:
    """The only lane is about to begin anew: nothing runs that could be compared."""
    envs = made("Breakout", "ale", STANDARD, lanes=1)
    envs.reset()
    while not envs.drain():
        play(envs, np.zeros(1, dtype=np.int64))
    again: Any = made("Breakout", "ale", STANDARD, lanes=1)
    again.load_state_dict(envs.state_dict())
    assert "start new episodes" in str(again.resume_inexact)
    assert play(again, np.zeros(1, dtype=np.int64)).valid.all()


def test_returned_arrays_never_change_later() -> None:
    envs = made("Breakout", "ale", STANDARD)
    kept = [envs.reset().obs["obs"]]
    copies = [kept[0].clone()]
    random = np.random.default_rng(0)
    for _ in range(200):
        step = play(envs, random.integers(4, size=2))
        for obs in (step.obs["obs"], step.next_obs["obs"]):
            kept.append(obs)
            copies.append(obs.clone())
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))


def test_the_same_preset_on_two_engines_gives_the_same_statistics() -> None:
    found = {}
    for engine in ("sync", "ale"):
        envs = made("Breakout", engine, STANDARD, lanes=8, seed=5)
        envs.reset()
        random = np.random.default_rng(1)
        episodes: list[Episode] = []
        while len(episodes) < 24:
            play(envs, random.integers(4, size=8))
            episodes += envs.drain()
        found[engine] = np.array([[e.reward, e.length] for e in episodes[:24]])
    ours, theirs = found["sync"], found["ale"]
    assert not np.array_equal(ours, theirs)  # they begin after other numbers of idle frames
    error = np.sqrt((ours.var(0, ddof=1) + theirs.var(0, ddof=1)) / 24)  # standard error of the difference
    assert (error < [0.6, 22]).all()  # points and steps: small enough to see a wrong frame skip
    assert (abs(ours.mean(0) - theirs.mean(0)) < 3 * error).all()


# ---------------------------------------------------------------------- who may use it


def test_auto_takes_it_from_four_lanes_and_four_cores_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "cores", lambda: 3)
    assert engines.choose(replace(game("Pong"), num_envs=64), STANDARD).name == "sync"
    monkeypatch.setattr(engines, "cores", lambda: 4)
    assert "sync resumes exactly" in engines.choose(replace(game("Pong"), num_envs=4), STANDARD).why
    assert engines.choose(replace(game("Pong"), num_envs=4), STANDARD).name == "ale"
    assert engines.choose(replace(game("Pong"), num_envs=3), STANDARD).name == "sync"
    modern = EnvConfig(id="ALE/Pong-v5", kwargs={"obs_type": "grayscale", "frameskip": 1}, num_envs=8)
    assert engines.choose(modern, STANDARD).name == "ale"
    assert engines.choose(replace(modern, id="Pong-ramNoFrameskip-v4"), {}).name == "sync"


def without(name: str) -> Wrappers:
    return {key: value for key, value in STANDARD.items() if key != name}


@pytest.mark.parametrize("name", ["noop_reset", "episodic_life", "fire_reset", "clip_reward"])
def test_what_the_engine_can_leave_out_may_be_left_out(name: str) -> None:
    assert ale.why_not(game("Breakout"), without(name)) is None


@pytest.mark.parametrize(
    ("config", "wrappers", "reason"),
    [
        (EnvConfig(id="CartPole-v1"), {}, "it serves Atari games"),
        (EnvConfig(id="Breakout-ram-v4"), {}, "not RAM"),
        (game("Breakout", mode=4), STANDARD, "cannot express env.kwargs.mode"),
        (EnvConfig(id="BreakoutNoFrameskip-v4"), STANDARD, "obs_type=grayscale"),
        (replace(game("Breakout"), max_episode_steps=9), STANDARD, "max_num_frames_per_episode"),
        (EnvConfig(id="ALE/Pong-v5", kwargs={"obs_type": "grayscale"}), STANDARD, "must do the skipping"),
        (game("Breakout"), STANDARD | {"random_action": {}}, "has no wrapper random_action"),
        (game("Breakout"), STANDARD | {"frame_stack": {"gap": 2}}, "wrappers.frame_stack.gap"),
        (game("Breakout"), without("frame_stack"), "always does frame_stack"),
        (game("Breakout"), dict(reversed(STANDARD.items())), "its order of wrappers is noop_reset, max"),
        (game("Breakout"), STANDARD | {"max_and_skip": {"skip": 1}}, "at least 2 frames"),
    ],
)
def test_why_not_says_why(config: EnvConfig, wrappers: Wrappers, reason: str) -> None:
    assert reason in str(ale.why_not(config, wrappers))


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ale, "find_spec", lambda name: None)
    assert ale.why_not(game("Breakout"), STANDARD) == "it needs ale_py: pip install 'rlkit-lab[atari]'"
