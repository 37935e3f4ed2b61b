"""The vector boundary, continued: bounded memory, numbers that are none, nested spaces."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces as S
from gymnasium.vector.utils import concatenate, create_empty_array
from test_vector import ENGINES, N, advance, counting, every_engine, own_seed

from rlkit.envs import vector
from rlkit.envs.lanes import Lanes
from rlkit.envs.vector import VectorEnvs
from rlkit.errors import NumbersBroke
from rlkit.types import Decision


@every_engine
def test_the_history_of_actions_is_pruned(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector, "_PRUNE", 20)
    with counting(engine, with_actions=(0, 1, 2)) as envs:
        envs.reset()
        longest = 0
        for t in range(400):
            seeds = [own_seed(0, t), own_seed(1, t), -1] if engine in ("lanes", "disabled", "async") else None
            advance(envs, [t % 5] * N, seeds)  # where it can be, lane 2 is parked for good
            longest = max(longest, len(envs._history))
        assert longest <= 20 + 10
        episode = envs.drain()[-1]
        assert episode.actions is not None
        turns = np.diff(episode.actions[:, 0]) % 5  # 0, 1, 2, 3, 4, 0, …: rows in order, none left out
        assert (turns == 1).all()


class Broken(gym.Env):
    """Says something that is no number at its third step, in lane 1 only."""

    action_space = S.Discrete(2)

    def __init__(self, lane: int, space: S.Box, place: str, value: float) -> None:
        self.observation_space = S.Dict({"good": S.Discrete(3), "bad": space}) if place == "leaf" else space
        self.lane, self.space, self.place, self.value, self.t = lane, space, place, value, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        self.t = 0
        return self._obs(0.5), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.t += 1
        wrong = self.lane == 1 and self.t == 3
        reward = self.value if wrong and self.place == "reward" else 1.0
        return self._obs(self.value if wrong and self.place != "reward" else 0.5), reward, False, False, {}

    def _obs(self, value: float) -> Any:
        obs = np.full(self.space.shape, 0.5, self.space.dtype)
        obs.reshape(-1)[-1] = value
        return {"good": 1, "bad": obs} if self.place == "leaf" else obs


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("shape", "place"), [((3,), "obs"), ((2, 2), "obs"), ((), "obs"), ((3,), "leaf"), ((3,), "reward")]
)
def test_what_is_no_number_is_named_with_its_lane_and_step(
    shape: tuple[int, ...], place: str, value: float
) -> None:
    space = S.Box(-np.inf, np.inf, shape, np.float32)
    envs = VectorEnvs(Lanes([partial(Broken, lane, space, place, value) for lane in range(3)]), seed=0)
    envs.reset()
    advance(envs, [0, 0, 0])
    advance(envs, [0, 0, 0])
    named = {"obs": "observation (obs)", "leaf": "observation (bad)", "reward": f"reward {value}"}[place]
    with pytest.raises(NumbersBroke) as caught:
        advance(envs, [0, 0, 0])
    assert named in str(caught.value)
    assert "lane 1 at step 6" in str(caught.value)


@pytest.mark.filterwarnings("error")
def test_huge_numbers_are_numbers() -> None:
    space = S.Box(-np.inf, np.inf, (3,), np.float32)
    for place in ("obs", "reward"):
        value = 3e38 if place == "obs" else 1e30
        envs = VectorEnvs(Lanes([partial(Broken, lane, space, place, value) for lane in range(2)]), seed=0)
        envs.reset()
        for _ in range(4):
            step = advance(envs, [0, 0])
        assert step.count == 2


# ---------------------------------------------------------------------- nested spaces


class Nested(gym.Env):
    """Dict and Tuple in both directions; the observation repeats the action, episodes have `length` steps."""

    observation_space = S.Dict(
        {
            "where": S.Tuple((S.Box(-9, 9, (2,), np.float32), S.Discrete(90))),
            "image": S.Box(0, 255, (2, 2), np.uint8),
        }
    )
    action_space = S.Dict(
        {"move": S.Discrete(4), "aim": S.Tuple((S.Box(-2, 2, (2,), np.float32), S.MultiBinary(2)))}
    )

    def __init__(self, length: int) -> None:
        self.length, self.t = length, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.t = 0
        return self._obs(np.zeros(2, np.float32), 0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action)
        self.t += 1
        aim, bits = action["aim"]
        return self._obs(aim, int(bits[0])), float(action["move"]), False, self.t == self.length, {}

    def _obs(self, aim: np.ndarray, bit: int) -> Any:
        return {"where": (aim, self.t), "image": np.full((2, 2), bit, np.uint8)}


@every_engine
def test_nested_spaces_pass_both_ways(engine: str) -> None:
    lengths = (2, 3, 1)
    envs = VectorEnvs(ENGINES[engine]([partial(Nested, length) for length in lengths]), seed=0)
    envs.reset()
    generator = torch.Generator().manual_seed(0)
    moves = next(leaf.columns for leaf in envs.action_spec.leaves if leaf.name == "move")
    t, ends = [0, 0, 0], 0
    for _ in range(12):
        action = envs.action_spec.sample(3, generator)
        envs.send(Decision(action))
        step = envs.recv()
        for lane, single in enumerate(map(envs.action_spec.to_env_single, action)):
            if not step.valid[lane]:
                t[lane] = 0
                continue
            t[lane] += 1
            assert step.reward[lane] == float(single["move"]) == float(action[lane, moves])
            np.testing.assert_allclose(step.next_obs["where/0"][lane], single["aim"][0], rtol=1e-6)
            assert step.next_obs["where/1"][lane] == t[lane]
            assert (step.next_obs["image"][lane] == int(single["aim"][1][0])).all()
            if t[lane] == lengths[lane]:
                assert step.truncated[lane]
                ends += 1
                if engine != "next_step":
                    t[lane] = 0
                    assert step.obs["where/1"][lane] == 0
                    assert step.obs["where/0"][lane].tolist() == [0, 0]
    assert ends > 8
    envs.close()


def test_batched_and_single_observations_agree() -> None:
    """The conversion that the final observations of SAME_STEP engines take is the ordinary one."""
    space = Nested.observation_space
    space.seed(0)
    rows = [space.sample() for _ in range(3)]
    envs = VectorEnvs(Lanes([partial(Nested, 2)] * 3), seed=0)
    tree = envs.obs_spec.to_tensors(concatenate(space, rows, create_empty_array(space, n=3)))
    for lane, row in enumerate(rows):
        np.testing.assert_array_equal(tree["where/0"][lane].numpy(), row["where"][0])
        assert int(tree["where/1"][lane]) == row["where"][1]
    envs.close()
