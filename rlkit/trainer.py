"""THE loop: act, step, observe, learn; and, when they are due, log, evaluate, save.

The trainer knows nothing of algorithms and nothing of engines. Everything that decides the next step is in
`state_dict`, so that a run continued from a checkpoint cannot be told from one that never stopped.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

import torch

from rlkit.checkpoint import Checkpoints
from rlkit.config import TrainerConfig
from rlkit.errors import NumbersBroke
from rlkit.evaluator import Evaluator
from rlkit.filming import RunMonitor
from rlkit.logger import Logger
from rlkit.runfolder import RunFolder
from rlkit.schedules import Every
from rlkit.solved import Solved
from rlkit.types import Actor, Agent, Envs, Episode, RowStore, State, Tree

_HEARTBEAT = 2.0  # seconds between updates of run.json


class Trainer:
    """One agent in N lanes until `total_steps`. `stop` may be set from a signal handler."""

    def __init__(
        self,
        config: TrainerConfig,
        agent: Agent,
        envs: Envs,
        *,
        logger: Logger,
        folder: RunFolder | None = None,
        evaluator: Evaluator | None = None,
        checkpoints: Checkpoints | None = None,
        monitor: RunMonitor | None = None,
        threshold: float | None = None,
        checker: Evaluator | None = None,
    ) -> None:
        self.config, self.agent, self.envs, self.logger = config, agent, envs, logger
        self.folder, self.evaluator, self.checkpoints, self.monitor = folder, evaluator, checkpoints, monitor
        self.now = 0  # decisions so far over all lanes
        self.best: float | None = None  # highest mean return of an evaluation, and where
        self.best_step = 0
        self.solved = Solved(threshold)
        self.confirmed: float | None = None  # mean return of the fresh episodes that held the goal, and when
        self.confirmed_step: int | None = None
        self.checks = 0  # how often fresh episodes were played
        self._threshold, self._checker = threshold, checker
        self.stop = False
        self.saved: Path | None = None  # the newest checkpoint of this process
        self._log_due = Every(config.log_every)
        self._eval_due = Every(config.eval_every)
        self._save_due = Every(config.checkpoint_every)
        self._evaluations, self._evaluated_at, self._saved_at = 0, -1, -1
        self._obs: Tree | None = None
        self._spent = {"act": 0.0, "env": 0.0, "learn": 0.0}  # seconds since the last row
        self._lap = self._first_lap = self._beat = time.perf_counter()
        self._lap_step = self._first_step = 0

    # ------------------------------------------------------------------ the loop

    def fit(self) -> str:
        """Train to the end; returns how it ended: done, stopped (a condition was met) or preempted."""
        agent, envs, clock = self.agent, self.envs, time.perf_counter
        obs = self._obs if self._obs is not None else envs.reset(self._first_seeds()).obs
        total, spent, ended = self.config.total_steps, self._spent, self._satisfied()
        self._lap = self._first_lap = clock()
        self._lap_step = self._first_step = self.now
        while self.now < total and not ended and not self.stop:
            start = clock()
            decision = agent.act(obs, self.now)
            acted = clock()
            envs.send(decision)
            step = envs.recv()
            stepped = clock()
            agent.observe(obs, decision, step)
            obs = self._obs = step.obs
            self.now += step.count
            metrics = agent.learn(self.now)
            learnt = clock()
            spent["act"] += acted - start
            spent["env"] += stepped - acted
            spent["learn"] += learnt - stepped
            if metrics is not None:
                self.logger.add(metrics)
                ended |= self._confirm()
                self._tell()
            last = self.now >= total
            evaluate = bool(self._eval_due(self.now)) or (last and self.config.eval_every > 0)
            log, save = bool(self._log_due(self.now)), bool(self._save_due(self.now))
            # Engines on a device do not tell which lanes ended (None): they are asked when something is due.
            if step.ended_lanes or evaluate or log or save or last:
                ended |= self._record(envs.drain())
            if evaluate or ended:
                ended |= self._evaluate()
            if log or last or ended or (evaluate and self.evaluator):
                self._log()
            if save:
                self._save()
        if self._saved_at != self.now:
            self._record(envs.drain())
            self._save()
        if self.stop and self.now < total and not ended:
            return "preempted"
        return "stopped" if ended and self.now < total else "done"

    def _first_seeds(self) -> list[int] | None:
        """Seeds of the first episodes, where an agent chooses them (the later ones are in its decisions)."""
        choose = getattr(self.agent, "first_seeds", None)
        return None if choose is None else choose()

    def _tell(self) -> None:
        """What an agent says and shows of what it has just learnt, where it has something (see `Agent`)."""
        news = getattr(self.agent, "news", None)
        if news is not None:
            line, important = news()
            self.logger.news(line, important)
        pictures = getattr(self.agent, "pictures", None)
        if pictures is not None and self.logger.shows_pictures:
            for tag, picture in pictures().items():
                self.logger.picture(tag, self.now, picture)

    # ------------------------------------------------------------------ what is due now and then

    def _record(self, episodes: list[Episode]) -> bool:
        """Keep what finished; True when that solved the task and training may stop for it."""
        before = self.solved.step
        for episode in episodes:
            self.solved.add(episode.reward, episode.last_step)
            row = {"episode/return": episode.reward, "episode/length": float(episode.length)}
            if episode.reward_train != episode.reward:
                row["episode/return_train"] = episode.reward_train
            self.logger.add(row)
            if self.monitor:
                self.monitor.training(episode)
        return self.config.stop_when_solved and before != self.solved.step

    def _evaluate(self) -> bool:
        """Score the greedy policy, keep it if it is the best; True when training may stop."""
        if self.evaluator is None or self._evaluated_at == self.now:
            return False
        state = self._healthy(self.agent.state_dict())
        actor = self.agent.actor()
        score, episodes = self.evaluator(actor)
        self._evaluated_at = self.now
        self.logger.add({
            "eval/return_mean": score.mean,
            "eval/return_std": score.std,
            "eval/return_min": min(score.returns),
            "eval/return_max": max(score.returns),
            "eval/length_mean": sum(score.lengths) / len(score.lengths),
        })  # fmt: skip
        if self.monitor:
            facts = getattr(actor, "facts", None)
            film = self.monitor.evaluation(episodes, self._evaluations, self.now, facts=facts)
            if film and film.gif:
                self.logger.gif("eval/episode", self.now, film.gif, *struct.unpack("<HH", film.gif[6:10]))
        self._evaluations += 1
        if self.best is None or score.mean >= self.best or self.confirmed_step == self.now:
            self.best, self.best_step = score.mean, self.now
            if self.checkpoints:
                self.checkpoints.save(self.now, {"agent": state, "score": score.mean}, kind="best")
        return self._satisfied()

    def _satisfied(self) -> bool:
        """What training may stop for was reached, by earlier processes too."""
        if self.config.stop_when_solved and self.solved.step is not None:
            return True
        goal, reached = self.config.stop_at_return, self.best
        if self._checker is not None:
            goal, reached = self._goal(), self.confirmed
        return goal is not None and reached is not None and reached >= goal

    def _goal(self) -> float | None:
        """The mean return that fresh episodes must hold."""
        goal = self.config.stop_at_return
        return self._threshold if goal is None else goal

    def _confirm(self) -> bool:
        """Have what reached the goal in training checked, where the agent names such; True when it holds."""
        goal, confirm = self._goal(), getattr(self.agent, "confirm", None)
        if goal is None or confirm is None or self._checker is None:
            return False
        return bool(confirm(goal, self._check))

    def _check(self, actor: Actor) -> float:
        """Mean return over episodes that were never played before: one that was lucky does not stop a run."""
        assert self._checker is not None
        self.checks += 1
        self._checker.series(self.checks)
        mean, goal = self._checker(actor)[0].mean, self._goal()
        self.logger.add({"check/return_mean": mean})
        if goal is not None and mean >= goal:
            self.confirmed, self.confirmed_step = mean, self.now
            episodes = len(self._checker.seeds)
            self.logger.say(f"step {self.now:,}: {mean:.4g} over {episodes} fresh episodes holds {goal:g}")
        return mean

    def _log(self) -> None:
        clock = time.perf_counter()
        seconds, steps = max(clock - self._lap, 1e-9), self.now - self._lap_step
        row = {"time/sps": steps / seconds}
        rest = 1.0 - sum(self._spent.values()) / seconds  # evaluation, films, saves, logs
        row["time/share_rest"] = rest
        for name, share in self._spent.items():
            row[f"time/share_{name}"] = share / seconds
            self._spent[name] = 0.0
        self._lap, self._lap_step = clock, self.now
        scalars = self.logger.flush(self.now, row)
        if self.logger.broken:
            raise NumbersBroke(f"{self.logger.broken} is not finite at step {self.now}")
        average = (self.now - self._first_step) / max(clock - self._first_lap, 1e-9)  # a steadier ETA
        shown = {
            "sps": average,
            "epsilon": scalars.get("explore/epsilon"),
            "best eval": self.best,
        }
        self.logger.progress(self.now, self.config.total_steps, shown)
        if self.folder and clock - self._beat > _HEARTBEAT:
            self._beat = clock
            self.folder.write(**self.summary())

    def summary(self) -> dict[str, float | int | None]:
        """What run.json says about a run that is under way."""
        seconds = self.folder.seconds if self.folder else 0.0
        sps = self.now / seconds if seconds else 0.0
        return {
            "steps": self.now,
            "seconds": seconds,
            "sps": sps,
            "score": self.best,
            "best_step": self.best_step,
            "checks": self.checks,
            "confirmed": self.confirmed,
            **self.solved.facts(),
        }

    def _save(self) -> None:
        if self.checkpoints is None:
            return
        state = self.state_dict()
        self._healthy(state["agent"])
        stores: dict[str, RowStore] = getattr(self.agent, "stores", dict)()
        self.saved = self.checkpoints.save(self.now, state, stores)
        self._saved_at = self.now

    def _healthy(self, state: State) -> State:
        """The agent's state, if all its numbers are finite: a broken one is never saved nor evaluated."""
        if _not_finite(state):
            raise NumbersBroke(f"the agent is not finite at step {self.now}")
        return state

    def broken(self) -> str | None:
        """The place of the first number in the agent's state that is not finite."""
        return _not_finite(self.agent.state_dict())

    # ------------------------------------------------------------------ state

    def state_dict(self) -> State:
        return {
            "now": self.now,
            "best": self.best,
            "best_step": self.best_step,
            "evaluations": self._evaluations,
            "evaluated_at": self._evaluated_at,
            "solved": self.solved.state_dict(),
            "checked": [self.checks, self.confirmed, self.confirmed_step],
            "due": [self._log_due.last, self._eval_due.last, self._save_due.last],
            "agent": self.agent.state_dict(),
            "envs": self.envs.state_dict(),
            "logger": self.logger.state_dict(),
            "monitor": self.monitor.state_dict() if self.monitor else None,
        }

    def load_state_dict(self, state: State) -> None:
        """Call with the agent's stores already restored; `envs.resume_inexact` tells what was not exact."""
        self.now = self._saved_at = state["now"]
        self.best, self.best_step = state["best"], state["best_step"]
        self._evaluations, self._evaluated_at = state["evaluations"], state["evaluated_at"]
        self.solved.load_state_dict(state["solved"])
        self.checks, self.confirmed, self.confirmed_step = state["checked"]
        self._log_due.last, self._eval_due.last, self._save_due.last = state["due"]
        self.envs.load_state_dict(state["envs"])
        self._obs = self.envs.obs
        self.logger.load_state_dict(state["logger"])
        if self.monitor and state["monitor"] is not None:
            self.monitor.load_state_dict(state["monitor"])

    def start_over(self) -> None:
        """Forget what a process that died before its first checkpoint wrote: rows, records and films."""
        self.logger.load_state_dict({})
        if self.monitor:
            self.monitor.clear()


def _not_finite(state: object, path: str = "") -> str | None:
    """The place of the first float tensor in a state that holds NaN or infinity."""
    if isinstance(state, torch.Tensor):
        # A rollout may hold what it likes; weights, statistics and optimiser state may not.
        return path if state.is_floating_point() and not bool(torch.isfinite(state).all()) else None
    items = (
        state.items()
        if isinstance(state, dict)
        else enumerate(state)
        if isinstance(state, list | tuple)
        else ()
    )
    for name, value in items:
        found = _not_finite(value, f"{path}/{name}" if path else str(name))
        if found:
            return found
    return None
