"""P genomes as tensors: node genes and connection genes in padded slots.

Node ids count inputs −1, −2, …, −I (which have no gene), outputs 0 … O−1, and hidden nodes from O on, as in
neat-python. In every row nodes are sorted by id and connections by innovation number; empty slots hold NONE,
which sorts last.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

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
        return {name: value.cpu() for name, value in vars(self).items()}

    @staticmethod
    def from_state(state: dict[str, Tensor], device: torch.device | str = "cpu") -> Genomes:
        return Genomes(**{name: value.to(device) for name, value in state.items()})

    def take(self, rows: Tensor) -> Genomes:
        """The genomes numbered `rows`, or chosen by a mask [P], copied."""
        rows = (rows.nonzero().flatten() if rows.dtype == torch.bool else rows).to(self.device)
        return Genomes(**{name: value.index_select(0, rows) for name, value in vars(self).items()})

    def row(self, number: int) -> Genomes:
        """[1] one of them, in the same memory."""
        return Genomes(**{name: value[number : number + 1] for name, value in vars(self).items()})

    def with_rows(self, rows: Tensor, others: Genomes) -> Genomes:
        """These genomes with `others` in the places `rows`."""
        a, b = same_width(self, others)
        return Genomes(**{
            name: value.index_copy(0, rows, getattr(b, name)) for name, value in vars(a).items()
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
        for ids, columns in ((self.node, _NODES), (self.innovation, _CONNECTIONS)):
            width = max(1, int((ids.amin(0) < NONE).sum()))  # slots that somebody fills
            for column in columns:
                value = getattr(self, column)
                found[column] = value if width == value.shape[1] else value[:, :width].contiguous()
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
    for names, width in ((_NODES, nodes), (_CONNECTIONS, connections)):
        more = width - getattr(genomes, names[0]).shape[1]
        for name in names:
            value = getattr(genomes, name)
            found[name] = value if more <= 0 else pad(value, (0, more), value=_EMPTY.get(name, 0))
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
    return Genomes(**{name: torch.cat([getattr(part, name) for part in wide]) for name in vars(wide[0])})


def aligned(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Where each key of `a` [P, K] stands in the same row of `b` [P, L]: place and whether it is there.

    Rows are ascending with NONE at the end. `b` may have one row for all.
    """
    table = b.expand(a.shape[0], -1).contiguous()
    place = torch.searchsorted(table, a.contiguous()).clamp_(max=b.shape[1] - 1)
    return place, (table.gather(1, place) == a) & (a < NONE)
