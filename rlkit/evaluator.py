"""Evaluation: episodes 0…K−1, each with its own seed, on environments of its own.

Fresh environments every time, one seed per episode, a fixed number of lanes and a fixed share of episodes
per lane: the same policy gives exactly the same numbers, and training is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rlkit.config import EnvConfig
from rlkit.envs.engines import make_envs
from rlkit.seeding import episode_seed
from rlkit.types import Actor, Decision, Episode, Score

PARKED = -1


class Evaluator:
    """Plays the configured environment greedily.

    `stream` names the seeds: eval chooses, check confirms, test reports.
    """

    def __init__(
        self,
        env: EnvConfig,
        wrappers: dict[str, dict[str, Any]],
        *,
        seed: int,
        episodes: int,
        lanes: int,
        device: torch.device | str = "cpu",
        stream: str = "eval",
    ) -> None:
        self._env, self._wrappers, self._device, self._stream = env, wrappers, device, stream
        self.lanes = min(lanes, episodes)
        self._seed, self._episodes = seed, episodes
        self.series(0)

    def series(self, number: int) -> None:
        """Play other episodes from now on: every number has seeds of its own."""
        self.seeds = [episode_seed(self._seed, self._stream, number, k) for k in range(self._episodes)]

    def __call__(self, actor: Actor) -> tuple[Score, list[Episode]]:
        """The score, and its episodes in order; the first one carries its actions, to be filmed."""
        envs = make_envs(
            self._env,
            self._wrappers,
            seed=0,
            stream=self._stream,
            num_envs=self.lanes,
            engine="sync",
            training=False,
            device=self._device,
            with_actions=(0,),
        )
        try:
            return self._play(actor, envs)
        finally:
            envs.close()

    def _play(self, actor: Actor, envs: Any) -> tuple[Score, list[Episode]]:
        lanes, total = self.lanes, len(self.seeds)
        current = list(range(lanes))  # which episode each lane plays
        step = envs.reset(self.seeds[:lanes])
        first = torch.ones(lanes, dtype=torch.bool, device=self._device)
        none = torch.zeros_like(first)
        following = self._following(current, total)
        found: dict[int, Episode] = {}
        while len(found) < total:
            envs.send(Decision(actor(step.obs, first), seeds=following))
            step = envs.recv()
            first = none
            if step.ended_lanes:
                first = step.terminated | step.truncated
                for episode in envs.drain():
                    found[current[episode.lane]] = episode
                    current[episode.lane] += lanes
                following = self._following(current, total)
        episodes = [found[k] for k in range(total)]
        score = Score(
            tuple(e.reward for e in episodes),
            tuple(e.length for e in episodes),
            tuple(self.seeds[: len(episodes)]),
        )
        return score, episodes

    def _following(self, current: Sequence[int], total: int) -> torch.Tensor:
        """The seed of each lane's next episode: lane n plays n, n + lanes, n + 2·lanes, …"""
        following = [k + self.lanes for k in current]
        return torch.tensor([self.seeds[k] if k < total else PARKED for k in following])


def play_seeds(seed: int, episodes: int) -> list[int]:
    """Seeds of episodes that are only watched."""
    return [episode_seed(seed, "play", 0, k) for k in range(episodes)]


__all__ = ["Evaluator", "play_seeds"]
