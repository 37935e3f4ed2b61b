"""neat-python's files as configurations of runs: on the command line, in Python, and `rlkit neat check`."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import reduce
from pathlib import Path

import pytest
import yaml
from ini_files import ARTICLE, CARTPOLE, WHOLE, found, theirs, with_value

import rlkit
from rlkit import cli
from rlkit.agents.neat import NEATConfig
from rlkit.cli.neat.files import sizes_of
from rlkit.cli.train import hydra_app
from rlkit.config import check, to_dict
from rlkit.errors import UserError
from rlkit.neat.contradictions import contradiction
from rlkit.neat.ini import checking, reading
from rlkit.neat.ini.conversion import converted, differences
from rlkit.neat.ini.keys import KEYS
from rlkit.neat.ini.writing import corrected


@pytest.fixture
def article(tmp_path: Path) -> Path:
    path = tmp_path / "corrected.txt"
    path.write_text(corrected(ARTICLE.read_text(encoding="utf-8"), CARTPOLE), encoding="utf-8")
    return path


def test_the_corrected_article_trains(
    article: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """20,000 steps of CartPole; the run folder holds the values and resumes without the file."""
    monkeypatch.chdir(tmp_path)
    assert theirs(article.read_text(encoding="utf-8"), tmp_path / "theirs") is None
    words = [
        f"agent.config_file={article.name}", "agent=neat", "env=cartpole", "env.num_envs=50",
        "env.engine=torch",
        "trainer.eval_every=0", "trainer.test_episodes=0", "trainer.log_every=10000", "logger=[jsonl]",
        "monitor.video=none", "monitor.eval_video=none", "monitor.records=false",
    ]  # fmt: skip
    assert cli.main(["train", *words, "trainer.total_steps=20000", "agent.evolution.elitism=3"]) == 0
    said = caplog.text
    assert "reset_on_extinction: " in said
    assert "num_inputs, num_outputs: not used" in said
    run = rlkit.load_run()
    assert run.info["status"] == "done"
    assert run.info["steps"] >= 20_000
    stored = yaml.safe_load((run.path / "config.yaml").read_text(encoding="utf-8"))
    evolution = stored["agent"]["evolution"]
    assert (stored["agent"]["population"], evolution["conn_add_prob"]) == (200, 0.1)
    assert (evolution["elitism"], evolution["species_fitness"]) == (3, "mean")
    assert stored["trainer"]["stop_at_return"] == 100_000
    article.unlink()
    assert cli.main(["train", "resume=latest", "trainer.total_steps=21000"]) == 0
    assert rlkit.load_run().info["steps"] >= 21_000


# ---------------------------------------------------------------------- from files to settings


def test_every_key_is_used_derived_or_told() -> None:
    """Another value of any key changes the run's configuration or what the user is told."""
    other = {
        "fitness_criterion": "min", "fitness_threshold": "7", "pop_size": "60",
        "reset_on_extinction": "False",
        "no_fitness_termination": "True", "seed": "5", "feed_forward": "False",
        "initial_connection": "full_direct",
        "single_structural_mutation": "True", "structural_mutation_surer": "true", "num_hidden": "2",
        "activation_default": "random", "aggregation_default": "random", "activation_options": "tanh relu",
        "aggregation_options": "sum max", "activation_mutate_rate": "0.5", "aggregation_mutate_rate": "0.5",
        "enabled_default": "False", "species_fitness_func": "max", "max_stagnation": "9",
        "compatibility_threshold": "2.5", "species_elitism": "4", "elitism": "4", "min_species_size": "4",
    }  # fmt: skip
    base = with_value("activation_options", "tanh sin", with_value("aggregation_options", "sum mean"))
    checked = checking.check(reading.read(base))
    before = converted(checked), differences(checked)
    derived = {"num_inputs", "num_outputs"}
    told = {name for name in KEYS if name.startswith("time_constant")}
    for name in KEYS:
        if name.endswith("_init_type"):
            value = "uniform"
        elif name in other:
            value = other[name]
        else:
            value = "0.03125" if KEYS[name].kind == "float" else "3"
        changed = checking.check(reading.read(with_value(name, value, base)))
        assert not [m for m in changed.mistakes if m.kind != "contradiction"], name
        after = converted(changed), differences(changed)
        if name in derived | told:
            assert any(name in one.key for one in before[1]), name
        else:
            assert after != before, name


@pytest.mark.parametrize("end", ["low", "high"])
def test_what_the_check_lets_pass_is_a_configuration(end: str) -> None:
    """Values at the ends of their ranges, one by one: either a mistake, or settings that a run takes."""
    plain = to_dict(rlkit.compose(["agent=neat"]))
    passed = 0
    for name, key in KEYS.items():
        bound = getattr(key, end)
        if bound is None:
            continue
        checked = checking.check(
            reading.read(with_value(name, f"{bound:g}" if key.kind == "float" else str(bound)))
        )
        if checked.mistakes:
            continue
        values = deepcopy(plain)
        for path, value in converted(checked).items():
            *groups, last = path.split(".")
            reduce(dict.__getitem__, groups, values)[last] = value
        config = check(values)
        assert contradiction(config.agent.evolution, config.agent.population) is None, name
        passed += 1
    assert passed > 10


def test_values_become_settings() -> None:
    text = WHOLE
    for name, value in {
        "initial_connection": "partial_direct 0.25", "feed_forward": "False", "num_hidden": "2",
        "structural_mutation_surer": "default", "single_structural_mutation": "True",
        "enabled_default": "no", "weight_init_type": "Uniform", "response_mutate_power": "0.75",
        "activation_options": "tanh relu", "no_fitness_termination": "on", "seed": "11",
        "compatibility_disjoint_coefficient": "1.5", "species_fitness_func": "median2",
    }.items():  # fmt: skip
        text = with_value(name, value, text)
    checked = checking.check(reading.read(text))
    assert checked.mistakes == []
    values = converted(checked)
    evolution = {name.removeprefix("agent.evolution."): value for name, value in values.items()}
    assert (values["seed"], values["trainer.stop_at_return"], values["agent.population"]) == (11, None, 150)
    assert values["trainer.check_episodes"] == 0  # nor does the environment's boundary end it
    assert evolution["initial_connection"] == "partial"
    assert evolution["initial_fraction"] == 0.25
    assert evolution["initial_loops"] is True
    assert evolution["structural_mutation_surer"] is True
    assert evolution["enabled_default"] == "disabled"
    assert evolution["weight.init_type"] == "uniform"
    assert evolution["response.mutate_power"] == 0.75
    assert evolution["activations"] == ["tanh", "relu"]
    assert evolution["excess_coefficient"] == evolution["disjoint_coefficient"] == 1.5
    assert evolution["species_fitness"] == "median"
    fixed = {  # what neat-python does always
        "weights_mutate_prob": 1.0, "small_genome": 0, "target_species": 0, "max_species": 0,
        "interspecies_prob": 0.0, "disable_prob": 0.75, "elitism_size": 1, "crossover_prob": 1.0,
    }  # fmt: skip
    assert {name: evolution[name] for name in fixed} == fixed
    assert evolution["crossover_prob"] == 1.0


def test_the_file_sets_every_number_of_the_evolution(article: Path) -> None:
    """What a file says or leaves to neat-python's defaults is never rlkit's own default by accident."""
    keys = {
        name
        for name in converted(checking.check(reading.read(article.read_text())))
        if name.startswith("agent.")
    }
    ours = NEATConfig()
    missing = set()
    for name, value in vars(ours.evolution).items():
        parts = [f"{name}.{part}" for part in vars(value)] if hasattr(value, "init_mean") else [name]
        missing |= {f"agent.evolution.{part}" for part in parts} - keys
    assert missing == set()


def test_a_sweep_over_files(
    article: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each job has its own file's values."""
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other.txt"
    other.write_text(with_value("pop_size", "33", article.read_text()), encoding="utf-8")
    words = ["agent=neat", "env.engine=torch", "trainer.total_steps=50", "trainer.eval_every=0", "logger=[]",
             "trainer.test_episodes=0", "monitor.records=false", "monitor.video=none"]  # fmt: skip
    assert cli.main(["train", "-m", f"agent.config_file={article.name},{other.name}", *words]) == 0
    stored = [
        yaml.safe_load(path.read_text())["agent"] for path in tmp_path.glob("runs/sweeps/*/*/config.yaml")
    ]
    assert sorted((one["config_file"], one["population"]) for one in stored) == [
        (article.name, 200), (other.name, 33),
    ]  # fmt: skip


def test_composing_takes_the_file_and_the_command_line_wins(article: Path) -> None:
    words = ["agent=neat", "env=cartpole"]
    config = rlkit.compose([*words, f"agent.config_file={article}", "trainer.stop_at_return=300"])
    assert config.agent.population == 200
    assert config.agent.evolution.max_stagnation == 15
    assert config.agent.evolution.initial_connection == "full_nodirect"
    assert config.trainer.stop_at_return == 300
    first = rlkit.compose(["agent.population=20", *words, f"agent.config_file={article}"])
    assert first.agent.population == 20  # wherever it stands
    assert rlkit.compose([*words, f"agent.config_file={article}"]).trainer.stop_at_return == 100_000
    assert rlkit.compose(words).agent.population == 150


def test_a_preset_may_name_the_file(article: Path, tmp_path: Path) -> None:
    preset = tmp_path / "own" / "experiment" / "mine.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text(
        f"# @package _global_\ndefaults:\n  - override /agent: neat\nagent: {{config_file: {article}}}\n"
    )
    config = rlkit.compose(["experiment=mine", "agent.population=30"], config_dir=tmp_path / "own")
    assert (config.agent.population, config.agent.evolution.elitism) == (30, 2)


def test_the_composed_configuration_is_shown(article: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "agent=neat", f"agent.config_file={article}", "--cfg", "job"]
    assert cli.main(words) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["agent"]["population"] == 200
    assert shown["trainer"]["stop_at_return"] == 100_000
    with pytest.raises(UserError, match="has 36 mistakes"):
        hydra_app(["agent=neat", f"agent.config_file={ARTICLE}", "--cfg", "job"])


def test_the_values_of_a_file_that_a_preset_names_are_shown(
    article: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the run would have them: the command line wins over the file, the file over the preset."""
    monkeypatch.chdir(tmp_path)
    preset = tmp_path / "own" / "experiment" / "mine.yaml"
    preset.parent.mkdir(parents=True)
    text = (
        "# @package _global_\ndefaults:\n  - override /agent: neat\n"
        "agent: {config_file: FILE, population: 7}\ntrainer: {stop_at_return: 1.0}\n"
    )
    preset.write_text(text.replace("FILE", article.name))
    words = ["experiment=mine", "agent.evolution.elitism=9"]
    assert cli.main(["train", "--config-dir", "own", *words, "--cfg", "job"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    config = rlkit.compose(words, config_dir=tmp_path / "own")
    assert shown["agent"] == to_dict(config)["agent"]
    assert (shown["agent"]["population"], shown["agent"]["evolution"]["elitism"]) == (200, 9)
    assert shown["trainer"]["stop_at_return"] == config.trainer.stop_at_return == 100_000
    preset.write_text(text.replace("FILE", str(ARTICLE)))
    assert cli.main(["train", "--config-dir", "own", *words, "--cfg", "job"]) == 2
    assert "has 36 mistakes" in capsys.readouterr().err
    preset.write_text(text.replace("FILE", "gone.txt"))
    assert cli.main(["train", "--config-dir", "own", *words, "--cfg", "job"]) == 2
    assert "there is no file gone.txt" in capsys.readouterr().err
    preset.write_text("# @package _global_\nagent: {config_file: gone.txt}\n")  # dqn reads no file
    assert cli.main(["train", "--config-dir", "own", "experiment=mine", "--cfg", "job"]) == 0


def test_an_agent_of_ones_own_keeps_its_config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only agents in `registry.config_files` have a file that stands for keys."""
    from rlkit.registry import agents, config_files

    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "agent").mkdir(parents=True)
    (tmp_path / "own" / "agent" / "filed.yaml").write_text("name: filed\nconfig_file: null\nspeed: 1\n")
    (tmp_path / "filed_pkg.py").write_text(
        "from dataclasses import dataclass\n"
        "from rlkit.registry import agents\n"
        "@dataclass\nclass Config:\n    name: str = 'filed'\n"
        "    config_file: str | None = None\n    speed: int = 1\n"
        "@agents.add('filed')\nclass Filed:\n    Config = Config\n"
        "def values(path, config=None):\n    return {'agent.speed': len(path), 'seed': 8}\n"
    )
    words = ["agent=filed", "plugins=[filed_pkg]", "agent.config_file=fast.txt"]
    try:
        config = rlkit.compose(words, config_dir=tmp_path / "own")
        assert (config.agent.config_file, config.agent.speed, config.seed) == ("fast.txt", 1, 0)
        config_files.add("filed", "filed_pkg:values")
        config = rlkit.compose([*words, "seed=2"], config_dir=tmp_path / "own")
        assert (config.agent.speed, config.seed) == (8, 2)
    finally:
        for registry in (agents, config_files):
            registry._targets.pop("filed", None)


def test_a_run_with_a_wrong_file_is_refused_before_a_folder_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "agent=neat", f"agent.config_file={ARTICLE}", "env.id=Acrobot-v1"]
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert "has 38 mistakes" in said
    assert "did you mean conn_add_prob?" in said
    assert "4 does not fit Acrobot-v1, which has 6" in said
    assert "weight_replace_rate" in said
    assert not (tmp_path / "runs").exists()
    assert cli.main(["train", "agent=neat", "agent.config_file=gone.txt"]) == 2
    assert "there is no file gone.txt" in capsys.readouterr().err
    assert cli.main(["train", "agent=ppo", f"agent.config_file={ARTICLE}"]) == 2
    assert "no key agent.config_file" in capsys.readouterr().err


def test_sizes_are_those_of_the_spaces() -> None:
    assert sizes_of(rlkit.compose(["agent=neat", "env=pendulum"])).inputs == 3
    assert sizes_of(rlkit.compose(["agent=neat", "env.id=FrozenLake-v1"])).inputs == 16
    with pytest.raises(UserError, match="is an image"):
        sizes_of(rlkit.compose(["agent=neat", "env.id=CartPole-v1", "wrappers=[add_render_observation]"]))


# ---------------------------------------------------------------------- the verb


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "good.txt"
    assert cli.main(["neat", "check", str(ARTICLE), "env=cartpole", f"out={out}"]) == 2
    said = capsys.readouterr().out
    assert "36 mistakes, for CartPole-v1" in said
    assert str(out) in said
    assert f"{10:>4}  DefaultGenome" in said
    assert cli.main(["neat", "check", str(out), "env=cartpole"]) == 0
    assert "no mistakes, for CartPole-v1" in capsys.readouterr().out
    assert theirs(out.read_text(encoding="utf-8"), tmp_path / "theirs") is None
    assert cli.main(["neat", "check", str(out), "env.id=Acrobot-v1"]) == 2
    assert "num_inputs = 6\n" in capsys.readouterr().out  # the corrected file is printed
    assert cli.main(["neat", "check", str(out)]) == 0
    assert "sizes not checked" in capsys.readouterr().out


def test_the_verb_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["neat", "check", str(ARTICLE), "env=cartpole", "json=true"]) == 2
    data = json.loads(capsys.readouterr().out)
    assert len(data["mistakes"]) == 36
    assert data["env"]["inputs"] == 4
    assert data["mistakes"][1]["line"] == 10
    assert data["mistakes"][1]["kind"] == "misspelt"
    assert found(data["corrected"], CARTPOLE) == []
    assert next(one["key"] for one in data["differences"]) == "num_inputs, num_outputs"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b"[NEAT]\npop_size = \xff\n"), "no text in UTF-8"),
        (lambda path: path.write_bytes(b"\0" * 10), "no neat-python configuration"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    make: object, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    make(path)  # type: ignore[operator]
    assert cli.main(["neat", "check", str(path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_help_and_a_wrong_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["neat", "check", "--help"]) == 0
    assert "env=NAME" in capsys.readouterr().out
    assert cli.main(["neat", "check", str(ARTICLE), "ot=x"]) == 2
    assert "did you mean out?" in capsys.readouterr().err
    assert cli.main(["neat", "check"]) == 2
    assert "name the file" in capsys.readouterr().err
