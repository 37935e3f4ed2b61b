"""What fails in the user's own code is told in one sentence with the user's own line; ours are not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlkit import session
from rlkit.cli import main
from rlkit.errors import UserError
from rlkit.importing import attribute, load
from rlkit.registry import Registry

Write = Callable[..., Path]
SHORT = ["agent=random", "trainer.total_steps=20", "trainer.eval_every=0", "trainer.test_episodes=0",
         "monitor=off", "logger=[]"]  # fmt: skip


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Files of a user in the current folder, forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    yield write
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x = (1,\n", 1, "SyntaxError: '(' was never closed"),
        ("\nX = 1 / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n", 2, "JSONDecodeError: Expecting property name"),
        ("from gymnasium import Envv\n", 1, "ImportError: cannot import name 'Envv'"),
        ("import sys\nsys.exit('one argument')\n", 2, "SystemExit: one argument"),
        ("raise KeyError\n", 1, "KeyError,"),
        ("from rlkit.config import key\nkey(nothing=1)\n", 2, "TypeError: key() got an unexpected"),
        ("import numpy\nnumpy.ones(-1)\n", 2, "ValueError: negative dimensions"),
    ],
)
@pytest.mark.parametrize("word", ["env.id={}:E-v0", "plugins=[{}]", "env.id={}:E"])
def test_a_module_that_raises_is_one_sentence(
    write: Write, capsys: pytest.CaptureFixture[str], text: str, line: int, said: str, word: str
) -> None:
    path = write("raising_pkg.py", text)
    assert main(["train", word.format("raising_pkg"), *SHORT]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"rlkit: error: the module raising_pkg fails: {said}")
    assert err.endswith(f", {path}:{line}\n")
    assert err.count("\n") == 1
    assert not (path.parent / "runs").exists()


def test_the_way_through_several_files_is_shown_without_ours(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write("deep_pkg/__init__.py", "from deep_pkg import table\n")
    second = write("deep_pkg/table.py", "import json\ndef load():\n    return json.loads('{')\nT = load()\n")
    assert main(["train", "plugins=[deep_pkg]", *SHORT]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith(f", {second}:3")
    assert [line.strip() for line in lines[1:] if "File" in line] == [
        f'File "{first}", line 1, in <module>',
        f'File "{second}", line 4, in <module>',
        f'File "{second}", line 3, in load',
    ]
    assert "    return json.loads('{')" in lines
    assert not any("Traceback" in line or "importlib" in line or "rlkit/" in line for line in lines[1:])


@pytest.mark.parametrize("where", ["__init__", "reset"])
def test_an_environment_that_cannot_be_made(
    write: Write, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    """Its own module is imported by gymnasium.make, as most packages have it."""
    broken = f"    def {where}(self, **_):\n        raise RuntimeError('no table')\n"
    path = write("lazy_pkg/world.py", f"import gymnasium\nclass World(gymnasium.Env):\n{broken}")
    write(
        "lazy_pkg/__init__.py",
        "import gymnasium\ngymnasium.register('Lazy-v0', 'lazy_pkg.world:World')\n",
    )
    assert main(["train", "env.id=lazy_pkg:Lazy-v0", *SHORT]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    if where == "__init__":
        assert err.splitlines()[0] == (
            "rlkit: error: env.id=lazy_pkg:Lazy-v0 with agent=random cannot be set up: "
            f"RuntimeError: no table, {path}:4"
        )
    __import__("gymnasium").registry.pop("Lazy-v0")


def test_a_registered_name_without_code(write: Write) -> None:
    write("thin_pkg.py", "x = 1\n")
    registry = Registry("agent")
    registry.add("thin", "thin_pkg:Agent")
    with pytest.raises(UserError, match=r"'thin' is registered as thin_pkg:Agent, but .* has no Agent"):
        registry.get("thin")
    registry.add("gone", "gone_pkg:Agent")
    with pytest.raises(UserError, match="there is no module 'gone_pkg'"):
        registry.get("gone")


@pytest.mark.parametrize("name", ["", ".x", "a b", "../x", "a..b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="is no module's name"):
        load(name)


def test_a_failure_of_ours_is_a_crash(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "def make_plan(config):\n    return 1 / 0\n"
    ours: dict[str, Callable[..., None]] = {}
    exec(compile(text, session.__file__, "exec"), ours)
    monkeypatch.setattr(session, "make_plan", ours["make_plan"])
    assert main(["train", *SHORT]) == 1
    assert "ZeroDivisionError: division by zero\nrlkit: crashed: " in capsys.readouterr().err
    with pytest.raises(AttributeError):
        attribute("rlkit.check:nothing", "ours")


def test_a_sentence_passes_as_it_is(write: Write) -> None:
    write("twice_pkg.py", "from rlkit.registry import agents\nagents.add('dqn', 'twice_pkg:Mine')\n")
    with pytest.raises(UserError, match=r"^the agent 'dqn' is already "):
        load("twice_pkg")
