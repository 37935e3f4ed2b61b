"""Pictures without a screen: what draws is chosen by itself, and what is missing is said in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rlkit.config import EnvConfig
from rlkit.envs import headless
from rlkit.envs.factory import EnvMaker
from rlkit.errors import UserError

BODY = "HalfCheetah-v5"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No display, nothing chosen; monkeypatch puts back what `draw_off_screen` sets."""
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL", "SDL_VIDEODRIVER", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def libraries(monkeypatch: pytest.MonkeyPatch, egl: bool, osmesa: bool) -> None:
    monkeypatch.setattr(headless, "egl_works", lambda: egl)
    monkeypatch.setattr(headless, "osmesa_works", lambda: osmesa)


@pytest.mark.parametrize(("egl", "osmesa", "chosen"), [(True, True, "egl"), (False, True, "osmesa")])
def test_what_is_there_is_chosen(
    monkeypatch: pytest.MonkeyPatch, egl: bool, osmesa: bool, chosen: str
) -> None:
    libraries(monkeypatch, egl, osmesa)
    headless.draw_off_screen(BODY)
    assert os.environ["MUJOCO_GL"] == chosen
    assert os.environ["SDL_VIDEODRIVER"] == "dummy"


def test_a_choice_of_the_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries(monkeypatch, egl=True, osmesa=True)
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    headless.draw_off_screen(BODY)
    assert os.environ["MUJOCO_GL"] == "osmesa"


def test_a_display_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries(monkeypatch, egl=False, osmesa=False)
    monkeypatch.setenv("DISPLAY", ":0")
    headless.draw_off_screen(BODY)
    assert "MUJOCO_GL" not in os.environ
    assert "SDL_VIDEODRIVER" not in os.environ


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("", r"neither EGL nor OSMesa.*apt install libegl1 .*apt install libosmesa6"),
        ("egl", r"MUJOCO_GL=egl: a system library is missing \(apt install libegl1 "),
        ("osmesa", r"MUJOCO_GL=osmesa: a system library is missing \(apt install libosmesa6"),
        ("glfw", r"MUJOCO_GL=glfw, because there is no display: unset it"),
    ],
)
def test_what_is_missing_is_said_before_mujoco_fails(
    monkeypatch: pytest.MonkeyPatch, asked: str, told: str
) -> None:
    libraries(monkeypatch, egl=False, osmesa=False)
    if asked:
        monkeypatch.setenv("MUJOCO_GL", asked)
    with pytest.raises(UserError, match=f"^{BODY} cannot be drawn.*{told}"):
        EnvMaker(EnvConfig(id=BODY), render_mode="rgb_array")()
    headless.draw_off_screen("CartPole-v1")  # needs no OpenGL


def test_a_body_that_cannot_be_drawn_is_trained_without_films(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    libraries(monkeypatch, egl=False, osmesa=False)
    assert headless.film_mode(BODY, ["human", "rgb_array"]) is None
    assert "no films: HalfCheetah-v5 cannot be drawn" in caplog.text
    assert headless.film_mode("CartPole-v1", ["human", "rgb_array"]) == "rgb_array"
    assert headless.film_mode("Copy-v0", ["human", "ansi"]) == "ansi"
    libraries(monkeypatch, egl=True, osmesa=False)
    assert headless.film_mode(BODY, ["human", "rgb_array"]) == "rgb_array"


def test_libraries_that_are_not_there_are_no_crash() -> None:
    """The real probes, in a process that can load nothing."""
    code = (
        "import ctypes, ctypes.util\n"
        "from rlkit.envs import headless\n"
        "def nothing(name, *more, **others): raise OSError(name)\n"
        "ctypes.CDLL = nothing\n"
        "ctypes.util.find_library = lambda name: None\n"
        "print(headless.egl_works(), headless.osmesa_works(), headless.opengl())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False None\n"
