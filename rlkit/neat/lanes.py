"""The networks that N lanes play, lane n that of any genome: the same numbers whatever N is.

Sums are taken term by term, source after source, for all lanes at once. Every operation is elementwise, so no
lane's last bit depends on its neighbours or on padding, as it would in a matrix product; and the arithmetic
of large populations is contiguous, with lanes as the last axis.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlkit.neat.functions import activate
from rlkit.neat.network import Networks

BLOCK = 64  # rows of one batch where an aggregation other than the sum is used: its shape must not change


class LaneNetworks:
    """P networks in N lanes. `assign` says whose network a lane plays; recurrent memory is the caller's."""

    def __init__(self, networks: Networks, lanes: int) -> None:
        self.lanes, self.networks = lanes, networks
        self.inputs, self.slots = networks.inputs, networks.matrix.shape[1]
        self._by_term = networks.aggregations == ["sum"]
        self._plain = bool((networks.response[networks.used] == 1).all())  # no response to multiply by
        device = networks.matrix.device
        self.rows = torch.zeros(lanes, dtype=torch.int64, device=device)  # [N] whose network each lane plays
        if self._by_term:
            # lanes last: [I + S, S, P], [S, P], [O, P]
            self._population = [
                part.movedim(0, -1).contiguous()
                for part in (
                    networks.matrix.mT, networks.bias, networks.response, networks.activation,
                    networks.used, networks.output,
                )
            ]  # fmt: skip
            self._mine = [part.index_select(-1, self.rows) for part in self._population]
        else:
            self._padded = -(-lanes // BLOCK) * BLOCK
            self._blocks: list[Networks] | None = None

    def assign(self, rows: Tensor, changed: Tensor | None = None) -> None:
        """Lane n plays network rows[n]; `changed` names the only lanes where that is new."""
        self.rows = rows
        if not self._by_term:
            self._blocks = None
        elif changed is None:
            self._mine = [part.index_select(-1, rows) for part in self._population]
        elif len(changed):
            for mine, part in zip(self._mine, self._population, strict=True):
                mine[..., changed] = part[..., rows[changed]]

    def zero_memory(self) -> Tensor:
        """[S, N] what recurrent nodes hold when an episode begins; empty for feed-forward networks."""
        slots = self.slots if self.networks.recurrent else 0
        return torch.zeros(slots, self.lanes, device=self.rows.device)

    def __call__(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, I], memory [S, N] → outputs [O, N] and the new memory."""
        if not self._by_term:
            return self._in_blocks(x, memory)
        inputs, (matrix, bias, response, kind, used, output) = self.inputs, self._mine
        values = torch.cat([x.T, memory if self.networks.recurrent else torch.zeros_like(bias)])
        total = matrix[0] * values[0] if inputs else torch.zeros_like(bias)
        for k in range(1, inputs):
            total += matrix[k] * values[k]
        begin = 0
        for width in self.networks.layers:
            end = begin + width
            if self.networks.recurrent:
                for k in range(inputs, inputs + self.slots):
                    total += matrix[k] * values[k]
            before = total[begin:end] if self._plain else total[begin:end] * response[begin:end]
            found = activate(before + bias[begin:end], kind[begin:end], self.networks.activations)
            if self.networks.recurrent:  # else nobody looks at an empty slot
                found = torch.where(used[begin:end], found, 0.0)
            for k in range(width if end < self.slots else 0):
                total[end:] += matrix[inputs + begin + k, end:] * found[k]
            values[inputs + begin : inputs + end] = found
            begin = end
        return values.gather(0, output), values[inputs:] if self.networks.recurrent else memory

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
