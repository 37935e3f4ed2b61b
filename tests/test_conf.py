"""Every YAML under conf/ composes, alone and as the command line combines them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import rlkit
from rlkit.cli.explain import groups
from rlkit.config import RunConfig, conf_dir
from rlkit.envs import catalog
from rlkit.errors import UserError

CHOICES = [(group, name) for group, names in groups().items() for name in names]


def lacking(path: Path) -> list[str]:
    """Packages that an environment's preset needs and that are not installed."""
    env_id = yaml.safe_load(path.read_text(encoding="utf-8"))["id"]
    group = catalog.group_of(env_id)
    return group.missing(env_id) if group else []


@pytest.mark.parametrize(("group", "name"), CHOICES, ids=lambda value: value)
def test_every_choice_composes(group: str, name: str) -> None:
    value = f"[{name}]" if group in ("wrappers", "logger") else name
    path = conf_dir() / group / f"{name}.yaml"
    lines = path.read_text().splitlines()
    if group == "env" and lacking(path):  # composed all the same, and then told which line installs it
        with pytest.raises(UserError, match="pip install"):
            rlkit.compose([f"env={name}"])
        return
    needed = [line.split(":")[0].strip() for line in lines if line.endswith("# needed")]
    config = rlkit.compose([f"{group}={value}", *(f"{group}.{name}.{key}=1" for key in needed)])
    assert isinstance(config, RunConfig)
    if group == "agent":
        assert config.agent.name == name
    if group in ("wrappers", "logger"):
        assert list(getattr(config, group)) == [name]


def test_every_yaml_belongs_to_a_group() -> None:
    """A file that no choice reaches would never be tested."""
    files = {str(path.relative_to(conf_dir())) for path in conf_dir().rglob("*.yaml")}
    assert files == {"config.yaml", *(f"{group}/{name}.yaml" for group, name in CHOICES)}


def test_the_default_is_dqn_on_cartpole() -> None:
    config = rlkit.compose()
    assert (config.agent.name, config.env.id, config.env.num_envs) == ("dqn", "CartPole-v1", 1)
    assert list(config.logger) == ["tensorboard", "jsonl", "terminal"]
    assert config.wrappers == {}


def test_agents_choose_a_network_and_users_choose_another() -> None:
    assert rlkit.compose(["agent=dqn"]).net.activation == "relu"
    assert rlkit.compose(["agent=ppo"]).net.activation == "tanh"
    assert rlkit.compose(["net=relu256", "agent=ppo"]).net.hidden == [256, 256]
    assert rlkit.compose(["agent=ppo", "net=relu256", "net.hidden=[8]"]).net.hidden == [8]


def test_the_command_line_wins_over_an_experiment() -> None:
    assert rlkit.compose(["experiment=ppo_cartpole"]).agent.name == "ppo"
    assert rlkit.compose(["experiment=ppo_cartpole", "env.num_envs=3"]).env.num_envs == 3
    assert rlkit.compose(["experiment=ppo_cartpole", "env=acrobot"]).env.id == "Acrobot-v1"


def test_wrappers_keep_the_order_written() -> None:
    first = rlkit.compose(["wrappers=[frame_stack,random_action]", "wrappers.random_action.epsilon=0.2"])
    assert list(first.wrappers) == ["frame_stack", "random_action"]
    assert first.wrappers["frame_stack"] == {"size": 4}
    assert first.wrappers["random_action"]["epsilon"] == 0.2
    assert list(rlkit.compose(["wrappers=[random_action,frame_stack]"]).wrappers) == [
        "random_action",
        "frame_stack",
    ]
    assert list(rlkit.compose(["wrappers=flatten"]).wrappers) == ["flatten"]
    assert rlkit.compose(["wrappers=[]"]).wrappers == {}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    """An environment preset may choose wrappers; the experiment wins over it, the command line over both."""
    own = write(
        tmp_path / "it's, mine",
        {
            "env/mine.yaml": "defaults:\n  - override /wrappers@_global_.wrappers: [flatten]\nid: Taxi-v4\n",
            "wrappers/both.yaml": "defaults: [clip_reward, flatten]\n",
            "experiment/mine.yaml": "# @package _global_\ndefaults:\n  - override /env: mine\n"
            "  - override /wrappers: [clip_reward]\nagent: {gamma: 0.5}\n",
        },
    )
    assert list(rlkit.compose(["env=mine"], config_dir=own).wrappers) == ["flatten"]
    config = rlkit.compose(["experiment=mine"], config_dir=own)
    assert (config.env.id, list(config.wrappers), config.agent.gamma) == ("Taxi-v4", ["clip_reward"], 0.5)
    assert list(rlkit.compose(["experiment=mine", "wrappers=[both]"], config_dir=own).wrappers) == [
        "clip_reward",
        "flatten",
    ]
    with pytest.raises(UserError, match="wrappers names flatten twice"):
        rlkit.compose(["wrappers=[both,flatten]"], config_dir=own)
    with pytest.raises(UserError, match=r"choices: .*mine"):
        rlkit.compose(["env=mime"], config_dir=own)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agent: {gama: 0.5}\n", "did you mean agent.gamma"),
        ("agent:\n  gamma: [0.5\n", "cannot be read"),
        ("agent: {gamma: '${agent.gama}'}\n", "agent.gamma refers to something that is not there"),
        ("defaults:\n  - override /wrappers: [flatten, flatten]\n", "wrappers names flatten twice"),
    ],
)
def test_mistakes_inside_a_users_yaml(tmp_path: Path, text: str, said: str) -> None:
    own = write(tmp_path, {"experiment/mine.yaml": "# @package _global_\n" + text})
    with pytest.raises(UserError) as caught:
        rlkit.compose(["experiment=mine"], config_dir=own)
    assert said in str(caught.value)


def test_a_value_left_open_is_asked_for(tmp_path: Path) -> None:
    own = write(tmp_path, {"agent/open.yaml": "name: dqn\ngamma: ???\n"})
    with pytest.raises(UserError, match=r"agent\.gamma has no value: write agent\.gamma=VALUE"):
        rlkit.compose(["agent=open"], config_dir=own)
    assert rlkit.compose(["agent=open", "agent.gamma=0.5"], config_dir=own).agent.gamma == 0.5


def test_compose_can_be_called_again_after_a_mistake() -> None:
    with pytest.raises(UserError):
        rlkit.compose(["agnet.lr=1"])
    assert rlkit.compose(["seed=1"]).seed == 1
    assert rlkit.compose(["seed=2"]).seed == 2


def test_hydra_leaves_folders_and_logs_to_us() -> None:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        settings = compose("config", return_hydra_config=True).hydra
    assert settings.run.dir == "."
    assert settings.output_subdir is None
    assert settings.job.chdir is False
    assert settings.runtime.choices["hydra/job_logging"] == "none"
    assert settings.runtime.choices["hydra/hydra_logging"] == "none"
