"""Random numbers of the evolution: drawn on the host, so that any device evolves the same genomes."""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """A generator on the host whose numbers arrive where the genomes are."""

    def __init__(self, generator: torch.Generator, device: torch.device | str = "cpu") -> None:
        self.generator, self.device = generator, torch.device(device)

    def uniform(self, *shape: int) -> Tensor:
        """[0, 1)"""
        return torch.rand(*shape, generator=self.generator).to(self.device)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator).to(self.device)

    def coin(self, probability: float, *shape: int) -> Tensor:
        """True with this probability."""
        return self.uniform(*shape) < probability

    def below(self, limit: int, *shape: int) -> Tensor:
        """Integers 0 … limit − 1."""
        return torch.randint(max(limit, 1), shape, generator=self.generator).to(self.device)

    def choice(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """One true place of each row of `mask` [n, k], uniformly: place [n], and whether there is one [n]."""
        score = torch.where(mask, self.uniform(*mask.shape), -1.0)
        best, place = score.max(dim=1)
        return place, best >= 0
