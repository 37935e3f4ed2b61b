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
from rlkit.envs import catalog, engines
from rlkit.envs.factory import EnvMaker, probe
from rlkit.envs.wrappers import RandomAction, library
from rlkit.envs.wrappers.leaves import ActionMask, DictToLeaves
from rlkit.errors import UserError
from tests.envs.needs import needs

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
    if library.TABLE[name].training_only:
        assert data.pop("in_evaluation") is False
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


def test_frames_are_drawn_for_the_wrapper_that_looks_at_them() -> None:
    assert probe(EnvConfig(), {"add_render_observation": {}}).obs.leaves[0].shape == (400, 600, 3)
    for name in ("Copy-v0", "tests.envs.test_wrapper_library:Blind"):
        with pytest.raises(UserError, match=r"wrapper add_render_observation does not fit .* draws frames"):
            probe(EnvConfig(name), {"add_render_observation": {}})


class Blind(gym.Env):
    """It draws nothing and takes no render_mode."""

    observation_space, action_space = S.Box(0, 1, (1,)), S.Discrete(2)


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


HALF = S.Box(-1.0, 1.0, (1,), np.float32)  # of Pendulum's torque


def double(action: np.ndarray) -> np.ndarray:
    return 2 * action


PICTURES = {"render_mode": "rgb_array"}
SHAPES: list[tuple[str, str, dict[str, Any], dict[str, dict[str, Any]], tuple[int, ...]]] = [
    # name, environment, its arguments, wrappers, the shape of what is observed
    ("add_render_observation", "CartPole-v1", PICTURES, {"add_render_observation": {}}, (400, 600, 3)),
    (
        "grayscale", "CartPole-v1", PICTURES,
        {"add_render_observation": {}, "grayscale": {}, "resize": {"height": 40, "width": 60}}, (40, 60),
    ),
    (
        "grayscale_observation", "CartPole-v1", PICTURES,
        {"add_render_observation": {}, "resize_observation": {"shape": [40, 60]},
         "grayscale_observation": {"keep_dim": True}, "frame_stack": {"size": 2}}, (2, 40, 60, 1),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", SHAPES, ids=[case[0] for case in SHAPES])
def test_pictures_are_made_and_changed(case: Any) -> None:
    _, env_id, kwargs, wrappers, shape = case
    env = EnvMaker(EnvConfig(env_id, kwargs=kwargs), wrappers)()
    one, _ = env.reset(seed=0)
    assert env.observation_space.shape == one.shape == shape
    assert one.dtype == np.uint8
    assert one.min() < 60 < 200 < one.max()
    kept = one.copy()
    for _ in range(5):
        two = env.step(1)[0]
        assert env.observation_space.contains(two)
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(one, kept)


def test_a_picture_joins_what_is_observed() -> None:
    wrappers = {"add_render_observation": {"render_only": False}}
    env = EnvMaker(EnvConfig("CartPole-v1", kwargs=PICTURES), wrappers)()
    obs, _ = env.reset(seed=0)
    assert {name: leaf.shape for name, leaf in obs.items()} == {"state": (4,), "pixels": (400, 600, 3)}
    assert env.observation_space.contains(obs)


def test_functions_of_ones_own_on_actions_and_observations() -> None:
    arguments = {"func": f"{__name__}:double", "action_space": f"{__name__}:HALF"}
    env = EnvMaker(EnvConfig("Pendulum-v1"), {"transform_action": arguments})()
    plain = EnvMaker(EnvConfig("Pendulum-v1"))()
    assert env.action_space == HALF
    env.reset(seed=0)
    plain.reset(seed=0)
    one, two = env.step(np.array([0.7], np.float32)), plain.step(np.array([1.4], np.float32))
    np.testing.assert_array_equal(one[0], two[0])
    assert one[1] == two[1]
    seen = EnvMaker(EnvConfig("Pendulum-v1"), {"transform_observation": {"func": f"{__name__}:double"}})()
    np.testing.assert_array_equal(seen.reset(seed=0)[0], 2 * plain.reset(seed=0)[0])


def test_gymnasiums_atari_preprocessing() -> None:
    needs("ale_py")
    env = EnvMaker(
        EnvConfig("PongNoFrameskip-v4"), {"atari_preprocessing": {"screen_size": [80, 84], "noop_max": 5}}
    )()
    obs, _ = env.reset(seed=1)
    assert env.observation_space.shape == obs.shape == (84, 80)
    assert env.step(2)[0].dtype == np.uint8
    with pytest.raises(
        UserError, match=r"frame skip of its own \(…NoFrameskip-v4, or env.kwargs.frameskip=1\)"
    ):
        EnvMaker(EnvConfig("ALE/Pong-v5"), {"atari_preprocessing": {}})()


TRAINING_ONLY: dict[str, dict[str, Any]] = {
    "clip_reward": {"low": 0.0, "high": 0.25},
    "normalize_reward": {},
    "transform_reward": {"func": "math:tanh"},
    "random_action": {"epsilon": 1.0},
}


def test_all_that_is_for_training_only_is_known_here() -> None:
    found = {
        name for name in registry.wrappers.names() if getattr(registry.wrappers.get(name), "training_only", 0)
    }
    assert found == {*TRAINING_ONLY, "episodic_life"}


@pytest.mark.parametrize("name", [*TRAINING_ONLY, "episodic_life"])
@pytest.mark.parametrize("asked", [None, False, True])
def test_training_only_wrappers_stay_in_evaluation_when_asked(name: str, asked: bool | None) -> None:
    """Composed and made: the front door checks the word, and no wrapper sees it."""
    words = [f"wrappers=[{name}]", *([] if asked is None else [f"wrappers.{name}.in_evaluation={asked}"])]
    words += [f"wrappers.{name}.{key}={value}" for key, value in TRAINING_ONLY.get(name, {}).items()]
    env_id = "CartPole-v1"
    if name == "episodic_life":
        needs("ale_py")
        env_id = "PongNoFrameskip-v4"
    wrappers = rlkit.compose([*words, f"env.id={env_id}"]).wrappers
    assert wrappers[name]["in_evaluation"] is bool(asked)
    for training, there in ((True, True), (False, bool(asked))):
        env: Any = EnvMaker(EnvConfig(env_id), wrappers, training=training)()
        kinds = set()
        while isinstance(env, gym.Wrapper):
            kinds.add(type(env).__name__)
            env = env.env
        assert (name.title().replace("_", "") in kinds) is there


def test_in_evaluation_is_a_word_of_training_only_wrappers_alone() -> None:
    with pytest.raises(UserError, match=r"there is no key wrappers\.frame_stack\.in_evaluation"):
        rlkit.compose(["wrappers=[frame_stack]", "+wrappers.frame_stack.in_evaluation=true"])
    with pytest.raises(UserError, match="in_evaluation must be true or false"):
        rlkit.compose(["wrappers=[clip_reward]", "wrappers.clip_reward.in_evaluation=2"])


def test_the_ale_engine_still_serves_the_standard_list() -> None:
    needs("ale_py")
    config = rlkit.compose(["env=breakout", "env.num_envs=8"])
    assert engines.SPECIAL["ale"].why_not(config.env, config.wrappers) is None


def test_exploration_stays_in_evaluation_only_when_asked() -> None:
    def executed(**arguments: Any) -> bool:
        env = EnvMaker(EnvConfig(), {"random_action": arguments}, training=False)()
        env.reset(seed=0)
        return "action_executed" in env.step(0)[4]

    assert not executed(epsilon=0.5)
    assert executed(epsilon=0.5, in_evaluation=True)
