"""P genomes as tensors: node genes and connection genes in padded slots.

Node ids count inputs −1, −2, …, −I (which have no gene), outputs 0 … O−1, and hidden nodes from O on, as in
neat-python. In every row nodes are sorted by id and connections by innovation number; empty slots hold NONE,
which sorts last.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

NONE = 2**40  # id and innovation number of an empty slot


@dataclass
class Genomes:
    node: Tensor  # [P, M] int64 ids
    bias: Tensor  # [P, M] float32
    response: Tensor  # [P, M] float32
    activation: Tensor  # [P, M] int64, place in settings.activations
    aggregation: Tensor  # [P, M] int64, place in settings.aggregations
    innovation: Tensor  # [P, C] int64
    source: Tensor  # [P, C] int64 node ids
    target: Tensor  # [P, C] int64 node ids
    weight: Tensor  # [P, C] float32
    enabled: Tensor  # [P, C] bool

    @property
    def size(self) -> int:
        return self.node.shape[0]

    @property
    def device(self) -> torch.device:
        return self.node.device

    @property
    def has_node(self) -> Tensor:
        return self.node < NONE  # [P, M]

    @property
    def has_connection(self) -> Tensor:
        return self.innovation < NONE  # [P, C]

    def state_dict(self) -> dict[str, Tensor]:
        return {item.name: getattr(self, item.name).cpu() for item in fields(self)}

    @staticmethod
    def from_state(state: dict[str, Tensor], device: torch.device | str = "cpu") -> Genomes:
        return Genomes(**{name: value.to(device) for name, value in state.items()})

    def take(self, rows: Tensor) -> Genomes:
        """The genomes numbered `rows`, or chosen by a mask [P], copied."""
        rows = (rows.nonzero().flatten() if rows.dtype == torch.bool else rows).to(self.device)
        return Genomes(**{item.name: getattr(self, item.name).index_select(0, rows) for item in fields(self)})

    def with_rows(self, rows: Tensor, others: Genomes) -> Genomes:
        """These genomes with `others` in the places `rows`."""
        a, b = same_width(self, others)
        return Genomes(**{
            item.name: getattr(a, item.name).index_copy(0, rows, getattr(b, item.name)) for item in fields(a)
        })  # fmt: skip

    def sorted(self) -> Genomes:
        """Rows sorted by id and innovation again, and no wider than the widest genome."""
        found: dict[str, Tensor] = {}
        for name, columns in (("node", _NODES), ("innovation", _CONNECTIONS)):
            _, order = torch.sort(getattr(self, name), dim=1, stable=True)
            found |= {column: getattr(self, column).gather(1, order) for column in columns}
        return Genomes(**found).trimmed()

    def trimmed(self) -> Genomes:
        """Rows that are sorted, no wider than the widest genome."""
        found: dict[str, Tensor] = {}
        for there, columns in ((self.has_node, _NODES), (self.has_connection, _CONNECTIONS)):
            width = max(1, int(there.sum(1).max()))
            found |= {column: getattr(self, column)[:, :width].contiguous() for column in columns}
        return Genomes(**found)

    def counts(self) -> tuple[Tensor, Tensor]:
        """Hidden and output nodes, and enabled connections, of each genome: [P], [P]."""
        return self.has_node.sum(1), (self.enabled & self.has_connection).sum(1)


_NODES = ("node", "bias", "response", "activation", "aggregation")
_CONNECTIONS = ("innovation", "source", "target", "weight", "enabled")
_EMPTY = {"node": NONE, "innovation": NONE}


def widened(genomes: Genomes, nodes: int, connections: int) -> Genomes:
    """The same genomes with at least so many slots."""
    found = {}
    for item in fields(genomes):
        value = getattr(genomes, item.name)
        more = (nodes if item.name in _NODES else connections) - value.shape[1]
        if more > 0:
            fill = value.new_full((value.shape[0], more), _EMPTY.get(item.name, 0))
            value = torch.cat([value, fill], dim=1)
        found[item.name] = value
    return Genomes(**found)


def same_width(a: Genomes, b: Genomes) -> tuple[Genomes, Genomes]:
    nodes = max(a.node.shape[1], b.node.shape[1])
    connections = max(a.innovation.shape[1], b.innovation.shape[1])
    return widened(a, nodes, connections), widened(b, nodes, connections)


def stacked(parts: list[Genomes]) -> Genomes:
    """All genomes of the parts, in order."""
    nodes = max(part.node.shape[1] for part in parts)
    connections = max(part.innovation.shape[1] for part in parts)
    wide = [widened(part, nodes, connections) for part in parts]
    return Genomes(**{
        item.name: torch.cat([getattr(part, item.name) for part in wide]) for item in fields(wide[0])
    })  # fmt: skip


def aligned(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Where each key of `a` [P, K] stands in the same row of `b` [P, L]: place and whether it is there.

    Rows are ascending with NONE at the end. `b` may have one row for all.
    """
    table = b.expand(a.shape[0], -1).contiguous()
    place = torch.searchsorted(table, a.contiguous()).clamp_(max=b.shape[1] - 1)
    return place, (table.gather(1, place) == a) & (a < NONE)
