"""Board games: the rules as the agent meets them, both colours, opponents, pictures, agents that learn."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

import rlkit
from rlkit.config import EnvConfig
from rlkit.envs import catalog
from rlkit.envs.factory import probe
from rlkit.envs.groups import board as group
from rlkit.errors import UserError
from rlkit.films import read_frames
from tests.envs.needs import needs

needs("pyspiel")

Obs = dict[str, np.ndarray]


def make(env_id: str = "Hex5x5-v0", **kwargs: Any) -> Any:
    catalog.prepare(env_id)
    return gym.make(env_id, disable_env_checker=True, **kwargs).unwrapped


class Script:
    """An Actor that plays given moves, game after game, and keeps what it saw."""

    def __init__(self, *moves: int) -> None:
        self.moves = moves
        self.seen: list[dict[str, torch.Tensor]] = []
        self.first: list[bool] = []

    def __call__(self, obs: dict[str, torch.Tensor], first: torch.Tensor) -> torch.Tensor:
        self.at = 0 if first[0] else self.at + 1
        self.seen.append(obs)
        self.first.append(bool(first[0]))
        return torch.tensor([[self.moves[self.at]]])


def legal(obs: Obs, random: np.random.Generator) -> int:
    return int(random.choice(np.flatnonzero(obs["action_mask"])))


def game(env: Any, seed: int) -> float:
    """A game of a random player that knows the rules; its reward."""
    random = np.random.default_rng(seed)
    obs, _ = env.reset(seed=seed)
    while True:
        obs, reward, over, _, _ = env.step(legal(obs, random))
        if over:
            return float(reward)


def moves(env: Any, actions: Iterable[int], seed: int = 0) -> tuple[Any, ...]:
    """Reset and play these; the last outcome, the ones before being no end."""
    outcome: tuple[Any, ...] = (env.reset(seed=seed)[0], 0.0, False, False, {})
    for action in actions:
        assert outcome[1:3] == (0.0, False)
        outcome = env.step(action)
    return outcome


# ---------------------------------------------------------------------- spaces and masks


@pytest.mark.parametrize("env_id", group.ids())
@pytest.mark.filterwarnings("ignore:.*render")
def test_spaces_and_checker(env_id: str) -> None:
    env = make(env_id, render_mode="rgb_array")
    size = int(env_id.split("x")[-1].removesuffix("-v0"))
    points = size * size
    go = env_id.startswith("Go")
    assert env.action_space == spaces.Discrete(points + go)
    assert env.observation_space["action_mask"] == spaces.MultiBinary(points + go)
    assert env.observation_space["board"] == spaces.Box(0, 1, (5 if go else 4, size, size), np.uint8)
    assert env.metadata["render_modes"] == ["rgb_array", "ansi"]
    check_env(env)


@pytest.mark.parametrize("env_id", ["Hex5x5-v0", "Go9x9-v0"])
@pytest.mark.parametrize("color", ["black", "white"])
def test_mask_and_planes_say_what_the_rules_say(env_id: str, color: str) -> None:
    env, random = make(env_id, color=color), np.random.default_rng(1)
    obs, _ = env.reset(seed=1)
    assert obs["board"][1].sum() == (color == "white")  # black began
    for _ in range(300):
        own, other, empty, black = obs["board"][:4]
        assert np.array_equal(np.flatnonzero(obs["action_mask"]), env.state.legal_actions())
        assert np.array_equal(own + other + empty, np.ones_like(own))
        assert not (obs["action_mask"][: own.size] > empty.ravel()).any()
        assert (black == (color == "black")).all()
        obs, _, over, _, _ = env.step(legal(obs, random))
        if over:
            assert not obs["action_mask"].any()
            break
    assert over


def test_what_was_returned_stays_as_it_was() -> None:
    env, random = make("Go9x9-v0", render_mode="rgb_array"), np.random.default_rng(0)
    obs, _ = env.reset(seed=0)
    frame = env.render()
    before = {name: leaf.copy() for name, leaf in obs.items()}, frame.copy()
    for _ in range(10):
        env.render()
        env.step(legal(env.observe(env.agent), random))
    assert all(np.array_equal(obs[name], before[0][name]) for name in obs)
    assert np.array_equal(frame, before[1])


# ---------------------------------------------------------------------- rules, from both sides


def test_go_captures() -> None:
    env = make("Go9x9-v0", size=5, opponent=Script(0, 24))  # white in the corner
    obs, *_ = moves(env, [1])
    assert obs["board"][1][0, 0] == 1
    assert obs["action_mask"][0] == 0
    obs, *_ = moves(env, [1, 5])  # both of its liberties are gone
    own, other, empty = obs["board"][:3]
    assert (other[0, 0], empty[0, 0]) == (0, 1)
    assert own.sum() == 2
    assert np.flatnonzero(other).tolist() == [24]


def test_go_knows_suicide_and_ko() -> None:
    env = make("Go9x9-v0", size=5, color="white", opponent=Script(1, 5, 24))
    obs, *_ = moves(env, [20])
    assert obs["board"][2][0, 0] == 1
    assert obs["action_mask"][0] == 0  # empty, but without a liberty
    # ko in the middle: black 6 12 8 2 around the point 7, white 11 17 13 around the point 12, then 7 takes 12
    env = make("Go9x9-v0", size=5, color="white", opponent=Script(6, 8, 2, 12, 24))
    obs, *_ = moves(env, [11, 13, 17, 7])
    # white's 7 took black's 12; black did not retake, so white may fill, and black may take back later
    assert obs["board"][1][2, 2] == 0
    retake = make("Go9x9-v0", size=5, color="white", opponent=Script(6, 8, 2, 12, 12))
    _, reward, over, _, info = moves(retake, [11, 13, 17, 7])
    assert (reward, over, info["opponent_illegal"]) == (1.0, True, True)


@pytest.mark.parametrize(
    ("color", "komi", "reward", "winner"),
    [
        ("black", 7.5, -1.0, "white"),
        ("white", 7.5, 1.0, "white"),
        ("black", -1.0, 1.0, "black"),
        ("white", -1.0, -1.0, "black"),
        ("black", 0.0, 0.0, "nobody"),
    ],
)
def test_two_passes_end_go_and_komi_decides(color: str, komi: float, reward: float, winner: str) -> None:
    env = make("Go9x9-v0", size=5, komi=komi, color=color, opponent=Script(25, 25))
    first, _ = env.reset(seed=0)
    assert (first["board"][4] == (color == "white")).all()  # has the opponent just passed?
    _, got, terminated, truncated, info = moves(env, [25])
    assert (got, terminated, truncated, info["winner"]) == (reward, True, False, winner)


def test_go_is_counted_after_max_moves() -> None:
    env = make("Go9x9-v0", size=5, max_moves=4, opponent=Script(12, 13))
    _, reward, over, _, _ = moves(env, [0, 1])
    assert (reward, over) == (-1.0, True)


WINS = [  # color, agent's moves, opponent's: Hex 3×3, black joins rows, white columns
    ("black", [0, 3, 6], [1, 4], 1.0, "black"),
    ("black", [0, 1, 8], [3, 4, 5], -1.0, "white"),
    ("white", [3, 4, 5], [0, 1, 8], 1.0, "white"),
    ("white", [1, 4], [0, 3, 6], -1.0, "black"),
]


@pytest.mark.parametrize(("color", "own", "other", "reward", "winner"), WINS)
def test_hex_is_won_by_joining_the_edges(
    color: str, own: list[int], other: list[int], reward: float, winner: str
) -> None:
    _, got, terminated, truncated, info = moves(make(size=3, color=color, opponent=Script(*other)), own)
    assert (got, terminated, truncated, info) == (reward, True, False, {"winner": winner})


def test_an_illegal_move_is_a_loss_or_an_error() -> None:
    for move in (12, 25, -1):
        env = make(opponent=Script(0, 1))
        obs, reward, over, cut, info = moves(env, [12, move])
        assert (reward, over, cut, info) == (-1.0, True, False, {"winner": "white", "illegal": True})
        assert obs["board"][0].sum() == 1
    for move, named in ((12, "12 \\(c3\\) is illegal"), (25, "25 \\(not on the board\\)")):
        with pytest.raises(ValueError, match=named):
            moves(make(opponent=Script(0, 1), illegal="error"), [12, move])
    go = make("Go9x9-v0", opponent=Script(0), illegal="error")
    with pytest.raises(ValueError, match="9 \\(A2\\)"):
        moves(go, [9, 9])


# ---------------------------------------------------------------------- opponents and seeds


def test_an_actor_sees_its_own_side_and_the_start_of_each_game() -> None:
    actor = Script(0, 1, 2)
    env = make(size=3, opponent=actor)
    for _ in range(2):
        moves(env, [4, 3])
    assert actor.first == [True, False, True, False]
    board, mask = actor.seen[1]["board"], actor.seen[1]["action_mask"]
    assert board.shape == (1, 4, 3, 3)
    assert torch.nonzero(board[0, 0].flatten()).flatten().tolist() == [0]  # own
    assert torch.nonzero(board[0, 1].flatten()).flatten().tolist() == [3, 4]
    assert not board[0, 3].any()  # it is white
    assert torch.nonzero(mask[0]).flatten().tolist() == [1, 2, 5, 6, 7, 8]
    _, reward, over, _, info = moves(make(size=3, opponent=Script(4)), [4])
    assert (reward, over, info) == (1.0, True, {"winner": "black", "opponent_illegal": True})
    with pytest.raises(ValueError, match="must read the action_mask"):
        make(size=3, color="white", opponent=Script(99)).reset(seed=0)


def replay(env: Any, seed: int) -> list[Any]:
    random = np.random.default_rng(5)
    obs, _ = env.reset(seed=seed)
    seen, over = [env.agent, obs["board"].tolist()], False
    while not over:
        obs, reward, over, _, _ = env.step(legal(obs, random))
        seen += [obs["board"].tolist(), reward]
    return seen


@pytest.mark.parametrize("opponent", ["random", "mcts"])
@pytest.mark.parametrize("kwargs", [{"size": 5}, {"env_id": "Go9x9-v0", "size": 5, "max_moves": 20}])
def test_seed_and_actions_decide_a_game(opponent: str, kwargs: dict[str, Any]) -> None:
    one = make(**kwargs, opponent=opponent, color="random", simulations=30)
    other = make(**kwargs, opponent=opponent, color="random", simulations=30)
    games = [replay(one, seed) for seed in range(8)]
    assert [replay(other, seed) for seed in reversed(range(8))][::-1] == games
    assert {seen[0] for seen in games} == {0, 1}
    assert len({str(seen) for seen in games}) == 8


@pytest.mark.parametrize("color", ["black", "white"])
def test_mcts_beats_random_on_hex_5x5(color: str) -> None:
    """200 simulations; the player knows the legal moves, so that no game is given away."""
    env = make(opponent="mcts", simulations=200, color=color)
    assert [game(env, seed) for seed in range(40)].count(-1.0) >= 36


def test_more_simulations_play_better() -> None:
    class Mcts:  # as black, against the environment's
        def __call__(self, env: Any) -> int:
            return int(strong.move(env.state, lambda: {}))

    strong = make(opponent="mcts", simulations=400)._opponent
    env, player, won = make(opponent="mcts", simulations=5, color="white"), Mcts(), 0
    for seed in range(20):
        strong.begin(seed)
        env.reset(seed=seed)
        over, reward = False, 0.0
        while not over:
            _, reward, over, _, _ = env.step(player(env))
        won += reward == 1.0
    assert won >= 15  # although white moves second


@pytest.mark.parametrize(
    ("env_id", "kwargs", "said"),
    [
        ("Hex9x9-v0", {"size": 1}, "size must lie in 2..26, not 1"),
        ("Go9x9-v0", {"size": 20}, "size must lie in 2..19, not 20"),
        ("Go9x9-v0", {"max_moves": 0}, "max_moves must be at least 1"),
        ("Hex9x9-v0", {"opponent": "stockfish"}, "random, mcts or an Actor"),
        ("Hex9x9-v0", {"opponent": "mcts", "simulations": 0}, "simulations must be at least 1"),
        ("Hex9x9-v0", {"color": "red"}, "color must be one of black, white, random; not 'red'"),
        ("Hex9x9-v0", {"illegal": "ignore"}, "illegal must be one of loss, error"),
    ],
)
def test_bad_arguments_are_one_sentence(env_id: str, kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        probe(EnvConfig(id=env_id, kwargs=kwargs), {})


# ---------------------------------------------------------------------- pictures


@pytest.mark.parametrize("env_id", group.ids())
def test_a_picture_shows_the_stones(env_id: str) -> None:
    env, random = make(env_id, render_mode="rgb_array"), np.random.default_rng(0)
    obs, _ = env.reset(seed=0)
    frames = [env.render()]
    for _ in range(4):
        obs, _, over, _, _ = env.step(legal(obs, random))
        assert not over
        frames.append(env.render())
    for frame in frames:
        assert frame.dtype == np.uint8
        assert frame.ndim == 3
        assert frame.shape[2] == 3
        assert not frame.shape[0] % 2
        assert not frame.shape[1] % 2
        assert 380 <= frame.shape[0] <= 600
    for before, after in pairwise(frames):
        changed = np.abs(after.astype(int) - before).max(axis=2) > 20
        assert 0.0005 < changed.mean() < 0.2  # some stones, and no more
    dark = [
        (frame.max(axis=2) < 60).sum() for frame in frames
    ]  # black stones: pixels that only grow in number
    assert dark == sorted(dark)
    assert dark[-1] > dark[0]
    marked = (frames[-1][:, :, 0].astype(int) - frames[-1][:, :, 1]) > 120
    assert marked.any()


def test_the_text_is_the_board() -> None:
    env = make(size=3, opponent=Script(4), render_mode="ansi")
    moves(env, [0])
    assert env.render().split() == ["x", ".", ".", ".", "o", ".", ".", ".", "."]


# ---------------------------------------------------------------------- agents

SMALL = (
    "trainer.eval_every=0 trainer.test_episodes=2 logger=[jsonl] monitor.eval_video=none env.kwargs.size=5"
).split()


def train(root: Path, *words: str) -> Any:
    run = rlkit.train(rlkit.compose([*words, *SMALL, f"run.root={root}"]))
    assert run.status == "done"
    return run


def test_the_random_agent_is_filmed(tmp_path: Path) -> None:
    run = train(tmp_path, "env=hex9x9", "agent=random", "trainer.total_steps=500")
    films = sorted((run.path / "monitor").glob("*.mp4"))
    shown = [read_frames(film)[0] for film in films]
    assert max(len(frames) for frames in shown) >= 2
    longest = max(shown, key=len)
    assert not np.array_equal(longest[0], longest[-1])


@pytest.mark.parametrize("env", ["hex9x9", "go9x9"])
@pytest.mark.parametrize(
    "agent",
    [
        "agent=ppo agent.horizon=64 env.num_envs=2",
        "agent=dqn agent.learning_starts=50 agent.epsilon_steps=200 agent.train_every=4",
    ],
)
def test_agents_never_move_illegally(env: str, agent: str, tmp_path: Path) -> None:
    """`illegal=error` would end the run, and its final test, at the first one."""
    words = [*agent.split(), "env.kwargs.illegal=error", "env.kwargs.color=random", "monitor.video=none"]
    run = train(tmp_path, f"env={env}", *words, "trainer.total_steps=400")
    assert run.info["steps"] >= 400
