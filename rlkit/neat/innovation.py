"""Historical markings: a new gene gets the next number, the same mutation of one generation the same one.

The paper, p. 108: "by keeping a list of the innovations that occurred in the current generation" identical
mutations that arise more than once are kept from getting different numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Innovations:
    """The next free innovation number and node id; both only rise, so identifiers never collide."""

    next_number: int
    next_node: int

    def connections(self, source: Tensor, target: Tensor) -> Tensor:
        """Numbers [n] for new connections of one generation: equal ends, equal number."""
        _, which = torch.unique(source * 2**32 + target, return_inverse=True)  # ids have less than 32 bits
        first = self.next_number
        self.next_number += int(which.max()) + 1 if len(which) else 0
        return which + first

    def splits(self, innovation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For connections [n] split in one generation: the new node's id, the numbers into and out of it."""
        _, which = torch.unique(innovation, return_inverse=True)
        count = int(which.max()) + 1 if len(which) else 0
        node, number = self.next_node, self.next_number
        self.next_node += count
        self.next_number += 2 * count
        return which + node, which * 2 + number, which * 2 + number + 1
