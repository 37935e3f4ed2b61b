"""NEAT in a notebook: what the kept one shows, and that it still does, in an empty folder, without screen."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.envs.needs import ALL

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "experiments" / "030_neat_jupyter"
KEPT = FOLDER / "neat_cartpole.ipynb"
NEEDED = ("nbclient", "ipykernel", "matplotlib")

needs_jupyter = pytest.mark.skipif(
    not ALL and not all(find_spec(name) for name in NEEDED),
    reason="nbclient, ipykernel or matplotlib is not installed",
)


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_neat_notebook", FOLDER / "make_notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text(entry: Any) -> str:
    return entry if isinstance(entry, str) else "".join(entry)


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def shows_what_it_promises(notebook: Any) -> None:
    every = outputs(notebook)
    assert {out["output_type"] for out in every} <= {"stream", "execute_result", "display_data"}  # no error
    aside = [text(out["text"]) for out in every if out.get("name") == "stderr"]
    assert [words.startswith("corrected.txt") for words in aside] == [True]  # no warning
    said = "".join(text(out.get("text", "")) for out in every)
    assert "display: None" in said

    scores = [float(score) for score in re.findall(r"champion: ([\d.]+) over 100 fresh episodes", said)]
    assert len(scores) == 2
    assert min(scores) >= 475
    assert len(re.findall(r"step [\d,]+: [\d.]+ over 100 fresh episodes holds 475", said)) == 2

    data = [out["data"] for out in every if "data" in out]
    pictures = [base64.b64decode(text(shown["image/png"])) for shown in data if "image/png" in shown]
    assert len(pictures) == 4  # two live figures, the champion's network, species
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    films = re.findall(
        r"data:video/mp4;base64,([A-Za-z0-9+/=]+)", "".join(text(d.get("text/html", "")) for d in data)
    )
    assert [base64.b64decode(film)[4:8] for film in films] == [b"ftyp"]
    record = next(text(d["text/plain"]) for d in data if "'genome_id'" in text(d.get("text/plain", "")))
    genome = re.search(r"'genome_id': (\d+)", record)
    assert genome
    assert f"genome {genome[1]}, fitness" in said  # the one whose network is drawn

    assert re.search(r"weights +equal.*\nmetrics +equal.*\nepisodes +equal", said)  # sync, async
    assert "done after 4,0" in said  # the environment of a cell, in workers
    assert re.search(r"env.engine=async cannot serve LockedCart-v0: .*cannot pickle '_thread.lock'", said)
    assert "no key agent.evolution.connection_add_prob; did you mean agent.evolution.conn_add_prob?" in said

    assert re.search(r"config-feedforward.txt: \d+ mistakes", said)
    for line, key, mistake in (
        (2, "fitness_threshold", "100000 #Example"),
        (10, "connection_add_prob", "conn_add_prob"),
        (11, "connection_delete_prob", "conn_delete_prob"),
    ):
        assert re.search(rf"^ *{line} +\w+ +{key} .*{re.escape(mistake)}", said, re.MULTILINE)
    for key in ("activation_options", "feed_forward", "compatibility_threshold"):
        assert re.search(rf"^ +– +\w+ +{key} +missing", said, re.MULTILINE)


def test_the_kept_notebook_shows_it() -> None:
    assert KEPT.stat().st_size < 1_500_000
    content = KEPT.read_text(encoding="utf-8")
    assert not re.search(r"/(home|work|tmp|root|Users)/", content)
    shows_what_it_promises(json.loads(content))


@needs_jupyter
def test_the_kept_notebook_is_the_one_that_is_made() -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    made = [(cell["cell_type"], cell["source"]) for cell in maker().build()["cells"]]
    assert [(cell["cell_type"], text(cell["source"])) for cell in kept["cells"]] == made, (
        "run make_notebook.py"
    )


@needs_jupyter
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DISPLAY", ":99")  # which the kernel must not see
    making = maker()
    shows_what_it_promises(making.execute(making.build(), str(tmp_path)))
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "config-feedforward.txt", "corrected.txt"}
    runs = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("run.json")]
    assert sorted(run["status"] for run in runs) == ["done", "done", "done", "stopped", "stopped"]
