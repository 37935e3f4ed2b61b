"""Gymnasium's wrappers by name: the table, the YAML, the sentences, and ours for observations."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import gymnasium.wrappers as gw
import numpy as np
import pytest
import yaml
from gymnasium import spaces as S

import rlkit
from rlkit import registry
from rlkit.config import EnvConfig, conf_dir
from rlkit.envs import catalog
from rlkit.envs.factory import EnvMaker, probe
from rlkit.envs.wrappers import RandomAction, library
from rlkit.envs.wrappers.leaves import ActionMask, DictToLeaves
from rlkit.errors import UserError

ARGUMENTS: dict[str, tuple[str, dict[str, Any]]] = {  # wrappers on an environment that suits them
    "clip_action": ("Pendulum-v1", {}),
    "delay_observation": ("CartPole-v1", {"delay": 2}),
    "discretize_action": ("Pendulum-v1", {"bins": 5}),
    "discretize_observation": ("MountainCar-v0", {"bins": 7}),
    "dtype_observation": ("CartPole-v1", {"dtype": "float64"}),
    "flatten_observation": ("Taxi-v4", {}),
    "frame_stack_observation": ("CartPole-v1", {"stack_size": 3}),
    "filter_observation": ("Blackjack-v1", {"filter_keys": [0, 2]}),
    "max_and_skip_observation": ("CartPole-v1", {}),
    "normalize_observation": ("CartPole-v1", {}),
    "normalize_reward": ("CartPole-v1", {}),
    "order_enforcing": ("CartPole-v1", {}),
    "passive_env_checker": ("CartPole-v1", {}),
    "record_episode_statistics": ("CartPole-v1", {}),
    "repeat_action": ("CartPole-v1", {"num_repeats": 2}),
    "rescale_action": ("Pendulum-v1", {"min_action": [-1], "max_action": 1}),
    "rescale_observation": ("MountainCar-v0", {"min_obs": [-1, -1], "max_obs": [1, 1]}),
    "reshape_observation": ("CartPole-v1", {"shape": [2, 2]}),
    "sticky_action": ("CartPole-v1", {"repeat_action_probability": 0.5, "repeat_action_duration": [1, 3]}),
    "time_aware_observation": ("CartPole-v1", {}),
    "time_limit": ("CartPole-v1", {"max_episode_steps": 5}),
    "transform_observation": ("CartPole-v1", {"func": "numpy:negative"}),
    "transform_reward": ("CartPole-v1", {"func": "math:tanh"}),
}


def test_every_single_wrapper_of_gymnasium_is_a_name() -> None:
    assert "".join(sorted(registry._LIBRARY.split())) == "".join(sorted(library.TABLE))
    words = {name.replace("_", "") for name in library.TABLE}
    ours = {"flatten", "grayscale", "resize"}
    theirs = {name.lower() for name in gw.__all__ if name not in ("vector", "RecordConstructorArgs")}
    assert words - ours == theirs


@pytest.mark.parametrize("name", library.TABLE)
def test_yaml_and_signature_are_equal(name: str) -> None:
    data = yaml.safe_load((conf_dir() / "wrappers" / f"{name}.yaml").read_text())[name]
    expected = list(getattr(library, name).__signature__.parameters.values())[1:]
    assert list(data) == [item.name for item in expected]
    if name == "time_limit":  # the house's own default
        return
    assert list(data.values()) == [None if i.default is i.empty else i.default for i in expected]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_it_wraps_and_seeds_reproduce(name: str) -> None:
    env_id, arguments = ARGUMENTS[name]

    def play() -> list[Any]:
        env = EnvMaker(EnvConfig(env_id), {name: arguments})()
        env.action_space.seed(1)
        seen: list[Any] = [env.reset(seed=3)[0]]
        for _ in range(4):
            obs, reward, *_ = env.step(env.action_space.sample())
            assert env.observation_space.contains(obs), name
            seen += [obs, reward]
        return seen

    for one, again in zip(play(), play(), strict=True):
        np.testing.assert_equal(one, again)


@pytest.mark.parametrize("name", [n for n, e in library.TABLE.items() if e.instead])
def test_what_cannot_serve_says_what_does(name: str) -> None:
    with pytest.raises(UserError, match="it is not used here: "):
        probe(EnvConfig(), {name: {}})


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("grayscale", {}, r"colour image .*; here: observation Box\(4\)"),
        ("clip_action", {}, "a Box action"),
        ("rescale_action", {"min_action": -1, "max_action": 1}, r"Box action; .* Discrete\(2\)"),
        ("add_render_observation", {}, "render_mode=rgb_array"),
        ("filter_observation", {"filter_keys": ["a"]}, "Dict or Tuple"),
        ("transform_reward", {"func": "math:nothing"}, "math has no nothing"),
        ("dtype_observation", {"dtype": "flaot"}, "flaot is no number type"),
        ("action_mask", {}, r'info\["action_mask"\]'),
        ("dict_to_leaves", {}, "needs a Dict or Tuple"),
    ],
)
def test_a_misfit_is_one_sentence(name: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        probe(EnvConfig(), {name: arguments})
    assert f"wrapper {name} does not fit CartPole-v1" in str(caught.value)


def test_needed_arguments_are_asked_for() -> None:
    with pytest.raises(
        UserError, match=r"delay_observation needs delay: write wrappers.delay_observation.delay="
    ):
        rlkit.compose(["wrappers=[delay_observation]"])
    config = rlkit.compose(["wrappers=[delay_observation]", "wrappers.delay_observation.delay=2"])
    assert config.wrappers == {"delay_observation": {"delay": 2}}


def test_taxi_tells_what_is_legal() -> None:
    env = ActionMask(gym.make("Taxi-v4"))
    obs, info = env.reset(seed=0)
    assert env.observation_space.contains(obs)
    np.testing.assert_array_equal(obs["action_mask"], info["action_mask"])
    assert 0 < obs["action_mask"].sum() < 6


class Nested(gym.Env):
    observation_space = S.Dict(
        arm=S.Dict(angle=S.Discrete(3), at=S.Tuple((S.Discrete(2), S.Discrete(4)))),
        leg=S.Dict(angle=S.Discrete(5)),
    )
    action_space = S.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return {"arm": {"angle": 2, "at": (1, 3)}, "leg": {"angle": 4}}, {}


def test_leaves_are_chosen_and_named() -> None:
    assert DictToLeaves(Nested()).reset()[0] == {"arm/angle": 2, "0": 1, "1": 3, "leg/angle": 4}
    env = DictToLeaves(Nested(), include=["arm"], exclude=["0"], rename={"arm/angle": "bend"})
    assert env.reset()[0] == {"bend": 2, "1": 3}
    assert env.observation_space == S.Dict({"bend": S.Discrete(3), "1": S.Discrete(4)})
    with pytest.raises(ValueError, match="no leaf 'foot'; there are arm/angle"):
        DictToLeaves(Nested(), include=["foot"])


def test_a_schedule_of_epsilon_is_replayed_by_its_seed() -> None:
    def make() -> RandomAction:
        return RandomAction(gym.make("Copy-v0"), 1.0, final_epsilon=0.2, decay_episodes=4)

    catalog.prepare("Copy-v0")
    env, found = make(), []
    for number in range(6):
        info = env.reset(seed=number)[1]
        found.append((env.epsilon, info["replay_seed"]))
    assert [e for e, _ in found] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2])
    again = make()
    again.reset(seed=found[2][1])
    assert again.epsilon == pytest.approx(0.6)
    assert again.reset(seed=found[2][1])[1]["replay_seed"] == found[2][1]
    again.reset(seed=9)  # the lane goes on from there
    assert again.epsilon == pytest.approx(0.4)


def test_exploration_stays_in_evaluation_only_when_asked() -> None:
    def executed(**arguments: Any) -> bool:
        env = EnvMaker(EnvConfig(), {"random_action": arguments}, training=False)()
        env.reset(seed=0)
        return "action_executed" in env.step(0)[4]

    assert not executed(epsilon=0.5)
    assert executed(epsilon=0.5, in_evaluation=True)
