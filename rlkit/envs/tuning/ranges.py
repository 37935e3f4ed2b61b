"""What −1..1 means: the range of one hyperparameter, linear or logarithmic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Range:
    """One number of the action: −1 means `low`, 1 means `high`, 0 the arithmetic or geometric middle."""

    name: str
    low: float
    high: float
    log: bool = False
    integer: bool = False  # rounded to the nearest whole number
    odd: bool = False  # … the nearest odd one

    def value(self, x: float) -> float:
        """x within −1..1 → a value within low..high."""
        share = (x + 1) / 2
        if self.log:
            found = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            found = self.low + share * (self.high - self.low)
        if self.odd:
            found = 2 * round((found - 1) / 2) + 1
        elif self.integer:
            found = round(found)
        return min(max(found, self.low), self.high)

    def place(self, value: float) -> float:
        """The way back: where −1..1 a value lies."""
        if self.log:
            return 2 * math.log(value / self.low) / math.log(self.high / self.low) - 1
        return 2 * (value - self.low) / (self.high - self.low) - 1

    def text(self, value: float) -> str:
        """For people: 32, 10.0, 0.90, 3.1e-4."""
        if self.integer or self.odd:
            return f"{value:.0f}"
        if 9.95 <= value < 1000:
            return f"{value:.1f}"
        return f"{value:.2f}" if value >= 0.095 or value == 0 else f"{value:.1e}".replace("e-0", "e-")


def values(ranges: tuple[Range, ...], action: np.ndarray) -> dict[str, float]:
    """An action [len(ranges)] → name and value of each hyperparameter.

    Numbers beyond −1..1 count as the border; ValueError where the shape is another or a number is none.
    """
    given = np.asarray(action, dtype=np.float64)
    if given.shape != (len(ranges),) or not np.isfinite(given).all():
        names = ", ".join(r.name for r in ranges)
        raise ValueError(f"the action {action!r} is not {len(ranges)} finite numbers ({names})")
    return {r.name: r.value(float(x)) for r, x in zip(ranges, np.clip(given, -1.0, 1.0), strict=True)}
