"""What a run says when it has ended: once, whatever loggers it has, with lines that can be typed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import rlkit
from rlkit.cli import main
from rlkit.cli.options import _pair
from rlkit.config import RunConfig, TrainerConfig
from rlkit.telling import command, crashed, resume_command

SHORT = ["agent=random", "env=cartpole", "trainer.total_steps=300", "trainer.eval_every=0",
         "trainer.test_episodes=2", "monitor=off"]  # fmt: skip


@pytest.mark.parametrize(
    "loggers", ["[]", "[jsonl]", "[terminal]", "[tensorboard]", "[tensorboard,terminal]"]
)
def test_the_result_is_told_once_whatever_loggers(
    loggers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *SHORT, f"logger={loggers}"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    if "terminal" not in loggers:
        assert len(lines) == 5
    for start in ("not solved: mean return ", "training ", "steps    300 in ", "run      runs/"):
        assert sum(line.startswith(start) for line in lines) == 1, start
    folder = rlkit.load_run().path.resolve().relative_to(tmp_path)
    assert lines[-2] == f"run      {folder}"
    assert lines[-1] == (
        f"watch    tensorboard --logdir {folder}/tb"
        if "tensorboard" in loggers
        else f"next     rlkit play run={folder} checkpoint=latest"
    )
    assert (folder / "tb").exists() == ("tensorboard" in loggers)


def test_the_line_to_type_next_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name with blanks; an environment of one's own that cannot be drawn; without an evaluation."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "blind_pkg.py").write_text(
        "import gymnasium\n"
        "class Blind(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(0, 1, (2,))\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        super().reset(seed=seed)\n"
        "        return self.observation_space.low, {}\n"
        "    def step(self, action):\n"
        "        return self.observation_space.low, 1.0, True, False, {}\n"
    )
    seen = ["env=cartpole", "trainer.eval_every=150", "trainer.eval_episodes=1"]
    for words, verb in ((seen, "play"), (["env.id=blind_pkg:Blind"], "eval")):
        name = f"my {verb} $1 it's"
        place = ["logger=[]", 'run.dir="' + name + '"']
        assert main(["train", *SHORT, *words, *place]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith("next     rlkit " + verb)
        assert ("plugins=[blind_pkg]" in last) == ("checkpoint=latest" in last) == (verb == "eval")
        typed = shlex.split(last.removeprefix("next "))
        assert typed[0] == "rlkit"
        assert main([*typed[1:], "episodes=1"]) == 0


@pytest.mark.parametrize(
    ("folder", "word"),
    [
        ("runs/a-b/2026_1-3", "resume=runs/a-b/2026_1-3"),
        ("/tmp/x.y/0", "resume=/tmp/x.y/0"),
        ("my runs/x", "resume=\"'my runs/x'\""),
        ("5", "resume=./5"),
        ("latest", "resume=./latest"),
        ("runs/(1)", "resume=\"'runs/(1)'\""),
        ("runs/é", "resume=\"'runs/é'\""),
        ("it's/$HOME", None),
        ('a "b" c/d', None),
        ("a\\b/c!", None),
    ],
)
def test_a_path_survives_the_shell_and_the_reader_of_values(folder: str, word: str | None) -> None:
    line = resume_command(RunConfig(), Path(folder))
    if word is not None:
        assert line == f"rlkit train {word}"
    typed = shlex.split(line)
    assert len(typed) == 3
    key, value = _pair(typed[2])
    assert (key, Path(value)) == ("resume", Path(folder))


def test_the_modules_that_a_run_needs_are_named_once() -> None:
    config = RunConfig(plugins=["mine", "other"])
    config.env.id = "mine:World-v0"
    config.wrappers = {"transform_reward": {"func": "third.part:half"}}
    typed = shlex.split(command("play", config, Path("runs/a")))
    assert typed == ["rlkit", "play", "run=runs/a", "plugins=[mine,other,third.part]"]


def test_what_a_crash_leaves_behind() -> None:
    config, folder = RunConfig(), Path("runs/a")
    said = crashed(config, folder, 12_345, 10_000).splitlines()
    assert len(said) == 2
    assert "crashed at step 12,345, saved at step 10,000; " in said[0]
    assert said[0].endswith("continue with: rlkit train resume=runs/a")
    assert said[1] == "rlkit: the record is runs/a: run.json, train.log"
    for every, when in ((10_000, "after every 10,000 steps"), (0, "only at the end")):
        config.trainer = TrainerConfig(checkpoint_every=every)
        assert when in (said := crashed(config, folder, 5, None).splitlines())[0]
        assert "resume" not in said[0]


def test_a_run_that_is_done_already_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", *SHORT, "logger=[]", "run.dir=mine", "resume=auto"]
    assert main(words) == 0
    capsys.readouterr()
    assert main(words) == 0
    assert capsys.readouterr().out == "mine is done already, at step 300\n"


def test_python_is_told_nothing(short_run: object, capsys: pytest.CaptureFixture[str]) -> None:
    """Who calls from Python has the run itself."""
    run = short_run("agent=random", "trainer.total_steps=20")  # type: ignore[operator]
    assert run.status == "done"
    assert capsys.readouterr().out == ""
