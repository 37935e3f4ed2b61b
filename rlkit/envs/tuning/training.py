"""One epoch of stochastic gradient descent with momentum, and what was measured in it.

Everything random comes from the given generator, and all is computed on one thread: sums of another order
would give other last bits, so that an episode would depend on how many threads the agent uses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from rlkit.envs.tuning.digits import CLASSES, Task
from rlkit.envs.tuning.networks import Network

CHANCE = 1 / CLASSES  # accuracy of a guess
GUESSING = math.log(CLASSES)  # … and its loss: cross entropy in nats
BOUND = 100.0  # nats: a loss beyond has diverged


@dataclass(frozen=True, slots=True)
class Measured:
    """How the network stands after an epoch. Losses are finite and at most `BOUND`."""

    training_loss: float  # mean over the epoch's minibatches
    validation_loss: float
    accuracy: float  # on the validation set
    gradient: float  # mean norm over minibatches, before clipping
    diverged: bool = False


@contextmanager
def alone() -> Iterator[None]:
    """One thread and gradients, whatever the caller has chosen; restored afterwards."""
    threads = torch.get_num_threads()
    if threads != 1:
        torch.set_num_threads(1)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        if threads != 1:
            torch.set_num_threads(threads)


def first_look(network: Network, task: Task) -> Measured:
    """Before any training: loss and gradient over the whole training set."""
    loss = F.cross_entropy(network.logits(task.x), task.y)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, network.parts)])
    return _measured(network, task, float(loss.detach()), float(gradient.norm()))


def epoch(
    network: Network,
    velocity: Tensor,
    task: Task,
    *,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    batch_size: int,
    clip: float = math.inf,
    dropout: float = 0.0,
    random: Generator,
) -> Measured:
    """One pass over the training set in random order; changes `network.flat` and `velocity` [W].

    g = gradient, scaled down to the norm `clip`, plus weight_decay · w;
    velocity = momentum · velocity + g;  w = w − learning_rate · velocity.
    """
    order = torch.randperm(len(task.y), generator=random)
    losses, norms, sizes = [], [], []
    for rows in torch.split(order, batch_size):
        loss = F.cross_entropy(network.logits(task.x[rows], dropout, random), task.y[rows])
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, network.parts)])
        norm = gradient.norm()
        if clip < math.inf:
            gradient.mul_(clip / norm.clamp(min=clip))
        gradient.add_(network.flat, alpha=weight_decay)
        velocity.mul_(momentum).add_(gradient)
        network.flat.sub_(velocity, alpha=learning_rate)
        losses.append(loss.detach())
        norms.append(norm)
        sizes.append(float(len(rows)))
    weights = torch.tensor(sizes, dtype=torch.float32) / len(order)  # the last minibatch may be smaller
    means = torch.stack([torch.stack(losses), torch.stack(norms)]) @ weights
    return _measured(network, task, float(means[0]), float(means[1]))


def _measured(network: Network, task: Task, loss: float, gradient: float) -> Measured:
    with torch.no_grad():
        logits = network.logits(task.validation_x)
        validation_loss = float(F.cross_entropy(logits, task.validation_y))
        accuracy = float((logits.argmax(dim=1) == task.validation_y).float().mean())
    if all(value <= BOUND for value in (loss, validation_loss)) and math.isfinite(gradient):  # NaN is not
        return Measured(loss, validation_loss, accuracy, gradient)
    return Measured(BOUND, BOUND, 0.0, 0.0, diverged=True)
