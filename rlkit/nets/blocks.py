"""Parts that every network is made of. Initialisation draws from torch's generator: fork it outside."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from rlkit.config import NetConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
}
Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def layer_init(layer: Layer, gain: float = 2**0.5, orthogonal: bool = True) -> Layer:
    """Orthogonal weights (Saxe et al. 2014) times `gain` and zero bias; PyTorch's own when not orthogonal."""
    if orthogonal:
        nn.init.orthogonal_(layer.weight, gain)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layer


class Mlp(nn.Sequential):
    """[B, in_features] → [B, out_features]: a linear layer and an activation for each of `net.hidden`.

    Without hidden layers the input passes unchanged.
    """

    def __init__(self, in_features: int, net: NetConfig) -> None:
        layers: list[nn.Module] = []
        width = in_features
        for hidden in net.hidden:
            layers.append(layer_init(nn.Linear(width, hidden), orthogonal=net.orthogonal))
            if net.layer_norm:
                layers.append(nn.LayerNorm(hidden))
            layers.append(ACTIVATIONS[net.activation]())
            width = hidden
        super().__init__(*layers)
        self.out_features = width


def mlp(in_features: int, net: NetConfig) -> Mlp:
    """The hidden layers that the configuration asks for, on top of an encoder's features."""
    return Mlp(in_features, net)
