"""What a run keeps of its episodes: a record of every one, and films of some.

A film is made after its episode, by playing seed and actions again in an environment of its own: training
never renders, any engine can be filmed, and a killed run loses no film, because what decides it is data.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym

from rlkit.config import EnvConfig, MonitorConfig
from rlkit.envs.factory import EnvInfo
from rlkit.films import schedule
from rlkit.recorder import Recorder
from rlkit.refilm import FilmResult, film_episode
from rlkit.types import Episode, State


class RunMonitor:
    """Two recorders in one directory: training episodes and evaluations, told apart by their type.

    train, evaluate: makers of one environment with frames, as training and evaluation see it; train is None
    where the engine's episodes cannot be played again: then only evaluations are filmed.
    """

    def __init__(
        self,
        directory: Path,
        config: MonitorConfig,
        *,
        env: EnvConfig,
        train: Callable[[], gym.Env] | None,
        evaluate: Callable[[], gym.Env],
        info: EnvInfo,
        run_id: str,
        resume: bool = False,
    ) -> None:
        self.config, self._info, self._lanes = config, info, env.num_envs
        self._makers = {"training": train, "evaluation": evaluate}
        self.films: list[Path] = []  # of this process, the newest last

        def recorder(mode: str, video: str, join: bool) -> Recorder:
            return Recorder(
                directory, env_id=env.id, resume=join, mode=mode, run_id=run_id,
                video=video if info.can_render else "none", fps=config.fps or info.fps, codec=config.codec,
                max_frames=config.max_frames,
            )  # fmt: skip

        self._training = recorder("training", config.video if train else "none", resume)
        self._evaluation = recorder("evaluation", "none", True)
        self._film_evaluation = schedule(config.eval_video if info.can_render else "none")

    def training(self, episode: Episode) -> None:
        """Record a finished training episode; lane 0's are filmed when the schedule says so."""
        video = None
        number = episode.id // self._lanes  # within its lane
        if episode.actions is not None and self._training.wants_film(number, episode.first_step):
            facts = {"step": episode.first_step, **episode.facts}
            film = self._film(self._training, episode, episode.id, facts, gif=False)
            video = film.path.name if film else None
        self._write(self._training, episode, episode.id, video, episode.facts)

    def evaluation(
        self, episodes: list[Episode], number: int, now: int, always: bool = False, kind: str = "eval",
        facts: dict[str, Any] | None = None,
    ) -> FilmResult | None:  # fmt: skip
        """Record evaluation `number` (0, 1, …) made at step `now`; its first episode may be filmed.

        facts: of who played, for records and film.
        """
        extra = {"step": now, **(facts or {})}
        film = None
        first = self._evaluation.next_episode
        if self._info.can_render and (always or self._film_evaluation(number, now)):
            film = self._film(self._evaluation, episodes[0], first, extra, gif=self.config.gif)
        for k, episode in enumerate(episodes):
            video = film.path.name if film and k == 0 else None
            self._write(self._evaluation, episode, first + k, video, {"evaluation": kind, **extra})
        return film

    def _film(
        self, recorder: Recorder, episode: Episode, number: int, extra: dict[str, Any], gif: bool
    ) -> FilmResult | None:
        """Play the episode again and film it. A film that fails is a warning, never the end of a run."""
        maker = self._makers[recorder.mode]
        if episode.seed is None or episode.actions is None or maker is None:
            return None
        spec = self._info.action
        actions = (spec.to_env_single(row) for row in episode.actions)
        film = film_episode(
            recorder, maker, number, episode.seed, actions, episode.reward_train,
            extra=extra, want_gif=gif,
        )  # fmt: skip
        if film:
            self.films.append(film.path)
        return film

    def _write(
        self, recorder: Recorder, episode: Episode, number: int, video: str | None, extra: dict[str, Any]
    ) -> None:
        if self.config.records:
            recorder.episode(
                number, reward=episode.reward, length=episode.length, terminated=episode.terminated,
                truncated=episode.truncated, env_index=episode.lane, seed=episode.seed,
                first_step=episode.first_step, video=video, extra=extra,
            )  # fmt: skip

    def state_dict(self) -> State:
        self._training.stats()
        self._evaluation.stats()
        return {
            "training": self._training.state_dict(),
            "evaluation": self._evaluation.state_dict(),
            "film_evaluation": self._film_evaluation.last,
        }

    def load_state_dict(self, state: State) -> None:
        self._training.load_state_dict(state["training"])
        self._evaluation.load_state_dict(state["evaluation"])
        self._film_evaluation.last = state["film_evaluation"]

    def clear(self) -> None:
        """Delete every record and film of this run: it begins again."""
        nothing = {"lengths": {}, "videos": [], "next_episode": 0, "total_steps": 0, "last_filmed": None}
        self.load_state_dict({"training": nothing, "evaluation": nothing, "film_evaluation": None})

    def close(self) -> None:
        self._training.close()
        self._evaluation.close()
