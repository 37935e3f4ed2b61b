"""Exported files as their users open them, and the verb `rlkit neat export` that writes them."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import genome
from test_export import SPACES, TOLERANCE, ReferenceEvaluator, far, library, policy_of

import rlkit
from rlkit.cli.neat import run as cli
from rlkit.errors import UserError
from rlkit.neat.export import bundle
from rlkit.neat.export.module import Network
from rlkit.neat.export.portable import graph
from rlkit.neat.export.source import python_source
from rlkit.neat.settings import Settings
from rlkit.runs import Run


def test_the_file_of_python_needs_torch_alone(tmp_path: Path) -> None:
    agent, data = policy_of(*SPACES["pixels, numbers"], False)
    (tmp_path / "champion.py").write_text(python_source(data, "champion", "A policy."), encoding="utf-8")
    x = torch.arange(12, dtype=torch.uint8).reshape(2, 2, 3) * 20
    program = (
        "import sys, torch; sys.path.insert(0, sys.argv[1])\n"
        "from champion import load\n"
        "policy = load(); x = torch.arange(12, dtype=torch.uint8).reshape(2, 2, 3) * 20\n"
        "action, state = policy(x); action, state = policy(x, state)\n"
        "again = load(); again.load_state_dict(policy.state_dict())\n"
        "assert torch.equal(again(x, again(x)[1])[0], action)\n"
        "assert not [name for name in sys.modules if name.startswith('rlkit')]\n"
        "print(action.tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    actor, first = agent.actor(), torch.ones(2, dtype=torch.bool)
    actor({"obs": x}, first)
    expected = agent.setup.action.to_env(actor({"obs": x}, ~first))
    assert far(expected, json.loads(done.stdout)) < TOLERANCE


def test_training_on_leaves_absent_connections_alone() -> None:
    one = genome([0, 1, 2], [(0, -1, 2, 2.0, True), (1, 2, 0, 3.0, True), (2, -2, 1, 1.0, True)])
    network = Network(graph(one, 2, 2, Settings()))
    outputs, _ = network(torch.ones(1, 2))
    outputs.sum().backward()
    for layer in network.layers:
        assert torch.equal(layer.weight.grad != 0, layer.linked)
    assert sum(int(layer.linked.sum()) for layer in network.layers) == 3


def test_a_cycle_is_no_feed_forward_network() -> None:
    one = genome([0, 1, 2], [(0, 1, 2, 1.0, True), (1, 2, 1, 1.0, True), (2, 1, 0, 1.0, True)])
    with pytest.raises(ValueError, match="cycle"):
        graph(one, 2, 1, Settings())


@pytest.fixture(scope="module")
def neat_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return rlkit.train(rlkit.compose([
        "agent=neat", "env=cartpole", "agent.population=12", "env.num_envs=12", "trainer.total_steps=3000",
        "trainer.eval_every=1500", "trainer.eval_episodes=2", "trainer.test_episodes=0",
        "logger=[jsonl]", "monitor=off",
        f"run.root={tmp_path_factory.mktemp('export') / 'runs'}",
    ]))  # fmt: skip


def opened_onnx(path: Path) -> Any:
    session = ReferenceEvaluator(str(path))
    return lambda x: session.run(None, {"obs": x})[1]


def opened_torch(path: Path) -> Any:
    found: dict[str, Any] = {"__name__": "json"}  # dataclasses look their module up
    exec(path.read_text(encoding="utf-8"), found)
    return lambda x: found["load"]().network(torch.from_numpy(x))[0].detach().numpy()


def opened_objects(path: Path) -> Any:
    one, config = pickle.loads(path.read_bytes())
    assert one.fitness > 0
    network = library.nn.FeedForwardNetwork.create(one, config)
    return lambda x: np.array([network.activate(row.tolist()) for row in x])


OPENED = {"onnx": opened_onnx, "torch": opened_torch, "neat-python": opened_objects}


def test_the_verb_writes_the_champion(
    neat_run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    answers = []
    for form, opened in OPENED.items():
        assert cli(["export", f"run={neat_run.path}", f"format={form}"]) == 0
        told, load = capsys.readouterr().out.splitlines()
        path = Path(neat_run.path) / "export" / f"champion{bundle.SUFFIX[form]}"
        assert told.startswith(f"{path}: genome ")
        assert load.startswith("load: ")
        answers.append(opened(path)(x))
    assert far(answers[0], answers[1]) < TOLERANCE
    assert far(answers[0], answers[2]) < TOLERANCE
    out = tmp_path / "deep" / "mine.json"
    assert cli(["export", str(neat_run.path), "format=json", f"out={out}"]) == 0
    assert json.loads(out.read_text())["metadata"]["fitness"] > 0


def test_the_verb_writes_the_population(
    neat_run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = f"run={neat_run.path}"
    for form in ("onnx", "torch", "json"):
        assert cli(["export", run, f"format={form}", "what=population", f"out={tmp_path / form}"]) == 0
        assert len(list((tmp_path / form).glob(f"genome_*{bundle.SUFFIX[form]}"))) == 12
    assert cli(["export", run, "format=neat-python", "what=population", f"out={tmp_path / 'point'}"]) == 0
    assert "restore_checkpoint('point')" in capsys.readouterr().out
    assert len(library.Checkpointer.restore_checkpoint(str(tmp_path / "point")).population) == 12


def test_what_the_verb_refuses(
    neat_run: Run, short_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = short_run("agent=random", "env=cartpole", "trainer.total_steps=50")
    with pytest.raises(
        UserError, match="is a run of agent=random; rlkit neat export needs one of agent=neat"
    ):
        cli(["export", f"run={other.path}"])
    run = f"run={neat_run.path}"
    with pytest.raises(UserError, match=r"format .*onnx"):
        cli(["export", run, "format=onx"])
    with pytest.raises(UserError, match="cannot be imported"):
        cli(["export", run, "format=torch", "out=my-champion.py"])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        cli(["export", run, f"out={tmp_path / 'file' / 'champion.onnx'}"])
    for form, package, extra in (("onnx", "onnx", "export"), ("neat-python", "neat", "neat")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UserError, match=rf"rlkit-lab\[{extra}\]"):
            cli(["export", run, f"format={form}"])
