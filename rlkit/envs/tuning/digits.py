"""The data: 1797 handwritten digits of 8×8 pixels that ship with scikit-learn, and the task of an episode.

They are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998, UCI).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

CLASSES = 10
SIDE = 8  # pixels
VALIDATION = 500  # digits, the same number in every episode


@dataclass(frozen=True)
class Task:
    """What an episode trains on. Everything is drawn from the environment's generator, nothing is shared."""

    x: Tensor  # [n, 1, 8, 8] float32, mean about 0, deviation about `contrast`
    y: Tensor  # [n] int64, some of them wrong
    validation_x: Tensor  # [500, 1, 8, 8]
    validation_y: Tensor  # [500], all of them right
    contrast: float
    noise: float  # share of training labels that were drawn anew
    gain: float  # initial weights have so many times the deviation of He et al. (2015)


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [1797, 8, 8] of mean 0 and deviation 1, labels int64 [1797]. Never written to."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = data.images.astype(np.float32)
    images = (images - images.mean()) / images.std()
    labels = data.target.astype(np.int64)
    images.flags.writeable = labels.flags.writeable = False
    return images, labels


def draw(random: np.random.Generator, fewest: int, most: int) -> Task:
    """A split into training (`fewest` … `most` digits) and validation, and how hard the task is."""
    images, labels = digits()
    order = random.permutation(len(labels))
    n = int(random.integers(fewest, most + 1))
    inside, outside = order[VALIDATION : VALIDATION + n], order[:VALIDATION]
    contrast = float(np.exp(random.uniform(np.log(0.1), np.log(2.0))))
    gain = float(np.exp(random.uniform(np.log(0.3), np.log(2.0))))
    noise = float(random.uniform(0.0, 0.2))
    y = labels[inside]
    wrong = random.random(n) < noise
    y = np.where(wrong, random.integers(CLASSES, size=n), y)

    def tensor(which: np.ndarray) -> Tensor:
        return torch.from_numpy(images[which] * np.float32(contrast)).unsqueeze(1)

    validation_y = torch.from_numpy(labels[outside])
    return Task(tensor(inside), torch.from_numpy(y), tensor(outside), validation_y, contrast, noise, gain)
