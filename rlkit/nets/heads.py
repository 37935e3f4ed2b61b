"""Last layers: the parameters of a policy's distribution, a value, one value per action."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlkit.config import NetConfig
from rlkit.distributions import leaf_params
from rlkit.nets.blocks import layer_init
from rlkit.spaces import ActionSpec


class PolicyHead(nn.Module):
    """Features [B, F] → parameters [B, P] of `Product(spec)`.

    Choices and means come from a linear layer with small weights, so that a new policy is close to
    uniform; the log-stds of Box leaves are learned numbers that do not depend on the observation
    (Schulman et al. 2015), inserted at the places where `Product` looks for them.
    """

    def __init__(self, features: int, spec: ActionSpec, net: NetConfig, log_std: float = 0.0) -> None:
        super().__init__()
        self._pieces: list[tuple[int, int]] = []  # per leaf: outputs of the layer, learned log-stds
        for leaf in spec.leaves:
            learned = leaf.width if leaf.kind == "box" else 0
            self._pieces.append((leaf_params(leaf) - learned, learned))
        self._outputs = [outputs for outputs, _ in self._pieces]
        stds = sum(learned for _, learned in self._pieces)
        self.linear = layer_init(nn.Linear(features, sum(self._outputs)), 0.01, net.orthogonal)
        self.log_std = nn.Parameter(torch.full((stds,), log_std)) if stds else None

    def forward(self, features: Tensor) -> Tensor:
        return self.join(self.linear(features))

    def join(self, outputs: Tensor) -> Tensor:
        """The layer's outputs [B, P without log-stds], completed by the learned log-stds: [B, P]."""
        if self.log_std is None:
            return outputs
        log_std = self.log_std.expand(outputs.shape[0], -1)  # [B, K]
        parts, used = [], 0
        for piece, (_, learned) in zip(torch.split(outputs, self._outputs, dim=1), self._pieces, strict=True):
            parts.append(piece)
            if learned:
                parts.append(log_std[:, used : used + learned])
                used += learned
        return torch.cat(parts, dim=1)  # [B, P]


class ValueHead(nn.Module):
    """Features [B, F] → the value of each state, [B]."""

    def __init__(self, features: int, net: NetConfig) -> None:
        super().__init__()
        self.linear = layer_init(nn.Linear(features, 1), 1.0, net.orthogonal)

    def forward(self, features: Tensor) -> Tensor:
        value: Tensor = self.linear(features)  # [B, 1]
        return value.squeeze(-1)


class QHead(nn.Module):
    """Features [B, F] → the value of each of n actions, [B, n]."""

    def __init__(self, features: int, n: int, net: NetConfig) -> None:
        super().__init__()
        self.linear = layer_init(nn.Linear(features, n), 1.0, net.orthogonal)

    def forward(self, features: Tensor) -> Tensor:
        values: Tensor = self.linear(features)
        return values
