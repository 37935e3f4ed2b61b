"""The algorithmic group: hand-made episodes, perfect players, rising lengths, and replay from one number."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

import rlkit
from rlkit.config import EnvConfig
from rlkit.envs import catalog
from rlkit.envs.algorithmic import LONGEST, Algorithmic, Copy, seed_at
from rlkit.envs.engines import make_venv
from rlkit.envs.factory import EnvMaker, probe
from rlkit.envs.groups import algorithmic as group
from rlkit.errors import UserError

LEFT, RIGHT, UP, DOWN = range(4)
Action = tuple[int, int, int]
Player = Generator[Action, int, None]  # is sent what the head sees, gives the next action


def make(env_id: str, **kwargs: Any) -> Any:
    catalog.prepare(env_id)
    return gym.make(env_id, disable_env_checker=True, **kwargs).unwrapped


# ---------------------------------------------------------------------- perfect players


def copy(see: int, env: Algorithmic) -> Player:
    while True:
        see = yield RIGHT, 1, see


def duplicated_input(see: int, env: Algorithmic) -> Player:
    while True:
        see = yield RIGHT, 1, see
        see = yield RIGHT, 0, 0


def repeat_copy(see: int, env: Algorithmic) -> Player:
    for way, back in ((RIGHT, LEFT), (LEFT, RIGHT), (RIGHT, LEFT)):
        while see != env.base:
            see = yield way, 1, see
        see = yield back, 0, 0


def reverse(see: int, env: Algorithmic) -> Player:
    while see != env.base:
        see = yield RIGHT, 0, 0
    see = yield LEFT, 0, 0
    while True:
        see = yield LEFT, 1, see


def addition(see: int, env: Algorithmic) -> Player:
    carry, way = 0, DOWN
    while see != env.base:
        total = carry
        for _ in range(env.rows - 1):
            total += see
            see = yield way, 0, 0
        carry, digit = divmod(total + see, env.base)
        see = yield RIGHT, 1, digit
        way = UP if way == DOWN else DOWN
    yield RIGHT, 1, carry


PLAYERS: dict[str, Callable[[int, Algorithmic], Player]] = {
    "Copy-v0": copy,
    "DuplicatedInput-v0": duplicated_input,
    "RepeatCopy-v0": repeat_copy,
    "Reverse-v0": reverse,
    "ReversedAddition-v0": addition,
    "ReversedAddition3-v0": addition,
}
BASES = {"Reverse-v0": 2, "ReversedAddition-v0": 3, "ReversedAddition3-v0": 3}  # the others: 5


def play(env: Algorithmic, player: Callable[[int, Algorithmic], Player], seed: int | None) -> list[float]:
    """The rewards of one episode."""
    see, _ = env.reset(seed=seed)
    one = player(see, env)
    action = next(one)
    rewards: list[float] = []
    while True:
        see, reward, over, cut, _ = env.step(action)
        rewards.append(reward)
        assert not cut
        if over:
            return rewards
        action = one.send(see)


def at_random(see: int, env: Algorithmic) -> Player:
    while True:
        yield env.action_space.sample()


# ---------------------------------------------------------------------- spaces, rules


@pytest.mark.parametrize("env_id", group.ids())
def test_spaces_and_checker(env_id: str) -> None:
    env, base = make(env_id, render_mode="ansi"), BASES.get(env_id, 5)
    ways = 4 if "Addition" in env_id else 2
    assert env.observation_space == spaces.Discrete(base + 1)
    assert env.action_space == spaces.Tuple([spaces.Discrete(n) for n in (ways, 2, base)])
    check_env(env)
    spec = gym.spec(env_id)
    assert spec.max_episode_steps == 200
    assert (spec.reward_threshold or 0) >= 9


ANSWERS = [  # id, input [columns][rows], answer by hand
    ("Copy-v0", [[1], [4], [4]], [1, 4, 4]),
    ("DuplicatedInput-v0", [[1], [1], [3], [3]], [1, 3]),
    ("RepeatCopy-v0", [[0], [1], [2]], [0, 1, 2, 2, 1, 0, 0, 1, 2]),
    ("Reverse-v0", [[1], [0], [0]], [0, 0, 1]),
    ("ReversedAddition-v0", [[2, 2], [1, 2], [0, 0]], [1, 1, 1]),  # 012₃ + 022₃ = 111₃
    ("ReversedAddition-v0", [[0, 1], [2, 1]], [1, 0, 1]),  # 20₃ + 11₃ = 101₃
    ("ReversedAddition3-v0", [[2, 2, 2], [2, 2, 2]], [0, 2, 2]),  # 3 · 22₃ = 220₃
]


@pytest.mark.parametrize(("env_id", "given", "answer"), ANSWERS)
def test_answers_by_hand(env_id: str, given: list[list[int]], answer: list[int]) -> None:
    assert make(env_id).answer(np.array(given)) == answer


@pytest.mark.parametrize("env_id", group.ids())
@pytest.mark.parametrize("level", [1, 2, 7, 30])
def test_a_perfect_player_gets_everything(env_id: str, level: int) -> None:
    env = make(env_id, length=level)
    for seed in range(20):
        rewards = play(env, PLAYERS[env_id], seed)
        assert sum(rewards) == len(env.target) == rewards.count(1.0)
        assert level <= len(env.input) <= level + 2 or env_id == "DuplicatedInput-v0"
        assert env.written == env.target


def test_a_wrong_character_costs_half_and_ends() -> None:
    env = make("Copy-v0")
    see, _ = env.reset(seed=3)
    assert env.step((RIGHT, 1, see))[1:3] == (1.0, False)
    wrong = (env.target[1] + 1) % env.base
    assert env.step((RIGHT, 0, wrong))[1:3] == (0.0, False)
    assert env.step((RIGHT, 1, wrong))[1:3] == (-0.5, True)


def test_too_many_steps_cost_one_and_end() -> None:
    env = make("Copy-v0")
    env.reset(seed=3)
    outcomes = [env.step((LEFT, 0, 0))[1:4] for _ in range(2 * len(env.target) + 5)]
    assert outcomes[:-1] == [(0.0, False, False)] * (2 * len(env.target) + 4)
    assert outcomes[-1] == (-1.0, True, False)


@pytest.mark.parametrize(("rows", "limit"), [(2, 12), (3, 16)])
def test_there_is_time_to_read_every_row(rows: int, limit: int) -> None:
    env = make("ReversedAddition-v0", rows=rows, length=4)
    while len(env.input) != 4:
        env.reset()
    assert env.step_limit == limit


def test_the_head_moves_on_tape_and_grid_and_sees_blanks_outside() -> None:
    env = make("ReversedAddition-v0")
    see, _ = env.reset(seed=1)
    assert see == env.input[0, 0]
    assert env.step((DOWN, 0, 0))[0] == env.input[0, 1]
    assert env.step((RIGHT, 0, 0))[0] == env.input[1, 1]
    assert env.step((UP, 0, 0))[0] == env.input[1, 0]
    assert env.step((UP, 0, 0))[0] == env.base
    tape = make("Copy-v0")
    see, _ = tape.reset(seed=1)
    assert tape.step((LEFT, 0, 0))[0] == tape.base
    assert tape.step((RIGHT, 0, 0))[0] == see


# ---------------------------------------------------------------------- rising lengths, and (seed, actions)


@pytest.mark.parametrize("env_id", group.ids())
def test_the_length_rises_as_a_perfect_player_plays(env_id: str) -> None:
    env = make(env_id)
    first, last = env.level, env.LAST
    for number in range(3 * last + 1):
        play(env, PLAYERS[env_id], number)
        assert env.level == first + number // last
    assert len(env.input) >= first + 2 or env_id == "DuplicatedInput-v0"


def test_it_rises_to_the_longest_and_no_further() -> None:
    env = make("Copy-v0")
    for number in range(10 * LONGEST):
        play(env, copy, number)
    assert env.level == LONGEST


@pytest.mark.parametrize("env_id", group.ids())
def test_it_does_not_rise_for_a_random_player_or_when_it_may_not(env_id: str) -> None:
    for kwargs, player in (({}, at_random), ({"rising": False}, PLAYERS[env_id])):
        env = make(env_id, **kwargs)
        env.action_space.seed(0)
        first = env.level
        for number in range(120):
            play(env, player, number)
            assert env.level == first
    fixed = make(env_id, length=6)
    assert fixed.reset(seed=1)[1] == {"level": 6, "replay_seed": 1}


def test_one_bad_episode_or_one_given_up_starts_the_count_again() -> None:
    def give_up(env: Algorithmic) -> None:
        env.reset(seed=9)
        env.step((LEFT, 0, 0))

    for spoil in (lambda env: play(env, at_random, 77), give_up):
        env = make("Copy-v0")
        env.action_space.seed(0)
        for number in range(9):
            play(env, copy, number)
        spoil(env)
        for number in range(10):
            play(env, copy, number)
            assert env.level == 2
        env.reset(seed=0)
        assert env.level == 3


def test_the_reported_seed_plays_the_episode_again_in_a_fresh_environment() -> None:
    env = make("Copy-v0")
    numbers, seen = [], []
    for number in range(35):
        _, info = env.reset(seed=number)
        numbers.append(info["replay_seed"])
        seen.append((info["level"], env.input.tolist()))
        one = copy(int(env.input[0, 0]), env)
        action, over = next(one), False
        while not over:
            see, _, over, _, _ = env.step(action)
            action = one.send(see)
    assert [level for level, _ in seen] == [2 + n // 10 for n in range(35)]
    for number, (level, tape) in zip(numbers, seen, strict=True):
        fresh = make("Copy-v0")
        _, info = fresh.reset(seed=number)
        assert (info["level"], fresh.input.tolist()) == (level, tape)
        assert info["replay_seed"] == number
    # and the curriculum goes on from there: episode 29, the tenth good one, raises the level once more
    fresh = make("Copy-v0")
    play(fresh, copy, numbers[29])
    fresh.reset(seed=30)
    assert fresh.level == 5
    assert fresh.input.tolist() == seen[30][1]


def test_a_small_seed_leaves_the_curriculum_alone_and_a_wrong_one_is_refused() -> None:
    env = make("Copy-v0")
    env.reset(seed=seed_at(5, level=7, streak=3))
    assert (env.level, env.streak) == (7, 3)
    env.reset(seed=2**32 - 1)
    assert (env.level, env.streak) == (7, 3)
    for bad in (seed_at(0, 31), seed_at(0, 5, 11), 1 << 40):
        with pytest.raises(ValueError, match="take one below"):
            env.reset(seed=bad)
    with pytest.raises(ValueError, match="is fixed: take 5"):
        make("Copy-v0", rising=False).reset(seed=seed_at(5, level=7))


@pytest.mark.parametrize("engine", ["sync", "async"])
def test_the_reported_seed_passes_through_the_engines(engine: str) -> None:
    maker = EnvMaker(EnvConfig(id="Copy-v0"))
    venv = make_venv(maker, 2, engine)
    try:
        _, info = venv.reset(seed=[seed_at(4, 9, 2), 5])
        assert info["replay_seed"].tolist() == [seed_at(4, 9, 2), seed_at(5, 2)]
        levels = [maker().reset(seed=seed)[1]["level"] for seed in info["replay_seed"].tolist()]
        assert levels == [9, 2]
    finally:
        venv.close()


# ---------------------------------------------------------------------- arguments, text, runs


@pytest.mark.parametrize(
    ("env_id", "kwargs", "said"),
    [
        ("Copy-v0", {"base": 1}, "base must lie in 2..26, not 1"),
        ("Copy-v0", {"length": 0}, "length must be at least 1"),
        ("DuplicatedInput-v0", {"duplication": 0}, "duplication must be at least 1"),
        ("ReversedAddition-v0", {"base": 2, "rows": 3}, "a carry is one digit"),
        ("ReversedAddition-v0", {"base": 11}, "base must lie in 2..10"),
    ],
)
def test_bad_arguments_are_one_sentence(env_id: str, kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        probe(EnvConfig(id=env_id, kwargs=kwargs), {})


def test_only_text_is_drawn() -> None:
    with pytest.raises(ValueError, match="ansi or nothing, not 'rgb_array'"):
        Copy(render_mode="rgb_array")


def test_an_action_outside_the_space_is_named() -> None:
    env = make("Copy-v0")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"\(0, 1, 5\) is not \(move, write, character\)"):
        env.step((0, 1, 5))


def test_the_text() -> None:
    env = make("ReversedAddition-v0", render_mode="ansi")
    env.reset(seed=0)
    first = env.render()
    assert "step 0" in first
    env.step((DOWN, 0, 0))
    env.step((RIGHT, 1, env.target[0]))
    rows = env.render().splitlines()
    assert rows[0].startswith("ReversedAddition-v0   level 2, 0 of 10 good   step 2 of ")
    digits = env.input
    assert f" {digits[0, 1]} [{digits[1, 1]}]" in rows[4]  # the row below, second column
    assert rows[3].startswith("input ")
    assert f"written  {env.target[0]}" in rows
    assert f"action   write {env.target[0]}, move right" in rows
    assert "reward   +1.0   so far +1.0" in rows
    assert make("Copy-v0").render() is None
    letters = Copy(render_mode="ansi")
    letters.reset(seed=0)
    assert "[" + "ABCDE"[letters.input[0, 0]] + "]" in (letters.render() or "")


def test_the_random_agent_is_filmed_as_text(tmp_path: Path) -> None:
    words = (
        "env=copy agent=random trainer.total_steps=200 trainer.eval_every=0 trainer.test_episodes=0 "
        f"logger=[jsonl] run.root={tmp_path}"
    )
    run = rlkit.train(rlkit.compose(words.split()))
    assert run.status == "done"
    film = min((run.path / "monitor").glob("*.cast"))
    header, *events = film.read_text(encoding="utf-8").splitlines()
    assert json.loads(header)["width"] >= 20
    screens = [json.loads(line)[2] for line in events]
    assert len(set(screens)) >= 2
    assert "target" in screens[0]
