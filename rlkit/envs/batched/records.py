"""Finished episodes of batched lanes: kept as arrays until someone asks, so that no step pays for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlkit.envs.batched.stepping import BEGIN, EPISODE, FIRST, ROWS, SEED, TOTAL
from rlkit.errors import NumbersBroke
from rlkit.types import Episode

RING = 256  # vector steps whose records wait on the device
_KEPT = 4_096  # vector steps of kept actions after which those of dead episodes are dropped


class Actions:
    """The actions asked for in a few lanes, a row [lanes, A] a vector step, from step `start` on."""

    def __init__(self, lanes: Sequence[int], device: torch.device) -> None:
        self.lanes = tuple(lanes)
        self._index = torch.tensor(self.lanes, dtype=torch.int64, device=device)
        self.start = 0
        self.rows: list[Tensor] = []
        self._alive = 0  # rows that were still needed when last looked

    def add(self, action: Tensor) -> None:
        if self.lanes:
            self.rows.append(action.index_select(0, self._index))

    @property
    def long(self) -> bool:
        """Is it time to `forget`?"""
        return len(self.rows) > self._alive + _KEPT

    def of(self, lane: int, begin: int, end: int) -> np.ndarray | None:
        """[length, A] of the lane's episode that began after vector step `begin`; None where not kept."""
        if lane not in self.lanes:
            return None
        column = self.lanes.index(lane)
        rows = self.rows[begin - self.start : end - self.start]
        return torch.stack([row[column] for row in rows]).cpu().numpy()

    def forget(self, before: int) -> None:
        """Drop what came before the vector step."""
        if before > self.start:
            del self.rows[: before - self.start]
            self.start = before
        self._alive = len(self.rows)


class Finished:
    """Episodes that ended since last asked. `add` keeps arrays, `take` makes the objects."""

    def __init__(self, lanes: int, actions: Actions) -> None:
        self._lanes, self._actions = lanes, actions
        self._rows: list[tuple[int, int, np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]] = []
        self._episodes: list[Episode] = []

    def add(self, t: int, now: int, lanes: np.ndarray, flags: np.ndarray, book: np.ndarray,
            facts: dict[str, np.ndarray]) -> None:  # fmt: skip
        """lanes [n] that ended at vector step t, after `now` decisions; flags, facts [n], book [ROWS, n]."""
        self._rows.append((t, now, lanes, flags, book, facts))

    def make(self) -> None:
        """Turn what is kept into records, while the actions are still there."""
        rows, self._rows = self._rows, []
        for t, now, lanes, flags, book, facts in rows:
            total = np.ascontiguousarray(book[TOTAL]).view(np.float64)
            if not np.isfinite(total).all():
                lane = lanes[~np.isfinite(total)][0]
                raise NumbersBroke(f"the return of lane {lane} is not finite at step {now}")
            ids = lanes + self._lanes * book[EPISODE]
            columns = (ids, lanes, book[SEED], total, t - book[BEGIN], flags, book[FIRST])
            told = [{name: int(column[k]) for name, column in facts.items() if column[k] >= 0}
                    for k in range(len(lanes))]  # fmt: skip
            for number, lane, seed, reward, steps, flag, first, known in zip(
                *map(_list, columns), told, strict=True
            ):
                actions = self._actions.of(lane, t - steps, t)
                self._episodes.append(
                    Episode(
                        id=number,
                        lane=lane,
                        seed=seed,
                        reward=reward,
                        reward_train=reward,
                        length=steps,
                        terminated=bool(flag & 1),
                        truncated=bool(flag & 2),
                        first_step=first,
                        last_step=now,
                        actions=actions,
                        facts=known,
                    )
                )

    def take(self) -> list[Episode]:
        self.make()
        episodes, self._episodes = self._episodes, []
        return episodes


def _list(column: np.ndarray) -> list[Any]:
    values: list[Any] = column.tolist()
    return values


class Ring:
    """What ended in the last RING vector steps, on the device; the host reads it all at once."""

    def __init__(self, lanes: int, device: torch.device) -> None:
        self._flags = torch.zeros(RING, lanes, dtype=torch.int8, device=device)
        self._book = torch.zeros(RING, ROWS, lanes, dtype=torch.int64, device=device)
        self._when: list[tuple[int, int, dict[str, Tensor]]] = []  # vector step, decisions after it, facts

    @property
    def full(self) -> bool:
        return len(self._when) == RING

    def add(self, t: int, now: int, flags: Tensor, book: Tensor, facts: dict[str, Tensor]) -> None:
        slot = len(self._when)
        self._flags[slot], self._book[slot] = flags, book
        self._when.append((t, now, facts))

    def empty(self, into: Finished) -> None:
        """Hand over what ended: this waits for the device."""
        used = self._flags[: len(self._when)]
        slot, lane = used.nonzero(as_tuple=True)
        flags, book = used[slot, lane].cpu().numpy(), self._book[slot, :, lane].cpu().numpy()
        known = {
            name: torch.stack([facts[name] for _, _, facts in self._when])[slot, lane].cpu().numpy()
            for name in (self._when[0][2] if self._when else ())
        }
        slots, lanes = slot.cpu().numpy(), lane.cpu().numpy()
        for k in np.unique(slots).tolist():
            chosen = slots == k
            t, now, _ = self._when[k]
            facts = {name: column[chosen] for name, column in known.items()}
            into.add(t, now, lanes[chosen], flags[chosen], np.ascontiguousarray(book[chosen].T), facts)
        self._when = []
