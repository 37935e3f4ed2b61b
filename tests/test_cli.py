"""The command line: bad input, exit codes, sweeps, completion, and what each verb hands on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import rlkit
from rlkit.cli import VERBS, main
from rlkit.cli.completion import cut_verb
from rlkit.cli.doctor import _arch_served
from rlkit.config import RunConfig
from rlkit.errors import NumbersBroke, Preempted, UserError

QUICK = "trainer.total_steps=10"


class FakeSession(ModuleType):
    """Stands where rlkit.session is; remembers every call and ends as `end` says."""

    def __init__(self) -> None:
        super().__init__("rlkit.session")
        self.calls: list[dict[str, Any]] = []
        self.end: Callable[[RunConfig], None] = lambda config: None

    def train(self, config: RunConfig, **arguments: Any) -> Any:
        self.calls.append({"config": config, **arguments})
        self.end(config)
        return SimpleNamespace(info={"score": 7.0, "status": "done"}, path=arguments.get("folder"))

    def evaluate(self, path: Path, **arguments: Any) -> Any:
        from rlkit.types import Score

        self.calls.append({"path": path, **arguments})
        return Score(returns=(1.0, 3.0), lengths=(1, 3), seeds=(5, 6))

    def play(self, path: Path, **arguments: Any) -> list[Path]:
        self.calls.append({"path": path, **arguments})
        return [Path("films/0.mp4")]


class FakeRuns(ModuleType):
    def __init__(self) -> None:
        super().__init__("rlkit.runs")

    def find_run(self, name: str, root: str = "runs") -> Path:
        if name == "none":
            raise UserError("there is no run none.")
        return Path(root) / name

    def Run(self, path: Path) -> Any:
        info = {"score": 1.0} if path.name != "latest" else {"score": 1.0, "pid": os.getpid()}
        return SimpleNamespace(path=path, info=info, config_dict=dict)

    def list_runs(self, root: str) -> list[Any]:
        return [self.Run(Path(root) / "a")]

    def table(self, runs: list[Any]) -> str:
        return "\n".join(str(run.path) for run in runs)

    def show(self, run: Any) -> str:
        return f"shown {run.path}"

    def diff(self, a: Any, b: Any) -> tuple[bool, str]:
        return a.path == b.path, f"{a.path} and {b.path}"


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeSession:
    """An empty folder to work in, and fakes for the rooms behind the front door."""
    fake, runs = FakeSession(), FakeRuns()
    for module in (fake, runs):
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(rlkit, module.__name__.removeprefix("rlkit."), module, raising=False)
    monkeypatch.chdir(tmp_path)
    return fake


BAD = [
    (["train", "agnet.lr=1"], "did you mean agent.lr?"),
    (["train", "agent=dqnn"], "(choices: dqn, neat, ppo, random); did you mean dqn?"),
    (["train", "agent.gamma=abc"], "agent.gamma must be a number, not 'abc'"),
    (["train", "agent.gamma=1.5"], "agent.gamma must be between 0.0 and 1.0, not 1.5"),
    (["train", "agent.double=5"], "agent.double must be true or false, not 5"),
    (["train", "seed=1.5"], "seed must be a whole number"),
    (["train", "+agent.foo=1"], "there is no key agent.foo"),
    (["train", "seed=1,2"], "add -m"),
    (["train", "agent=dqn,ppo"], "add -m"),
    (["train", "seed=choice(1,2)"], "add -m"),
    (["train", "agent.dqn=1"], "write agent=dqn"),
    (["train", "agent.name=ppo"], "write agent=ppo"),
    (["train", "=3"], "has no key"),
    (["train", "="], "has no key"),
    (["train", "logger=[terminal]", "logger.terminal.every_second=3"], "logger.terminal.every_seconds?"),
    (["train", "agent=null"], "choose among dqn, neat, ppo, random"),
    (["train", "~agent"], "one of dqn, neat, ppo, random"),
    (["train", "~agent.lrr"], "did you mean agent.lr?"),
    (["train", "+agent=ppo"], "without +"),
    (["train", "wrappers=[frame_stak]"], "did you mean frame_stack?"),
    (["train", "wrappers=frame_stak"], "did you mean frame_stack?"),
    (["train", "wrappers=[frame_stack,frame_stack]"], "names frame_stack twice"),
    (["train", "wrappers=null"], "wrappers=[]"),
    (["train", "+wrappers.frame_stak.size=1"], "did you mean frame_stack?"),
    (["train", "wrappers=[frame_stack]", "wrappers.frame_stack.size=x"], "size must be a whole number"),
    (["train", "wrappers=[frame_stack]", "+wrappers.frame_stack.sise=1"], "wrappers.frame_stack.size?"),
    (["train", "+logger.wandb.x=1"], "there is no logger 'wandb'"),
    (["train", "env.id=CartPol-v1"], "CartPole-v1"),
    (["train", "env.id=nobody_pkg:E-v0"], "there is no module 'nobody_pkg'"),
    (["train", "env.id=ALE/Nothing-v5"], "nearest: ALE/"),
    (["train", "wrappers=[mine]"], "+wrappers.mine={}"),
    (["train", "wrappers.frame_stack.size=3"], "frame_stack is not chosen: add wrappers=[frame_stack]"),
    (["train", "wrappers=[frame_stack]", "wrappers.frame_stack.siz=3"], "wrappers.frame_stack.size?"),
    (["train", "wrappers=[flatten]", "wrappers.flatten.x=3"], "flatten takes no arguments"),
    (["train", "env=catrpole"], "did you mean cartpole?"),
    (["train", "plugins=[nobody_pkg]"], "there is no module 'nobody_pkg'"),
    (["train", "plugins=nobody_pkg"], "plugins=[nobody_pkg]"),
    (["train", "seed=${nothing}"], "seed refers to something that is not there"),
    (["train", "device=gpu"], "device must be one of auto, cpu, cuda"),
    (["train", "run.dir=a(b"], "quote the value: run.dir="),
    (["train", "ppo"], "is not key=value"),
    (["train", "--nothing"], "unrecognized arguments: --nothing"),
    (["train", "--config-dir", "nowhere"], "nowhere is none"),
    (["train", "--experimental-rerun", "x.pickle"], "use resume=RUN"),
    (["train", "-m", "seed=0,1", "agent=dqnn"], "did you mean dqn?"),
    (["trian"], "did you mean rlkit train?"),
    (["agent=ppo"], "rlkit train agent=ppo"),
    (["eval", "rum=latest"], "did you mean run?"),
    (["eval", "episodes=0"], "episodes must be at least 1"),
    (["eval", "episodes=1,2"], "give one"),
    (["eval", "+run=latest"], "without +"),
    (["eval", "run=a(b"], "quote the value"),
    (["eval", "--json"], "key=value"),
    (["eval", "a", "b"], "'b'"),
    (["eval", "none"], "there is no run none"),
    (["eval", "flim=1"], "rlkit eval --help"),
    (["play", "watch=maybe"], "watch must be true or false"),
    (["runs", "shwo"], "did you mean rlkit runs show?"),
    (["runs", "diff", "a"], "b is missing"),
]


@pytest.mark.parametrize(("words", "said"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_sentence(
    session: FakeSession, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rlkit: error: ")
    assert said in err
    assert err.count("\n") == 1, "one line, no traceback"
    assert len(err) < 300
    assert session.calls == []
    assert list(Path.cwd().iterdir()) == []


def test_train_hands_on_the_checked_configuration(session: FakeSession) -> None:
    words = ["agent=ppo", "env=acrobot", "agent.lr=1e-3", "trainer.total_steps=1e4"]
    assert main(["train", *words]) == 0
    (call,) = session.calls
    assert isinstance(call["config"], RunConfig)
    assert (call["config"].agent.lr, call["config"].trainer.total_steps) == (1e-3, 10_000)
    assert call["overrides"] == words
    assert call["command"] == ["rlkit", "train", *words]
    assert call["folder"] is None
    assert list(Path.cwd().iterdir()) == [], "Hydra leaves nothing"


def test_own_yaml_and_plugins(session: FakeSession, tmp_path: Path) -> None:
    own = tmp_path / "own" / "agent"
    own.mkdir(parents=True)
    (own / "sleepy.yaml").write_text("name: sleepy\nnap: 3\n", encoding="utf-8")
    (tmp_path / "sleepy_pkg.py").write_text(
        "from dataclasses import dataclass\n"
        "from rlkit.config import key\n"
        "from rlkit.registry import agents\n"
        "@dataclass\nclass Config:\n    name: str = 'sleepy'\n    nap: int = key(3, 'steps', low=1)\n"
        "@agents.add('sleepy')\nclass Sleepy:\n    Config = Config\n",
        encoding="utf-8",
    )
    folder = ["--config-dir", str(own.parent)]
    assert main(["train", *folder, "agent=sleepy", "plugins=[sleepy_pkg]", "agent.nap=5"]) == 0
    assert session.calls[0]["config"].agent.nap == 5
    assert main(["train", *folder, "agent=sleepy", "plugins=[sleepy_pkg]", "agent.nap=0"]) == 2
    config = rlkit.compose(["agent=sleepy", "plugins=[sleepy_pkg]"], config_dir=own.parent)
    assert config.agent.nap == 3
    from rlkit.registry import agents

    del agents._targets["sleepy"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("mend it"), 2, "rlkit: error: mend it\n"),
        (NumbersBroke("NaN at step 5"), 3, "rlkit: error: NaN at step 5\n"),
        (Preempted("saved"), 75, "rlkit: saved\n"),
        (RuntimeError("boom"), 1, "rlkit: crashed: RuntimeError: boom\n"),
    ],
)
def test_exit_codes(
    session: FakeSession, capsys: pytest.CaptureFixture[str], error: Exception, code: int, said: str
) -> None:
    def end(config: RunConfig) -> None:
        raise error

    session.end = end
    assert main(["train", QUICK]) == code
    err = capsys.readouterr().err
    assert err.endswith(said)
    assert err.count("Traceback") == (1 if code == 1 else 0)
    assert "Error executing job" not in err


def test_what_the_run_says_of_its_crash_is_said_once(
    session: FakeSession, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(config: RunConfig) -> None:
        error = RuntimeError("boom")
        error.add_note("rlkit: crashed at step 5")
        raise error

    session.end = end
    assert main(["train", QUICK]) == 1
    assert capsys.readouterr().err.endswith("RuntimeError: boom\nrlkit: crashed at step 5\n")


def test_lines_below_a_sentence(session: FakeSession, capsys: pytest.CaptureFixture[str]) -> None:
    def end(config: RunConfig) -> None:
        raise UserError("mend it", below="  here\n")

    session.end = end
    assert main(["train", QUICK]) == 2
    assert capsys.readouterr().err == "rlkit: error: mend it\n  here\n"


def test_an_environment_of_ones_own(session: FakeSession, tmp_path: Path) -> None:
    text = (
        "import gymnasium\ngymnasium.register('OnesOwn-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    (tmp_path / "ones_own_pkg.py").write_text(text, encoding="utf-8")
    assert main(["train", "env.id=ones_own_pkg:OnesOwn-v0"]) == 0
    assert session.calls[0]["config"].env.id == "ones_own_pkg:OnesOwn-v0"
    assert main(["train", "env.id=ones_own_pkg:OnesOwm-v0"]) == 2


def test_an_interrupt_while_composing_is_no_crash(
    session: FakeSession, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(config: RunConfig) -> None:
        raise KeyboardInterrupt

    session.end = end
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "rlkit: interrupted\n"


@pytest.mark.parametrize("words", [["-m", "seed=0,1,2"], ["seed=0,1,2", "-m"], ["seed=0,1,2", "-m", QUICK]])
def test_a_sweep_gives_each_job_a_folder(session: FakeSession, words: list[str]) -> None:
    assert main(["train", *words]) == 0
    folders = [call["folder"] for call in session.calls]
    assert [call["config"].seed for call in session.calls] == [0, 1, 2]
    assert [folder.name for folder in folders] == ["0", "1", "2"]
    assert len({folder.parent for folder in folders}) == 1
    assert folders[0].parent.parent == Path.cwd() / "runs" / "sweeps"
    assert all(folder.is_dir() and not list(folder.iterdir()) for folder in folders)


def test_two_sweeps_in_one_second_do_not_meet(session: FakeSession) -> None:
    for _ in range(2):
        assert main(["train", "-m", "seed=0", "run.root=here"]) == 0
    first, second = (call["folder"].parent for call in session.calls)
    assert first != second
    assert first.parent == second.parent == Path.cwd() / "here" / "sweeps"


def test_a_failing_job_does_not_stop_the_others(
    session: FakeSession, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(config: RunConfig) -> None:
        if config.seed == 0:
            raise UserError("not this one")
        if config.seed == 1:
            raise RuntimeError("boom")

    session.end = end
    assert main(["train", "-m", "seed=0,1,2"]) == 1
    assert len(session.calls) == 3
    out, err = capsys.readouterr()
    assert [line.split(" → ")[0] for line in out.splitlines()[:3]] == [f"job {n}: seed={n}" for n in range(3)]
    assert out.splitlines()[-1] == "1 of 3 jobs done"
    assert "rlkit: error: not this one" in err
    assert err.count("Traceback") == 1


def test_a_preempted_sweep_stops(session: FakeSession, capsys: pytest.CaptureFixture[str]) -> None:
    def end(config: RunConfig) -> None:
        if config.seed == 1:
            raise Preempted("saved")

    session.end = end
    assert main(["train", "-m", "seed=0,1,2,3"]) == 75
    assert len(session.calls) == 2
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 4 jobs done"


def in_process(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Another interpreter, started elsewhere; it finds the rlkit that is being tested."""
    environment = {**os.environ, "PYTHONPATH": str(Path(rlkit.__file__).parents[1])}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_composing_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from rlkit.cli import main; code = main(['train', '--cfg', 'job', 'agent=ppo']); "
        "heavy = {'torch', 'gymnasium', 'numpy', 'tensorboard', 'av'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "gae_lambda: 0.95" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = in_process(tmp_path, "-m", "rlkit", "train", "agnet.lr=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "rlkit: error: there is no key agnet.lr; did you mean agent.lr?\n"


@pytest.mark.parametrize("words", [[], ["--help"], *([verb, "--help"] for verb in VERBS)], ids=" ".join)
def test_help_fits_a_screen(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "usage: rlkit" in lines[0]
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 120


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rlkit {rlkit.__version__}\n"


def test_eval_prints_and_hands_on(session: FakeSession, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "mine", "checkpoint=500", "episodes=2", "lanes=1"]) == 0
    assert "mean 2.00 ± 1.00 over 2 episodes\nreturns: 1 3\n" in capsys.readouterr().out
    assert session.calls[0] == {
        "path": Path("runs/mine"),
        "checkpoint": "500",
        "episodes": 2,
        "lanes": 1,
        "device": "auto",
        "plugins": [],
    }
    assert main(["eval", "json=true"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["mean"], data["returns"], data["run"]) == (2.0, [1.0, 3.0], "runs/latest")


def test_play_prints_the_films(session: FakeSession, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "run=mine", "episodes=1", "root=elsewhere", "out=films"]) == 0
    assert capsys.readouterr().out == "films/0.mp4\n"
    assert session.calls[0]["path"] == Path("elsewhere/mine")
    assert session.calls[0]["out"] == Path("films")
    assert session.calls[0]["watch"] is False


def test_runs_verbs(session: FakeSession, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "ls", "there"]) == 0
    assert capsys.readouterr().out == "there/a\n"
    assert main(["runs", "show", "x"]) == 0
    assert capsys.readouterr().out == "shown runs/x\n"
    assert main(["runs", "diff", "x", "x"]) == 0
    assert main(["runs", "diff", "x", "y"]) == 1
    capsys.readouterr()
    assert main(["runs", "diff", "x", "y", "json=true"]) == 1
    assert json.loads(capsys.readouterr().out)["equal"] is False
    assert main(["runs", "ls", "json=true"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"path": "runs/a", "score": 1.0}]


def test_agents_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agents"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = {line.split()[0]: line.split()[1:] for line in lines[1:5]}
    assert lines[0].split()[1:3] == ["Discrete", "Box"]
    assert cells["random"] == ["yes"] * 6
    assert cells["ppo"] == ["yes"] * 6
    assert cells["dqn"] == ["yes"] + ["-"] * 5
    assert cells["neat"] == ["not:image"] * 6
    assert main(["agents", "json=true"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(row["why_not"] for row in rows if row["agent"] == "dqn" and row["action"] == "Box")


def test_doctor_findings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = main(["doctor", f"root={tmp_path / 'not' / 'yet'}", "json=true"])
    findings = json.loads(capsys.readouterr().out)
    assert {"torch", "video", "rendering", "disk", "hydra", "ale_py"} <= {item["name"] for item in findings}
    assert {item["status"] for item in findings} <= {"ok", "warn", "fail"}
    assert code == int(any(item["status"] == "fail" for item in findings))
    assert all(item["remedy"] for item in findings if item["status"] != "ok")
    assert all("\n" not in item["remedy"] for item in findings)


@pytest.mark.parametrize(
    ("capability", "known", "served"),
    [
        ((9, 0), ["sm_80", "sm_90"], True),
        ((8, 6), ["sm_80"], True),
        ((6, 1), ["sm_75", "sm_80"], False),
        ((12, 0), ["sm_90"], False),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((12, 0), ["sm_120a"], True),
    ],
)
def test_gpu_architectures(capability: tuple[int, int], known: list[str], served: bool) -> None:
    assert _arch_served(capability, known) is served


def completions(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str) -> list[str]:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert main(["-sc", "query=bash"]) == 0
    return capsys.readouterr().out.split()


def test_completion(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert completions(monkeypatch, capsys, "rlkit tr") == ["train"]
    assert completions(monkeypatch, capsys, "rlkit ") == list(VERBS)
    assert completions(monkeypatch, capsys, "rlkit train agent=") == [
        "agent=dqn",
        "agent=neat",
        "agent=ppo",
        "agent=random",
    ]
    assert completions(monkeypatch, capsys, "rlkit train seed=1 agent=p") == ["agent=ppo"]
    assert completions(monkeypatch, capsys, "rlkit doctor ") == []


def test_the_cursor_moves_with_the_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "rlkit  train agent="
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    cut_verb(line, "train")
    assert os.environ["COMP_LINE"] == "rlkit  agent="
    assert os.environ["COMP_POINT"] == str(len("rlkit  agent="))


def test_the_python_surface(session: FakeSession) -> None:
    config = rlkit.compose(["agent=random"])
    run = rlkit.train(config)
    assert run.info["score"] == 7.0
    assert session.calls[0]["config"] is config
    assert rlkit.load_run("mine", root="there").path == Path("there/mine")
    assert [run.path for run in rlkit.load_runs("there")] == [Path("there/a")]
    assert set(rlkit.__all__) <= set(dir(rlkit))
    with pytest.raises(AttributeError):
        _ = rlkit.nothing  # type: ignore[attr-defined]
