"""A module's parameters as one vector: optimiser, clipping and target updates become single operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ALIGN = 16  # floats: every parameter starts on a 64-byte boundary, as its own allocation would


class Flat:
    """Moves the parameters of `module` into one vector, of which they become views.

    `vector` is what an optimiser takes; its gradient is filled by `set_grad`. Keys of the state dict stay
    as they were. Build it after the module is on its device: `.to()` would break the views.
    """

    def __init__(self, module: nn.Module) -> None:
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        sizes = [-(-p.numel() // _ALIGN) * _ALIGN for p in self.parameters]
        first = self.parameters[0]
        self.vector = nn.Parameter(torch.zeros(sum(sizes), dtype=first.dtype, device=first.device))
        self.vector.grad = torch.zeros_like(self.vector)
        self._grads: list[Tensor] = []
        offset = 0
        for parameter, size in zip(self.parameters, sizes, strict=True):
            piece = slice(offset, offset + parameter.numel())
            view = self.vector.data[piece].view_as(parameter)
            view.copy_(parameter.data)
            parameter.data = view
            self._grads.append(self.vector.grad[piece].view_as(parameter))
            offset += size

    def set_grad(self, grads: list[Tensor], max_norm: float | None = None) -> Tensor:
        """Copy the gradients in, scale them to a norm of at most `max_norm`; returns the norm before, 0-d."""
        assert self.vector.grad is not None
        torch._foreach_copy_(self._grads, grads)
        norm = torch.linalg.vector_norm(self.vector.grad)
        if max_norm is not None:
            self.vector.grad.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def copy_from(self, other: Flat) -> None:
        self.vector.data.copy_(other.vector.data)

    def lerp_from(self, other: Flat, weight: float) -> None:
        """self ← (1 − weight) · self + weight · other."""
        self.vector.data.lerp_(other.vector.data, weight)
