"""Numbers on their way from a device to the host: no step waits for the work that it has just given."""

from __future__ import annotations

import torch
from torch import Tensor


class Arriving:
    """A few integers: `send` starts their copy, `read` in the next step finds it long done.

    On the host both happen at once.
    """

    def __init__(self, device: torch.device, numbers: int = 1) -> None:
        on_cuda = device.type == "cuda"
        self._here = torch.zeros(numbers, dtype=torch.int64, pin_memory=on_cuda)
        self._done = torch.cuda.Event() if on_cuda else None  # type: ignore[no-untyped-call]

    def send(self, values: Tensor) -> None:
        """values [numbers] int64 on the device."""
        self._here.copy_(values, non_blocking=True)
        if self._done is not None:
            self._done.record()

    def read(self) -> list[int]:
        """What was sent last. Waits for no more than that."""
        if self._done is not None:
            self._done.synchronize()
        numbers: list[int] = self._here.tolist()
        return numbers
