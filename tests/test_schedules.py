"""Values that change with the step, and things that come due."""

from __future__ import annotations

import pytest

from rlkit.schedules import Every, schedule


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        ("constant", (1.0, 1.0, 1.0, 1.0, 1.0)),
        ("linear", (1.0, 0.8, 0.6, 0.2, 0.2)),
        ("cosine", (1.0, 0.2 + 0.4 * (1 + 2**-0.5), 0.6, 0.2, 0.2)),
    ],
)
def test_values_at_the_start_a_quarter_the_middle_the_end_and_beyond(
    shape: str, values: tuple[float, ...]
) -> None:
    value = schedule(shape, 1.0, 0.2, 1_000)
    assert [value(now) for now in (0, 250, 500, 1_000, 5_000)] == pytest.approx(list(values))
    assert value(-10) == pytest.approx(1.0)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_a_schedule_may_rise_and_never_turns(shape: str) -> None:
    value = schedule(shape, 0.0, 3.0, 100)
    seen = [value(now) for now in range(150)]
    assert seen == sorted(seen)
    assert seen[0] == 0.0
    assert seen[-1] == 3.0
    assert len(set(seen)) > 90


def test_no_steps_means_the_end_at_once() -> None:
    for shape in ("linear", "cosine"):
        assert [schedule(shape, 1.0, 0.5, 0)(now) for now in (0, 9)] == [0.5, 0.5]
    assert schedule("constant", 1.0, 0.5, 0)(9) == 1.0


def test_an_unknown_shape_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"quadratic.*constant, linear, cosine"):
        schedule("quadratic", 1, 0, 10)


@pytest.mark.parametrize("lanes", [1, 4, 7, 64])
@pytest.mark.parametrize("interval", [1, 4, 10, 500, 9_999])
@pytest.mark.parametrize("start", [0, 1_003])
def test_every_counts_all_multiples_once(lanes: int, interval: int, start: int) -> None:
    due = Every(interval, start=start)
    counts = [due(now) for now in range(start + lanes, start + 10_000 + lanes, lanes)]
    end = start + lanes * len(counts)
    assert sum(counts) == end // interval - start // interval
    assert min(counts) >= 0
    assert max(counts) <= -(-lanes // interval)


def test_every_is_due_in_the_call_that_crosses() -> None:
    due = Every(10)
    assert [due(now) for now in (9, 10, 11, 19, 35, 35, 40)] == [0, 1, 0, 0, 2, 0, 1]


def test_interval_zero_never_comes_due() -> None:
    due = Every(0)
    assert sum(due(now) for now in range(1_000)) == 0
