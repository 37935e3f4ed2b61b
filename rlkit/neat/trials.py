"""Who plays what: a generation's trials dealt out to lanes. N lanes, P genomes, T trials, K = P · T of them.

Trial k is episode k // P of genome k % P. A lane that ends takes the trial that was reserved for it, because
the environment needs the seed of its next episode beforehand; it is parked when none was left.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
    """The book of one generation. Tensors on the device of the environments; fixed shapes."""

    def __init__(self, genomes: int, trials: int, lanes: int, seeds: Tensor, device: torch.device) -> None:
        self.genomes, self.trials, self.total = genomes, trials, genomes * trials
        self._seeds = torch.cat([seeds, torch.tensor([NOTHING])]).to(device)  # [K + 1]
        self.task = torch.full((lanes,), NOTHING, device=device)  # [N] the trial that each lane plays
        self.reserved = self.task.clone()  # [N] the one that it plays next
        self._return = torch.zeros(lanes, dtype=torch.float64, device=device)  # of the running episodes
        self._score = torch.zeros(self.total + 1, dtype=torch.float64, device=device)  # the last: of nobody
        self._started = torch.zeros(self.total + 1, dtype=torch.bool, device=device)
        self._host = device.type == "cpu"
        self.finished = self._begun = 0  # trials, known on the host
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
        return seeds

    def observe(self, step: TimeStep) -> Tensor | None:
        """Add up rewards, note what ended; returns where another trial has begun [N], None for nowhere."""
        self._return += step.reward
        if step.ended_lanes == () and not self._waiting:
            return None
        ended = (step.terminated | step.truncated) & step.valid
        over = ended & (self.task >= 0)
        self._score[torch.where(over, self.task, self.total)] = self._return
        self.finished += int(over.sum())
        # Parked lanes begin when they are called: their row of that step is not valid.
        free = ended | ((self.task < 0) & ~step.valid)
        self._begin(free)
        return free

    def fitness(self, criterion: str) -> Tensor:
        """[P] mean, median or min over each genome's trials, on the host."""
        score = self._score[: self.total].view(self.trials, self.genomes).cpu()
        if criterion == "mean":
            return score.mean(0)
        if criterion == "min":
            return score.amin(0)
        return score.quantile(0.5, dim=0)

    def _begin(self, free: Tensor) -> None:
        """Free lanes [N] begin what is reserved for them."""
        begun = torch.where(free & (self.reserved >= 0), self.reserved, self.total)
        self._started[begun] = True
        self.task = torch.where(free, self.reserved, self.task)
        self._return = torch.where(free, 0.0, self._return)
        self._begun = int(self._started[: self.total].sum()) if self._begun < self.total else self.total
        self._reserve()

    def _reserve(self) -> None:
        """Deal what has not begun: to lanes without a trial first, then to those that may end next."""
        self.reserved = torch.full_like(self.task, NOTHING)
        if self._begun < self.total:
            lanes = torch.argsort((self.task >= 0).int(), stable=True)
            left = torch.argsort(self._started[: self.total].int(), stable=True)
            n = min(len(lanes), self.total - self._begun)
            self.reserved[lanes[:n]] = left[:n]
        self.seeds = self._seeds[self.reserved]  # NOTHING is the last place, and its seed
        self._waiting = not self._host or bool(((self.task < 0) & (self.reserved >= 0)).any())

    def state_dict(self) -> State:
        return {
            "task": self.task.cpu(), "return": self._return.cpu(),
            "score": self._score.cpu(), "started": self._started.cpu(), "finished": self.finished,
            "begun": self._begun,
        }  # fmt: skip

    def load_state_dict(self, state: State) -> None:
        device = self.task.device
        self.task, self._return = state["task"].to(device), state["return"].to(device)
        self._score, self._started = state["score"].to(device), state["started"].to(device)
        self.finished, self._begun = state["finished"], state["begun"]
        self._reserve()
