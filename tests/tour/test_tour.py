"""The tour of the Gym chapter: every script and the notebook, from an empty folder, without a screen."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.envs.needs import ALL

ROOT = Path(__file__).parent.parent.parent
TOUR = ROOT / "experiments" / "010_gym_tour"
SCRIPTS = sorted(path.name for path in TOUR.glob("[0-9]*.py"))


def environment() -> dict[str, str]:
    """No display, nothing that tells SDL to do without, and this checkout's rlkit."""
    gone = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "SDL_AUDIODRIVER", "XDG_RUNTIME_DIR")
    return {name: text for name, text in os.environ.items() if name not in gone} | {"PYTHONPATH": str(ROOT)}


def run(script: str, folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, str(TOUR / script), *words], capture_output=True, text=True, cwd=folder,
        env=environment(), timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, f"{pattern!r} is not in:\n{text}"
    return float(found[1].replace(",", ""))


def test_there_are_eight() -> None:
    assert [name[:2] for name in SCRIPTS] == [f"{n:02}" for n in range(1, 9)]


def test_anatomy(tmp_path: Path) -> None:
    said = run("01_anatomy.py", tmp_path)
    assert 4.9 < number(r"mean of 1,000 episodes: ([\d.]+)", said) < 5.1
    assert "an eleventh step: the game is over" in said
    assert not list(tmp_path.iterdir())


def test_spaces(tmp_path: Path) -> None:
    said = run("02_spaces.py", tmp_path)
    assert re.findall(r"contains (.*): (True|False)", said) == [
        ("array([0.5], dtype=float32)", "True"), ("array([1.5], dtype=float32)", "False"),
        ("3", "True"), ("4", "False"),
    ]  # fmt: skip
    assert "one observation is 100,800 bytes; contained: True" in said
    assert "Tuple(Box(-1.0, 1.0, (3,), float32), Discrete(3), Discrete(2))" in said
    assert "1,000 samples, all contained: True" in said
    assert "a signal of 3 is contained: False" in said


def test_make(tmp_path: Path) -> None:
    said = run("03_make.py", tmp_path)
    assert "at most 500 steps, reward boundary 475" in said
    groups = re.findall(r"^ *(\d+) (\S.*?)  +(?:\d+ ids|not installed)", said, re.MULTILINE)
    assert [int(n) for n, _ in groups] == list(range(1, 11))
    assert len(set(re.findall(r"Breakout\S*-v[04]", said))) == 12


def test_cartpole_session(tmp_path: Path) -> None:
    said = run("04_cartpole_session.py", tmp_path)
    assert "Discrete(2)" in said
    assert re.search(r"step\(0\) .* 1\.0 False False \{\}", said)
    assert number(r"the cart moves at ([-+\d.]+)", said) < -0.1  # pushed to the left …
    assert number(r"the pole turns at ([-+\d.]+)", said) > 0.1  # … it falls to the right


def test_random_cartpole(tmp_path: Path) -> None:
    said = run("05_random_cartpole.py", tmp_path)
    assert 21.0 < number(r"2,000 episodes: mean ([\d.]+)", said) < 23.5  # not the chapter's 12 to 15
    assert 0.15 < number(r"average: (\d+)%", said) / 100 < 0.30
    assert number(r"mean of at least ([\d.]+)", said) == 475
    assert number(r"best 100 in a row here: ([\d.]+)", said) < 40
    assert "so solved: False" in said


def test_random_action_wrapper(tmp_path: Path) -> None:
    said = run("06_random_action_wrapper.py", tmp_path)
    assert "from the configuration, epsilon 0.5: reward" in said
    for who in ("by hand", "ours"):
        assert 12.5 < number(rf"{who} +500 episodes: mean reward ([\d.]+)", said) < 15.5
    assert 9.0 < number(r"no wrapper, 500 episodes: ([\d.]+)", said) < 9.7
    executed = re.search(r"asked for: \[(.*)\]", said)
    assert executed
    assert set(executed[1].split(", ")) == {"0", "1"}
    assert not list(tmp_path.iterdir())


def test_monitor_and_its_folder_rule(tmp_path: Path) -> None:
    said = run("07_monitor.py", tmp_path)
    assert "MonitorError: recording already holds monitor files" in said
    assert "force=True to delete these files" in said
    lengths = [int(n) for n in re.findall(r"episode \d done in (\d+) steps", said)]
    results = json.loads(said.split("load_results: ")[1])
    assert results == {"episode_rewards": [float(n) for n in lengths], "episode_lengths": lengths}
    assert [path.name for path in tmp_path.iterdir()] == ["recording"]
    films = sorted((tmp_path / "recording").glob("*.mp4"))
    assert len(films) == 2  # episodes 0 and 1
    assert all(film.read_bytes()[4:8] == b"ftyp" for film in films)
    assert run("07_monitor.py", tmp_path).count("done in") == 3  # force=True: again in the same folder
    assert len(list((tmp_path / "recording").glob("*.mp4"))) == 2


def rows(path: Path) -> dict[str, dict[float, dict[str, float]]]:
    """policy → epsilon → mean, low, high, episodes."""
    found: dict[str, dict[float, dict[str, float]]] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            mine = found.setdefault(row.pop("policy").split(":")[0], {})
            mine[float(row.pop("epsilon"))] = {name: float(text) for name, text in row.items()}
    return found


def says_what_the_chapter_asks(table: dict[str, dict[float, dict[str, float]]]) -> None:
    assert set(table) == {"constant", "alternate", "lean", "balance"}
    for mine in table.values():
        assert all(point["low"] <= point["mean"] <= point["high"] for point in mine.values())
        assert 19 < mine[1.0]["mean"] < 26  # whoever decides nothing scores as the random agent
    constant, balance = table["constant"], table["balance"]
    assert 9 < constant[0.0]["mean"] < 10
    assert constant[0.0]["high"] < constant[0.5]["low"] < constant[0.5]["high"] < constant[1.0]["low"]
    assert balance[0.0]["low"] > balance[0.2]["high"] > balance[1.0]["high"]  # and hurts a policy that knows


def test_the_exercise(tmp_path: Path) -> None:
    said = run("08_exercise.py", tmp_path, "episodes=40")
    assert said.count("best at") == 4
    says_what_the_chapter_asks(rows(tmp_path / "results.csv"))
    if find_spec("matplotlib"):
        assert (tmp_path / "epsilon.png").read_bytes().startswith(b"\x89PNG")


def test_the_committed_measurement() -> None:
    table = rows(TOUR / "results.csv")
    assert all(point["episodes"] == 2000 for mine in table.values() for point in mine.values())
    says_what_the_chapter_asks(table)
    page = (TOUR / "README.md").read_text(encoding="utf-8")
    for mine in table.values():  # the page's table is the file's
        for epsilon in (0.0, 0.1, 0.5, 1.0):
            point = mine[epsilon]
            assert f"{point['mean']:.1f} [{point['low']:.1f}, {point['high']:.1f}]" in page


# ------------------------------------------------------------------ the notebook


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def test_the_committed_notebook() -> None:
    path = TOUR / "gym_tour.ipynb"
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 250_000
    notebook = json.loads(text)
    assert {out["output_type"] for out in outputs(notebook)} == {"stream", "execute_result"}  # no error
    assert {out.get("name", "stdout") for out in outputs(notebook)} == {"stdout"}
    assert not re.search(r"/(home|work|tmp|root|Users)/", text)
    assert "data:video/mp4;base64" in text
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    for script in SCRIPTS:  # nobody changed a script and forgot the notebook
        for line in (
            (TOUR / script)
            .read_text(encoding="utf-8")
            .split('"""', 2)[2]
            .split("\nif __name__")[0]
            .split("\n")
        ):
            assert line in code, f"{script} changed: run make_notebook.py"


@pytest.mark.skipif(
    not ALL and not all(find_spec(name) for name in ("nbclient", "ipykernel", "matplotlib")),
    reason="nbclient, ipykernel or matplotlib is not installed",
)
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    spec = importlib.util.spec_from_file_location("make_notebook", TOUR / "make_notebook.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    notebook = maker.build()
    for cell in notebook["cells"]:  # the exercise has a test of its own
        cell["source"] = cell["source"].replace('get("episodes", 200)', 'get("episodes", 10)')
    done = maker.execute(notebook, str(tmp_path))
    assert {out["output_type"] for out in outputs(done)} == {"stream", "execute_result"}
    said = "".join(out.get("text", "") for out in outputs(done))
    assert "so solved: False" in said
    assert "MonitorError: recording already holds monitor files" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epsilon.png", "recording", "results.csv"]
