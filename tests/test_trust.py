"""Opening a run folder executes nothing that the folder names."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import rlkit
from rlkit import cli
from rlkit.checkpoint import Checkpoints
from rlkit.runs import Run

Edit = Callable[[dict[str, Any]], None]


class Bomb:
    """Unpickling it runs a command that leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["agent=random", "trainer.total_steps=200", "trainer.eval_every=100", "trainer.eval_episodes=2",
             "trainer.test_episodes=0", "monitor=off", "logger=[jsonl]"]  # fmt: skip
    config = rlkit.compose([*words, f"run.root={tmp_path_factory.mktemp('runs')}"])
    return rlkit.train(config).path


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A run folder to tamper with; the run was not finished, so that it may be resumed."""
    copy = tmp_path / "runs" / "given"
    shutil.copytree(trained, copy, symlinks=True)
    info = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(info | {"status": "preempted"}))
    return copy


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable module `evil_twin` that leaves a mark when it is imported; the mark's path."""
    home, mark = tmp_path / "modules", tmp_path / "mark"
    home.mkdir()
    (home / "evil_twin.py").write_text(
        "import pathlib, gymnasium\n"
        f"pathlib.Path({str(mark)!r}).touch()\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gymnasium.register('Twin-v0', CartPoleEnv, max_episode_steps=20)\n"
    )
    monkeypatch.syspath_prepend(str(home))
    yield mark
    sys.modules.pop("evil_twin", None)
    __import__("gymnasium").registry.pop("Twin-v0", None)


def verbs(folder: Path) -> dict[str, list[str]]:
    """Every command that opens a run folder."""
    return {
        "eval": ["eval", f"run={folder}"],
        "play": ["play", f"run={folder}", "episodes=1"],
        "resume": ["train", f"resume={folder}", f"run.root={folder.parent}"],
        "auto": ["train", "resume=auto", f"run.dir={folder}", f"run.root={folder.parent}"],
        "ls": ["runs", "ls", str(folder.parent)],
        "show": ["runs", "show", str(folder)],
        "diff": ["runs", "diff", str(folder), str(folder)],
    }


ALL = list(verbs(Path()))
RUNNING = ["eval", "play", "resume", "auto"]  # those that need the configuration and a checkpoint


def edit(folder: Path, change: Edit) -> None:
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Exit code 2 and one sentence."""
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("rlkit: error: ")
    assert said.count("\n") == 1
    return said


def disguise(path: Path, data: bytes) -> None:
    """Put `data` in place of state.pt, with a manifest whose sizes, hashes and seal are right."""
    (path / "state.pt").write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest.pop("seal")
    manifest["files"]["state.pt"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    seal = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest | {"seal": seal}))


@pytest.mark.parametrize("kind", ["bare", "in a torch file"])
@pytest.mark.parametrize("verb", [*RUNNING, "show", "diff"])
def test_a_pickle_bomb_is_refused(
    verb: str, kind: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "exploded"
    for path in [*(folder / "checkpoints").glob("step-*"), *(folder / "checkpoints").glob("best-*")]:
        bomb = Bomb(mark)
        if kind == "bare":
            data = pickle.dumps(bomb, protocol=2)
        else:
            torch.save({"agent": bomb}, tmp_path / "bomb.pt")
            data = (tmp_path / "bomb.pt").read_bytes()
        disguise(path, data)
    words = verbs(folder)[verb]
    if verb == "show":
        assert cli.main(words) == 0
    else:
        assert "state.pt" in refused(words, capsys)
    assert not mark.exists()


def test_the_bomb_would_explode(tmp_path: Path) -> None:
    mark = tmp_path / "exploded"
    torch.save({"agent": Bomb(mark)}, tmp_path / "bomb.pt")
    torch.load(tmp_path / "bomb.pt", weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("verb", ALL)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("_target_: os.system\n", "names code to call (_target_: os.system)"),
        ("agent: {name: random, _target_: os.system}\n", "names code to call (agent._target_: os.system)"),
        ("wrappers: {x: [{_target_: os.system}]}\n", "names code to call"),
        ("agent: !!python/object/apply:os.system ['touch MARK']\n", "cannot be read"),
        ("agent: !!python/name:os.system\n", "cannot be read"),
    ],
)
def test_a_configuration_is_data(
    verb: str, text: str, said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "mark"
    (folder / "config.yaml").write_text(text.replace("MARK", str(mark)))
    words = verbs(folder)[verb]
    if verb in RUNNING:
        assert said in refused(words, capsys)
    else:
        assert cli.main(words) in (0, 2)
    assert not mark.exists()


@pytest.mark.parametrize("verb", ALL)
def test_stored_plugins_are_not_imported(
    verb: str, folder: Path, evil: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, lambda config: config.update(plugins=["evil_twin"]))
    assert cli.main(verbs(folder)[verb]) == 0, capsys.readouterr().err
    assert not evil.exists()
    assert "evil_twin" not in sys.modules


@pytest.mark.parametrize("verb", ALL)
def test_an_agent_of_a_stored_plugin_names_the_flag(
    verb: str, folder: Path, evil: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, lambda config: config.update(plugins=["evil_twin"], agent={"name": "their_agent"}))
    if verb in RUNNING:
        said = refused(verbs(folder)[verb], capsys)
        assert "their_agent" in said
        assert "plugins=[evil_twin]" in said
    else:
        assert cli.main(verbs(folder)[verb]) == 0
    assert not evil.exists()


@pytest.mark.parametrize("name", ["evil_twin:Twin-v0", "evil_twin:CartPoleEnv", "gym:evil_twin:CartPoleEnv"])
@pytest.mark.parametrize("verb", ALL)
def test_an_environment_id_does_not_import_its_module(
    verb: str, name: str, folder: Path, evil: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, lambda config: config["env"].update(id=name))
    if verb in RUNNING:
        assert "add plugins=[evil_twin]" in refused(verbs(folder)[verb], capsys)
    else:
        assert cli.main(verbs(folder)[verb]) == 0
    assert not evil.exists()


@pytest.mark.parametrize("kwargs", [{"id": "evil_twin:Twin-v0"}, {"deep": {"list": ["evil_twin:Twin-v0"]}}])
def test_nor_does_an_id_among_the_arguments(
    kwargs: dict[str, Any], folder: Path, evil: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Environments that make environments of theirs hand such an argument on to gymnasium.make."""
    edit(folder, lambda config: config["env"].update(kwargs=kwargs))
    assert "plugins=[evil_twin]" in refused(verbs(folder)["eval"], capsys)
    assert not evil.exists()


@pytest.mark.parametrize("verb", ["eval", "resume"])
def test_a_module_named_on_the_command_line_is_trusted(
    verb: str, folder: Path, evil: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, lambda config: config["env"].update(id="evil_twin:Twin-v0"))
    shutil.rmtree(folder / "monitor", ignore_errors=True)  # a record is of one environment
    words = [*verbs(folder)[verb], "plugins=[evil_twin]"]
    assert cli.main(words) == 0, capsys.readouterr().err
    assert evil.exists()
    assert Run(folder).info["env"] == "CartPole-v1"  # what run.json says decides nothing


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd"])
def test_a_manifest_cannot_lead_out_of_its_folder(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = max((folder / "checkpoints").glob("step-*"))
    manifest = json.loads((path / "manifest.json").read_text())
    manifest.pop("seal")
    manifest["stores"] = {"x": {"oldest": 0, "total": 1, "segments": [
        {"file": name, "start": 0, "stop": 1, "size": 1, "sha256": ""}]}}  # fmt: skip
    seal = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest | {"seal": seal}))
    assert "leads out of its folder" in Checkpoints(folder / "checkpoints").verify(path)[0]
