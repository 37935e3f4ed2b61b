"""Evaluation: always the same episodes, and training cannot tell that it happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest
import torch
from torch import Tensor

from rlkit import session
from rlkit.checkpoint import Checkpoints
from rlkit.config import EnvConfig
from rlkit.evaluator import Evaluator, play_seeds
from rlkit.runs import Run
from rlkit.seeding import episode_seed
from rlkit.types import Tree

CARTPOLE = EnvConfig("CartPole-v1", num_envs=3)


def lean(obs: Tree, first: Tensor) -> Tensor:
    """Push to where the pole falls, unless the cart is far out: good and bad episodes."""
    x = obs["obs"]
    return ((x[:, 2] + 0.1 * x[:, 3] > 0.02) ^ (x[:, 0].abs() > 0.3)).long()[:, None]


def evaluator(episodes: int, lanes: int, wrappers: Any = None, **given: Any) -> Evaluator:
    return Evaluator(CARTPOLE, wrappers or {}, seed=5, episodes=episodes, lanes=lanes, **given)


def test_episodes_have_their_own_seeds_in_order() -> None:
    score, episodes = evaluator(7, 3)(lean)
    assert score.seeds == tuple(episode_seed(5, "eval", 0, k) for k in range(7))
    assert [episode.seed for episode in episodes] == list(score.seeds)
    assert [episode.lane for episode in episodes] == [0, 1, 2, 0, 1, 2, 0]
    assert score.returns == tuple(episode.reward for episode in episodes)
    assert score.lengths == tuple(episode.length for episode in episodes)
    assert len(set(score.lengths)) > 2
    assert score.mean == sum(score.returns) / 7


def test_they_are_the_episodes_that_the_environment_plays_alone() -> None:
    score, episodes = evaluator(6, 4)(lean)
    alone = gym.make("CartPole-v1")
    for k in range(6):
        obs, _ = alone.reset(seed=episode_seed(5, "eval", 0, k))
        total, over = 0.0, False
        while not over:
            action = int(lean({"obs": torch.from_numpy(obs)[None]}, torch.tensor([False]))[0, 0])
            obs, reward, terminated, truncated, _ = alone.step(action)
            total, over = total + float(reward), terminated or truncated
        assert score.returns[k] == total
    first = episodes[0]
    assert first.actions is not None  # what it takes to film it
    assert len(first.actions) == first.length


def test_the_same_policy_scores_the_same_again() -> None:
    one = evaluator(8, 3)
    assert one(lean)[0] == one(lean)[0] == evaluator(8, 3)(lean)[0]
    assert one(lean)[0] != evaluator(8, 3, stream="test")(lean)[0]


@pytest.mark.parametrize("lanes", [1, 2, 5, 9, 40])
def test_the_number_of_lanes_changes_nothing(lanes: int) -> None:
    assert evaluator(9, lanes)(lean)[0] == evaluator(9, 4)(lean)[0]


def test_first_marks_the_beginning_of_every_episode() -> None:
    """An actor that counts its decisions since `first` knows the length of each episode."""
    since = torch.zeros(3, dtype=torch.int64)
    known: list[list[int]] = [[], [], []]

    def count(obs: Tree, first: Tensor) -> Tensor:
        for lane in first.nonzero().flatten().tolist():
            known[lane].append(int(since[lane]))
        since[first] = 0
        since.add_(1)
        return lean(obs, first)

    score, _ = evaluator(8, 3)(count)
    for lane in range(3):
        lengths = score.lengths[lane::3]
        assert known[lane][0] == 0
        assert known[lane][1:] == list(lengths[: len(known[lane]) - 1])
        assert len(known[lane]) >= len(lengths)  # the very last one ends unseen


def test_wrappers_for_training_are_left_out() -> None:
    spoiled = {"random_action": {"epsilon": 1.0}, "clip_reward": {"low": 0.0, "high": 0.0}}
    assert evaluator(5, 2, spoiled)(lean)[0] == evaluator(5, 2)(lean)[0]


def test_streams_do_not_meet() -> None:
    seeds = [set(evaluator(50, 5, stream=stream).seeds) for stream in ("eval", "test")]
    seeds += [
        set(play_seeds(5, 50)),
        {episode_seed(5, "train", lane, e) for lane in range(5) for e in range(10)},
    ]
    assert len(set.union(*seeds)) == 200


# ---------------------------------------------------------------------- beside training

TINY = (
    "agent=dqn",
    "env=cartpole",
    "env.num_envs=2",
    "net.hidden=[16]",
    "agent.batch_size=16",
    "agent.learning_starts=100",
    "agent.epsilon_steps=300",
    "agent.target_every=100",
    "trainer.total_steps=600",
    "trainer.log_every=100",
)


def weights(run: Run) -> dict[str, Tensor]:
    loaded: dict[str, Tensor] = Checkpoints(run.path / "checkpoints").load("latest").state["agent"]["online"]
    return loaded


def curve(run: Run) -> list[dict[str, Any]]:
    """Rows without the clock, and without what only an evaluation adds."""
    return [
        {
            k: v
            for k, v in row.items()
            if k.split("/")[0] in ("step", "loss", "episode", "value", "grad", "explore")
        }
        for row in run.metrics()
    ]


def test_training_is_the_same_with_and_without_evaluation(short_run: Callable[..., Run]) -> None:
    plain = short_run(*TINY)
    evaluated = short_run(*TINY, "trainer.eval_every=200", "trainer.eval_episodes=3", "trainer.eval_envs=2")
    assert sum("eval/return_mean" in row for row in evaluated.metrics()) == 3
    assert not any("eval/return_mean" in row for row in plain.metrics())
    assert curve(plain) == curve(evaluated)
    assert any("loss/td" in row for row in curve(plain))
    one, other = weights(plain), weights(evaluated)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    third = short_run(*TINY, "seed=1")
    assert curve(third) != curve(plain)


def test_eval_of_best_gives_the_mean_that_was_logged(short_run: Callable[..., Run]) -> None:
    run = short_run(*TINY, "trainer.eval_every=150", "trainer.eval_episodes=5", "trainer.eval_envs=3")
    logged = [row["eval/return_mean"] for row in run.metrics() if "eval/return_mean" in row]
    score = session.evaluate(run.path, checkpoint="best", device="cpu")
    assert score.mean == max(logged) == run.score
    assert len(score.returns) == 5
