"""frame_stack: what it observes, what it refuses, and where networks and replay learn of the stack."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as S
from gymnasium import wrappers as gw
from gymnasium.utils.env_checker import check_env

from rlkit.config import EnvConfig, NetConfig
from rlkit.envs.engines import make_envs
from rlkit.envs.factory import probe
from rlkit.envs.wrappers import FrameStack
from rlkit.envs.wrappers.frames import stack_of
from rlkit.errors import UserError
from rlkit.nets.encoders import Cnn, Encoder, Flat, is_image
from rlkit.registry import wrappers
from rlkit.spaces import ObsSpec


class Pictures(gym.Env):
    """Random pictures of a shape; an episode has seven steps. Every picture is drawn into the same array."""

    action_space = S.Discrete(2)

    def __init__(self, shape: tuple[int, ...] = (5, 4), dtype: Any = np.uint8) -> None:
        self.observation_space = S.Box(0, 255, shape, dtype)
        self.t, self._picture = 0, np.zeros(shape, dtype)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.t = 0
        return self._draw(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.t += 1
        return self._draw(), 1.0, self.t == 7, False, {}

    def _draw(self) -> np.ndarray:
        self._picture[...] = self.np_random.integers(0, 256, self._picture.shape)
        return self._picture


@pytest.mark.parametrize("size", [1, 2, 4, 9])
@pytest.mark.parametrize(("shape", "dtype"), [((5, 4), np.uint8), ((3,), np.float32), ((6, 6, 3), np.uint8)])
def test_it_equals_gymnasiums_and_arrays_never_change(size: int, shape: tuple[int, ...], dtype: Any) -> None:
    ours = FrameStack(Pictures(shape, dtype), size)
    single = Pictures(shape, dtype)
    copies = gw.TransformObservation(
        single, np.copy, single.observation_space
    )  # theirs keeps what it is given
    theirs = gw.FrameStackObservation(copies, size, padding_type="reset")
    assert ours.observation_space == theirs.observation_space
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    for seed in range(3):
        obs, _ = ours.reset(seed=seed)
        want, _ = theirs.reset(seed=seed)
        seen.append((obs, np.array(want)))
        assert all((obs[0] == frame).all() for frame in obs)
        over = False
        while not over:
            obs, _, over, _, _ = ours.step(0)
            want = theirs.step(0)[0]
            seen.append((obs, np.array(want)))
            assert ours.observation_space.contains(obs)
    assert len(seen) == 3 * 8
    for obs, kept in seen:  # the last one of an episode, with its history, among them
        np.testing.assert_array_equal(obs, kept)


def test_gymnasiums_checker_is_content() -> None:
    check_env(FrameStack(gym.make("CartPole-v1").unwrapped, 3), skip_render_check=True)


@pytest.mark.parametrize("name", ["FrozenLake-v1", "Blackjack-v1"])
def test_only_a_box_is_stacked(name: str) -> None:
    with pytest.raises(ValueError, match=f"frame_stack needs a Box observation, {name} observes"):
        FrameStack(gym.make(name))
    with pytest.raises(UserError, match="needs a Box observation") as refused:  # before any run starts
        probe(EnvConfig(name), {"frame_stack": {"size": 4}})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("size", [0, -1, True])
def test_a_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        FrameStack(Pictures(), size)


@pytest.mark.parametrize(
    ("names", "stack"),
    [
        ([], 1),
        (["frame_stack"], 3),
        (["flatten", "frame_stack"], 3),
        (["frame_stack", "flatten"], 1),
        (["frame_stack", "clip_reward", "random_action", "time_limit"], 3),
        (["frame_stack", "clip_reward", "flatten", "time_limit"], 1),
        (["clip_reward"], 1),
    ],
)
def test_the_stack_is_known_where_it_is_outermost(names: list[str], stack: int) -> None:
    arguments = {"frame_stack": {"size": 3}, "time_limit": {"max_episode_steps": 50}}
    chosen = {name: arguments.get(name, {}) for name in names}
    assert stack_of(chosen) == stack
    config = EnvConfig("CartPole-v1", num_envs=2)
    assert [leaf.stack for leaf in probe(config, chosen).obs.leaves] == [stack]
    envs = make_envs(config, chosen, seed=0)
    assert [leaf.stack for leaf in envs.obs_spec.leaves] == [stack]
    envs.close()


def test_the_default_size() -> None:
    assert stack_of({"frame_stack": {}}) == stack_of({"frame_stack": None}) == 4


def test_wrappers_that_are_seen_through_pass_observations_unchanged() -> None:
    arguments: dict[str, dict[str, Any]] = {
        "clip_reward": {},
        "random_action": {"epsilon": 0.0},
        "time_limit": {"max_episode_steps": 9},
    }
    for name, given in arguments.items():
        plain, wrapped = Pictures(), wrappers.get(name)(Pictures(), **given)
        assert wrapped.observation_space == plain.observation_space
        np.testing.assert_array_equal(plain.reset(seed=1)[0], wrapped.reset(seed=1)[0])
        np.testing.assert_array_equal(plain.step(0)[0], wrapped.step(0)[0])


@pytest.mark.parametrize(
    ("shape", "dtype", "planes"),
    [((84, 84), np.uint8, 4), ((84, 84, 3), np.uint8, 12), ((3, 84, 84), np.uint8, 12), ((8,), np.float32, 0),
     ((128,), np.uint8, 0)],
)  # fmt: skip
def test_networks_see_stacked_images_as_planes(shape: tuple[int, ...], dtype: Any, planes: int) -> None:
    obs = ObsSpec.of(FrameStack(Pictures(shape, dtype), 4).observation_space, stack=4)
    encoder = Encoder(obs, NetConfig())
    assert is_image(obs.leaves[0]) is (planes > 0)
    module = encoder.encoders[0]
    if planes:
        assert isinstance(module, Cnn)
        assert module.layers[0].in_channels == planes
    else:
        assert isinstance(module, Flat)
    assert encoder(obs.zeros(2)).shape == (2, encoder.out_features)
