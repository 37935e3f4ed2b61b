"""Crossover: genes lined up by innovation number (the paper, p. 108 and figure 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from rlkit.neat.draws import Draws
from rlkit.neat.genes import Genomes, aligned


def crossover(parents: Genomes, fitter: Tensor, other: Tensor, disable_prob: float, draws: Draws) -> Genomes:
    """One child of each pair of rows [n]: matching genes from either parent, the rest from the fitter one.

    A gene that is disabled in either parent is disabled in the child with `disable_prob`. Where parents are
    equally fit the caller decides by a coin who counts as the fitter; the paper would mix both structures.
    """
    child, other = parents.take(fitter), other.to(parents.device)

    def theirs(name: str) -> Tensor:
        column: Tensor = getattr(parents, name)
        return column.index_select(0, other)

    place, both = aligned(child.innovation, theirs("innovation"))
    taken = both & draws.coin(0.5, *both.shape)
    child.weight = torch.where(taken, theirs("weight").gather(1, place), child.weight)
    in_doubt = both & ~(child.enabled & theirs("enabled").gather(1, place))
    disabled = draws.coin(disable_prob, *both.shape)
    child.enabled = (child.enabled & ~in_doubt) | (in_doubt & ~disabled)

    place, both = aligned(child.node, theirs("node"))
    for name in ("bias", "response", "activation", "aggregation"):
        taken = both & draws.coin(0.5, *both.shape)
        setattr(child, name, torch.where(taken, theirs(name).gather(1, place), getattr(child, name)))
    return child
