"""Who plays what: a generation's trials dealt out to lanes. N lanes, P genomes, T trials, K = P · T of them.

Trial k is episode k // P of genome k % P. A lane that ends takes the trial that was reserved for it, because
the environment needs the seed of its next episode beforehand; it is parked when none was left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlkit.arriving import Arriving
from rlkit.seeding import episode_seed
from rlkit.types import State, TimeStep

NOTHING = -1  # no trial, and the seed that parks a lane


def trial_seeds(run_seed: int, generation: int, genomes: int, trials: int, shared: bool) -> Tensor:
    """[K] seeds of a generation's episodes: one for each trial number, or one for each trial."""
    if shared:
        one = [episode_seed(run_seed, "train", 0, generation * trials + t) for t in range(trials)]
        return torch.tensor(one).repeat_interleave(genomes)
    return torch.tensor(
        [
            episode_seed(run_seed, "train", g, generation * trials + t)
            for t in range(trials)
            for g in range(genomes)
        ]
    )


class Trials:
    """The book of one generation. Tensors of fixed shapes on the device of the environments.

    The host looks into them at once where they are its own; of a device it hears one step later (`Arriving`),
    so that the last trial of a generation may be followed by a step in which every lane is parked.
    """

    def __init__(self, genomes: int, trials: int, lanes: int, seeds: Tensor, device: torch.device) -> None:
        self.genomes, self.trials, self.total = genomes, trials, genomes * trials
        self._seeds = torch.cat([seeds, torch.tensor([NOTHING])]).to(device)  # [K + 1]
        self._numbers = torch.arange(self.total, device=device)  # [K]
        self.task = torch.full((lanes,), NOTHING, device=device)  # [N] the trial that each lane plays
        self.reserved = self.task.clone()  # [N] the one that it plays next
        self._return = torch.zeros(lanes, dtype=torch.float64, device=device)  # of the running episodes
        self._score = torch.zeros(self.total + 1, dtype=torch.float64, device=device)  # the last: of nobody
        self._started = torch.zeros(self.total + 1, dtype=torch.bool, device=device)
        self._over = torch.zeros_like(self._started)
        self._host = device.type == "cpu"
        self._counts = Arriving(device, 2)
        self.finished = self._begun = 0  # trials, as far as the host knows
        self._waiting = True  # a lane without a trial may get one
        self._reserve()

    @property
    def complete(self) -> bool:
        return self.finished == self.total

    @property
    def genome(self) -> Tensor:
        """[N] whose network each lane plays; 0 where it plays nothing."""
        return torch.where(self.task >= 0, self.task % self.genomes, 0)

    def first_seeds(self) -> list[int]:
        """Seeds with which all lanes begin, now: called before anything has happened."""
        seeds: list[int] = self.seeds.tolist()
        self._begin(torch.ones_like(self.task, dtype=torch.bool))
        self._hear()
        return seeds

    def observe(self, step: TimeStep) -> Tensor | None:
        """Add up rewards, note what ended; returns where another trial has begun [N], None for nowhere."""
        self._return += step.reward
        if step.ended_lanes == () and not self._waiting:
            return None
        if not self._host:
            self._hear()  # of the step before
        ended = (step.terminated | step.truncated) & step.valid
        over = torch.where(ended & (self.task >= 0), self.task, self.total)
        self._score[over] = self._return
        self._over.index_fill_(0, over, True)
        # Parked lanes begin when they are called: their row of that step is not valid.
        begun = self._begin(ended | ((self.task < 0) & ~step.valid))
        if self._host:
            self._hear()
        return begun

    def fitness(self, criterion: str) -> Tensor:
        """[P] mean, median or min over each genome's trials, on the host."""
        score = self._score[: self.total].view(self.trials, self.genomes).cpu()
        if criterion == "mean":
            return score.mean(0)
        if criterion == "min":
            return score.amin(0)
        return score.quantile(0.5, dim=0)

    def _begin(self, free: Tensor) -> Tensor | None:
        """Free lanes [N] begin what is reserved for them; returns where that was anything."""
        self.task = torch.where(free, self.reserved, self.task)
        self._return.masked_fill_(free, 0.0)
        begun = None
        if self._begun < self.total:
            begun = free & (self.reserved >= 0)
            self._started.index_fill_(0, torch.where(begun, self.reserved, self.total), True)
            self._reserve()
        self._counts.send(torch.stack((self._over[: self.total].sum(), self._started[: self.total].sum())))
        return begun

    def _hear(self) -> None:
        self.finished, self._begun = self._counts.read()

    def _reserve(self) -> None:
        """Deal what has not begun: to lanes without a trial first, then to those that may end next."""
        left, idle = ~self._started[: self.total], self.task < 0
        # A queue of the trials left; behind it, beyond every lane's rank, those that have begun.
        end = max(self.total, len(idle))
        queue = torch.full((end + 1,), NOTHING, device=self.task.device)
        queue[torch.where(left, left.cumsum(0) - 1, end)] = self._numbers
        waiting = idle.cumsum(0)
        rank = torch.where(idle, waiting, waiting[-1] + (~idle).cumsum(0)) - 1
        self.reserved = queue[rank]
        self.seeds = self._seeds[self.reserved]  # NOTHING is the last place, and its seed
        self._waiting = not self._host or bool((idle & (self.reserved >= 0)).any())

    def state_dict(self) -> State:
        return {
            "task": self.task.cpu(), "return": self._return.cpu(), "score": self._score.cpu(),
            "started": self._started.cpu(), "over": self._over.cpu(),
        }  # fmt: skip

    def load_state_dict(self, state: State) -> None:
        device = self.task.device
        self.task, self._return = state["task"].to(device), state["return"].to(device)
        self._score, self._started = state["score"].to(device), state["started"].to(device)
        self._over = state["over"].to(device)
        self.finished, self._begun = (
            int(self._over[: self.total].sum()),
            int(self._started[: self.total].sum()),
        )
        self._reserve()
