"""`rlkit envs`: what a user sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rlkit.cli import main


def told(capsys: Any, *words: str, code: int = 0) -> str:
    assert main(["envs", *words]) == code
    out = capsys.readouterr()
    return out.err if code == 2 and out.err else out.out


def test_the_ten_groups_fit_a_screen(capsys: Any) -> None:
    lines = told(capsys).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert [line[:2].strip() for line in lines if line[:2].strip().isdigit()] == [
        str(n) for n in range(1, 11)
    ]


def test_a_group_lists_its_ids_and_a_slip_names_the_nearest(capsys: Any) -> None:
    assert told(capsys, "classic").splitlines()[0] == "CartPole-v1"
    assert told(capsys, "group=classic") == told(capsys, "classic")
    assert "did you mean classic?" in told(capsys, "clasic", code=2)


def test_show_tells_and_draws(capsys: Any, tmp_path: Path) -> None:
    out = tmp_path / "frame.png"
    data = json.loads(told(capsys, "show", "cartpole", f"out={out}", "json=true"))
    assert (data["id"], data["solved at"], data["time limit"]) == ("CartPole-v1", 475.0, 500)
    assert {"sync", "async", "torch"} <= set(data["engines"])
    assert "dqn" in data["agents"]
    with Image.open(out) as picture:
        assert len(picture.getcolors(100_000)) > 2


def test_wrappers_with_parameters_and_marks(capsys: Any) -> None:
    lines = told(capsys, "wrappers").splitlines()
    assert any(line.startswith("TR clip_reward ") and "low=-1.0" in line for line in lines)
    assert any("delay_observation" in line and "[delay=needed]" in line for line in lines)
    assert len(told(capsys, "wrappers", "grayscale").splitlines()) == 3
    assert "did you mean grayscale?" in told(capsys, "wrappers", "greyscale", code=2)


@pytest.mark.parametrize(("name", "code"), [("CartPole-v1", 0), ("tests.envs.test_checking:Old", 2)])
def test_check_says_by_its_exit_code(capsys: Any, name: str, code: int) -> None:
    text = told(capsys, "check", name, code=code)
    assert ("fine" in text) == (code == 0)
    assert ("where:" in text) == (code == 2)
