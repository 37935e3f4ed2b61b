"""The logger `notebook`, outside of one: what is drawn from metrics.jsonl, how often, and its stand-in."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from rlkit import notebook
from rlkit.errors import UserError
from rlkit.logger import Logger
from rlkit.notebook import Notebook, png

ROWS: list[notebook.Row] = [
    {"step": 100, "neat/generation": 0.0, "neat/best": 5.0, "neat/mean": 2.0},
    {"step": 150, "eval/return_mean": 4.0},
    {"step": 200, "neat/generation": 1.0, "neat/best": 9.0, "neat/mean": None},
    {"step": 250, "eval/return_mean": 8.0},
]


class Drawn:
    """Stands in for IPython's display and for the drawing itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        display = pytest.importorskip("IPython.display", reason="IPython is not installed")
        self.rows: list[list[Any]] = []
        self.titles: list[str] = []
        self.updates = 0
        monkeypatch.setattr(notebook, "png", self.png)
        monkeypatch.setattr(display, "display", lambda picture, display_id: self)

    def png(self, rows: list[Any], title: str) -> bytes:
        self.rows.append([row["step"] for row in rows])
        self.titles.append(title)
        return b"\x89PNG"

    def update(self, picture: Any) -> None:
        self.updates += 1


def test_curves_over_generations_and_over_steps() -> None:
    assert notebook._points(ROWS, "neat/best", True) == [(0.0, 5.0), (1.0, 9.0)]
    assert notebook._points(ROWS, "eval/return_mean", True) == [(0.0, 4.0), (1.0, 8.0)]  # of its generation
    assert notebook._points(ROWS, "eval/return_mean", False) == [(150.0, 4.0), (250.0, 8.0)]
    assert notebook._points(ROWS, "neat/mean", True) == [(0.0, 2.0)]  # what was not finite is left out


@pytest.mark.parametrize("rows", [[], ROWS, [{"step": 10, "episode/return": 1.0, "loss/td": 0.5}]])
def test_the_picture_is_a_picture(rows: list[notebook.Row]) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(png(rows, "a title\nof two lines")))
    assert image.size == (800, 232)
    assert len(set(image.convert("L").tobytes())) > 10


def test_each_drawing_shows_all_rows_those_of_an_earlier_process_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, file = Drawn(monkeypatch), tmp_path / "metrics.jsonl"
    screen = Notebook(tmp_path, every_seconds=0)
    monkeypatch.setattr(notebook, "SHARE", 1e9)
    screen.progress(1, 10, {})
    file.write_text('{"step": 1}\n{"step": 2}\n')
    screen.progress(2, 10, {})
    with file.open("a") as more:
        more.write('{"step": 3}\n')
    screen.news("generation 7")
    screen.progress(3, 10, {"return": 4.0})
    screen.close()
    assert drawn.rows == [[], [1, 2], [1, 2, 3]]
    assert drawn.updates == 2  # the same picture, changed
    assert drawn.titles[-1] == "3/10  30 %  return 4\ngeneration 7"


def test_drawing_takes_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, clock = Drawn(monkeypatch), [0.0]
    monkeypatch.setattr(notebook.time, "monotonic", lambda: clock[0])

    def slow(rows: list[Any], title: str) -> bytes:
        clock[0] += 0.5
        return drawn.png(rows, title)

    monkeypatch.setattr(notebook, "png", slow)
    screen = Notebook(tmp_path, every_seconds=1)
    for step in range(1, 200):
        clock[0] += 0.1
        screen.progress(step, 200, {})
    assert len(drawn.titles) == 2  # at 0.1 s, and 10 s after half a second of drawing
    screen.close()
    assert drawn.titles[-1].startswith("199/200")
    screen.close()
    assert len(drawn.titles) == 3


def test_the_end_is_drawn_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = Drawn(monkeypatch)
    screen = Notebook(tmp_path, every_seconds=3600)
    for step in (1, 2, 3):
        screen.progress(step, 3, {})
    assert [title.split()[0] for title in drawn.titles] == ["1/3", "3/3"]


def test_elsewhere_it_is_the_terminals_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logger = Logger(tmp_path, {"jsonl": {}, "notebook": {"every_seconds": 0}})
    logger.progress(5, 10, {"sps": 5.0})
    logger.say("hello")
    logger.close()
    assert capsys.readouterr().out == "5/10  50 %  5 steps/s  ETA 0:01\nhello\n"


def test_it_draws_what_jsonl_writes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"logger=\[jsonl\] writes; name both"):
        Logger(tmp_path, {"notebook": {}, "terminal": {}})
