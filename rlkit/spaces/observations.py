"""Observations of any space → a dict of leaves, tensors [N, ...]."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from rlkit.errors import UserError
from rlkit.spaces.nesting import KeyPath, follow, named_leaves
from rlkit.spaces.slab import Slab
from rlkit.trees import tree_to

Device = torch.device | str | None

# torch can hardly compute with unsigned integers: they are widened
_WIDER = {"uint16": torch.int32, "uint32": torch.int64, "uint64": torch.int64}
MASK_NAME = "action_mask"  # the observation leaf that says which choices are valid: never a feature


@dataclass(frozen=True)
class ObsLeaf:
    """One tensor of an observation. `shape` is without the batch axis, the stack axis (first) included."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    space: spaces.Space
    stack: int = 1  # frames along the first axis, oldest first, when frame stacking is outermost
    path: KeyPath = ()  # keys from the whole observation to this leaf
    start: Tensor | None = field(default=None, compare=False)  # of a (Multi)Discrete not counting from 0
    slab: Slab = field(default_factory=Slab, compare=False, repr=False)

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize

    def to_tensor(self, batch: Any, ours: bool = False) -> Tensor:
        """A batch of this leaf, [N, *shape] in NumPy → a fresh tensor in torch's own, aligned memory.

        ours: nobody else writes into the batch; bytes (which need no alignment) are then not copied.
        """
        array = np.asarray(batch)
        if ours and array.dtype == np.uint8 and self.dtype is torch.uint8 and self.start is None:
            return torch.from_numpy(array)
        fresh, tensor = self.slab.take(array.shape, self.dtype)
        np.copyto(fresh, array, casting="unsafe")  # quicker than torch's own conversion
        return tensor if self.start is None else tensor.sub_(self.start)


@dataclass(frozen=True)
class ObsSpec:
    """The observation space as leaves: what networks, replay and the boundary derive their shapes from."""

    space: spaces.Space
    leaves: tuple[ObsLeaf, ...]

    @staticmethod
    def of(space: spaces.Space, stack: int = 1) -> ObsSpec:
        """`stack` is the number of frames when a frame stack is the outermost wrapper, else 1."""
        named = named_leaves(space, "Observation", "obs")
        return ObsSpec(space, tuple(_obs_leaf(name, path, leaf, stack) for name, path, leaf in named))

    def to_tensors(self, batch: Any, device: Device = None, ours: bool = False) -> dict[str, Tensor]:
        """Gymnasium's batched observation (array, dict or tuple of them) → fresh tensors [N, ...].

        Nothing aliases the NumPy memory, which engines overwrite at their next step; `ours` says they don't.
        """
        tree = {leaf.name: leaf.to_tensor(follow(batch, leaf.path), ours) for leaf in self.leaves}
        return tree if device is None else tree_to(tree, device)

    def prepare(self) -> None:
        """Have the memory of the next `to_tensors` ready."""
        for leaf in self.leaves:
            leaf.slab.prepare()

    def zeros(self, n: int, device: Device = None) -> dict[str, Tensor]:
        """An empty batch of n rows, the form of every observation."""
        return {
            leaf.name: torch.zeros(n, *leaf.shape, dtype=leaf.dtype, device=device) for leaf in self.leaves
        }

    @property
    def numel(self) -> int:
        """Numbers in one row."""
        return sum(leaf.numel for leaf in self.leaves)

    @property
    def nbytes(self) -> int:
        """Bytes of one row, all stacked frames included."""
        return sum(leaf.nbytes for leaf in self.leaves)


def _obs_leaf(name: str, path: KeyPath, space: spaces.Space, stack: int) -> ObsLeaf:
    shape = tuple(int(side) for side in space.shape)
    if stack > 1 and shape[:1] != (stack,):
        raise UserError(
            f"Observation leaf {name!r} has shape {shape}: a stack of {stack} frames comes first."
        )
    start: Tensor | None = None
    if isinstance(space, spaces.Box):
        kind = space.dtype.name
        dtype = torch.float32 if space.dtype.kind == "f" else _WIDER.get(kind) or getattr(torch, kind)
    elif isinstance(space, spaces.MultiBinary):
        dtype = torch.uint8
    else:
        dtype = torch.int64
        if np.any(space.start):
            start = torch.as_tensor(np.asarray(space.start, dtype=np.int64))
    return ObsLeaf(name, shape, dtype, space, stack, path, start)
