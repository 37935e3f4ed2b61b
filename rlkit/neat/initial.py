"""The first generation: minimal structure, the same innovations for everybody (the paper, section 3.4)."""

from __future__ import annotations

import torch

from rlkit.neat.draws import Draws
from rlkit.neat.genes import NONE, Genomes
from rlkit.neat.innovation import Innovations
from rlkit.neat.mutation import first_choice, first_switch, fresh
from rlkit.neat.settings import Settings


def first_generation(
    size: int, inputs: int, outputs: int, settings: Settings, draws: Draws
) -> tuple[Genomes, Innovations]:
    """`size` genomes of the wanted initial connection, and the markings that go on from there."""
    hidden = settings.num_hidden
    nodirect = settings.initial_connection.endswith("_nodirect") and hidden
    pairs = [] if nodirect else [(-1 - i, o) for o in range(outputs) for i in range(inputs)]
    for h in range(outputs, outputs + hidden):
        pairs += [(-1 - i, h) for i in range(inputs)] + [(h, o) for o in range(outputs)]
    if settings.initial_loops and not settings.feed_forward:
        pairs += [(node, node) for node in range(outputs + hidden)]
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
        activation=first_choice(settings.activations, settings.activation_default, draws, size, m),
        aggregation=first_choice(settings.aggregations, settings.aggregation_default, draws, size, m),
        innovation=torch.where(kept.to(device), number, NONE),
        source=ends[:, 0].expand(shape).clone(),
        target=ends[:, 1].expand(shape).clone(),
        weight=fresh(settings.weight, draws, *shape),
        enabled=first_switch(settings.enabled_default, draws, *shape),
    )
    return genomes.sorted(), Innovations(next_number=c, next_node=m)


def _kept(
    settings: Settings, size: int, inputs: int, outputs: int, ends: torch.Tensor, draws: Draws
) -> torch.Tensor:
    """[P, C] which of all possible connections a genome begins with."""
    shape = (size, len(ends))
    kind = settings.initial_connection
    if kind.startswith("full"):
        return torch.ones(shape, dtype=torch.bool)
    if kind == "none":
        return torch.zeros(shape, dtype=torch.bool)
    if kind.startswith("partial"):  # exactly so many, as in neat-python
        count = round(settings.initial_fraction * len(ends))
        return draws.uniform(*shape).argsort(dim=1).argsort(dim=1) < count
    one = -1 - draws.below(inputs, size)  # FS-NEAT: one input, joined to all outputs
    reached = ends[:, 1] < outputs if kind == "one_input" else torch.ones_like(ends[:, 1], dtype=torch.bool)
    return (ends[:, 0] == one[:, None]) & reached
