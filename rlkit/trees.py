"""Observations as dicts of tensors: one operation on all leaves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Device = torch.device | str | None


def tree_index(tree: dict[str, Tensor], rows: Any) -> dict[str, Tensor]:
    """The rows of every leaf (a slice, an index tensor, or a mask)."""
    return {name: leaf[rows] for name, leaf in tree.items()}


def tree_select(mask: Tensor, yes: dict[str, Tensor], no: dict[str, Tensor]) -> dict[str, Tensor]:
    """Row by row, `yes` where mask [N] is true and `no` elsewhere: a new tree."""
    return {
        name: torch.where(mask.view(-1, *(1,) * (leaf.dim() - 1)), leaf, no[name])
        for name, leaf in yes.items()
    }


def tree_to(tree: dict[str, Tensor], device: Device) -> dict[str, Tensor]:
    """The tree on another device; leaves that are already there are not copied."""
    return {name: leaf.to(device) for name, leaf in tree.items()}


def tree_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Same names, shapes and values? Waits for the device."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
