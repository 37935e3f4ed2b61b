"""First states prepared ahead: small array operations cost the same for one lane as for many."""

from __future__ import annotations

import numpy as np
import torch

from rlkit.envs.batched.counting import episode_seeds_array, uniforms_array
from rlkit.envs.batched.tasks import Task


class Ahead:
    """On the host: seed [N], first state [k, N] and observation [N, d] of each lane's next own episode.

    Lanes that used theirs wait until one of them ends again; then all of them are prepared at once.
    """

    def __init__(self, task: Task, keys: np.ndarray, episode: np.ndarray) -> None:
        """keys [N] uint64; episode [N] int64, numbers of the running episodes: a view of the living book."""
        self._task, self._keys, self._episode = task, keys, episode
        self._used = np.ones(task.lanes, dtype=bool)
        self.seed = np.zeros(task.lanes, dtype=np.int64)
        self.state = np.zeros((task.rows, task.lanes), dtype=np.float32)
        self.obs = task.observe(torch.from_numpy(self.state)).numpy()

    def prepare(self, rows: np.ndarray) -> None:
        """Have what comes after the running episodes of these lanes."""
        if self._used[rows].any():
            lanes = self._used.nonzero()[0]
            seeds = episode_seeds_array(self._keys[lanes], self._episode[lanes] + 1)
            fresh = self._task.initial(torch.from_numpy(uniforms_array(seeds, self._task.draws)))
            self.seed[lanes], self.state[:, lanes] = seeds, fresh.numpy()
            self.obs[lanes] = self._task.observe(fresh).numpy()
            self._used[lanes] = False

    def forget(self, rows: np.ndarray) -> None:
        """These lanes go on to their next episode."""
        self._used[rows] = True
