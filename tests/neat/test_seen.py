"""What a run of NEAT shows: who played each episode, news, pictures in TensorBoard, and `rlkit neat show`."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import rlkit
from rlkit import cli
from rlkit.agents.neat import NEAT, NEATConfig
from rlkit.checkpoint import Checkpoints
from rlkit.config import AccelConfig, EnvConfig, NetConfig
from rlkit.envs.engines import make_envs
from rlkit.logger import Logger
from rlkit.neat.settings import Settings
from rlkit.neat.story import Story
from rlkit.runs import Run
from rlkit.types import AgentSetup, Episode

SMALL = NEATConfig(population=12, trials=2, evolution=Settings(node_add_prob=0.3, conn_add_prob=0.5))
WORDS = ("agent=neat", "agent.population=12", "agent.trials=2", "agent.evolution.node_add_prob=0.3",
         "agent.evolution.compatibility_threshold=1.0", "env=cartpole", "env.max_episode_steps=40",
         "env.num_envs=7", "monitor.codec=mpeg4", "trainer.total_steps=2000", "trainer.log_every=500",
         "trainer.eval_every=900", "trainer.eval_episodes=2", "trainer.eval_envs=2",
         "trainer.test_episodes=2", "trainer.checkpoint_every=500", "device=cpu")  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a few generations, with everything that is kept of it."""
    words = (*WORDS, "logger=[tensorboard,jsonl]", "monitor.video=every:5", "monitor.eval_video=every:1")
    return rlkit.train(rlkit.compose([f"run.root={tmp_path_factory.mktemp('seen')}", *words]))


def story_of(run: Run) -> Story:
    return Story.from_state(Checkpoints(run.path / "checkpoints").load("latest").state["agent"])


# ---------------------------------------------------------------------- who played


def fitness(rows: list[dict[str, Any]], generation: int) -> dict[int, float]:
    """Each genome's mean return, from records alone."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if row["generation"] == generation:
            found.setdefault(row["genome_id"], []).append(row["return"])
    assert all(len(returns) == 2 for returns in found.values())
    return {genome: sum(returns) / 2 for genome, returns in found.items()}


def test_fitness_can_be_computed_from_the_records(finished: Run) -> None:
    rows, story = [row for row in finished.episodes() if row["type"] == "t"], story_of(finished)
    assert len(story.history) >= 3
    for number, generation in enumerate(story.history.generations):
        judged = fitness(rows, number)
        assert len(judged) == 12
        assert max(judged.values()) == generation.best
        assert min(judged.values()) == generation.worst
        assert sum(judged.values()) / 12 == pytest.approx(generation.mean)
        assert judged[story.champion_ids[number]] == generation.best


def test_evaluations_and_films_name_the_champion(finished: Run) -> None:
    story = story_of(finished)
    rows = [row for row in finished.episodes() if row["type"] == "e"]
    assert {row["evaluation"] for row in rows} == {"eval", "test"}
    for row in rows:
        assert row["genome_id"] == story.champion_ids[row["generation"]]
    films = [json.loads(path.read_text()) for path in (finished.path / "monitor").glob("*.meta.json")]
    assert len(films) >= 4
    assert all(film["genome_id"] >= 0 and film["generation"] >= 0 for film in films)
    by_film = {row["video"]: row for row in finished.episodes() if row["video"]}
    for path in (finished.path / "monitor").glob("*.meta.json"):
        meta, row = json.loads(path.read_text()), by_film[path.name.replace(".meta.json", ".mp4")]
        assert (meta["genome_id"], meta["generation"]) == (row["genome_id"], row["generation"])


def test_films_of_play_name_the_champion(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"run={finished.path}", "checkpoint=latest", "episodes=1"]
    assert cli.main(["play", *words]) == 0
    (meta,) = (finished.path / "play").glob("*.meta.json")
    film, story = json.loads(meta.read_text()), story_of(finished)
    assert (film["genome_id"], film["generation"]) == (story.champion_ids[-1], len(story.history) - 1)


def episodes(lanes: int, engine: str, *, untold: bool = False, seeded: bool = True) -> list[Episode]:
    """Of the first two generations. untold: the engine does not say what ended, and is asked at the end."""
    # A captured step is a device's: the host is told nothing.
    capture = (lambda function: function) if untold else None
    config = EnvConfig(id="CartPole-v1", max_episode_steps=30)
    envs = make_envs(config, {}, seed=1, num_envs=lanes, engine=engine, capture=capture)
    setup = AgentSetup(envs.obs_spec, envs.action_spec, lanes, 1_000, torch.device("cpu"), 1, NetConfig(),
                       AccelConfig())  # fmt: skip
    agent = NEAT(SMALL, setup)
    obs = envs.reset(agent.first_seeds() if seeded else None).obs
    now = learnt = 0
    while learnt < 2:
        decision = agent.act(obs, now)
        envs.send(decision)
        step = envs.recv()
        assert untold == (step.ended_lanes is None)
        agent.observe(obs, decision, step)
        obs, now = step.obs, now + step.count
        learnt += agent.learn(now) is not None
    found = envs.drain()
    envs.close()
    return found


@pytest.mark.parametrize("engine", ["sync", "torch"])
def test_every_trial_is_recorded_once_whatever_the_lanes(engine: str) -> None:
    for lanes in (1, 5, 30):
        played = episodes(lanes, engine)
        facts = [(episode.facts["generation"], episode.facts["genome_id"]) for episode in played]
        assert {generation for generation, _ in facts} == {0, 1}
        assert sorted(genome for generation, genome in facts if not generation) == sorted([*range(12)] * 2)
        assert all(facts.count(one) == 2 for one in facts)


def test_a_device_tells_late_and_the_same() -> None:
    told, late = episodes(5, "torch"), episodes(5, "torch", untold=True)
    assert len(told) == 48

    def by_number(played: list[Episode]) -> dict[int, Any]:
        return {episode.id: (episode.facts, episode.seed, episode.reward) for episode in played}

    assert by_number(late) == by_number(told)


def test_episodes_that_are_not_judged_name_nobody() -> None:
    played = episodes(5, "sync", seeded=False)
    assert sum(not episode.facts for episode in played) == 5  # those that ran before
    assert sum(bool(episode.facts) for episode in played) == 48


# ---------------------------------------------------------------------- news and pictures


def test_each_generation_has_its_line(finished: Run) -> None:
    lines = [line.split("INFO ")[1] for line in (finished.path / "train.log").read_text().splitlines()
             if "INFO generation" in line]  # fmt: skip
    story = story_of(finished)
    assert len(lines) == len(story.history)
    for number, (line, one) in enumerate(zip(lines, story.history.generations, strict=True)):
        words = line.split("  ")
        assert words[0] == f"generation {number}"
        assert [word.split()[0] for word in words[1:]] == ["best", "mean", "species", "nodes", "connections"]
        assert float(words[1].split()[1]) == pytest.approx(one.best, rel=0.01)
        assert float(words[3].split()[1]) == len(one.sizes)


def test_tensorboard_shows_the_champion_when_it_improves(finished: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(finished.path / "tb"), size_guidance={"images": 0, "scalars": 0}).Reload()
    best = story_of(finished).history.column("best")
    better = sum(all(value > earlier for earlier in best[:k]) for k, value in enumerate(best))
    shown = board.Images("neat/champion")
    assert 0 < better < len(best)
    assert len(shown) == better
    pixels = np.asarray(Image.open(io.BytesIO(shown[-1].encoded_image_string)))
    assert pixels.shape == (shown[-1].height, shown[-1].width, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50  # something is drawn
    assert len(board.Images("neat/species")) >= better
    named = {"neat/best", "neat/mean", "neat/worst", "neat/species", "neat/species_largest",
             "neat/species_smallest", "neat/nodes", "neat/connections", "time/share_env", "time/share_act",
             "time/share_learn"}  # fmt: skip
    assert named <= set(board.Tags()["scalars"])


def test_nothing_is_drawn_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NEAT, "pictures", lambda agent: pytest.fail("drawn for nobody"))
    words = [*WORDS, "trainer.total_steps=900", "trainer.eval_every=0", "trainer.test_episodes=0"]
    run = rlkit.train(rlkit.compose([f"run.root={tmp_path}", "logger=[jsonl]", "monitor=off", *words]))
    assert any("neat/best" in row for row in run.metrics())


class Screen(io.StringIO):
    tty = False

    def isatty(self) -> bool:
        return self.tty


def test_news_on_a_pipe_is_rare_but_for_what_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", out := Screen())
    logger = Logger(tmp_path, {"terminal": {"every_seconds": 3600}})
    for number in range(6):
        logger.news(f"generation {number}", number == 3)
        logger.progress(number, 100)
    logger.close()
    lines = out.getvalue().splitlines()
    assert [line for line in lines if "generation" in line] == [
        "generation 0", "generation 3", "generation 5",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines if "%" in line] == ["0/100", "5/100"]
    assert (tmp_path / "train.log").read_text().count("INFO generation") == 6


def test_news_stands_below_the_live_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", out := Screen())
    monkeypatch.setenv("TERM", "xterm")
    out.tty = True
    logger = Logger(tmp_path, {"terminal": {}})
    logger.news("generation 0 " + "x" * 300)
    logger.progress(10, 100)
    logger.news("generation 1 " + "y" * 300)
    logger.progress(100, 100)
    logger.close()
    last = out.getvalue()[out.getvalue().rindex("100/100") :]
    assert "generation 1" in last
    assert last.count("y") < 100  # one line, whatever its length
    assert "generation 0" not in last


# ---------------------------------------------------------------------- rlkit neat show


def test_show_tells_and_draws(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    story = story_of(finished)
    assert cli.main(["neat", "show", f"run={finished.path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    files = [Path(line) for line in lines if line.startswith(str(finished.path / "neat"))]
    assert {path.name for path in files} == {
        f"{name}.{ending}" for name in ("champion", "species", "fitness") for ending in ("png", "svg")
    }
    for path in files:
        if path.suffix == ".png":
            assert min(Image.open(path).size) > 300
        else:
            assert path.read_text().startswith("<svg")
    told = [line for line in lines if not line.startswith(str(finished.path))]
    assert max(map(len, told)) <= 80
    assert story.title(story.champion()) in told
    assert f"genome {story.champion_ids[-1]}" in story.title(story.champion())
    assert any(line.startswith("action=1     = tanh") for line in told)
    assert sum(size for _, size, *_ in story.species) == 12
    assert f"species, {len(story.species)} now" in told


def test_show_reads_data_and_nothing_else(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the configuration nor the environment is needed, so nothing that a folder names is imported."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    (copy / "config.yaml").unlink()
    monkeypatch.setattr("gymnasium.make", lambda *_, **__: pytest.fail("an environment was made"))
    assert cli.main(["neat", "show", str(copy), "json=true"]) == 0
    found = json.loads(capsys.readouterr().out)
    story = story_of(finished)
    assert found["best"] == story.history.column("best")
    assert found["champion_ids"] == story.champion_ids
    assert all(Path(name).is_file() for name in found["files"])


def test_show_of_an_earlier_generation(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["neat", "show", str(finished.path), "generation=0"]) == 0
    out = capsys.readouterr().out
    assert f"generation 0, genome {story_of(finished).champion_ids[0]}," in out
    assert (finished.path / "neat" / "champion-0000.png").is_file()
    assert cli.main(["neat", "show", str(finished.path), "generation=999"]) == 2
    assert "generation=999 is not finished" in capsys.readouterr().err


def test_show_before_the_first_generation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "trainer.total_steps=20", "trainer.eval_every=0", "trainer.test_episodes=0"]
    run = rlkit.train(rlkit.compose([f"run.root={tmp_path}", "logger=[jsonl]", "monitor=off", *words]))
    assert cli.main(["neat", "show", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "no generation was finished" in out
    assert [path.name for path in sorted((run.path / "neat").iterdir())] == ["champion.png", "champion.svg"]
    assert cli.main(["neat", "show", str(run.path), "json=true"]) == 0
    data = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)  # no Infinity: JSON knows none
    assert [one["best"] for one in data["species"]] == [None]


def test_show_refuses_other_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["agent=random", "trainer=quick", "trainer.total_steps=20", "trainer.eval_every=0",
             "trainer.test_episodes=0", "logger=[jsonl]", "monitor=off"]  # fmt: skip
    run = rlkit.train(rlkit.compose([f"run.root={tmp_path}", *words]))
    assert cli.main(["neat", "show", str(run.path)]) == 2
    assert "is a run of random" in capsys.readouterr().err


def test_a_story_of_a_living_evolution_equals_that_of_its_state() -> None:
    envs = make_envs(EnvConfig(id="CartPole-v1", max_episode_steps=30), {}, seed=1, num_envs=3, engine="sync")
    agent = NEAT(SMALL, AgentSetup(envs.obs_spec, envs.action_spec, 3, 1_000, torch.device("cpu"), 1,
                                   NetConfig(), AccelConfig()))  # fmt: skip
    envs.close()
    for k in range(4):
        agent.evolution.advance(torch.arange(12.0) * math.sin(k + 1))
    living, stored = Story.of(agent.evolution, agent.names), Story.from_state(agent.state_dict())
    assert living.draw_champion().svg() == stored.draw_champion().svg()
    assert living.draw_species().svg() == stored.draw_species().svg()
    assert living.draw_champion(1).svg() == stored.draw_champion(1).svg() != stored.draw_champion().svg()
