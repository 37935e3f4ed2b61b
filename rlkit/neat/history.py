"""What every finished generation was like: small enough to travel in each checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

COLUMNS = ("best", "mean", "worst", "nodes", "connections")  # fitness; then the champion, outputs left out


@dataclass(frozen=True)
class Generation:
    best: float
    mean: float
    worst: float
    nodes: float
    connections: float
    sizes: dict[int, int]  # how many genomes each species had, by its id


class History:
    """Generation after generation; `len` of it are finished."""

    def __init__(self) -> None:
        self.generations: list[Generation] = []

    def __len__(self) -> int:
        return len(self.generations)

    def add(self, generation: Generation) -> None:
        self.generations.append(generation)

    def column(self, name: str) -> list[float]:
        """One of COLUMNS, a number for each generation."""
        return [getattr(one, name) for one in self.generations]

    @property
    def improved(self) -> bool:
        """The newest generation's best fitness is higher than any before."""
        best = self.column("best")
        return bool(best) and all(best[-1] > earlier for earlier in best[:-1])

    def state_dict(self) -> dict[str, Tensor]:
        """Numbers [G, 5] float64, and rows (generation, species, size) [K, 3] int32."""
        return {
            "numbers": torch.tensor(
                [[getattr(one, name) for name in COLUMNS] for one in self.generations], dtype=torch.float64
            ).view(-1, len(COLUMNS)),
            "species": torch.tensor(
                [
                    [number, species, size]
                    for number, one in enumerate(self.generations)
                    for species, size in one.sizes.items()
                ],
                dtype=torch.int32,
            ).view(-1, 3),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        rows = state["numbers"].tolist()
        sizes: list[dict[int, int]] = [{} for _ in rows]
        for number, species, size in state["species"].tolist():
            sizes[number][species] = size
        self.generations = [
            Generation(best, mean, worst, nodes, connections, one)
            for (best, mean, worst, nodes, connections), one in zip(rows, sizes, strict=True)
        ]
