"""A screen that knows less than Unicode, is narrow, or is gone: the run goes on, and shows what it can."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rlkit
from rlkit.cli import main
from rlkit.screen import say
from rlkit.terminal import Terminal

SHORT = ["agent=random", "env=cartpole", "trainer.total_steps=300", "trainer.log_every=100",
         "trainer.eval_every=0", "trainer.test_episodes=2", "monitor=off"]  # fmt: skip


class Gone(io.StringIO):
    """A pipe that nobody reads any more; with `tty`, a terminal that hung up."""

    def __init__(self, error: Exception, tty: bool = False) -> None:
        super().__init__()
        self.error, self.tty, self.tried = error, tty, 0

    def isatty(self) -> bool:
        return self.tty

    def fileno(self) -> int:
        """A number that may be overwritten."""
        return os.open(os.devnull, os.O_WRONLY)

    def write(self, text: str) -> int:
        self.tried += 1
        raise self.error


def narrow(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", b"a ? b ?\n"), ("latin-1", b"a ? b \xe9\n")])
def test_what_an_encoding_does_not_know_is_a_question_mark(encoding: str, shown: bytes) -> None:
    screen = narrow(encoding)
    say("a → b é", to=screen)
    assert screen.buffer.getvalue() == shown  # type: ignore[attr-defined]


@pytest.mark.parametrize("tty", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize(
    "error", [BrokenPipeError(32, "Broken pipe"), OSError(5, "EIO"), ValueError("closed")]
)
def test_a_screen_that_is_gone_ends_nothing(
    error: Exception, tty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    gone = Gone(error, tty)
    monkeypatch.setattr("sys.stdout", gone)
    terminal = Terminal(every_seconds=0)
    for step in (1, 2, 3):
        terminal.progress(step, 3, {"sps": 5.0})
        terminal.news("a generation", always=True)
        terminal.say("a message")
    terminal.close()
    assert gone.tried


def test_no_screen_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    terminal = Terminal(every_seconds=0)
    terminal.progress(1, 3, {"sps": 5.0})
    terminal.say("a message")
    terminal.close()


@pytest.mark.parametrize(("columns", "bar"), [(40, False), (120, True)])
def test_a_narrow_window_has_numbers_instead_of_a_bar(
    columns: int, bar: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdout", screen)
    terminal = Terminal()
    terminal.progress(20_000, 50_000, {"sps": 12_000.0, "return": 3.0})
    terminal.close()
    drawn = screen.getvalue()
    assert ("━" in drawn) is bar
    for part in ("20,000/50,000", "40 %", "12,000 steps/s"):
        assert part in drawn


# ---------------------------------------------------------------------- the command, with real files


def command(folder: Path, *words: str, **arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(rlkit.__file__).parents[1]),
                   **arguments.pop("env", {})}  # type: ignore[dict-item]  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "rlkit", *words], cwd=folder, env=environment, text=True, check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **arguments},
    )  # type: ignore[call-overload,no-any-return]  # fmt: skip


def test_a_run_on_a_screen_that_knows_ascii_only(tmp_path: Path) -> None:
    done = command(tmp_path, "train", *SHORT, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "Box(4) ? Discrete(2)" in done.stdout
    done = command(tmp_path, "--help", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: rlkit VERB")


@pytest.mark.parametrize(
    "words", [["train", *SHORT], ["train", "-m", "seed=1,2", *SHORT]], ids=["one", "sweep"]
)
def test_a_run_whose_reader_has_gone(tmp_path: Path, words: list[str]) -> None:
    """As `rlkit train | head -1`: it is done all the same, and says nothing more."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = command(tmp_path, *words, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
    assert {run.status for run in rlkit.load_runs(tmp_path / "runs")} == {"done"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_run_whose_output_has_no_room(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = command(tmp_path, "train", *SHORT, stdout=full)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert rlkit.load_run(root=tmp_path / "runs").status == "done"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("words", [("agents",), ("envs", "classic")])
def test_a_list_that_has_no_room_is_a_sentence(words: tuple[str, ...], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = command(tmp_path, *words, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "rlkit: the output could not be written: [Errno 28] No space left on device\n"


def test_what_a_broken_pipe_leaves_of_an_error_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last flush fails; the command ended as it ended."""
    gone = Gone(BrokenPipeError(32, "Broken pipe"))
    gone.flush = lambda: gone.write("")  # type: ignore[method-assign,assignment,return-value]
    monkeypatch.setattr("sys.stdout", gone)
    assert main(["train", "agnet=1"]) == 2
    assert gone.tried == 1
    assert "no key agnet" in capsys.readouterr().err


# ---------------------------------------------------------------------- where nothing can be written


@pytest.mark.parametrize("word", ["run.root={}/runs", "run.dir={}/mine"])
def test_a_folder_that_cannot_be_made(word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["train", *SHORT, word.format(tmp_path / "file")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("rlkit: error: the run folder cannot be made (Not a directory: ")
    assert err.endswith("; choose another place with run.root or run.dir\n")
    assert err.count("\n") == 1


def test_a_film_that_has_no_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["train", *SHORT, f"run.root={tmp_path}", "logger=[]"]) == 0
    words = ["play", f"root={tmp_path}", "checkpoint=latest", "episodes=1", f"out={tmp_path / 'file' / 'x'}"]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"rlkit: error: {tmp_path / 'file' / 'x'} cannot be used (Not a directory); ")
    assert err.count("\n") == 1
