"""The corrected programs of experiments/020_neat_article, run as a user runs them, with a tiny budget."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

neat = pytest.importorskip("neat", reason='pip install "rlkit-lab[neat]"')

FOLDER = Path(__file__).parents[2] / "experiments" / "020_neat_article"
ROOT = FOLDER.parents[1]


def printed(script: str, *words: str, folder: Path) -> str:
    """What a script prints, run in another folder on a machine without a screen."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "SDL_VIDEODRIVER")
    }
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *words], capture_output=True, text=True, cwd=folder,
        env=environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def winner(output: str) -> tuple[str, float]:
    """The line about the winner, and its mean return over fresh episodes."""
    line = re.search(r"^winner: .*$", output, re.MULTILINE)
    score = re.search(r"^generations .* mean of 100 fresh episodes ([\d.]+)$", output, re.MULTILINE)
    assert line is not None
    assert score is not None
    return line[0], float(score[1])


def test_workers_find_the_winner_of_one_process(tmp_path: Path) -> None:
    """spawn: the start method that a notebook's kernel and other systems can use."""
    alone = printed("neat_python.py", "generations=2", "seed=1", folder=tmp_path)
    workers = printed(
        "neat_python_parallel.py", "generations=2", "seed=1", "workers=2", "start=spawn", folder=tmp_path
    )
    assert winner(alone) == winner(workers)
    assert winner(alone)[1] > 60  # a random policy holds the pole for 22 steps
    assert "\ngenerations 2, " in alone


def test_the_same_file_in_rlkit(tmp_path: Path) -> None:
    output = printed("with_rlkit.py", "generations=1", "seed=3", "trainer.total_steps=30000", folder=tmp_path)
    found = re.search(r"mean of 100 fresh episodes ([\d.]+)$", output, re.MULTILINE)
    assert found is not None
    assert float(found[1]) > 60
    assert len(list((tmp_path / "runs" / "latest" / "checkpoints").glob("step-*"))) >= 1


def test_the_configuration_is_neat_pythons() -> None:
    parts = (neat.DefaultGenome, neat.DefaultReproduction, neat.DefaultSpeciesSet, neat.DefaultStagnation)
    config = neat.Config(*parts, FOLDER / "config-feedforward.txt")
    assert config.fitness_threshold == 475
    assert config.genome_config.single_structural_mutation is False
    assert len(neat.Population(config, seed=0).population) == 200


def test_the_page_names_every_program() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.glob("*.py"):
        assert f"({path.name})" in page
