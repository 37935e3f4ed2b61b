"""Returns and advantages: pure functions, [T, N] in and out. T is time, N lanes.

Truncation is not termination: a terminated successor is worth 0, a truncated one is worth its value, and
either flag ends the sum over time.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gae(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, eq. 16).

    reward, value, next_value: [T, N] float32; next_value[t] is V of the true successor.
    terminated, truncated: [T, N] bool.
    Returns advantages [T, N]; add `value` for the returns.
    """
    delta = reward + gamma * next_value * ~terminated - value
    keep = gamma * gae_lambda * ~(terminated | truncated)
    advantage = torch.empty_like(reward)
    running = torch.zeros_like(reward[0])
    for t in range(reward.shape[0] - 1, -1, -1):
        running = torch.addcmul(delta[t], keep[t], running, out=advantage[t])
    return advantage


def n_step(
    reward: Tensor, terminated: Tensor, truncated: Tensor, gamma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The n-step return of windows that begin at time 0 (Sutton & Barto 2018, eq. 7.1).

    reward: [n, B] float32; terminated, truncated: [n, B] bool.
    Returns (sum of discounted rewards up to the first end [B], the factor of the bootstrap value [B]: 0
    where the window terminated, gamma^k after k rewards elsewhere; k − 1, the row whose successor is
    bootstrapped from [B] int64).
    """
    alive = torch.ones_like(reward[0])
    total = torch.zeros_like(reward[0])
    factor = torch.ones_like(reward[0])
    last = torch.zeros_like(reward[0], dtype=torch.int64)
    for k in range(reward.shape[0]):
        total = total + alive * factor * reward[k]
        if k:
            last = last + alive.to(torch.int64)
        factor = torch.where(alive.bool(), factor * gamma, factor)
        factor = factor * ~(alive.bool() & terminated[k])
        alive = alive * ~(terminated[k] | truncated[k])
    return total, factor, last


def explained_variance(value: Tensor, target: Tensor) -> Tensor:
    """1 − Var(target − value) / Var(target), 0-d; 1 is perfect, 0 no better than the mean."""
    variance = target.var(correction=0)
    return torch.where(
        variance > 0, 1 - (target - value).var(correction=0) / variance, torch.zeros_like(variance)
    )
