"""Crossover: genes lined up by innovation number (the paper, p. 108 and figure 4)."""

from __future__ import annotations

import torch

from rlkit.neat.draws import Draws
from rlkit.neat.genes import Genomes, aligned


def crossover(fitter: Genomes, other: Genomes, disable_prob: float, draws: Draws) -> Genomes:
    """One child of each pair of rows: matching genes from either parent, the rest from the fitter one.

    A gene that is disabled in either parent is disabled in the child with `disable_prob`. Where parents are
    equally fit the caller decides by a coin who counts as the fitter; the paper would mix both structures.
    The children have the fitter parents' own tensors of structure: hand over copies.
    """
    place, both = aligned(fitter.innovation, other.innovation)
    theirs = both & draws.coin(0.5, *both.shape)
    weight = torch.where(theirs, other.weight.gather(1, place), fitter.weight)
    their_enabled = other.enabled.gather(1, place)
    enabled = torch.where(theirs, their_enabled, fitter.enabled)
    in_doubt = both & ~(fitter.enabled & their_enabled)
    enabled = torch.where(in_doubt, ~draws.coin(disable_prob, *both.shape), enabled)

    at, shared = aligned(fitter.node, other.node)
    attributes = {}
    for name in ("bias", "response", "activation", "aggregation"):
        mine = getattr(fitter, name)
        taken = shared & draws.coin(0.5, *shared.shape)
        attributes[name] = torch.where(taken, getattr(other, name).gather(1, at), mine)
    return Genomes(
        node=fitter.node,
        innovation=fitter.innovation,
        source=fitter.source,
        target=fitter.target,
        weight=weight,
        enabled=enabled,
        **attributes,
    )
