"""A wheel works from an empty folder, and so does a plugin that is installed beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "tests" / "plugin_example"
SEARCH = "hydra.searchpath=[pkg://rlkit_example.conf]"
TINY = ("trainer.total_steps=600", "trainer.eval_every=300", "trainer.test_episodes=5", "monitor.video=none",
        "monitor.eval_video=none", "logger=[jsonl]")  # fmt: skip


def pip(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *words], capture_output=True, text=True
    )
    if done.returncode and "hatchling" in done.stdout + done.stderr:
        pytest.skip("the build backend is neither installed nor to be had from here")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """rlkit's wheel, with the example's beside it."""
    folder = tmp_path_factory.mktemp("wheels")
    pip("wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(ROOT), str(EXAMPLE))
    return next(folder.glob("rlkit_lab-*.whl"))


class Installation:
    """Both wheels in a folder of their own, and an empty folder to work in."""

    def __init__(self, modules: Path, home: Path) -> None:
        self.modules, self.home = modules, home

    def __call__(self, *words: str, code: int = 0) -> str:
        """`rlkit WORDS` in the empty folder; what it printed."""
        return self.python("-m", "rlkit", *words, code=code)

    def python(self, *words: str, code: int = 0) -> str:
        environment = os.environ | {"PYTHONPATH": str(self.modules), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *words], cwd=self.home, env=environment, capture_output=True, text=True
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def rlkit(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    modules, home = tmp_path_factory.mktemp("modules"), tmp_path_factory.mktemp("empty")
    wheels = [str(path) for path in wheel.parent.glob("*.whl")]
    pip("install", "-q", "--no-deps", "--no-compile", "--target", str(modules), *wheels)
    return Installation(modules, home)


def test_what_the_wheel_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(archive.read(name).decode() for name in names if name.endswith("/METADATA"))
    yaml = {f"rlkit/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert len(yaml) > 10
    assert yaml <= names
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "rlkit").rglob("*.py")}
    assert code <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"rlkit"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "Name: rlkit-lab" in metadata


def test_composing_needs_no_torch(rlkit: Installation) -> None:
    program = (
        "import sys, rlkit, rlkit.cli\n"
        "code = rlkit.cli.main(['train', '--cfg', 'job', 'experiment=ppo_cartpole'])\n"
        "assert code == 0 and 'torch' not in sys.modules\n"
        "print(rlkit.__file__)\n"
    )
    said = rlkit.python("-c", program)
    assert "name: ppo" in said
    assert str(rlkit.modules) in said.splitlines()[-1]
    assert not list(rlkit.home.iterdir())


def test_the_example_is_known_without_a_flag(rlkit: Installation) -> None:
    row = next(line for line in rlkit("agents").splitlines() if line.startswith("tabular_q"))
    assert row.split() == ["tabular_q", "Discrete", "-", "-", "-", "-", "-"]


def test_the_examples_own_agent_environment_wrapper_and_yaml(rlkit: Installation) -> None:
    said = rlkit("train", SEARCH, "experiment=corridor", *TINY)
    assert "provider=hydra.searchpath" not in said
    folder = next((rlkit.home / "runs").glob("Corridor-v0-tabular_q/*"))
    info = json.loads((folder / "run.json").read_text())
    assert (info["status"], info["steps"], info["solved"]) == ("done", 600, True)
    config = (folder / "config.yaml").read_text()
    assert "slippery" in config
    assert "tabular_q" in config
    for words in ((), ("plugins=[rlkit_example]",)):  # installed, so it need not be named, but may be
        shown = json.loads(rlkit("eval", "run=latest", "json=true", *words))
        assert shown["mean"] == info["score"]
    more = rlkit("train", "resume=latest", "trainer.total_steps=900")
    assert "unknown" not in more
    assert json.loads((folder / "run.json").read_text())["steps"] == 900


def test_yaml_from_a_folder_and_a_mistake_in_it(rlkit: Installation) -> None:
    conf = str(EXAMPLE / "rlkit_example" / "conf")
    said = rlkit("train", "--config-dir", conf, "--cfg", "job", "agent=tabular_q", "env=corridor")
    assert "epsilon: 0.2" in said
    assert "probability: 0.1" in said
    said = rlkit("train", "--config-dir", conf, "experiment=corridor", "agent.gama=1", code=2)
    assert said == "rlkit: error: there is no key agent.gama; did you mean agent.gamma?\n"
    said = rlkit("train", "--config-dir", conf, "agent=tabular_q", code=2)
    assert "tabular_q needs one Discrete observation and one Discrete action; agents that can: " in said
    said = rlkit(
        "train", "--config-dir", conf, "experiment=corridor", "wrappers.slippery.probabilty=1", code=2
    )
    assert "probabilty" in said
