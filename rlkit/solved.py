"""When a task counts as solved: 100 consecutive episodes whose mean return reaches the reward boundary.

The definition is the old Gym's (its leaderboard counted the episodes before the first such hundred), over
training episodes, exploration included, with the environment's own returns.
"""

from __future__ import annotations

from collections import deque
from typing import Any

WINDOW = 100  # episodes


class Solved:
    """Watches finished episodes. `step` and `episode` say when it was first solved, None until then."""

    def __init__(self, boundary: float | None, window: int = WINDOW) -> None:
        self.boundary = boundary
        self.step: int | None = None  # decisions over all lanes before the last of the hundred had ended
        self.episode: int | None = None  # how many episodes had ended by then
        self.best: float | None = None  # highest mean of `window` consecutive episodes
        self.episodes = 0
        self._last: deque[float] = deque(maxlen=window)
        self._sum = 0.0

    def add(self, reward: float, step: int) -> None:
        """One more episode, in the order in which they ended."""
        self.episodes += 1
        full = len(self._last) == self._last.maxlen
        self._sum += reward - (self._last[0] if full else 0.0)
        self._last.append(reward)
        if len(self._last) < (self._last.maxlen or 1):
            return
        if self.episodes % WINDOW == 0:
            self._sum = sum(self._last)  # rounding must not add up over millions of episodes
        mean = self._sum / len(self._last)
        if self.best is None or mean > self.best:
            self.best = mean
            # Summed afresh where it decides: a mean of exactly the boundary must not be lost to rounding.
            if self.boundary is not None and self.step is None and mean >= self.boundary - 1e-6:
                exact = sum(self._last) / len(self._last)
                if exact >= self.boundary:
                    self.step, self.episode = step, self.episodes

    def facts(self) -> dict[str, float | int | None]:
        """What run.json says about it."""
        return {
            "episodes": self.episodes,
            "best_mean_100": self.best,
            "solved_step": self.step,
            "solved_episode": self.episode,
        }

    def state_dict(self) -> dict[str, Any]:
        return {**self.facts(), "last": list(self._last), "sum": self._sum}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.episodes, self.best = state["episodes"], state["best_mean_100"]
        self.step, self.episode = state["solved_step"], state["solved_episode"]
        self._last.clear()
        self._last.extend(state["last"])
        self._sum = state["sum"]
