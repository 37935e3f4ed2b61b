"""Every observation and action space, pictures and masks: inputs and outputs are derived, and evolve."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from blink import Blink
from gymnasium import spaces as S

import rlkit
from rlkit import registry
from rlkit.agents.neat import NEAT
from rlkit.envs.probe import Echo, draw
from rlkit.errors import UserError
from rlkit.runs import Run
from rlkit.session import make_plan

Train = Callable[..., Run]
NESTED = S.Dict(
    {
        "hand": S.Dict({"grip": S.Discrete(3, start=2), "keys": S.MultiBinary(2)}),
        "walk": S.Tuple((S.Box(0, 4, (1,), np.float32), S.MultiDiscrete([2, 2]))),
    }
)
# space → inputs as an observation (one per number, one per choice), outputs as an action
SPACES: dict[str, tuple[S.Space, int, int]] = {
    "box": (S.Box(np.array([-1, 0], np.float32), np.array([3, 10], np.float32)), 2, 2),
    "box-2x3": (S.Box(-1.0, 1.0, (2, 3), np.float32), 6, 6),
    "box-float64": (S.Box(-1.0, 1.0, (3,), np.float64), 3, 3),
    "discrete": (S.Discrete(4), 4, 4),
    "discrete-from-minus-one": (S.Discrete(3, start=-1), 3, 3),
    "multidiscrete": (S.MultiDiscrete([3, 2]), 5, 5),
    "multibinary": (S.MultiBinary(3), 3, 3),
    "tuple": (S.Tuple((S.Discrete(3), S.Box(-2, 1, (1,), np.float32))), 4, 4),
    "dict": (S.Dict({"a": S.Box(-1, 1, (2,), np.float32), "b": S.Discrete(2)}), 4, 4),
    "nested": (NESTED, 3 + 2 + 1 + 4, 3 + 2 + 1 + 4),
}


class Walk(gym.Env):
    """Episodes of 2 to 4 steps, by seed; random observations; an action that is not in the space is an error.

    mask: the observation also says which of the choices are legal, and another one is an error.
    """

    def __init__(self, seen: S.Space, done: S.Space, mask: bool = False) -> None:
        self.inner, self.action_space, self.mask = seen, done, mask
        self.observation_space = (
            S.Dict({"seen": seen, "action_mask": S.MultiBinary(int(done.n))})  # type: ignore[attr-defined]
            if mask
            else seen
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(2, 5))
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        assert not self.mask or self.legal[action], f"{action} is illegal: {self.legal}"
        self.left -= 1
        return self._obs(), float(self.np_random.random()), self.left == 0, False, {}

    def _obs(self) -> Any:
        seen = draw(self.inner, self.np_random)
        if not self.mask:
            return seen
        self.legal = self.np_random.integers(2, size=self.action_space.n).astype(np.int8)  # type: ignore[attr-defined]
        self.legal[self.np_random.integers(len(self.legal))] = 1
        return {"seen": seen, "action_mask": self.legal}


def known(monkeypatch: pytest.MonkeyPatch, make: Callable[[], gym.Env]) -> str:
    """An id for `env.id`, as long as the test runs."""
    monkeypatch.setitem(registry.envs._targets, "neat/try", make)
    return "env.id=neat/try"


def generations(run: Run) -> int:
    """How many a finished run has been through."""
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return int(max(row.get("neat/generation", -1) for row in rows)) + 1


def agent_of(*words: str) -> NEAT:
    plan = make_plan(rlkit.compose(["agent=neat", "device=cpu", *words]))
    return NEAT(plan.config.agent, plan.setup)


# ---------------------------------------------------------------------- observation and action spaces


@pytest.mark.parametrize("name", SPACES)
def test_every_space_is_seen_and_acted_in(
    name: str, monkeypatch: pytest.MonkeyPatch, short_run: Train
) -> None:
    """The space as what is seen, the next one of the table as what is done, and the other way round."""
    names = list(SPACES)
    other = names[(names.index(name) + 3) % len(names)]
    seen, inputs, _ = SPACES[name]
    done, _, outputs = SPACES[other]
    word = known(monkeypatch, partial(Walk, seen, done))
    agent = agent_of(word)
    assert (agent.inputs, agent.outputs) == (inputs, outputs)
    recurrent = f"agent.evolution.feed_forward={str(len(name) % 2 == 0).lower()}"
    run = short_run(
        "agent=neat", word, "agent.population=4", "agent.trials=2", "env.num_envs=3", recurrent,
        "trainer.total_steps=120", "trainer.log_every=10", "trainer.eval_every=60", "trainer.eval_episodes=3",
    )  # fmt: skip
    assert run.status == "done"
    assert generations(run) >= 3


@pytest.mark.parametrize(
    ("name", "least"),
    [("discrete", 0.6), ("multidiscrete", 0.7), ("nested", 0.5)],
)
def test_what_is_seen_can_be_repeated(
    name: str, least: float, monkeypatch: pytest.MonkeyPatch, short_run: Train
) -> None:
    """Evolution learns to repeat what is seen in some generations, in flat and in nested spaces."""
    word = known(monkeypatch, partial(Echo, SPACES[name][0]))
    run = short_run(
        "agent=neat", word, "agent.population=60", "agent.trials=8", "env.num_envs=120",
        "agent.evolution.weight.init_stdev=2", "trainer.total_steps=7200", "trainer.test_episodes=200",
    )  # fmt: skip
    assert run.info["test_mean"] >= least


# ---------------------------------------------------------------------- masks


@pytest.mark.parametrize("recurrent", [False, True])
def test_an_illegal_action_is_never_taken(
    recurrent: bool, monkeypatch: pytest.MonkeyPatch, short_run: Train
) -> None:
    """`Walk` raises at one: no network may choose it, in training, evaluation or test."""
    word = known(monkeypatch, partial(Walk, S.Box(-1, 1, (2,), np.float32), S.Discrete(5), True))
    assert agent_of(word).inputs == 2  # the mask is no input
    run = short_run(
        "agent=neat", word, "agent.population=5", "env.num_envs=2", "trainer.total_steps=200",
        "trainer.log_every=10", "trainer.eval_every=100", "trainer.test_episodes=5",
        f"agent.evolution.feed_forward={str(not recurrent).lower()}",
    )  # fmt: skip
    assert generations(run) >= 5


def test_the_mask_that_an_environment_tells_in_info(short_run: Train) -> None:
    words = ("env=taxi", "wrappers=[action_mask]", "env.max_episode_steps=10")
    assert (agent_of(*words).inputs, agent_of(*words).outputs) == (500, 6)
    run = short_run("agent=neat", *words, "agent.population=4", "env.num_envs=3", "trainer.total_steps=160",
                    "trainer.log_every=10")  # fmt: skip
    assert generations(run) >= 3


# ---------------------------------------------------------------------- pictures


def test_rendered_frames_are_observations(short_run: Train) -> None:
    """Nobody has to ask for frames: the wrapper that looks at them does."""
    words = (
        "env=cartpole", "wrappers=[add_render_observation,grayscale,resize,flatten]",
        "wrappers.resize.height=8", "wrappers.resize.width=12",
    )  # fmt: skip
    assert agent_of(*words).inputs == 96
    run = short_run(
        "agent=neat", *words, "agent.population=5", "env.num_envs=2", "env.max_episode_steps=6",
        "trainer.total_steps=70", "trainer.log_every=10", "trainer.eval_every=70",
        "trainer.eval_episodes=1", "trainer.test_episodes=1", "monitor=default", "monitor.eval_video=every:1",
    )  # fmt: skip
    assert run.status == "done"
    assert generations(run) >= 2
    assert list((run.path / "monitor").glob("*.mp4"))


def test_a_frame_beside_what_is_observed_without_it(
    monkeypatch: pytest.MonkeyPatch, short_run: Train
) -> None:
    words = (known(monkeypatch, partial(Blink, size=(6, 8))), "wrappers=[add_render_observation,flatten]",
             "wrappers.add_render_observation.render_only=false")  # fmt: skip
    assert agent_of(*words).inputs == 1 + 6 * 8 * 3
    run = short_run("agent=neat", *words, "agent.population=3", "trainer.total_steps=40",
                    "trainer.log_every=5")  # fmt: skip
    assert generations(run) == 2


@pytest.mark.parametrize("env", ["env=pixel_pong", "env=cartpole"])
def test_an_image_is_refused_and_the_way_out_works(env: str, short_run: Train) -> None:
    looks = ["wrappers=[add_render_observation]"] if env == "env=cartpole" else []
    with pytest.raises(UserError, match="neat has one input per number, and obs is an image of ") as caught:
        make_plan(rlkit.compose(["agent=neat", env, *looks]))
    said = re.search(r"wrappers=\[(.*?)\]", str(caught.value))
    assert said
    before = "add_render_observation," if looks else ""
    run = short_run(
        "agent=neat", env, f"wrappers=[{before}{said[1]}]", "wrappers.resize.height=9",
        "wrappers.resize.width=9", "agent.population=3", "env.max_episode_steps=5", "trainer.total_steps=60",
        "trainer.log_every=5", "agent.evolution.initial_connection=partial",
    )  # fmt: skip
    assert generations(run) >= 2
