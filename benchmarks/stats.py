"""The statistics of the benchmarks: medians with bootstrap intervals for speed, IQM for returns.

Intervals are percentile bootstraps with a fixed seed, so that a table can be made again from its JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAMPLES = 10_000  # bootstrap resamples
LEVEL = 0.95

Array = np.ndarray


@dataclass(frozen=True)
class Estimate:
    """A number and the interval that holds it at LEVEL."""

    value: float
    low: float
    high: float


def median_iqr(values: Sequence[float]) -> Estimate:
    """The median with the first and the third quartile."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return Estimate(float(middle), float(low), float(high))


def iqm(values: Sequence[float] | Array, axis: int = -1) -> Array:
    """The interquartile mean: the mean of what is left when a quarter is cut off at either end.

    A quarter is rounded down, as in Agarwal et al. 2021: of ten values the two smallest and largest go.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=axis)
    n = ordered.shape[axis]
    cut = n // 4
    kept: Array = np.take(ordered, np.arange(cut, n - cut), axis=axis)
    return np.asarray(kept.mean(axis=axis))


def bootstrap_iqm(tasks: Sequence[Sequence[float]], samples: int = SAMPLES, seed: int = 0) -> Estimate:
    """The IQM over the runs of all tasks, with a stratified interval: each task is resampled on its own.

    tasks: one sequence of scores (one per run) for each task; failed runs count with the score they had.
    """
    rng = np.random.default_rng(seed)
    drawn = [_resample(np.asarray(runs, dtype=np.float64), samples, rng) for runs in tasks]
    value = float(iqm(np.concatenate([np.asarray(runs, dtype=np.float64) for runs in tasks])))
    return _interval(value, iqm(np.concatenate(drawn, axis=1)))


def ratio_of_medians(
    a: Sequence[float], b: Sequence[float], samples: int = SAMPLES, seed: int = 0
) -> Estimate:
    """median(a) / median(b); both sides are resampled independently."""
    rng = np.random.default_rng(seed)
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    above = np.median(_resample(first, samples, rng), axis=1)
    below = np.median(_resample(second, samples, rng), axis=1)
    return _interval(float(np.median(first) / np.median(second)), above / below)


def censored_median(values: Sequence[float | None]) -> float | None:
    """The median where None means "not within the budget", which is more than any number.

    None if half of the values or more are missing: then the median lies beyond the budget.
    """
    ordered = sorted(np.inf if value is None else value for value in values)
    middle = float(np.median(ordered)) if ordered else np.inf
    return middle if np.isfinite(middle) else None


def _resample(values: Array, samples: int, rng: np.random.Generator) -> Array:
    """[n] → [samples, n], drawn with replacement."""
    return values[rng.integers(0, len(values), size=(samples, len(values)))]


def _interval(value: float, drawn: Array) -> Estimate:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Estimate(value, float(low), float(high))
