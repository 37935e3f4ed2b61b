"""Actions of any space ⇄ one tensor [N, A], unflattened only at the environment's door."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from rlkit.errors import UserError
from rlkit.spaces.nesting import KeyPath, describe, follow, named_leaves, nest

_EXACT = 2.0**53  # integers up to here survive a float64
_FEW = 4_096  # entries for which setting up a broadcast takes longer than the work

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ActionLeaf:
    """One piece of an action: columns offset … offset + width of the action tensor [N, A].

    Arrays are [width] float64. A box entry `a` means `scale · a + shift`, clipped to low … high, to the
    environment; an integer `a` means `a + start`, with low 0, high n − 1, scale 1 and shift 0.
    """

    name: str
    kind: str  # "discrete", "multidiscrete", "multibinary" or "box"
    offset: int
    width: int
    n: tuple[int, ...]  # choices of each column; empty for a box
    space: spaces.Space
    path: KeyPath
    low: np.ndarray = field(compare=False)  # infinite where unbounded
    high: np.ndarray = field(compare=False)
    scale: np.ndarray = field(compare=False)
    shift: np.ndarray = field(compare=False)
    start: np.ndarray | None = field(default=None, compare=False)  # int64, of integers not counting from 0

    @property
    def columns(self) -> slice:
        return slice(self.offset, self.offset + self.width)

    @cached_property
    def rounds(self) -> bool:
        """A Box of integers or truth values."""
        return self.kind == "box" and self.space.dtype.kind != "f"

    @cached_property
    def limits(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The bounds as float32, of a Box of floats whose units are the policy's own: the common case."""
        own = self.kind == "box" and not self.rounds and (self.scale == 1).all() and not self.shift.any()
        return (self.low.astype(np.float32), self.high.astype(np.float32)) if own else None

    @cached_property
    def _counts(self) -> bool:
        """One choice from 0 on: the common case."""
        return self.kind == "discrete" and self.start is None

    @cached_property
    def _form(self) -> tuple[np.dtype, tuple[int, ...] | None]:
        """Type and shape of a batch for the environment; None: that of the rows."""
        shape = self.space.shape
        return self.space.dtype, None if shape == (self.width,) else (-1, *shape)

    def to_policy(self, value: np.ndarray) -> np.ndarray:
        """The environment's units → the policy's. Where low = high the scale is 0, and so is the action."""
        return np.asarray((value - self.shift) / np.where(self.scale == 0, 1, self.scale))

    def open(self, rows: np.ndarray, clipped: bool = False) -> np.ndarray:
        """[N, width] in the policy's units → a fresh [N, *space.shape] in the environment's."""
        if self._counts:
            return rows[:, 0].astype(self.space.dtype)
        if self.limits is not None and rows.dtype == np.float32:
            if not clipped:
                rows = np.minimum(np.maximum(rows, self.limits[0]), self.limits[1])
        elif self.kind == "box":
            rows = np.minimum(np.maximum(rows * self.scale + self.shift, self.low), self.high)
        elif self.start is not None:
            rows = rows.astype(np.int64) + self.start
        if self.rounds:
            rows = np.clip(np.rint(rows), *_integer_range(self.space.dtype))
        dtype, shape = self._form
        opened = rows.astype(dtype)
        return opened if shape is None else opened.reshape(shape)

    def close(self, value: Any) -> np.ndarray:
        """The inverse of `open`, for one value of the space or a batch of them."""
        if self.kind == "box":
            return self.to_policy(np.asarray(value, dtype=np.float64).reshape(-1, self.width))
        rows = np.asarray(value, dtype=np.int64).reshape(-1, self.width)
        return rows if self.start is None else rows - self.start

    def round(self, action: Tensor) -> Tensor:
        """[..., width]: entries of an integer Box moved to where an integer of the environment lies."""
        if not self.rounds:
            return action
        scale, shift = (torch.from_numpy(x).to(action.device) for x in (self.scale, self.shift))
        integer = (action.double() * scale + shift).round()
        return ((integer - shift) / torch.where(scale == 0, 1, scale)).to(action.dtype)

    def sample(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """Noise [N, width] float64 → a random action in the policy's units."""
        arrays = (self.low, self.high, self.scale, self.shift)
        low, high, scale, shift = (torch.from_numpy(x).to(uniform.device) for x in arrays)
        integers = self.kind != "box" or self.rounds
        between = low + (torch.floor(uniform * (high - low + 1)) if integers else uniform * (high - low))
        distance = -torch.log1p(-uniform)
        value = torch.where(
            low.isfinite(), low + distance, torch.where(high.isfinite(), high - distance, normal)
        )
        value = torch.where(low.isfinite() & high.isfinite(), between, value)
        return (value - shift) / torch.where(scale == 0, 1, scale)


@dataclass(frozen=True)
class ActionSpec:
    """Any action space as one tensor [N, A]: int64 without a Box leaf, else float32 (integers stay exact).

    The policy's units: integers count from 0; a Box entry with two finite bounds is [−1, 1], mapped to
    [low, high]; any other Box entry is passed unchanged. Everything is clipped to what the space allows.
    """

    space: spaces.Space
    leaves: tuple[ActionLeaf, ...]
    width: int  # A, columns of the action tensor
    dtype: torch.dtype
    _bounds: dict[torch.device, tuple[Tensor, Tensor]] = field(
        default_factory=dict, compare=False, repr=False
    )
    _tiles: dict[tuple[int, ...], Pair] = field(default_factory=dict, compare=False, repr=False)

    @staticmethod
    def of(space: spaces.Space) -> ActionSpec:
        leaves: list[ActionLeaf] = []
        offset = 0
        for name, path, leaf in named_leaves(space, "Action", "action"):
            leaves.append(_action_leaf(name, path, leaf, offset))
            offset += leaves[-1].width
        if offset == 0:
            raise UserError(f"Action space {space} has no entries: give it at least one number to choose.")
        box = any(leaf.kind == "box" for leaf in leaves)
        return ActionSpec(space, tuple(leaves), offset, torch.float32 if box else torch.int64)

    @cached_property
    def rounds(self) -> bool:
        return any(leaf.rounds for leaf in self.leaves)

    @cached_property
    def is_single_discrete(self) -> bool:
        """One choice among n: what value-based agents can serve."""
        return len(self.leaves) == 1 and self.leaves[0].kind == "discrete"

    @property
    def n(self) -> int:
        """Choices of a single Discrete."""
        if not self.is_single_discrete:
            raise UserError(
                f"{self.describe()} has no single n: choose an agent that serves it, such as ppo."
            )
        return self.leaves[0].n[0]

    def describe(self) -> str:
        """Short text: "Discrete(2)", "Dict(aim: Box(2), fire: Discrete(2))"."""
        return describe(self.space)

    def bounds(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Least and greatest value of each column in the policy's units, [A] float32."""
        if device not in self._bounds:
            low = np.concatenate([leaf.to_policy(leaf.low) for leaf in self.leaves])
            high = np.concatenate([leaf.to_policy(leaf.high) for leaf in self.leaves])
            with torch.inference_mode(False):  # the cache must serve gradients, too
                pair = [torch.tensor(x, dtype=torch.float32, device=device) for x in (low, high)]
            self._bounds[device] = (pair[0], pair[1])
        return self._bounds[device]

    def _host_bounds(self, shape: tuple[int, ...]) -> Pair:
        """`bounds` as they are clipped to: repeated for each of few actions [..., A]."""
        if shape not in self._tiles:
            low, high = (bound.numpy() for bound in self.bounds(torch.device("cpu")))
            if math.prod(shape) <= _FEW:
                low, high = np.broadcast_to(low, shape).copy(), np.broadcast_to(high, shape).copy()
            self._tiles[shape] = low, high
        return self._tiles[shape]

    def clip(self, action: Tensor) -> Tensor:
        """What is really executed when `action` [N, A] is asked for, in the policy's units.

        Box entries are clipped, those of integer Boxes also rounded. Integers are returned as they came.
        """
        if self.dtype == torch.int64:
            return action
        if action.is_cpu and not action.requires_grad:
            return torch.from_numpy(self.clip_rows(action.numpy()))
        return self._rounded(torch.clamp(action, *self.bounds(action.device)))

    def clip_rows(self, rows: np.ndarray) -> np.ndarray:
        """`clip` in NumPy, [N, A] → [N, A], with equal results and much sooner for few rows."""
        if self.dtype == torch.int64:
            return rows
        low, high = self._host_bounds(rows.shape)
        rows = np.minimum(np.maximum(rows, low), high)
        return self._rounded(torch.from_numpy(rows)).numpy() if self.rounds else rows

    def _rounded(self, action: Tensor) -> Tensor:
        if not self.rounds:
            return action
        return torch.cat([leaf.round(action[..., leaf.columns]) for leaf in self.leaves], dim=-1)

    def to_env(self, action: Tensor | np.ndarray, clipped: bool = False) -> Any:
        """Actions [N, A] → what the `step` of a Gymnasium vector environment takes, in fresh memory.

        clipped: they come from `clip`, which need not be done again.
        """
        rows = action.detach().cpu().numpy() if isinstance(action, Tensor) else action
        if not self.leaves[0].path:
            return self.leaves[0].open(rows, clipped)
        return nest(self.space, (leaf.open(rows[:, leaf.columns], clipped) for leaf in self.leaves))

    def to_env_single(self, row: Tensor | np.ndarray) -> Any:
        """One row [A] → one action of a single environment; `space.contains` holds."""
        rows = row.detach().cpu().numpy()[None] if isinstance(row, Tensor) else row[None]
        values = ((leaf.kind, leaf.open(rows[:, leaf.columns])[0]) for leaf in self.leaves)
        return nest(self.space, (np.asarray(v) if kind == "box" else v for kind, v in values))

    def from_env(self, action: Any) -> Tensor:
        """The inverse of `to_env` and `to_env_single`: a batched or a single action → [N, A]."""
        return torch.tensor(self.rows_from_env(action), dtype=self.dtype)

    def rows_from_env(self, action: Any) -> np.ndarray:
        """`from_env` in NumPy, in whatever type the environment's actions have."""
        rows = [leaf.close(follow(action, leaf.path)) for leaf in self.leaves]
        return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n random actions [n, A] on the generator's device.

        Uniform over choices and bounded entries; as in Gymnasium an entry without bounds is normal, one
        with a single bound lies an exponential distance from it.
        """
        noise = torch.empty(n, self.width, dtype=torch.float64, device=generator.device)
        uniform = noise.uniform_(generator=generator)
        if self.dtype == torch.int64:
            return (uniform * uniform.new_tensor([k for leaf in self.leaves for k in leaf.n])).long()
        normal = torch.empty_like(noise).normal_(generator=generator)
        drawn = [leaf.sample(uniform[:, leaf.columns], normal[:, leaf.columns]) for leaf in self.leaves]
        return self.clip(torch.cat(drawn, dim=1).to(self.dtype))


def _action_leaf(name: str, path: KeyPath, space: spaces.Space, offset: int) -> ActionLeaf:
    width = math.prod(space.shape)
    if isinstance(space, spaces.Box):
        low = np.where(space.bounded_below, space.low, -np.inf).astype(np.float64).reshape(-1)
        high = np.where(space.bounded_above, space.high, np.inf).astype(np.float64).reshape(-1)
        bounded = np.isfinite(low) & np.isfinite(high)
        first, last = np.where(bounded, low, -1), np.where(bounded, high, 1)
        scale, shift = last / 2 - first / 2, last / 2 + first / 2
        return ActionLeaf(name, "box", offset, width, (), space, path, low, high, scale, shift)
    if isinstance(space, spaces.MultiBinary):
        kind, n = "multibinary", (2,) * width
    elif isinstance(space, spaces.MultiDiscrete):
        kind, n = "multidiscrete", tuple(map(int, space.nvec.reshape(-1)))
    else:
        kind, n = "discrete", (int(space.n),)
    start = np.asarray(getattr(space, "start", 0), dtype=np.int64).reshape(-1)
    zeros, ones, last = np.zeros(width), np.ones(width), np.array(n, dtype=np.float64) - 1
    offset_or_none = start if start.any() else None
    return ActionLeaf(name, kind, offset, width, n, space, path, zeros, last, ones, zeros, offset_or_none)


def _integer_range(dtype: np.dtype) -> tuple[float, float]:
    """What an integer Box may hold and a float64 can say without rounding out of it."""
    if dtype.kind == "b":
        return 0.0, 1.0
    info = np.iinfo(dtype)
    return max(float(info.min), -_EXACT), min(float(info.max), _EXACT)
