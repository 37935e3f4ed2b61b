"""The networks that N lanes play, lane n that of any genome: the same numbers whatever N is.

Sums are taken term by term, source after source, for all lanes at once. Every operation is elementwise, so no
lane's last bit depends on its neighbours or on padding, as it would in a matrix product; and the arithmetic
of large populations is contiguous, with lanes as the last axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlkit.neat.functions import activate_into
from rlkit.neat.network import Networks

Term = Any  # (weight [k, N], value [N], sum [k, N], room for the product [k, N]): tensors or arrays
BLOCK = 64  # rows of one batch where an aggregation other than the sum is used: its shape must not change


class LaneNetworks:
    """P networks in N lanes. `assign` says whose network a lane plays; recurrent memory is the caller's."""

    def __init__(self, networks: Networks, lanes: int) -> None:
        self.lanes, self.networks = lanes, networks
        self.inputs, self.slots = networks.inputs, networks.matrix.shape[1]
        device = networks.matrix.device
        self.rows = torch.zeros(lanes, dtype=torch.int64, device=device)  # [N] whose network each lane plays
        self._terms = Terms(networks, lanes) if networks.aggregations == ["sum"] else None
        if self._terms is None:
            self._padded = -(-lanes // BLOCK) * BLOCK
            self._blocks: list[Networks] | None = None

    def assign(self, rows: Tensor, changed: Tensor | None = None) -> None:
        """Lane n plays network rows[n]; `changed` names the only lanes where that is new."""
        self.rows = rows
        if self._terms is None:
            self._blocks = None
        else:
            self._terms.assign(rows, changed)

    def zero_memory(self) -> Tensor:
        """[S, N] what recurrent nodes hold when an episode begins; empty for feed-forward networks."""
        slots = self.slots if self.networks.recurrent else 0
        return torch.zeros(slots, self.lanes, device=self.rows.device)

    def __call__(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, I], memory [S, N] → outputs [O, N] and the new memory."""
        return self._in_blocks(x, memory) if self._terms is None else self._terms(x, memory)

    def _in_blocks(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        more = self._padded - self.lanes
        rows = torch.cat([self.rows, self.rows.new_zeros(more)])
        x = torch.cat([x, x.new_zeros(more, x.shape[1])])
        state = torch.cat([memory.T, memory.new_zeros(more, memory.shape[0])])
        places = [slice(k, k + BLOCK) for k in range(0, self._padded, BLOCK)]
        if self._blocks is None:
            self._blocks = [self.networks.take(rows[place]) for place in places]
        parts = [one(x[place], state[place]) for one, place in zip(self._blocks, places, strict=True)]
        outputs, states = zip(*parts, strict=True)
        if not self.networks.recurrent:
            return torch.cat(outputs)[: self.lanes].T, memory
        return torch.cat(outputs)[: self.lanes].T, torch.cat(states)[: self.lanes].T.contiguous()


class Terms:
    """Sums of N lanes, a term w · v after another, into buffers made once with all views into them.

    These operations are so short that a new tensor or a view costs as much as the arithmetic. A source is
    added only to the slots that it leads to in some genome.
    """

    def __init__(self, networks: Networks, lanes: int) -> None:
        p, slots, reach = networks.matrix.shape
        self.networks, self.inputs = networks, networks.inputs
        # No response to multiply by.
        self._plain = bool(((networks.response == 1) | ~networks.used).all())
        # Rows of S numbers, genomes last: a lane of another genome is one column of each.
        floats = [networks.bias] if self._plain else [networks.bias, networks.response]
        numbers = [networks.activation] if len(networks.activations) > 1 else []
        numbers += [networks.used.long()] if networks.recurrent else []
        weights = networks.matrix.permute(2, 1, 0).reshape(reach * slots, p)
        self._population = [weights, torch.cat(floats, 1).T, torch.cat([networks.output, *numbers], 1).T]
        self._population = [part.contiguous() for part in self._population]
        self._mine = [part.new_empty(part.shape[0], lanes) for part in self._population]
        self._assigned = False  # until then they hold nothing

        matrix = self._mine[0].view(reach, slots, lanes)
        self._bias, *response = self._mine[1].view(-1, slots, lanes).unbind(0)
        outputs = networks.output.shape[1]
        self._output, rest = self._mine[2][:outputs], self._mine[2][outputs:].view(-1, slots, lanes)
        kind = rest[0] if len(networks.activations) > 1 else None
        self._used = rest[-1] if networks.recurrent else None
        self._values = matrix.new_zeros(reach, lanes)
        self._x, self._nodes = self._values[: self.inputs], self._values[self.inputs :]
        self._total, product = matrix.new_empty(slots, lanes), matrix.new_empty(slots, lanes)

        ends, host = _ends(networks), matrix.is_cpu
        # The same numbers from NumPy, whose calls cost a third of PyTorch's.
        self._operations: tuple[Any, Any] = (np.multiply, np.add) if host else (torch.mul, torch.add)

        whole: list[Any] = [matrix, self._values, self._total, product]
        weight, value, total, room = (part.numpy() for part in whole) if host else whole

        def terms(first: int, last: int) -> list[Term]:
            some = [(source, *ends[source]) for source in range(first, last)]
            return [(weight[k, a:b], value[k], total[a:b], room[a:b]) for k, a, b in some if a < b]

        self._from_inputs = terms(0, reach if networks.recurrent else self.inputs)
        self._layers = []
        begin = 0
        for width in networks.layers:
            here = slice(begin, begin + width)
            first = self.inputs + begin
            self._layers.append((
                self._total[here], self._nodes[here], None if kind is None else kind[here],
                None if self._plain else (response[0][here], self._bias[here]),
                [] if networks.recurrent else terms(first, first + width),
            ))  # fmt: skip
            begin += width

    def assign(self, rows: Tensor, changed: Tensor | None) -> None:
        if self._assigned and changed is not None and len(changed) < len(rows):
            for mine, population in zip(self._mine, self._population, strict=True):
                mine.index_copy_(1, changed, population.index_select(1, rows[changed]))
            return
        # As many lanes as genomes, each its own: the usual case, in a third of the time of a selection.
        own, self._assigned = rows.is_cpu and torch.equal(rows, torch.arange(self.networks.size)), True
        for mine, population in zip(self._mine, self._population, strict=True):
            if own:
                mine.copy_(population)
            else:
                torch.index_select(population, 1, rows, out=mine)

    @np.errstate(over="ignore", invalid="ignore")  # loops overflow; the agent makes numbers of it
    def __call__(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        if not self._assigned:  # all lanes play the first network
            self.assign(torch.zeros(len(x), dtype=torch.int64, device=x.device), None)
        total, recurrent = self._total, self._used is not None
        self._x.copy_(x.T)
        if recurrent:
            self._nodes.copy_(memory)
        if self._plain:
            total.copy_(self._bias)
        else:
            total.zero_()
        self._add(self._from_inputs)
        for before, nodes, kind, scale, terms in self._layers:
            if scale is not None:
                before = before * scale[0] + scale[1]
            activate_into(nodes, before, kind, self.networks.activations)
            self._add(terms)
        if self._used is None:
            return self._values.gather(0, self._output), memory
        self._nodes.masked_fill_(self._used == 0, 0.0)
        return self._values.gather(0, self._output), self._nodes.clone()

    def _add(self, terms: list[Term]) -> None:
        multiply, add = self._operations
        for weight, value, total, product in terms:
            add(total, multiply(weight, value, out=product), out=total)


def _ends(networks: Networks) -> list[tuple[int, int]]:
    """The first slot that each source [I + S] leads to in any genome, and one past the last; 0, 0 if none."""
    # As bytes, because `any` of bools takes ten times as long.
    leads = networks.linked.permute(2, 1, 0).view(torch.uint8).amax(2).bool().cpu()  # [I + S, S]
    slots = torch.arange(leads.shape[1])
    first = torch.where(leads, slots, leads.shape[1]).amin(1).tolist()
    last = torch.where(leads, slots + 1, 0).amax(1).tolist()
    return [(a, b) if a < b else (0, 0) for a, b in zip(first, last, strict=True)]
