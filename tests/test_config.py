"""Reading configurations: strict types, ranges, nearest keys, run folders as data, registries."""

from __future__ import annotations

from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from rlkit.check import flatten, keys_of, nearest_key, read
from rlkit.config import (
    EnvConfig,
    RunConfig,
    check,
    conf_dir,
    key,
    load_run_config,
    require_trusted,
    to_dict,
    to_yaml,
)
from rlkit.errors import UserError
from rlkit.registry import Registry, agents, load_plugins


@dataclass
class Inner:
    hidden: list[int] = key([64], low=1)  # noqa: RUF009
    film: str = key("cubic", choices=("none", "cubic", "every:N"))


@dataclass
class Sample:
    steps: int = key(10, low=1, high=1_000_000)
    lr: float = key(1e-3, above=0.0)
    double: bool = key(True)
    name: str = key("a")
    limit: int | None = key(None, low=1)
    point: int | str = key("best")
    inner: Inner = field(default_factory=Inner)
    table: dict[str, dict[str, Any]] = key({})  # noqa: RUF009


@pytest.mark.parametrize(
    ("data", "name", "value"),
    [
        ({"steps": 1e4}, "steps", 10_000),
        ({"steps": "1e4"}, "steps", 10_000),
        ({"lr": "5e-4"}, "lr", 5e-4),
        ({"lr": 1}, "lr", 1.0),
        ({"limit": None}, "limit", None),
        ({"limit": 3}, "limit", 3),
        ({"point": 500}, "point", 500),
        ({"point": "latest"}, "point", "latest"),
        ({"table": {"a": {"b": [1]}}}, "table", {"a": {"b": [1]}}),
    ],
)
def test_values_are_converted_where_nothing_is_lost(data: dict[str, Any], name: str, value: Any) -> None:
    found = getattr(read(Sample, data), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"steps": 1.5}, "steps must be a whole number, not 1.5"),
        ({"steps": True}, "steps must be a whole number"),
        ({"steps": 0}, "steps must be between 1 and 1000000, not 0"),
        ({"steps": "12"}, "steps must be a whole number"),
        ({"lr": 0}, "lr must be above 0.0"),
        ({"lr": float("nan")}, "lr must be a finite number"),
        ({"lr": True}, "lr must be a number"),
        ({"double": 5}, "double must be true or false, not 5"),
        ({"double": None}, "double must be true or false, not null"),
        ({"name": 5}, "quote it: name=\"'5'\""),
        ({"limit": 0}, "limit must be at least 1"),
        ({"inner": 3}, "inner must hold keys and values"),
        ({"inner": {"hidden": 64}}, "inner.hidden=[64]"),
        ({"inner": {"hidden": [64, 0]}}, "inner.hidden[1] must be at least 1"),
        ({"inner": {"film": "every:0"}}, "inner.film must be one of none, cubic, every:N"),
        ({"inner": {"flim": "none"}}, "did you mean inner.film?"),
        ({"table": {"a": 1}}, "table.a must hold keys and values"),
    ],
)
def test_mistakes_are_one_sentence(data: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        read(Sample, data)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_without_default_is_asked_for() -> None:
    @dataclass
    class Needs:
        path: str = key(doc="where")

    with pytest.raises(UserError, match="path is missing: write path=VALUE"):
        read(Needs, {})


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("agnet.lr", "agent.lr"),
        ("agent.gama", "agent.gamma"),
        ("agnet.gama", "agent.gamma"),
        ("lr", "agent.lr"),
        ("trainer.total", "trainer.total_steps"),
        ("agent.foo", None),
        ("sed", "seed"),
    ],
)
def test_the_nearest_key(path: str, meant: str | None) -> None:
    known = ["agent.lr", "agent.gamma", "agent.loss", "net.hidden", "trainer.total_steps", "seed"]
    assert nearest_key(path, known) == meant


def test_flatten_keeps_empty_mappings() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}


def test_root_yaml_equals_the_dataclasses() -> None:
    """conf/config.yaml is what users read, RunConfig what runs use: the same keys and defaults."""
    data = yaml.safe_load((conf_dir() / "config.yaml").read_text(encoding="utf-8"))
    del data["defaults"], data["hydra"]
    expected = to_dict(RunConfig())
    del expected["agent"]
    assert list(data) != []
    assert data == expected


@pytest.mark.parametrize("path", sorted((conf_dir() / "agent").glob("*.yaml")), ids=lambda path: path.stem)
def test_agent_yaml_equals_its_dataclass(path: Path) -> None:
    config = agents.get(path.stem).Config
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    data.pop("defaults", None)
    assert sorted(flatten(data)) == sorted(keys_of(config))
    assert read(config, data) == config()


def test_every_key_has_a_sentence_or_choices() -> None:
    for name in agents.names():
        for item in agents.get(name).Config.__dataclass_fields__.values():
            if is_dataclass(item.default_factory):
                continue  # a group of keys
            assert item.metadata.get("doc") or item.metadata.get("choices"), f"{name}.{item.name}"


def sample_config() -> RunConfig:
    return check({"agent": {"name": "random"}, "env": {"kwargs": {"a": 1}}, "wrappers": {"flatten": {}}})


def test_a_written_configuration_reads_back_equal(tmp_path: Path) -> None:
    config = sample_config()
    config.trainer.stop_at_return = 1e-5
    (tmp_path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert load_run_config(tmp_path) == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "agent: {name: random}\nenv: {_target_: os.system}\n",
            "names code to call (env._target_: os.system)",
        ),
        ("agent: {name: random}\nwrappers: {a: {x: [{_target_: os.system}]}}\n", "names code to call"),
        ("a: !!python/object/apply:os.system [touch pwned]\n", "cannot be read"),
        ("agent: {name: random}\nfuture: 1\n", "another version"),
        ("- 1\n", "holds no configuration"),
        ("agent: {name: random}\nagent: [\n", "cannot be read"),
        ("agent: {name: theirs}\nplugins: [their_pkg]\n", "add plugins=[their_pkg]"),
    ],
)
def test_a_run_folder_is_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    marker = "import pathlib; pathlib.Path('imported').touch()"
    (tmp_path / "their_pkg.py").write_text(marker, encoding="utf-8")
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_run_config(tmp_path)
    assert said in str(caught.value)
    assert not (tmp_path / "imported").exists()
    assert not (tmp_path / "pwned").exists()


def test_a_folder_without_configuration_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no run folder"):
        load_run_config(tmp_path)


@pytest.mark.parametrize("env", [EnvConfig(id="my.pkg:E-v0"), EnvConfig(kwargs={"env_id": "my.pkg:E-v0"})])
def test_a_stored_module_must_be_named_again(env: EnvConfig) -> None:
    config = RunConfig(env=env)
    with pytest.raises(UserError, match=r"add plugins=\[my\.pkg\]"):
        require_trusted(config)
    require_trusted(config, ["my.pkg"])


def test_registry_names_and_refusals() -> None:
    registry = Registry("thing")
    registry.add("path", "pathlib:Path")

    @registry.add("local")
    class Local: ...

    assert registry.get("path") is Path
    assert registry.get("local") is Local
    assert registry.names() == ["local", "path"]
    assert "path" in registry
    registry.add("path", "pathlib:Path")
    registry.add(
        "path", Path if f"{Path.__module__}:{Path.__qualname__}" == "pathlib:Path" else "pathlib:Path"
    )
    with pytest.raises(UserError, match="choose another name"):
        registry.add("path", "pathlib:PurePath")
    with pytest.raises(UserError, match="did you mean path"):
        registry.get("pth")


def test_plugins_are_found_beside_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "from rlkit.registry import agents\nagents.add('mine_here', 'beside_pkg:Mine')\nclass Mine: pass\n"
    (tmp_path / "beside_pkg.py").write_text(text, encoding="utf-8")
    load_plugins(["beside_pkg"])
    assert agents.get("mine_here").__name__ == "Mine"
    del agents._targets["mine_here"]
    (tmp_path / "needy_pkg.py").write_text("import not_there_at_all\n", encoding="utf-8")
    with pytest.raises(UserError, match="needs not_there_at_all"):
        load_plugins(["needy_pkg"])
    with pytest.raises(UserError, match="there is no module 'nobody_pkg'"):
        load_plugins(["nobody_pkg"])


def test_a_broken_installed_plugin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise RuntimeError("boom")

    point = SimpleNamespace(value="their_pkg.plugin", load=load)
    monkeypatch.setattr("rlkit.registry.entry_points", lambda group: [point] if group == "rlkit" else [])
    with pytest.raises(UserError, match=r"their_pkg\.plugin fails \(RuntimeError: boom, .*config\.py:\d+\)"):
        load_plugins()
