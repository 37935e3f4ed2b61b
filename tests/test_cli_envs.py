"""`rlkit envs`: what a user sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import rlkit
from rlkit.cli import main
from rlkit.envs import catalog
from rlkit.errors import UserError
from tests.envs.needs import needs


def told(capsys: Any, *words: str, code: int = 0) -> str:
    assert main(["envs", *words]) == code
    out = capsys.readouterr()
    return out.err if code == 2 and out.err else out.out


def test_the_ten_groups_fit_a_screen(capsys: Any) -> None:
    lines = told(capsys).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert [line[:2].strip() for line in lines if line[:2].strip().isdigit()] == [
        str(n) for n in range(1, 11)
    ]


def test_a_group_lists_its_ids_and_a_slip_names_the_nearest(capsys: Any) -> None:
    assert told(capsys, "classic").splitlines()[0] == "CartPole-v1"
    assert told(capsys, "group=classic") == told(capsys, "classic")
    assert "did you mean classic?" in told(capsys, "clasic", code=2)


def test_show_tells_and_draws(capsys: Any, tmp_path: Path) -> None:
    out = tmp_path / "frame.png"
    data = json.loads(told(capsys, "show", "cartpole", f"out={out}", "json=true"))
    assert (data["id"], data["solved at"], data["time limit"]) == ("CartPole-v1", 475.0, 500)
    assert {"sync", "async", "torch"} <= set(data["engines"])
    assert "dqn" in data["agents"]
    assert data["render modes"] == ["human", "rgb_array"]
    assert data["other engines"]["ale"] == "it serves Atari games"
    assert data["auto takes"].startswith("sync (fastest")
    with Image.open(out) as picture:
        assert len(picture.getcolors(100_000)) > 2


def test_wrappers_with_parameters_and_marks(capsys: Any) -> None:
    lines = told(capsys, "wrappers").splitlines()
    assert any(line.startswith("TR clip_reward ") and "low=-1.0" in line for line in lines)
    assert any("delay_observation" in line and "[delay=needed]" in line for line in lines)
    assert len(told(capsys, "wrappers", "grayscale").splitlines()) == 3
    assert "did you mean grayscale?" in told(capsys, "wrappers", "greyscale", code=2)


@pytest.mark.parametrize(("name", "code"), [("CartPole-v1", 0), ("tests.envs.test_checking:Old", 2)])
def test_check_says_by_its_exit_code(capsys: Any, name: str, code: int) -> None:
    text = told(capsys, "check", name, code=code)
    assert ("fine" in text) == (code == 0)
    assert ("where:" in text) == (code == 2)


def test_show_never_writes_over_a_frame(capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Pendulum-v1.png").write_bytes(b"mine")
    lines = told(capsys, "show", "Pendulum-v1").splitlines()
    assert lines[-1].split() == ["frame", str(tmp_path / "Pendulum-v1-2.png")]
    assert any(line.strip().startswith("not dqn: dqn needs one Discrete action") for line in lines)
    assert (tmp_path / "Pendulum-v1.png").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Pendulum-v1-2.png", "Pendulum-v1.png"]


def test_show_names_the_wrappers_that_evaluation_drops(capsys: Any, tmp_path: Path) -> None:
    needs("ale_py")
    data = json.loads(told(capsys, "show", "breakout", f"out={tmp_path / 'a.png'}", "json=true"))
    assert len(data["wrappers"]) == 7
    assert data["not in evaluation"] == ["episodic_life", "clip_reward"]
    assert "ale" in data["engines"]


def test_show_prints_text_where_there_is_no_picture(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Reverse-v0   level" in told(capsys, "show", "reverse")
    assert list(tmp_path.iterdir()) == []


def test_show_takes_a_class_with_arguments(capsys: Any, tmp_path: Path) -> None:
    words = ["show", "tests.envs.test_checking:Needs", "kwargs={size: 3}", f"out={tmp_path / 'a.png'}"]
    assert json.loads(told(capsys, *words, "json=true"))["observation"] == "Box(2)"
    assert "its arguments are written env.kwargs" in told(capsys, *words[:2], code=2)


def test_what_is_listed_can_be_made_without_having_been_imported(capsys: Any) -> None:
    """The list is quick because most groups need no import; it must be the list that imports would give."""
    rows = json.loads(told(capsys, "json=true"))
    listed = [name for row in rows for name in row["ids"]]
    assert listed == catalog.installed_ids()


def lines_of(capsys: Any, *words: str, code: int = 0) -> dict[str, str]:
    found: dict[str, str] = json.loads(told(capsys, "check", *words, "json=true", code=code))["train"]
    return found


def test_check_prints_lines_that_work(capsys: Any, tmp_path: Path) -> None:
    """Each is run as it was printed."""
    module = "tests.envs.test_checking"
    lines = [
        lines_of(capsys, f"{module}:Good")["train it"],
        lines_of(capsys, f"{module}:Needs", "kwargs={size: 3}")["train it"],
        lines_of(capsys, f"{module}:Endless")["train it"],
        lines_of(capsys, f"{module}:Oldest", code=2)["train it unchanged, by the bridge to the old gym"],
        lines_of(capsys, "Pendulum-v1")["train it"],
    ]
    assert lines == [
        f"rlkit train env.id={module}:Good",
        f"rlkit train env.id={module}:Needs env.kwargs.size=3",
        f"rlkit train env.id={module}:Endless env.max_episode_steps=1000 agent=ppo",
        f"rlkit train env.id=gym:{module}:Oldest",
        "rlkit train env.id=Pendulum-v1 agent=ppo",
    ]
    short = (
        "trainer.total_steps=30 trainer.eval_every=0 trainer.test_episodes=0 monitor=off logger=[]".split()
    )
    for line in lines:
        assert main([*line.split()[1:], *short, f"run.root={tmp_path}"]) == 0
    capsys.readouterr()
    assert lines_of(capsys, f"{module}:BadStep", code=2) == {
        "once it is mended": f"rlkit train env.id={module}:BadStep"
    }


def test_a_module_that_fails_is_one_sentence(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_done.py").write_text("import gymnasium\nclass Env(gymnasium.Env:\n    pass\n")
    (tmp_path / "half_run.py").write_text("x = 1\ny = nothing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    said = told(capsys, "check", "half_done:Env", code=2)
    assert "the module half_done fails: SyntaxError" in said
    assert f"{tmp_path / 'half_done.py'}:2" in said
    said = told(capsys, "check", "half_run:Env", code=2)
    assert "NameError: name 'nothing' is not defined" in said
    assert f"{tmp_path / 'half_run.py'}:2" in said
    assert said.count("\n") == 1


def test_the_verb_completes(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def offered(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        assert main(["-sc", "query=bash"]) == 0
        return str(capsys.readouterr().out).split()

    assert offered("rlkit envs ch") == ["check"]
    assert {"show", "atari", "toy_text"} <= set(offered("rlkit envs "))
    assert offered("rlkit envs show mountainc") == ["mountaincar", "mountaincar_continuous"]
    assert "CartPole-v1" in offered("rlkit envs check ")
    assert offered("rlkit envs wrappers random") == ["random_action"]
    assert offered("rlkit envs show cartpole ") == []


@pytest.mark.parametrize(
    ("words", "kwargs"),
    [
        (["env.kwargs.length=10"], {"length": 10}),
        (["+env.kwargs.length=10"], {"length": 10}),
        (["env.kwargs={length: 10, deep: {a: 1}}", "env.kwargs.deep.b=2"],
         {"length": 10, "deep": {"a": 1, "b": 2}}),
        (["env=breakout", "env.kwargs.mode=1"], {"obs_type": "grayscale", "mode": 1}),
        (["env=breakout", "env.kwargs.obs_type=rgb"], {"obs_type": "rgb"}),
        (["env=breakout", "~env.kwargs.obs_type"], {}),
    ],
)  # fmt: skip
def test_arguments_of_the_environment_need_no_plus(
    words: list[str], kwargs: dict[str, Any], capsys: Any
) -> None:
    if "env=breakout" in words:
        needs("ale_py")
    assert rlkit.compose(words).env.kwargs == kwargs
    assert main(["train", *words, "--cfg", "job"]) == 0  # composed by Hydra's main alone
    assert yaml.safe_load(capsys.readouterr().out)["env"]["kwargs"] == kwargs


def test_arguments_reach_every_job_of_a_sweep(tmp_path: Path, capsys: Any) -> None:
    words = "agent=random trainer.total_steps=10 trainer.eval_every=0 trainer.test_episodes=0 monitor=off"
    sweep = ["train", "-m", "env.kwargs.sutton_barto_reward=true,false", *words.split(), "logger=[]"]
    assert main([*sweep, f"run.root={tmp_path}"]) == 0
    assert capsys.readouterr().out.count("→ done") == 2
    found = [yaml.safe_load(path.read_text())["env"]["kwargs"] for path in tmp_path.rglob("config.yaml")]
    assert sorted(kwargs["sutton_barto_reward"] for kwargs in found) == [False, True]


def test_a_wrapper_of_ones_own_needs_no_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "plugin_example"))
    for word, arguments in (("={}", {}), (".probability=0.3", {"probability": 0.3})):
        config = rlkit.compose(["plugins=[rlkit_example]", f"+wrappers.slippery{word}"])
        assert config.wrappers == {"slippery": arguments}
    with pytest.raises(UserError, match=r"there is no wrapper 'slipery'; did you mean slippery\?"):
        rlkit.compose(["plugins=[rlkit_example]", "+wrappers.slipery={}"])
    with pytest.raises(UserError, match=r"wrappers\.slippery\.probabilty; did you mean .*\.probability\?"):
        rlkit.compose(["plugins=[rlkit_example]", "+wrappers.slippery.probabilty=1"])


def test_free_mappings_of_wrappers_take_new_keys() -> None:
    words = ["wrappers=[dict_to_leaves]", "wrappers.dict_to_leaves.rename={a: b}"]
    assert rlkit.compose(words).wrappers["dict_to_leaves"]["rename"] == {"a": "b"}
