"""The first generation: minimal structure, the same innovations for everybody (the paper, section 3.4)."""

from __future__ import annotations

import torch

from rlkit.neat.draws import Draws
from rlkit.neat.genes import NONE, Genomes
from rlkit.neat.innovation import Innovations
from rlkit.neat.mutation import fresh
from rlkit.neat.settings import Settings


def first_generation(
    size: int, inputs: int, outputs: int, settings: Settings, draws: Draws
) -> tuple[Genomes, Innovations]:
    """`size` genomes of the wanted initial connection, and the markings that go on from there."""
    hidden = settings.num_hidden
    pairs = [(-1 - i, o) for o in range(outputs) for i in range(inputs)]
    for h in range(outputs, outputs + hidden):
        pairs += [(-1 - i, h) for i in range(inputs)] + [(h, o) for o in range(outputs)]
    c, m = max(len(pairs), 1), outputs + hidden
    device = draws.device
    ends = torch.tensor(pairs or [(0, 0)], device=device)
    shape = (size, c)
    kept = (
        _kept(settings, size, inputs, outputs, ends, draws) if pairs else torch.zeros(shape, dtype=torch.bool)
    )
    number = torch.arange(c, device=device).expand(shape)
    genomes = Genomes(
        node=torch.arange(m, device=device).expand(size, m).clone(),
        bias=fresh(settings.bias, draws, size, m),
        response=fresh(settings.response, draws, size, m),
        activation=draws.below(len(settings.activations), size, m),
        aggregation=draws.below(len(settings.aggregations), size, m),
        innovation=torch.where(kept.to(device), number, NONE),
        source=ends[:, 0].expand(shape).clone(),
        target=ends[:, 1].expand(shape).clone(),
        weight=fresh(settings.weight, draws, *shape),
        enabled=torch.ones(shape, dtype=torch.bool, device=device),
    )
    return genomes.sorted(), Innovations(next_number=c, next_node=m)


def _kept(
    settings: Settings, size: int, inputs: int, outputs: int, ends: torch.Tensor, draws: Draws
) -> torch.Tensor:
    """[P, C] which of all possible connections a genome begins with."""
    shape = (size, len(ends))
    if settings.initial_connection == "full":
        return torch.ones(shape, dtype=torch.bool)
    if settings.initial_connection == "none":
        return torch.zeros(shape, dtype=torch.bool)
    if settings.initial_connection == "partial":
        return draws.coin(settings.initial_fraction, *shape)
    one = -1 - draws.below(inputs, size)  # FS-NEAT: one input, joined to all outputs
    return (ends[:, 0] == one[:, None]) & (ends[:, 1] < outputs)
