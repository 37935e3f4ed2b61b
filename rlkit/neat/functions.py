"""Activations and aggregations with neat-python's names and its very formulas.

The last bit of these operations does not depend on how many numbers are computed at once (that of
torch.sigmoid does; a test looks): the same genome acts the same in 1 lane and in 500.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543773
_HUGE = 1e18  # infinity times a weight of 0 would be NaN


def _inverse(z: Tensor) -> Tensor:
    return torch.where(z == 0, 0.0, 1.0 / z).clamp(-_HUGE, _HUGE)


ACTIVATE: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda z: 1.0 / (1.0 + torch.exp((-5.0 * z).clamp(-60.0, 60.0))),
    "tanh": lambda z: torch.tanh(2.5 * z),
    "sin": lambda z: torch.sin((5.0 * z).clamp(-60.0, 60.0)),
    "gauss": lambda z: torch.exp(-5.0 * z.clamp(-3.4, 3.4).square()),
    "relu": lambda z: z.clamp(min=0.0),
    "elu": lambda z: torch.where(z > 0, z, torch.expm1(z.clamp(max=0.0))),
    "lelu": lambda z: torch.where(z > 0, z, 0.005 * z),
    "selu": lambda z: _SELU_SCALE * torch.where(z > 0, z, _SELU_ALPHA * torch.expm1(z.clamp(max=0.0))),
    "softplus": lambda z: 0.2 * torch.log1p(torch.exp((5.0 * z).clamp(-60.0, 60.0))),
    "identity": lambda z: z,
    "clamped": lambda z: z.clamp(-1.0, 1.0),
    "inv": _inverse,
    "log": lambda z: torch.log(z.clamp(min=1e-7)),
    "exp": lambda z: torch.exp(z.clamp(-60.0, 60.0)),
    "abs": torch.abs,
    "hat": lambda z: (1.0 - z.abs()).clamp(min=0.0),
    "square": lambda z: (z * z).clamp(max=_HUGE),
    "cube": lambda z: (z * z * z).clamp(-_HUGE, _HUGE),
}


def activate(z: Tensor, kind: Tensor | None, names: list[str]) -> Tensor:
    """Each z through the activation that `kind` (same shape; None for one name) counts among `names`."""
    result = ACTIVATE[names[0]](z)
    for number, name in enumerate(names[1:], start=1):
        assert kind is not None
        result = torch.where(kind == number, ACTIVATE[name](z), result)
    return result


def activate_into(out: Tensor, z: Tensor, kind: Tensor | None, names: list[str]) -> None:
    """The same written into `out`, without gradients; its last bit may differ from that of `activate`."""
    if names == ["tanh"] and out.is_cpu:  # a seventh of the time that PyTorch's tanh takes
        result = out.numpy()
        np.tanh(np.multiply(z.numpy(), 2.5, out=result), out=result)
    else:
        out.copy_(activate(z, kind, names))


def _median(values: Tensor, there: Tensor) -> Tensor:
    """The middle value, the mean of the two middle ones for an even number."""
    ordered, _ = torch.where(there, values, torch.inf).sort(dim=-1)
    count = there.sum(-1, keepdim=True)
    low, high = (count - 1).clamp(min=0) // 2, count // 2
    high = high.clamp(max=values.shape[-1] - 1)
    return ((ordered.gather(-1, low) + ordered.gather(-1, high)) / 2)[..., 0]


def _largest(values: Tensor, there: Tensor) -> Tensor:
    place = torch.where(there, values.abs(), -1.0).argmax(-1, keepdim=True)
    return values.gather(-1, place)[..., 0]


AGGREGATE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda v, t: v.sum(-1),
    "product": lambda v, t: torch.where(t, v, 1.0).prod(-1),
    "max": lambda v, t: torch.where(t, v, -torch.inf).amax(-1),
    "min": lambda v, t: torch.where(t, v, torch.inf).amin(-1),
    "maxabs": _largest,
    "median": _median,
    "mean": lambda v, t: v.sum(-1) / t.sum(-1).clamp(min=1),
}


def aggregate(weighted: Tensor, there: Tensor, kind: Tensor, names: list[str]) -> Tensor:
    """weighted [..., k] (0 where there is no connection), there [..., k] → [...]; nothing aggregates to 0."""
    if names == ["sum"]:
        return weighted.sum(-1)
    result = AGGREGATE[names[0]](weighted, there)
    for number, name in enumerate(names[1:], start=1):
        result = torch.where(kind == number, AGGREGATE[name](weighted, there), result)
    empty = ~there.any(-1)
    products = torch.zeros_like(empty)
    if "product" in names:  # an empty product is 1
        products = kind == names.index("product")
    return torch.where(empty & ~products, 0.0, result)
