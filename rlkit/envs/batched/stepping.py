"""One step of all lanes as one pure function of tensors: task, time limit, next episodes, accounts.

It neither reads a tensor nor draws a number, so it can be compiled or recorded as a CUDA graph. On the host
the engine (`lanes.py`) does the same with less work, because it may look which lanes ended; a test holds the
two equal, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlkit.envs.batched.counting import episode_seeds, uniforms
from rlkit.envs.batched.tasks import Task

# What decides the next step. state [k, N] float32; t, now []: vector steps and decisions so far, int64; book
# [5, N] int64, about the running episodes:
BEGIN = 0  # the vector step after which it began
FIRST = 1  # decisions over all lanes before it
TOTAL = 2  # its return so far, the bits of a float64
EPISODE = 3  # its number in its lane
SEED = 4  # what it began with, −1 in a parked lane
ROWS = 5
Carry = dict[str, Tensor]
Outcome = dict[str, Tensor]
Advance = Callable[..., tuple[Carry, Outcome]]

OWN = -2  # in `seeds`: the lane's own next seed; a parked lane stays parked
PARKED = -1


def advance(
    task: Task, limit: int, recorded: int, carry: Carry, keys: Tensor, action: Tensor, seeds: Tensor | None
) -> tuple[Carry, Outcome]:
    """action [N] as the task takes it; seeds [N] int64 of the next episodes, None where no lane is parked.

    The outcome: obs, next_obs, reward, terminated, truncated, valid, and of the first `recorded` lanes flags
    [recorded] int8 (1 terminated, 2 truncated, 0 where nothing ended) and book, as it was when they ended;
    over []: episodes that ended in the other lanes.
    """
    begin, first, bits, episode, seed = carry["book"].unbind(0)
    t = carry["t"] + 1
    moved, reward, terminated = task.move(carry["state"], action)
    truncated = (t - begin) >= limit
    busy = seed >= 0
    if seeds is not None:
        moved = torch.where(busy, moved, carry["state"])
        reward = torch.where(busy, reward, 0.0)
        terminated, truncated = terminated & busy, truncated & busy
    ended = terminated | truncated
    now = carry["now"] + (task.lanes if seeds is None else busy.sum())
    total = bits.view(torch.float64) + reward
    closing = torch.stack((begin, first, total.view(torch.int64), episode, seed))
    flags = terminated.to(torch.int8) + 2 * truncated.to(torch.int8)
    episode = episode + ended
    chosen = episode_seeds(keys, episode)
    changed = begun = ended
    if seeds is not None:
        chosen = torch.where(seeds == OWN, torch.where(busy, chosen, PARKED), seeds)
        changed = ended | ~busy
        begun = changed & (chosen >= 0)
    fresh = task.initial(uniforms(chosen, task.draws))
    state = torch.where(begun, fresh, moved)
    opening = torch.stack(
        (t.expand_as(begin), now.expand_as(begin), torch.zeros_like(begin), episode, chosen)
    )
    after = {"state": state, "book": torch.where(changed, opening, closing), "t": t, "now": now}
    outcome = {
        "obs": task.observe(state),
        "next_obs": task.observe(moved),
        "reward": reward,
        "terminated": terminated,
        "truncated": truncated,
        "valid": busy,
        "flags": flags[:recorded],
        "book": closing[:, :recorded],
        "over": ended[recorded:].sum(),
    }
    return after, outcome


def bound(task: Task, limit: int, recorded: int) -> Advance:
    """`advance` as a function of tensors alone: (carry, keys, action, seeds) → (carry, outcome)."""

    def step(carry: Carry, keys: Tensor, action: Tensor, seeds: Tensor | None) -> tuple[Carry, Outcome]:
        return advance(task, limit, recorded, carry, keys, action, seeds)

    return step


def beginning(task: Task, seeds: Tensor) -> Carry:
    """All lanes at the first states of their episodes 0, or parked."""
    book = torch.zeros(ROWS, len(seeds), dtype=torch.int64, device=seeds.device)
    book[SEED] = seeds.clamp(min=PARKED)
    zero = torch.zeros((), dtype=torch.int64, device=seeds.device)
    return {
        "state": task.initial(uniforms(seeds, task.draws)),
        "book": book,
        "t": zero,
        "now": zero.clone(),
    }
