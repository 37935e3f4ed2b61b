"""The benchmark beside neat-python: equal genomes on both sides, and a page that says what was measured."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import pytest
import torch

from benchmarks import neat as bench
from benchmarks.neat_sides import Ours, Theirs, copied, drifted, newborn
from benchmarks.neat_tasks import EQUAL
from rlkit.neat.network import build

peer = pytest.importorskip("neat", reason="pip install neat-python")


def test_both_sides_play_and_evolve_equal_genomes() -> None:
    holding = drifted(12, 8, seed=1)
    population = copied(holding.genomes, newborn(30, seed=0))
    ours, theirs = Ours(population, 0), Theirs(population, 0)
    nets = build(population.genomes, 4, 2, EQUAL)
    x = torch.randn(4, generator=torch.Generator().manual_seed(0))
    outputs, _ = nets(x.expand(30, 4))
    for row, genome in enumerate(theirs.genomes):
        network = peer.nn.FeedForwardNetwork.create(genome, theirs.config)
        assert outputs[row].tolist() == pytest.approx(network.activate(x.tolist()), abs=1e-5)
    first, again = ours.generation(), ours.generation()
    assert first["steps"] == again["steps"] > 30 * 5  # always from the same genomes
    mine, their = first["steps"], theirs.generation()["steps"]
    assert 0.4 < mine / their < 2.5  # their environments begin elsewhere
    assert len(theirs.population.population) == 30
    assert first["seconds"] > first["evolving"] > 0


def test_a_genome_is_judged_by_its_episode() -> None:
    """neat-python's side, played again by hand."""
    theirs = Theirs(newborn(5, seed=3), 7)
    theirs.generation()
    env = gym.make("CartPole-v1")
    for genome in theirs.genomes:
        network = peer.nn.FeedForwardNetwork.create(genome, theirs.config)
        obs, _ = env.reset(seed=7)
        total, over = 0, False
        while not over:
            left, right = network.activate(obs)
            obs, _, terminated, truncated, _ = env.step(int(right > left))
            total, over = total + 1, terminated or truncated
        assert genome.fitness == total
    env.close()


def test_the_page_tells_medians_ranges_and_ratios(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "survivors", lambda seed: newborn(7, seed).genomes)  # finding some takes long
    bench.main(["sizes=20", "evolution=30", "repeats=2", "workers=1", f"out={tmp_path}"])
    text = capsys.readouterr().out
    assert text == next(tmp_path.glob("*-neat-cpu*.md")).read_text() + "\n"
    assert text.count("| 20, ") == 6
    assert text.count("| 30, equal thresholds |") == text.count("| 30, about 20 species |") == 2
    runs = [
        {"part": "evolution", "kind": "k", "genomes": 5, "side": side, "seconds": seconds, "species": 2}
        for side, values in {"rlkit": [1.0, 2.0, 4.0], "neat-python": [30.0, 40.0, 90.0]}.items()
        for seconds in values
    ]
    table = bench._evolution_table(runs)
    assert "| 5, k | rlkit | 2.000 [1.000, 4.000] | – | 2 |" in table
    assert "| 5, k | neat-python | 40.0 [30.0, 90.0] | 20.0 × | 2 |" in table


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_cuda_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["device=cuda", f"out={tmp_path}"])
    assert "there is no CUDA device here, so nothing was measured" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
