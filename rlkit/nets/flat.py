"""A module's parameters as one vector: optimiser, clipping and target updates become single operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ALIGN = 16  # floats: every parameter starts on a 64-byte boundary, as its own allocation would


class Flat:
    """Moves the parameters of `module` into one vector, of which they become views.

    `grad`, of the same length, is filled by `set_grad`. Keys of the state dict stay as they were. Build it
    after the module is on its device: `.to()` would break the views.
    """

    def __init__(self, module: nn.Module) -> None:
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        sizes = [-(-p.numel() // _ALIGN) * _ALIGN for p in self.parameters]
        first = self.parameters[0]
        self.vector = torch.zeros(sum(sizes), dtype=first.dtype, device=first.device)
        self.grad = torch.zeros_like(self.vector)
        self._grads: list[Tensor] = []
        offset = 0
        for parameter, size in zip(self.parameters, sizes, strict=True):
            piece = slice(offset, offset + parameter.numel())
            view = self.vector[piece].view_as(parameter)
            view.copy_(parameter.data)
            parameter.data = view
            self._grads.append(self.grad[piece].view_as(parameter))
            offset += size

    def set_grad(self, grads: list[Tensor], max_norm: float | None = None) -> Tensor:
        """Copy the gradients in, scale them to a norm of at most `max_norm`; returns the norm before, 0-d."""
        torch._foreach_copy_(self._grads, grads)
        norm: Tensor = torch.linalg.vector_norm(self.grad)
        if max_norm is not None:
            self.grad.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def copy_from(self, other: Flat) -> None:
        self.vector.copy_(other.vector)

    def lerp_from(self, other: Flat, weight: float) -> None:
        """self ← (1 − weight) · self + weight · other."""
        self.vector.lerp_(other.vector, weight)


class FlatAdam:
    """Adam (Kingma & Ba 2015, algorithm 1) on a `Flat`: a handful of operations on one vector.

    Everything that changes is a tensor on the parameters' device, so that a step can be part of a compiled
    function or a CUDA graph; `lr` may be filled with a new value at any time. Equal to torch.optim.Adam
    within float rounding (a test says so).
    """

    def __init__(
        self, flat: Flat, lr: float, eps: float = 1e-8, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        device = flat.vector.device
        self._flat, self._eps, self._betas = flat, eps, betas
        self.lr = torch.tensor(lr, device=device)  # 0-d
        self.mean = torch.zeros_like(flat.vector)  # running mean of gradients
        self.square = torch.zeros_like(flat.vector)  # running mean of their squares
        self.powers = torch.ones(2, device=device)  # beta₁ᵗ, beta₂ᵗ
        self._decay = torch.tensor(betas, device=device)

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters along the gradient that `Flat.set_grad` left."""
        grad, (beta1, beta2) = self._flat.grad, self._betas
        self.powers.mul_(self._decay)
        correction = 1 - self.powers  # [2]
        self.mean.lerp_(grad, 1 - beta1)
        self.square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        root = self.square.sqrt().div_(correction[1].sqrt()).add_(self._eps)
        self._flat.vector.sub_((self.lr / correction[0]) * self.mean / root)

    def state_dict(self) -> dict[str, Tensor]:
        return {"lr": self.lr, "mean": self.mean, "square": self.square, "powers": self.powers}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])
