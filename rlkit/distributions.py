"""Action distributions over any action space: small classes, static shapes, noise passed in.

Nothing here draws a random number or waits for the device, so all of it may be compiled or captured.
The distribution of a leaf takes and gives actions [..., width] and sums over its columns: log-probability
and entropy are [...]. `Product` does the same for a whole `ActionSpec`, from one parameter vector.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from rlkit.errors import UserError
from rlkit.spaces import ActionLeaf, ActionSpec

_FORBIDDEN = -1e8  # logit of a masked choice: probability 0, and 0 · log 0 stays finite
_LOG_2PI = math.log(2 * math.pi)


class Distribution(Protocol):
    """What the distribution of one leaf can do."""

    def sample(self, noise: Tensor) -> Tensor: ...
    def mode(self) -> Tensor: ...
    def log_prob(self, action: Tensor) -> Tensor: ...
    def entropy(self) -> Tensor: ...


class Categorical:
    """One choice among n. logits [..., n], action [..., 1] int64, noise [..., n] uniform in [0, 1)."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @staticmethod
    def params(leaf: ActionLeaf) -> int:
        return leaf.n[0]

    @staticmethod
    def noise(leaf: ActionLeaf) -> int:
        return leaf.n[0]

    def sample(self, noise: Tensor) -> Tensor:
        """Gumbel-max: the argmax of logits − log(−log u) is distributed as softmax(logits)."""
        minus_gumbel = torch.log(-torch.log(noise.clamp_min(torch.finfo(noise.dtype).tiny)))
        return torch.argmax(self.logits - minus_gumbel, dim=-1, keepdim=True)

    def mode(self) -> Tensor:
        return torch.argmax(self.logits, dim=-1, keepdim=True)

    def log_prob(self, action: Tensor) -> Tensor:
        return F.log_softmax(self.logits, dim=-1).gather(-1, action.long()).squeeze(-1)

    def entropy(self) -> Tensor:
        log_probs = F.log_softmax(self.logits, dim=-1)
        return -(log_probs.exp() * log_probs).sum(-1)


class MultiCategorical:
    """Independent choices. logits [..., Σn] in slices of sizes n, action [..., k], noise like logits."""

    def __init__(self, logits: Tensor, sizes: tuple[int, ...]) -> None:
        self.sizes = list(sizes)
        self.columns = [Categorical(piece) for piece in torch.split(logits, self.sizes, dim=-1)]

    @staticmethod
    def params(leaf: ActionLeaf) -> int:
        return sum(leaf.n)

    @staticmethod
    def noise(leaf: ActionLeaf) -> int:
        return sum(leaf.n)

    def sample(self, noise: Tensor) -> Tensor:
        pieces = torch.split(noise, self.sizes, dim=-1)
        return torch.cat([one.sample(u) for one, u in zip(self.columns, pieces, strict=True)], dim=-1)

    def mode(self) -> Tensor:
        return torch.cat([one.mode() for one in self.columns], dim=-1)

    def log_prob(self, action: Tensor) -> Tensor:
        choices = torch.split(action, 1, dim=-1)
        each = [one.log_prob(choice) for one, choice in zip(self.columns, choices, strict=True)]
        return torch.stack(each, dim=-1).sum(-1)

    def entropy(self) -> Tensor:
        return torch.stack([one.entropy() for one in self.columns], dim=-1).sum(-1)


class Bernoulli:
    """Independent bits. logits [..., k], action [..., k] of 0 and 1, noise [..., k] uniform in [0, 1)."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @staticmethod
    def params(leaf: ActionLeaf) -> int:
        return leaf.width

    @staticmethod
    def noise(leaf: ActionLeaf) -> int:
        return leaf.width

    def sample(self, noise: Tensor) -> Tensor:
        return (noise < torch.sigmoid(self.logits)).long()

    def mode(self) -> Tensor:
        return (self.logits > 0).long()

    def log_prob(self, action: Tensor) -> Tensor:
        return (action * self.logits - F.softplus(self.logits)).sum(-1)

    def entropy(self) -> Tensor:
        return (F.softplus(self.logits) - self.logits * torch.sigmoid(self.logits)).sum(-1)


class DiagGaussian:
    """Independent normals. mean, log_std and action [..., k], noise [..., k] standard normal."""

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean = mean
        self.log_std = log_std

    @staticmethod
    def params(leaf: ActionLeaf) -> int:
        return 2 * leaf.width

    @staticmethod
    def noise(leaf: ActionLeaf) -> int:
        return leaf.width

    def sample(self, noise: Tensor) -> Tensor:
        return self.mean + self.log_std.exp() * noise

    def mode(self) -> Tensor:
        return self.mean

    def log_prob(self, action: Tensor) -> Tensor:
        z = (action - self.mean) * torch.exp(-self.log_std)
        return -(0.5 * z * z + self.log_std + 0.5 * _LOG_2PI).sum(-1)

    def entropy(self) -> Tensor:
        return (self.log_std + 0.5 * (1 + _LOG_2PI)).sum(-1)


_Family = type[Categorical] | type[MultiCategorical] | type[Bernoulli] | type[DiagGaussian]
_FAMILY: dict[str, _Family] = {
    "discrete": Categorical,
    "multidiscrete": MultiCategorical,
    "multibinary": Bernoulli,
    "box": DiagGaussian,
}


def leaf_params(leaf: ActionLeaf) -> int:
    """How many parameters the distribution of this leaf has; those of a box are means, then log-stds."""
    return _FAMILY[leaf.kind].params(leaf)


def leaf_noise(leaf: ActionLeaf) -> int:
    """How many random numbers one sample of this leaf takes: normal ones for a box, else uniform ones."""
    return _FAMILY[leaf.kind].noise(leaf)


def _of_leaf(leaf: ActionLeaf, params: Tensor) -> Distribution:
    if leaf.kind == "discrete":
        return Categorical(params)
    if leaf.kind == "multidiscrete":
        return MultiCategorical(params, leaf.n)
    if leaf.kind == "multibinary":
        return Bernoulli(params)
    mean, log_std = torch.split(params, leaf.width, dim=-1)
    return DiagGaussian(mean, log_std)


class _Slot(NamedTuple):
    """A leaf, and where its parameters and its noise stand."""

    leaf: ActionLeaf
    params: slice
    noise: slice


class Product:
    """The policy's distribution over a whole action space: independent leaves, sliced statically.

    params: [B, param_size], the leaves' parameters one after the other. noise: [B, K], all uniform
    columns (in the order of the leaves), then all normal ones. action: [B, A] in the dtype of the spec.
    mask: [B, n], 0 where a choice of a lone Discrete is invalid now; a row of zeros makes all equal.
    """

    def __init__(self, spec: ActionSpec) -> None:
        self.spec = spec
        self.uniforms = sum(leaf_noise(leaf) for leaf in spec.leaves if leaf.kind != "box")
        self.normals = sum(leaf_noise(leaf) for leaf in spec.leaves if leaf.kind == "box")
        self._slots: list[_Slot] = []
        first, uniform, normal = 0, 0, self.uniforms
        for leaf in spec.leaves:
            params = slice(first, first := first + leaf_params(leaf))
            if leaf.kind == "box":
                noise = slice(normal, normal := normal + leaf_noise(leaf))
            else:
                noise = slice(uniform, uniform := uniform + leaf_noise(leaf))
            self._slots.append(_Slot(leaf, params, noise))
        self.param_size = first

    def noise(self, n: int, generator: torch.Generator, device: torch.device | str | None = None) -> Tensor:
        """What `sample` needs for n rows, [n, K] float32: drawn on the generator's device, then moved."""
        own = generator.device
        pieces = []
        if self.uniforms:
            pieces.append(torch.rand(n, self.uniforms, generator=generator, device=own))
        if self.normals:
            pieces.append(torch.randn(n, self.normals, generator=generator, device=own))
        drawn = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)
        return drawn if device is None else drawn.to(device)

    def sample(self, params: Tensor, noise: Tensor, mask: Tensor | None = None) -> Tensor:
        """A random action [B, A]; Box entries are not clipped (the environment's door does that)."""
        return self._join([one.sample(noise[..., slot.noise]) for one, slot in self._leaves(params, mask)])

    def mode(self, params: Tensor, mask: Tensor | None = None) -> Tensor:
        """The most probable action [B, A]: what a greedy policy does."""
        return self._join([one.mode() for one, _ in self._leaves(params, mask)])

    def log_prob(self, params: Tensor, action: Tensor, mask: Tensor | None = None) -> Tensor:
        """log p(action), [B]: the sum over leaves (a density where there are Box entries)."""
        parts = self._leaves(params, mask)
        return _total([one.log_prob(action[..., slot.leaf.columns]) for one, slot in parts])

    def entropy(self, params: Tensor, mask: Tensor | None = None) -> Tensor:
        """Entropy in nats, [B]: the sum over leaves."""
        return _total([one.entropy() for one, _ in self._leaves(params, mask)])

    def _leaves(self, params: Tensor, mask: Tensor | None) -> list[tuple[Distribution, _Slot]]:
        if mask is not None:
            if not self.spec.is_single_discrete:
                raise UserError(
                    f"An 'action_mask' serves one Discrete action, not {self.spec.describe()}: "
                    "rename that observation or make the action space one Discrete."
                )
            params = torch.where(mask != 0, params, _FORBIDDEN)
        return [(_of_leaf(slot.leaf, params[..., slot.params]), slot) for slot in self._slots]

    def _join(self, pieces: list[Tensor]) -> Tensor:
        if len(pieces) == 1:
            return pieces[0]
        return torch.cat([piece.to(self.spec.dtype) for piece in pieces], dim=-1)


def _total(terms: list[Tensor]) -> Tensor:
    return terms[0] if len(terms) == 1 else torch.stack(terms, dim=-1).sum(-1)
