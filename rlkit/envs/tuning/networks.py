"""Two small classifiers whose weights lie in one flat tensor: a descent step is a few operations."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from rlkit.envs.tuning.digits import CLASSES, SIDE


class Network:
    """Weights and biases for the given shapes, (output, input, …) each; biases begin at 0.

    `flat` [W] holds all of them, `parts` are its leaves for autograd, in the order weight, bias, weight, …
    """

    def __init__(self, shapes: list[tuple[int, ...]], gain: float, random: Generator) -> None:
        both = [shape for weight in shapes for shape in (weight, weight[:1])]
        sizes = [math.prod(shape) for shape in both]
        self.flat = torch.zeros(sum(sizes), dtype=torch.float32)
        self.parts: list[Tensor] = []
        for part, shape in zip(torch.split(self.flat, sizes), both, strict=True):
            if len(shape) > 1:
                deviation = gain * math.sqrt(2 / math.prod(shape[1:]))
                part.copy_(torch.randn(part.shape, generator=random, dtype=torch.float32) * deviation)
            self.parts.append(part.view(shape).detach().requires_grad_())

    def logits(self, x: Tensor, dropout: float = 0.0, random: Generator | None = None) -> Tensor:
        """Images [B, 1, 8, 8] → [B, 10]. With a generator, hidden units are dropped, drawn from it."""
        raise NotImplementedError


class Perceptron(Network):
    """Fully connected layers of `hidden` units with ReLU."""

    def __init__(self, hidden: tuple[int, ...], gain: float, random: Generator) -> None:
        widths = [SIDE * SIDE, *hidden, CLASSES]
        super().__init__([(o, i) for i, o in pairwise(widths)], gain, random)
        self.hidden = hidden

    def logits(self, x: Tensor, dropout: float = 0.0, random: Generator | None = None) -> Tensor:
        x = x.flatten(1)
        for i in range(len(self.hidden)):
            x = F.linear(x, self.parts[2 * i], self.parts[2 * i + 1]).relu()
        return F.linear(x, *self.parts[-2:])


class Convolutional(Network):
    """`layers` convolutions of stride 2 with ReLU (the second twice as wide), dropout, output."""

    def __init__(self, filters: int, kernel: int, layers: int, gain: float, random: Generator) -> None:
        widths = [1, *(filters * 2**i for i in range(layers))]
        shapes: list[tuple[int, ...]] = [(o, i, kernel, kernel) for i, o in pairwise(widths)]
        shapes.append((CLASSES, widths[-1] * (SIDE // 2**layers) ** 2))
        super().__init__(shapes, gain, random)
        self.kernel, self.layers = kernel, layers

    def logits(self, x: Tensor, dropout: float = 0.0, random: Generator | None = None) -> Tensor:
        for i in range(self.layers):
            weight, bias = self.parts[2 * i : 2 * i + 2]
            x = F.conv2d(x, weight, bias, stride=2, padding=self.kernel // 2).relu()
        x = x.flatten(1)
        if random is not None and dropout > 0:
            kept = torch.rand(x.shape, generator=random, dtype=torch.float32) >= dropout
            x = x * kept / (1 - dropout)
        return F.linear(x, *self.parts[-2:])
