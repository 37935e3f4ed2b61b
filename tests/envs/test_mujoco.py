"""Group 6, MuJoCo: its warnings and its pictures."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from rlkit.config import EnvConfig
from rlkit.envs import catalog, headless, scratch
from rlkit.envs.factory import EnvMaker
from rlkit.envs.groups import mujoco
from tests.envs.needs import needs

needs("mujoco")


def test_all_v5_bodies_of_gymnasium_are_listed() -> None:
    registered = {
        name for name, spec in gym.registry.items() if "mujoco" in str(spec.entry_point) and "-v5" in name
    }
    assert set(mujoco.ids()) == registered
    assert len(registered) == 11
    assert mujoco.owns("HalfCheetah-v4")
    assert not mujoco.owns("HalfCheetah-v3")  # gone: Gymnasium says where to


def test_warnings_go_into_the_scratch_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here, run = tmp_path / "here", tmp_path / "run"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(mujoco, "_told", set())
    with scratch.use(run), caplog.at_level(logging.WARNING, "rlkit"):
        env = EnvMaker(EnvConfig(id="HalfCheetah-v5"))()
        for _ in range(2):
            env.reset(seed=0)
            env.unwrapped.data.qvel[:] = np.nan  # type: ignore[attr-defined]
            env.step(np.zeros(6, np.float32))
        env.close()
    written = (run / "MUJOCO_LOG.TXT").read_text()
    assert written.count("Nan, Inf or huge value in QVEL at DOF 0") == 2
    assert list(here.iterdir()) == []
    told = [record.message for record in caplog.records]
    assert len(told) == 1  # once, and nothing about Gymnasium's own model files
    assert "The simulation is unstable" in told[0]


DRAW = """
import numpy as np
from rlkit.config import EnvConfig
from rlkit.envs.factory import EnvMaker, probe

config = EnvConfig(id="Hopper-v5")
probe(config, {})  # imports MuJoCo before anything is chosen
env = EnvMaker(config, render_mode="rgb_array")()
env.reset(seed=0)
first = env.render().copy()
for _ in range(5):
    env.step(env.action_space.high)
second = env.render()
print(first.shape, first.dtype, np.ptp(first) > 16, not np.array_equal(first, second), flush=True)
env.close()
"""


@pytest.mark.skipif(
    headless.opengl() is None, reason=f"neither EGL nor OSMesa is here: {headless.INSTALL_EGL}"
)
def test_frames_without_a_display_and_nothing_else_printed(tmp_path: Path) -> None:
    """In a process of its own: the wrong choice ends the process, and PyOpenGL talks at exit."""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL", "PYOPENGL_PLATFORM")
    variables = {name: value for name, value in os.environ.items() if name not in hidden}
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", DRAW], env={**variables, "PYTHONPATH": root}, cwd=tmp_path,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(480, 480, 3) uint8 True True\n"
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_the_group_registers_once_and_respects_a_handler_that_is_there() -> None:
    import mujoco as package

    before = package.get_mju_user_warning()
    try:
        package.set_mju_user_warning(print)
        catalog.prepare("Hopper-v5")
        assert package.get_mju_user_warning() is print
    finally:
        package.set_mju_user_warning(before)
