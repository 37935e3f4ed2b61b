"""The benchmarks' arithmetic: statistics by hand-made examples, equal work, tables. Nothing is measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import learning, overhead, report, speed
from benchmarks.ours import counted, overrides
from benchmarks.settings import CASES, DQNSettings, PPOSettings, settings
from benchmarks.stats import (
    Estimate,
    bootstrap_iqm,
    censored_median,
    iqm,
    median_iqr,
    ratio_of_medians,
)

# ---------------------------------------------------------------------- statistics


def test_iqm_cuts_a_quarter_at_either_end() -> None:
    assert iqm([100.0, 1, 2, 3, 4, 5, 9, 0]) == pytest.approx(3.5)  # of 8: 2…5 stay
    assert iqm([0.0] * 2 + [1, 2, 3, 4, 5, 6] + [99.0] * 2) == pytest.approx(3.5)  # of 10: two cut each side
    assert iqm([7.0, 9.0]) == pytest.approx(8.0)  # too few to cut


def test_iqm_works_along_rows() -> None:
    rows = np.array([[4.0, 1, 2, 3], [40.0, 10, 20, 30]])
    np.testing.assert_allclose(iqm(rows), [2.5, 25.0])


def test_bootstrap_of_equal_runs_has_no_width() -> None:
    assert bootstrap_iqm([[500.0] * 10]) == Estimate(500.0, 500.0, 500.0)


def test_bootstrap_interval_against_a_known_case() -> None:
    """For many runs the IQM of a uniform sample is nearly normal; the interval must cover that width."""
    n = 400
    runs = np.linspace(0.0, 1.0, n)
    found = bootstrap_iqm([runs.tolist()], samples=4_000)
    assert found.value == pytest.approx(0.5, abs=1e-9)
    # influence of a 25 % trimmed mean, uniform: var = (∫ clipped (x − ½)² dx) / (n · ½²) = (1/24) · 4 / n
    half_width = 1.96 * np.sqrt((1 / 24) * 4 / n)
    assert found.high - found.value == pytest.approx(half_width, rel=0.15)
    assert found.value - found.low == pytest.approx(half_width, rel=0.15)


def test_bootstrap_is_stratified_by_task() -> None:
    """Each task keeps its number of runs: with one constant task per value nothing can vary."""
    assert bootstrap_iqm([[0.0] * 4, [10.0] * 4]) == Estimate(5.0, 5.0, 5.0)
    pooled = bootstrap_iqm([[0.0] * 4 + [10.0] * 4])
    assert pooled.low < 5.0 < pooled.high


def test_ratio_of_medians() -> None:
    found = ratio_of_medians([60.0, 10, 20], [5.0, 5, 5])
    assert found.value == pytest.approx(4.0)
    assert found.low == pytest.approx(2.0)  # the smallest median that three draws can have is 10
    assert found.high == pytest.approx(12.0)
    assert ratio_of_medians([60.0, 10, 20], [5.0, 5, 5]) == found  # a fixed seed
    # of five draws three are the outlier in 5.8 % of cases: medians reach it, means would not
    assert ratio_of_medians([1.0, 1, 1, 1, 100], [1.0]).high == pytest.approx(100.0)


def test_median_and_quartiles() -> None:
    assert median_iqr([1.0, 2, 3, 4, 5]) == Estimate(3.0, 2.0, 4.0)


def test_failures_are_longer_than_any_number() -> None:
    assert censored_median([3.0, None, 1.0]) == 3.0
    assert censored_median([None, None, 1.0]) is None
    assert censored_median([2.0, None]) is None
    assert censored_median([]) is None


# ---------------------------------------------------------------------- equal work


@pytest.mark.parametrize("case", CASES)
def test_budgets_hold_whole_rollouts_and_marks_match(case: str) -> None:
    told = settings(case, 50_000)
    unit = told.train_every if isinstance(told, DQNSettings) else told.lanes * told.horizon
    assert told.steps % unit == 0
    assert told.mark % unit == 0
    assert told.warmup < told.steps
    assert 50_000 <= told.steps < 50_000 + unit


def test_rlkit_is_told_what_the_peer_is_told() -> None:
    from rlkit import compose

    dqn = settings("dqn", 50_000)
    assert isinstance(dqn, DQNSettings)
    config = compose(overrides(dqn))
    agent = config.agent
    assert (agent.name, agent.double, agent.n_step, agent.loss) == ("dqn", False, 1, "huber")
    assert (agent.epsilon_steps, agent.learning_starts, agent.lr) == (25_000, 10_000, 2.5e-4)
    assert (agent.lr_schedule, agent.target_every, agent.target_tau) == ("constant", 500, 1.0)
    assert (config.net.hidden, config.net.activation) == ([120, 84], "relu")

    zoo = settings("ppo_zoo", 50_000)
    assert isinstance(zoo, PPOSettings)
    config = compose(overrides(zoo))
    agent = config.agent
    assert (config.env.num_envs, agent.horizon, agent.epochs, agent.minibatch_size) == (8, 32, 20, 256)
    assert (agent.clip_schedule, agent.lr_schedule, agent.entropy_coef) == ("linear", "linear", 0.0)
    assert agent.value_coef == 1.0  # twice, for rlkit's half of the squared error
    assert config.trainer.total_steps == zoo.steps == 50_176


def test_updates_are_counted_where_they_happen(tmp_path: Path) -> None:
    import rlkit

    told = settings("ppo_default", 1_024)
    quiet = ["trainer.eval_every=0", "trainer.test_episodes=0", "monitor=off", "logger=[]"]
    with counted() as work:
        rlkit.train(rlkit.compose([*overrides(told), *quiet, f"run.root={tmp_path}"]))
    assert work == {"updates": 2 * 4 * 4, "samples": 2 * 4 * 512}


def runs_of(side: str, speeds: list[float], updates: int) -> list[dict[str, Any]]:
    shared = {"sps_whole": 1.0, "per_cpu_second": 1.0, "warmup_seconds": 1.0, "wall": 9.0, "warmup_steps": 5}
    return [
        {"case": "dqn", "side": side, "sps": each, "steps": 50_000, "updates": updates,
         "samples": updates * 128, "returns": [10.0, 20.0], **shared}
        for each in speeds
    ]  # fmt: skip


def test_unequal_work_has_no_ratio() -> None:
    sides = ["SB3", "rlkit eager", "rlkit compile"]
    runs = [
        *runs_of("SB3", [100.0, 100.0], 400),
        *runs_of("rlkit eager", [300.0, 300.0], 400),
        *runs_of("rlkit compile", [900.0, 900.0], 399),
    ]
    summary = speed.summarise("dqn", 50_000, sides, runs)
    peer, eager, compiled = summary["sides"]
    assert "ratio" not in peer
    assert eager["ratio"] == {"value": 3.0, "low": 3.0, "high": 3.0}
    assert compiled["ratio"] is None
    text = speed._case_table(summary)
    assert "3.00 [3.00, 3.00]" in text
    assert "unequal work" in text
    assert "15 (15, 15)" in text


def test_a_failed_side_is_told_and_kept() -> None:
    runs = [{"case": "dqn", "side": "SB3", "error": "ImportError: no"}]
    summary = speed.summarise("dqn", 50_000, ["SB3"], runs)
    assert "failed: ImportError: no" in speed._case_table(summary)


def test_the_window_leaves_the_warmup_out() -> None:
    found = speed.window([(0, 0.0), (1_000, 10.0), (2_000, 11.0), (3_000, 12.0)], 900)
    assert found == {"sps": 1_000.0, "sps_whole": 250.0, "warmup_seconds": 10.0, "warmup_steps": 1_000}
    with pytest.raises(SystemExit, match="more steps"):
        speed.window([(0, 0.0), (100, 1.0)], 100)


# ---------------------------------------------------------------------- summaries and tables


def test_crashed_seeds_count_as_zero() -> None:
    good = {"final": 500.0, "best": 500.0, "steps": 50, "solved_step": 10, "solved_seconds": 1.0}
    row = learning.summarise("dqn_cartpole", "rlkit", [good, good, {"error": "x"}])
    assert row["final"]["mean"] == pytest.approx(1_000 / 3)
    assert (row["final"]["worst"], row["final"]["solved"], row["crashed"]) == (0.0, 2, 1)
    assert row["solved_step"] == {"median": 10, "reached": 2}


def test_overhead_is_the_share_that_is_lost() -> None:
    runs = [
        {"case": "dqn", "variant": variant, "sps": sps, "bytes": 1}
        for variant, sps in (("bare", 200.0), ("full", 190.0))
    ]
    assert overhead.summarise("dqn", runs)["cost"] == pytest.approx({"value": 5.0, "low": 5.0, "high": 5.0})


def test_table_and_cells() -> None:
    text = report.table(["", "x"], [["a|b", 1234.5], ["c", None], ["d", 0.123456], ["e", 7]])
    assert text.splitlines() == [
        "|  | x |", "|---|---:|", "| a\\|b | 1,234 |", "| c | – |", "| d | 0.123 |", "| e | 7 |",
    ]  # fmt: skip
    assert report.spread(Estimate(3.14159, 3.0, 4.0), 2) == "3.14 [3.00, 4.00]"


def test_results_are_written_without_paths(tmp_path: Path) -> None:
    facts = report.facts("cpu")
    report.finish_facts(facts, report.command_line("speed", ["steps=100", f"out={tmp_path}"]))
    path = report.write("speed-cpu2", {"facts": facts}, report.described(facts), tmp_path)
    both = path.read_text(encoding="utf-8") + path.with_suffix(".json").read_text(encoding="utf-8")
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["facts"]["threads"] == 1
    assert str(tmp_path) not in both
    assert "steps=100" in both
    assert path.name.endswith("-speed-cpu2.md")


@dataclass
class Words:
    repeats: int = 5
    peer: bool = True
    cases: str = "dqn"


def test_arguments_are_read_and_refused() -> None:
    assert report.arguments(Words, ["repeats=1_000", "peer=false"]) == Words(1_000, False, "dqn")
    for wrong in ("repeat=3", "repeats", "repeats=many", "peer=perhaps"):
        with pytest.raises(SystemExit):
            report.arguments(Words, [wrong])
