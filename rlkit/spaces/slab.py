"""Fresh memory for small arrays, quicker than torch gives it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_ALIGNED = 64  # bytes; kernels give other last bits where torch's own alignment is missing
_LARGE = 8_192  # bytes of an array that torch may as well allocate by itself
_BLOCK = 65_536  # bytes that are allocated at a time


class Slab:
    """Arrays of one form that are never given out twice, cut from larger blocks, each with its tensor.

    For some hundred bytes torch needs longer to allocate than NumPy to fill them. A block lives as long as
    any array that was cut from it.
    """

    def __init__(self) -> None:
        self._rows: list[np.ndarray] = []
        self._form: tuple[tuple[int, ...], torch.dtype] | None = None
        self._ready: tuple[np.ndarray, Tensor] | None = None
        self._count = 1  # arrays of the next block, at most

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[np.ndarray, Tensor]:
        """An uninitialised array, aligned as a tensor is, and the tensor of the same memory."""
        if self._form != (shape, dtype):
            self._form, self._rows, self._ready, self._count = (shape, dtype), [], None, 1
        if self._ready is None:
            return self._next(shape, dtype)
        ready, self._ready = self._ready, None
        return ready

    def prepare(self) -> None:
        """Have the next array ready before it is taken, in the form of the last."""
        # A tensor made in inference mode could not be trained on where it is taken.
        if self._form is None or self._ready is not None or torch.is_inference_mode_enabled():
            return
        self._ready = self._next(*self._form)

    def _next(self, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[np.ndarray, Tensor]:
        if not self._rows:  # blocks grow, because forms may alternate
            self._rows, self._count = _cut(shape, dtype, self._count), min(2 * self._count, _BLOCK)
        row = self._rows.pop()
        return row, torch.from_numpy(row)

    def __reduce__(self) -> tuple[type[Slab], tuple[()]]:
        return Slab, ()  # a copy has memory of its own


def _cut(shape: tuple[int, ...], dtype: torch.dtype, count: int) -> list[np.ndarray]:
    size = math.prod(shape)
    whole = -(-size * dtype.itemsize // _ALIGNED) * _ALIGNED  # bytes, rounded up
    if not 0 < whole <= _LARGE:
        return [torch.empty(shape, dtype=dtype).numpy()]
    block = torch.empty(min(count, _BLOCK // whole), whole // dtype.itemsize, dtype=dtype).numpy()
    return [row[:size].reshape(shape) for row in block]
