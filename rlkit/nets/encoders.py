"""From an observation of any space to one feature vector: a small module per leaf, chosen by its space."""

from __future__ import annotations

import math
from functools import singledispatch
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from rlkit.config import NetConfig
from rlkit.errors import UserError
from rlkit.nets.blocks import layer_init
from rlkit.nets.normalizer import RunningNorm
from rlkit.spaces import MASK_NAME, ObsLeaf, ObsSpec

NATURE_SIDE = 36  # smallest side that the three convolutions of Mnih et al. leave a pixel of
SMALL_SIDE = 5  # smallest side worth a convolution


class Encoder(nn.Module):
    """A Tree of leaves [B, ...] → features [B, out_features], in the order of the spec.

    norm: running statistics of the float leaves, applied first. A lone float vector without a norm
    passes as it is. The leaf "action_mask" is no feature: the policy's distribution reads it.
    """

    def __init__(self, spec: ObsSpec, net: NetConfig, norm: RunningNorm | None = None) -> None:
        super().__init__()
        leaves = [leaf for leaf in spec.leaves if leaf.name != MASK_NAME]
        if not leaves:
            raise UserError("The observation holds nothing but an action mask: add something to look at.")
        self.names = [leaf.name for leaf in leaves]
        encoders = [encode(leaf.space, leaf, net) for leaf in leaves]
        self.has_images = any(is_image(leaf) for leaf in leaves)
        self.out_features = sum(width for _, width in encoders)
        self.encoders = nn.ModuleList(module for module, _ in encoders)
        self.norm = norm
        plain = len(leaves) == 1 and isinstance(encoders[0][0], nn.Identity)
        self.plain = leaves[0].name if plain else None  # the leaf that passes unchanged

    def forward(self, tree: dict[str, Tensor]) -> Tensor:
        if self.norm is not None:
            tree = self.norm(tree)
        if self.plain is not None:
            return tree[self.plain]
        features = [one(tree[name]) for name, one in zip(self.names, self.encoders, strict=True)]
        return features[0] if len(features) == 1 else torch.cat(features, dim=1)  # [B, F]


def is_image(leaf: ObsLeaf) -> bool:
    """Does this leaf go through convolutions?

    A Box of two axes and uint8 with sides for the Nature CNN, of three axes (channels first or last), or
    of such frames stacked.
    """
    if not isinstance(leaf.space, spaces.Box) or len(leaf.shape) not in (2, 3, 4):
        return False
    if len(leaf.shape) == 2:
        return leaf.dtype == torch.uint8 and leaf.stack == 1 and min(leaf.shape) >= NATURE_SIDE
    return min(_frame(leaf)[1:]) >= SMALL_SIDE


@singledispatch
def encode(space: Any, leaf: ObsLeaf, net: NetConfig) -> tuple[nn.Module, int]:
    """The module that turns a leaf of this space [B, *leaf.shape] into features [B, width], and width.

    Register another Gymnasium space here to teach every agent to read it.
    """
    raise UserError(f"No encoder for {type(space).__name__}: register one with rlkit.nets.encoders.encode.")


@encode.register(spaces.Box)
def _box(space: Any, leaf: ObsLeaf, net: NetConfig) -> tuple[nn.Module, int]:
    if is_image(leaf):
        return Cnn(leaf, net.cnn_features, net.orthogonal), net.cnn_features
    if leaf.dtype == torch.float32 and len(leaf.shape) == 1:
        return nn.Identity(), leaf.numel
    return Flat(_unit(leaf)), leaf.numel


@encode.register(spaces.MultiBinary)
def _multibinary(space: Any, leaf: ObsLeaf, net: NetConfig) -> tuple[nn.Module, int]:
    return Flat(1.0), leaf.numel


@encode.register(spaces.Discrete)
def _discrete(space: Any, leaf: ObsLeaf, net: NetConfig) -> tuple[nn.Module, int]:
    return OneHot((int(space.n),)), int(space.n)


@encode.register(spaces.MultiDiscrete)
def _multidiscrete(space: Any, leaf: ObsLeaf, net: NetConfig) -> tuple[nn.Module, int]:
    sizes = tuple(map(int, space.nvec.reshape(-1)))
    return OneHot(sizes), sum(sizes)


class Flat(nn.Module):
    """Numbers of any shape and type [B, ...] → [B, width] float32, divided by `unit`."""

    def __init__(self, unit: float) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(x.shape[0], -1).float()
        return x if self.unit == 1.0 else x / self.unit


class OneHot(nn.Module):
    """Integers [B, ...], the k-th of them below sizes[k] → their one-hots side by side, [B, Σ sizes]."""

    column: Tensor
    value: Tensor

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        columns = [k for k, size in enumerate(sizes) for _ in range(size)]
        values = [v for size in sizes for v in range(size)]
        self.register_buffer("column", torch.tensor(columns), persistent=False)
        self.register_buffer("value", torch.tensor(values), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(x.shape[0], -1)  # [B, k]
        return (flat.index_select(1, self.column) == self.value).float()


class Cnn(nn.Module):
    """Images [B, *leaf.shape], any number type → [B, features].

    Sides of 36 and more: the network of Mnih et al. (2015), whatever the size. Smaller ones: 3×3
    convolutions, as Young & Tian (2019) use for their 10×10 boards.
    """

    def __init__(self, leaf: ObsLeaf, features: int, orthogonal: bool = True) -> None:
        super().__init__()
        self.unit = _unit(leaf)
        self.planes, self.height, self.width = _frame(leaf)
        self.frames = leaf.shape[0] if len(leaf.shape) == 4 else 1
        self.channels_last = _channels_last(leaf)
        channels = self.planes * self.frames
        layers: list[nn.Module] = []
        sides = [self.height, self.width]
        for out, kernel, stride in _convolutions(min(sides)):
            layers.append(layer_init(nn.Conv2d(channels, out, kernel, stride), orthogonal=orthogonal))
            layers.append(nn.ReLU())
            sides = [(side - kernel) // stride + 1 for side in sides]
            channels = out
        flat = nn.Linear(channels * math.prod(sides), features)
        self.layers = nn.Sequential(*layers, nn.Flatten(), layer_init(flat, orthogonal=orthogonal), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        if self.channels_last:
            x = x.movedim(-1, -3)
        x = x.reshape(x.shape[0], self.frames * self.planes, self.height, self.width).float()
        features: Tensor = self.layers(x if self.unit == 1.0 else x / self.unit)
        return features


def _convolutions(side: int) -> tuple[tuple[int, int, int], ...]:
    """(channels, kernel, stride) of each convolution for images whose shorter side is `side`."""
    if side >= NATURE_SIDE:
        return (32, 8, 4), (64, 4, 2), (64, 3, 1)
    if side >= 16:
        return (32, 3, 2), (64, 3, 2)
    return ((16, 3, 1),)


def _channels_last(leaf: ObsLeaf) -> bool:
    """The shorter of the first and last axis of a frame holds the channels; a tie means first.

    Stacked frames of two axes are channels themselves, and they come first.
    """
    if len(leaf.shape) == 2 or (len(leaf.shape) == 3 and leaf.stack > 1):
        return False
    return leaf.shape[-1] < leaf.shape[-3]


def _frame(leaf: ObsLeaf) -> tuple[int, int, int]:
    """(planes, height, width) of an image; with four axes the first one counts stacked frames."""
    if len(leaf.shape) == 2:
        return 1, leaf.shape[0], leaf.shape[1]
    first, second, third = leaf.shape[-3:]
    return (third, first, second) if _channels_last(leaf) else (first, second, third)


def _unit(leaf: ObsLeaf) -> float:
    """What a byte is divided by, so that features lie in [0, 1]: 255 for pixels, 1 for other numbers."""
    return float(max(1, leaf.space.high.max())) if leaf.dtype == torch.uint8 else 1.0
