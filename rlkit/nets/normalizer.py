"""Running statistics as part of the policy: buffers, so they are saved and loaded with the weights.

`update` is called by training alone; `forward` and `scale` only read. Buffers are written in place, so
captured functions see new values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlkit.spaces import MASK_NAME, ObsSpec

EPSILON = 1e-8  # added to the variance
LIMIT = 10.0  # normalised values are clipped to ±LIMIT


class LeafNorm(nn.Module):
    """x [..., *shape] → (x − mean) / std, clipped, with mean and std over all data ever seen.

    Sums are kept in float64 by the parallel update of Chan et al. (1979), so the batching does not
    matter; before the first update nothing is changed but the clipping.
    """

    mean: Tensor
    m2: Tensor
    count: Tensor
    shift: Tensor
    inverse_std: Tensor

    def __init__(self, shape: tuple[int, ...], device: torch.device | str | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64, device=device))
        self.register_buffer("m2", torch.zeros(shape, dtype=torch.float64, device=device))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64, device=device))
        self.register_buffer("shift", torch.zeros(shape, device=device))  # float32, what forward reads
        self.register_buffer("inverse_std", torch.ones(shape, device=device))

    @property
    def var(self) -> Tensor:
        """Variance of the population, [*shape] float64."""
        return self.m2 / self.count.clamp_min(1)

    @torch.no_grad()
    def update(self, x: Tensor, valid: Tensor | None = None) -> None:
        """Count the rows of x [..., *shape]; where `valid` [...] is false a row is left out."""
        rows = x.reshape(-1, *self.shape).double()  # [N, *shape]
        weight = rows.new_ones(rows.shape[0]) if valid is None else valid.reshape(-1).double()
        column = weight.view(-1, *(1,) * len(self.shape))
        rows = torch.where(column > 0, rows, 0.0)  # a row that does not count may hold anything, NaN too
        n = weight.sum()
        mean = rows.sum(0) / n.clamp_min(1)
        m2 = (column * (rows - mean).square()).sum(0)

        total = self.count + n
        delta = (mean - self.mean) * (n > 0)
        self.m2 += m2 + delta.square() * self.count * n / total.clamp_min(1)
        self.mean += delta * n / total.clamp_min(1)
        self.count.copy_(total)
        self.shift.copy_(self.mean)
        self.inverse_std.copy_(torch.where(total > 0, (self.var + EPSILON).rsqrt(), 1.0))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.shift) * self.inverse_std).clamp(-LIMIT, LIMIT)


class RunningNorm(nn.Module):
    """A `LeafNorm` for every float leaf of an observation; other leaves pass unchanged."""

    def __init__(self, spec: ObsSpec, device: torch.device | str | None = None) -> None:
        super().__init__()
        leaves = [leaf for leaf in spec.leaves if leaf.dtype == torch.float32 and leaf.name != MASK_NAME]
        self.names = [leaf.name for leaf in leaves]
        self.norms = nn.ModuleList(LeafNorm(leaf.shape, device) for leaf in leaves)

    def update(self, tree: dict[str, Tensor], valid: Tensor | None = None) -> None:
        """Count observations [..., *shape] of every leaf, leading axes as in `valid`."""
        for name, norm in zip(self.names, self.norms, strict=True):
            assert isinstance(norm, LeafNorm)
            norm.update(tree[name], valid)

    def forward(self, tree: dict[str, Tensor]) -> dict[str, Tensor]:
        changed = {name: norm(tree[name]) for name, norm in zip(self.names, self.norms, strict=True)}
        return {**tree, **changed}


class ReturnNorm(nn.Module):
    """Scales rewards by the standard deviation of the running discounted return of each lane.

    As in the return normalisation of Engstrom et al. (2020): the mean is not subtracted, since that
    would change which policy is best.
    """

    returns: Tensor

    def __init__(self, lanes: int, gamma: float, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.gamma = gamma
        self.stats = LeafNorm((), device)
        self.register_buffer("returns", torch.zeros(lanes, device=device))

    @torch.no_grad()
    def update(self, reward: Tensor, done: Tensor, valid: Tensor | None = None) -> None:
        """reward, done (terminated or truncated) and valid: [N], or [T, N] for a whole rollout."""
        lanes = len(self.returns)
        counts = torch.ones_like(done) if valid is None else valid
        rows = zip(*(x.reshape(-1, lanes) for x in (reward, done, counts)), strict=True)
        seen = []
        for r, ended, counted in rows:
            self.returns.copy_(torch.where(counted, self.returns * self.gamma + r, self.returns))
            seen.append(self.returns.clone())
            self.returns.masked_fill_(ended & counted, 0.0)
        self.stats.update(torch.stack(seen), counts)

    def scale(self, reward: Tensor) -> Tensor:
        """The reward, any shape, in units of one standard deviation of the return, clipped.

        While all returns are equal there is no unit, and rewards are only clipped.
        """
        varied = self.stats.var > 1e-6 * self.stats.mean.square()
        return (reward * torch.where(varied, self.stats.inverse_std, 1.0)).clamp(-LIMIT, LIMIT)
