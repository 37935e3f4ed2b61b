"""The diagnosis of an environment of one's own finds everything at once, and nothing where all is well."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import rlkit
from rlkit import cli
from rlkit.config import EnvConfig
from rlkit.envs.checking import diagnose, trainable
from rlkit.envs.factory import probe
from rlkit.errors import UserError


class Old(gym.Env):
    observation_space = spaces.Box(-1.0, 1.0, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.s = np.zeros(2)

    def reset(self) -> Any:  # type: ignore[override]
        self.s = np.random.default_rng().normal(size=2) * 5
        return self.s

    def step(self, action: Any) -> Any:
        self.s += 1
        return self.s, "x", 0, {}


def test_all_faults_are_told_with_their_line() -> None:
    found = diagnose(f"{__name__}:Old")
    told = " | ".join(f.what for f in found)
    for fault in (
        "render_modes", "takes no seed", "observation alone", "float64, its space float32",
        "outside its space",
        "4 values", "flag is int", "reward is str", "changes after it was returned", "with one seed",
    ):  # fmt: skip
        assert fault in told
    where = {f.what[:4]: f.where for f in found}["step"]
    line = Old.step.__code__.co_firstlineno
    assert where.startswith("Old.step, ")
    assert where.endswith(f"test_checking.py:{line}")
    assert all(f.fix for f in found)


class Good(gym.Env):
    """Nothing is wrong with it; what inherits from it breaks one thing each."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012
    observation_space = spaces.Box(-1.0, 1.0, (2,))
    action_space: spaces.Space = spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.t = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self._look(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return self._look(), 1.0, self.t >= 20, False, {}

    def render(self) -> Any:
        return np.full((16, 16, 3), 9 * self.t, np.uint8)

    def _look(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)


class Needs(Good):
    def __init__(self, size: int, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.size = size


class BadStart(Good):
    def __init__(self) -> None:
        super().__init__()
        self.table = {}["nothing"]


class BadReset(Good):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.np_random.randn(2), {}  # type: ignore[attr-defined]


class BadStep(Good):
    def step(self, action: Any) -> Any:
        done = np.bool8(self.t)  # type: ignore[attr-defined]
        return self._look(), 1.0, done, False, {}


class Unwritten(Good):
    def step(self, action: Any) -> Any:
        raise NotImplementedError


class BadRender(Good):
    def render(self) -> Any:
        return self.screen.copy()  # type: ignore[attr-defined]


class NoFrame(Good):
    def render(self) -> Any:
        return None


class FloatFrame(Good):
    def render(self) -> Any:
        return np.zeros((16, 16, 3))


class NoMode(Good):
    def __init__(self) -> None:
        super().__init__()


class Unfilmed(Good):
    metadata = {"render_modes": ["human"]}  # noqa: RUF012


class Endless(Good):
    action_space = spaces.Box(-1.0, 1.0, (1,))

    def step(self, action: Any) -> Any:
        return self._look(), 0.0, False, False, {}


class Oldest:
    """In the style of 0.21, without gym."""

    metadata = {"render.modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = spaces.Box(-1.0, 1.0, (2,))
    action_space = spaces.Discrete(2)

    def seed(self, seed: int | None = None) -> None:
        self.random = np.random.RandomState(seed)

    def reset(self) -> Any:
        self.t = 0
        return self.random.uniform(-1, 1, 2)

    def step(self, action: Any) -> Any:
        self.t += 1
        return self.random.uniform(-1, 1, 2), 1.0, self.t >= 9, {}

    def render(self, mode: str = "human") -> Any:
        return np.zeros((16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("kind", "what", "method", "fix"),
    [
        (Needs, "the constructor needs size", "__init__", "kwargs={size: VALUE}"),
        (BadStart, "the constructor raises KeyError: 'nothing'", "__init__", 'self.table = {}["nothing"]'),
        (BadReset, "reset raises AttributeError: .*randn", "reset", "self.np_random.standard_normal"),
        (BadStep, "step raises AttributeError: .*bool8", "step", "np.bool_ instead of np.bool8"),
        (Unwritten, "step raises NotImplementedError", "step", "reward, terminated, truncated"),
        (BadRender, "render raises AttributeError: .*screen", "render", "return self.screen.copy()"),
        (NoFrame, "render returns nothing, not a picture", "render", "uint8 [height, width, 3]"),
        (FloatFrame, r"render returns float64 \[16, 16, 3\]", "render", "uint8 [height, width, 3]"),
        (NoMode, "rgb_array is declared, but the constructor", "__init__", "render_mode="),
        (Unfilmed, '"render_modes" names human alone', "", '"rgb_array"'),
    ],
)  # fmt: skip
def test_each_fault_is_told_once_and_never_as_a_traceback(
    kind: type[Any], what: str, method: str, fix: str
) -> None:
    found = diagnose(f"{__name__}:{kind.__name__}")
    assert len(found) == 1
    assert re.match(what, found[0].what)
    assert fix in found[0].fix
    title, _, line = found[0].where.rpartition(":")
    assert title.startswith(f"{kind.__name__}{'.' + method if method else ''}, ")
    assert title.endswith("test_checking.py")
    start = (kind.__dict__[method].__code__ if method else None) or kind  # the method's own lines hold it
    lines, first = inspect.getsourcelines(start)
    assert first <= int(line) < first + len(lines)


@pytest.mark.parametrize("kind", [Good, Endless])
def test_a_good_one_is_fine(kind: type[Any]) -> None:
    assert diagnose(f"{__name__}:{kind.__name__}") == []
    assert diagnose(f"{__name__}:Needs", {"size": 3}) == []


def test_seed_is_the_old_door_and_no_second_fault() -> None:
    told = " | ".join(finding.what for finding in diagnose(f"{__name__}:Oldest"))
    for fault in ("is no gymnasium.Env", "takes no seed", "4 values", "render.modes", "mode at every call"):
        assert fault in told
    assert "with one seed" not in told


@pytest.mark.parametrize(
    ("name", "kwargs", "env_id", "ends"),
    [
        ("Good", {}, "{}:Good", True),
        ("Needs", {"size": 3}, "{}:Needs", True),
        ("Needs", {}, None, False),
        ("Endless", {}, "{}:Endless", False),
        ("Oldest", {}, "gym:{}:Oldest", True),
        ("BadStep", {}, None, False),
    ],
)
def test_what_is_said_to_train_was_tried(
    name: str, kwargs: dict[str, Any], env_id: str | None, ends: bool
) -> None:
    found = trainable(f"{__name__}:{name}", kwargs)
    assert (found and found.env_id) == (env_id and env_id.format(__name__))
    assert found is None or found.ends is ends


def test_a_class_is_trained_by_its_name(tmp_path: Path) -> None:
    """With arguments, a time limit and films, in this process and in others."""
    for name, engine in ((f"{__name__}:Good", "sync"), (f"gym:{__name__}:Oldest", "sync"), (
        f"{__name__}:Needs", "async"
    )):  # fmt: skip
        words = [f"env.id={name}", "agent=random", "trainer.total_steps=90", "trainer.test_episodes=0",
                 "trainer.eval_every=50", "trainer.eval_episodes=1", "monitor.video=every:4", "logger=[]",
                 "env.max_episode_steps=7", f"env.engine={engine}", f"run.root={tmp_path}"]  # fmt: skip
        words += ["env.kwargs.size=3"] if name.endswith("Needs") else []
        run = rlkit.train(rlkit.compose(words))
        assert [row["length"] for row in run.episodes()][:3] == [7, 7, 7]
        assert list((run.path / "monitor").glob("*.mp4"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Oldest", "Oldest is no gymnasium.Env; one of the old API runs as env.id=gym:.*:Oldest"),
        ("Goood", "nearest: Good"),
        ("Needs", "missing .* 'size'; its arguments are written env.kwargs.NAME=VALUE"),
    ],
)
def test_a_class_that_cannot_be_had_says_what_can(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        probe(EnvConfig(f"{__name__}:{name}"), {})


def test_an_old_version_names_the_new_one() -> None:
    with pytest.raises(UserError, match=r"HalfCheetah-v3 cannot be made: .*; write env.id=HalfCheetah-v5\.$"):
        probe(EnvConfig("HalfCheetah-v3"), {})


@pytest.mark.parametrize("name", ["CartPole-v1", "Taxi-v4", "Blackjack-v1", "Pendulum-v1"])
def test_gymnasiums_own_are_fine(name: str) -> None:
    assert diagnose(name) == []


OLD_STEP = """
import gymnasium as gym, numpy as np
class Env(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        RESET
        return np.zeros(2, np.float32), {}
    def step(self, action):
        return np.zeros(2, np.float32), 1.0, False, {}
"""


@pytest.mark.parametrize(("reset", "where"), [("pass", "step"), ("raise KeyError('no rom')", "reset")])
def test_what_fails_at_once_costs_no_run_folder(
    reset: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    module = f"fails_in_{where}"
    (tmp_path / f"{module}.py").write_text(OLD_STEP.replace("RESET", reset))
    assert cli.main(["train", f"env.id={module}:Env", "trainer.total_steps=10"]) == 2
    assert f"fails in {where} (" in (told := capsys.readouterr().err)
    assert f"`rlkit envs check {module}:Env` says what to mend" in told
    assert not (tmp_path / "runs").exists()
