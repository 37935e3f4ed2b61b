"""Stacks of frames out of frames that are stored once. Shapes: N lanes, B picks, k frames in a stack.

In a ring of rows, row after row, only the newest frame of each observation is kept. The *age* of an
observation is the number of frames since its episode's first one, at most k − 1. Frame j of the stack at row
r is the one of row r − min(k − 1 − j, age): before an episode's first frame the first is repeated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rlkit.spaces import ObsLeaf, ObsSpec


def history(obs: ObsSpec) -> int:
    """Rows before its own that an observation may need: frames in the highest stack, less one."""
    return max(leaf.stack for leaf in obs.leaves) - 1


def stored_shape(leaf: ObsLeaf) -> tuple[int, ...]:
    """What is kept of one observation: one frame of a stack, else all of it."""
    return leaf.shape[1:] if leaf.stack > 1 else leaf.shape


def stored_bytes(obs: ObsSpec) -> int:
    """Bytes of what is kept of one observation, its age included."""
    kept = sum(math.prod(stored_shape(leaf)) * leaf.dtype.itemsize for leaf in obs.leaves)
    return kept + (age_dtype(history(obs)).itemsize if history(obs) else 0)


def age_dtype(highest: int) -> torch.dtype:
    return torch.uint8 if highest < 256 else torch.int32


def next_age(age: Tensor, highest: int, begun: Sequence[int] | None, ended: Tensor) -> Tensor:
    """Ages [N] of the next observations: one more, but 0 where an episode begins.

    begun: the lanes where it does, as the host knows them; None: wherever `ended` [N] is set.
    """
    older = age + (age < highest).to(age.dtype)
    if begun is None:
        return older * ~ended
    for lane in begun:
        older[lane] = 0
    return older


def stacked(frames: Tensor, pick: Tensor, age: Tensor, k: int, lanes: int) -> Tensor:
    """frames [slots · N, *frame], pick [B] = place of an observation, age [B] → its stacks [B, k, *frame]."""
    back = torch.arange(k - 1, -1, -1, device=pick.device)  # [k] rows before its own, were it old enough
    at = pick[:, None] - lanes * torch.minimum(back, age.long()[:, None])  # [B, k]
    chosen = frames.index_select(0, (at % frames.shape[0]).flatten())
    return chosen.view(len(pick), k, *frames.shape[1:])
