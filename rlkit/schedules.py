"""What changes with the step count: values (`schedule`), and things that come due (`Every`)."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[float], float]

SHAPES = ("constant", "linear", "cosine")


def schedule(shape: str, start: float, end: float, steps: float) -> Schedule:
    """A value that goes from `start` at step 0 to `end` at step `steps`, and stays there."""
    if shape not in SHAPES:
        raise ValueError(f"schedule {shape!r} is none of {', '.join(SHAPES)}")
    if shape == "constant" or start == end:
        return lambda now: start
    if steps <= 0:
        return lambda now: end
    if shape == "linear":
        return lambda now: start + (end - start) * min(max(now / steps, 0.0), 1.0)
    return lambda now: end + (start - end) * (1 + math.cos(math.pi * min(max(now / steps, 0.0), 1.0))) / 2


class Every:
    """How many multiples of `interval` were crossed since the last call: `Every(4)(now)`.

    Counting crossings keeps the arithmetic of the configuration for any number of lanes: 10,000 steps
    with an interval of 4 come due 2,500 times, whether `now` grows by 1, 7 or 64. An interval of 0 never
    comes due.
    """

    def __init__(self, interval: int, start: int = 0) -> None:
        self.interval, self.last = interval, start

    def __call__(self, now: int) -> int:
        if self.interval <= 0 or now // self.interval == self.last // self.interval:
            self.last = now
            return 0
        crossed = now // self.interval - self.last // self.interval
        self.last = now
        return crossed
