"""Killed and continued equals uninterrupted, bit for bit, with stacked images and with Dict observations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlkit import cli
from rlkit.registry import envs

from .harness import TINY, command, compare, log_of, newest_state, passes, replay_rows

EVERY = ("env.num_envs=2", "trainer.log_every=50", "trainer.eval_every=0", "trainer.checkpoint_every=60",
         "trainer.total_steps=300", "net.hidden=[16]", "net.cnn_features=16")  # fmt: skip
STACKED = ("env.id=Dots", "wrappers=[frame_stack,clip_reward]", "wrappers.frame_stack.size=3")
AGENTS = {
    "dqn": ("agent=dqn", "agent.learning_starts=40", "agent.buffer_size=120", "agent.batch_size=8",
            "agent.n_step=3", "agent.train_every=4"),
    "ppo": ("agent=ppo", "agent.horizon=16", "agent.epochs=1", "agent.minibatch_size=16"),
}  # fmt: skip
ENVS = {"images": STACKED, "dict": ("env.id=Mixed",)}


class Dots(gym.Env):
    """A bright dot wanders over 16×16 pixels; episodes end by chance, either way."""

    observation_space: gym.Space = gym.spaces.Box(0, 255, (16, 16), np.uint8)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(256))
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place = (self.place + int(action) * 7 + int(self.np_random.integers(3))) % 256
        terminated, truncated = (bool(x) for x in self.np_random.random(2) < 0.08)
        return self._obs(), self.place / 100.0, terminated, truncated, {}

    def _obs(self) -> Any:
        picture = np.zeros((16, 16), np.uint8)
        picture.reshape(-1)[self.place] = 255
        return picture


class Mixed(Dots):
    """The same with a Dict of a picture, numbers and a choice."""

    observation_space = gym.spaces.Dict(
        {
            "picture": Dots.observation_space,
            "age": gym.spaces.Box(0, 256, (2,), np.float32),
            "row": gym.spaces.Discrete(16),
        }
    )

    def _obs(self) -> Any:
        numbers = np.array([self.place, self.place / 2], np.float32)
        return {"picture": super()._obs(), "age": numbers, "row": np.int64(self.place // 16)}


def register() -> None:
    """In a child process: `env.id=Dots` and `env.id=Mixed`."""
    envs.add("Dots", Dots)
    envs.add("Mixed", Mixed)


@pytest.mark.parametrize("kind", ENVS)
@pytest.mark.parametrize("agent", AGENTS)
def test_killed_and_continued_equals_uninterrupted(
    agent: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*TINY, *EVERY, *AGENTS[agent], *ENVS[kind])
    whole, folder = tmp_path / "whole", tmp_path / "cut"
    first, cut = ((*words, f"run.dir={each}", f"run.root={tmp_path}") for each in (whole, folder))
    resumed = (*words, f"resume={folder}", f"run.root={tmp_path}")
    assert command(first, whole, patch=register) == 0, log_of(whole).read_text()
    assert passes(whole)["step"] == 150
    assert command(cut, folder, kill=("step", 77), patch=register) == -9, log_of(folder).read_text()
    assert command(resumed, folder, kill=("step", 52), patch=register) == -9, log_of(folder).read_text()
    assert command(resumed, folder, patch=register) == 0, log_of(folder).read_text()
    assert cli.main(["runs", "diff", str(whole), str(folder)]) == 0, capsys.readouterr().out
    compare(whole, folder)
    if agent == "dqn":
        rows, state = replay_rows(folder), newest_state(folder)
        assert state["agent"]["replay"]["seams"] == []
        if kind == "images":  # a frame is there once, with the frames before the oldest transition
            assert rows["obs/obs"].shape == (60 + 2, 2, 16, 16)
            assert set(rows["age"].flatten().tolist()) == {0, 1, 2}
        else:
            assert rows["obs/age"].shape == (60, 2, 2)
