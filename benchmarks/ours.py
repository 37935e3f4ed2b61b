"""rlkit's side of the benchmarks: one function per kind of run, each called in a process of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import rlkit
from benchmarks.settings import ENV, DQNSettings, Settings, settings
from rlkit import session
from rlkit.accel import Function, capture
from rlkit.agents import dqn, ppo
from rlkit.config import EnvConfig
from rlkit.envs.engines import make_envs
from rlkit.evaluator import Evaluator
from rlkit.plan import reopen
from rlkit.trainer import Trainer
from rlkit.types import Decision

SHARES = ("env", "act", "learn", "rest")
QUIET = ["trainer.eval_every=0", "trainer.test_episodes=0", "monitor.video=none", "monitor.eval_video=none"]
BARE = [*QUIET, "monitor.records=false", "trainer.checkpoint_every=0"]


def overrides(told: Settings) -> list[str]:
    """The settings as words of rlkit's command line."""
    common = [f"env.id={ENV}", f"trainer.total_steps={told.steps}", f"net.hidden={list(told.hidden)}"]
    agent: dict[str, Any] = {"lr": told.lr, "gamma": told.gamma, "max_grad_norm": told.max_grad_norm}
    if isinstance(told, DQNSettings):
        common += ["agent=dqn", "net.activation=relu", "net.orthogonal=false", "env.num_envs=1"]
        agent |= {
            "learning_starts": told.learning_starts, "buffer_size": told.buffer_size,
            "batch_size": told.batch_size, "train_every": told.train_every, "loss": "huber",
            "gradient_steps": told.gradient_steps, "target_every": told.target_every, "target_tau": 1.0,
            "n_step": 1, "double": "false", "lr_schedule": "constant", "epsilon_start": 1.0,
            "epsilon_end": told.epsilon_end, "epsilon_steps": int(told.exploration * told.steps),
        }  # fmt: skip
    else:
        common += ["agent=ppo", "net.activation=tanh", "net.orthogonal=true", f"env.num_envs={told.lanes}"]
        agent |= {
            "horizon": told.horizon, "epochs": told.epochs, "minibatch_size": told.minibatch_size,
            "lr_schedule": "linear", "clip": told.clip, "gae_lambda": told.gae_lambda,
            "clip_schedule": "linear" if told.clip_linear else "constant",
            "entropy_coef": told.entropy_coef,
            "value_coef": 2 * told.value_coef,  # rlkit's value loss is half the squared error
        }  # fmt: skip
    return [*common, *(f"agent.{name}={value}" for name, value in agent.items())]


def speed(job: dict[str, Any]) -> dict[str, Any]:
    """One training run with nothing around it; time is read from the rows of its metrics."""
    told = settings(job["case"], job["steps"])
    with tempfile.TemporaryDirectory() as root:
        config = rlkit.compose([
            *overrides(told), *BARE, "logger=[jsonl]", f"trainer.log_every={told.mark}", f"run.root={root}",
            f"seed={job['seed']}", f"device={job['device']}", f"accel.mode={job['variant']}",
        ])  # fmt: skip
        before = time.process_time()
        with counted() as work:
            run = rlkit.train(config)
        used = time.process_time() - before
        wall = time.time() - job["started"]
        rows = run.metrics()
        found = {"marks": _marks(rows), "wall": wall, "cpu_seconds": used, "steps": run.info["steps"], **work}
        found["shares"] = _shares([row for row in rows if row["step"] > told.warmup])
        score = session.evaluate(
            run.path, checkpoint="latest", episodes=job["episodes"], device=job["device"]
        )
        return {**found, "returns": list(score.returns)}


def _marks(rows: list[dict[str, Any]]) -> list[tuple[int, float]]:
    """(step, seconds since the loop began) at each row."""
    marks, seconds, before = [(0, 0.0)], 0.0, 0
    for row in rows:
        seconds += (row["step"] - before) / row["time/sps"]
        before = row["step"]
        marks.append((before, seconds))
    return marks


def _shares(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds in env, act, learn and the rest, as shares of the rows' time."""
    weights = np.array([1.0 / row["time/sps"] for row in rows])  # rows are equally many steps
    return {
        name: float(np.average([row[f"time/share_{name}"] for row in rows], weights=weights))
        for name in SHARES
    }


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Counts gradient updates and their samples where agents call them, whatever they are captured as.

    What is counted costs well under a microsecond an update, which itself takes hundreds.
    """
    work = {"updates": 0, "samples": 0}

    def counting(function: Function, mode: str, device: torch.device) -> Function:
        captured = capture(function, mode, device)
        if function.__name__ != "_update_eager":
            return captured

        def update(obs: Any, action: torch.Tensor, *rest: Any) -> Any:
            work["updates"] += 1
            work["samples"] += action.shape[0]
            return captured(obs, action, *rest)

        return update

    homes: tuple[Any, ...] = (dqn, ppo)
    for home in homes:
        home.capture = counting
    try:
        yield work
    finally:
        for home in homes:
            home.capture = capture


def ceiling(job: dict[str, Any]) -> dict[str, Any]:
    """Steps per second of random actions: rlkit's lanes for several widths, and one bare environment."""
    steps, found = job["steps"], {}
    for lanes in (1, 4, 8):
        envs = make_envs(EnvConfig(id=ENV), {}, seed=job["seed"], num_envs=lanes)
        actions = torch.randint(2, (steps // lanes, lanes, 1))
        envs.reset()
        start = time.perf_counter()
        for action in actions:
            envs.send(Decision(action))
            envs.recv()
        found[f"rlkit, {lanes} lanes" if lanes > 1 else "rlkit, 1 lane"] = (
            len(actions) * lanes / (time.perf_counter() - start)
        )
        envs.close()
    env = gym.make(ENV, disable_env_checker=True)
    chosen = np.random.default_rng(job["seed"]).integers(2, size=steps)
    env.reset(seed=job["seed"])
    start = time.perf_counter()
    for action in chosen:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    found["gymnasium.make, bare"] = steps / (time.perf_counter() - start)
    env.close()
    return {"sps": found}


def learning(job: dict[str, Any]) -> dict[str, Any]:
    """A preset from its first step to its test: the best and the final network on the same fresh episodes."""
    with tempfile.TemporaryDirectory() as root:
        config = rlkit.compose([
            f"experiment={job['experiment']}", *job["overrides"], f"seed={job['seed']}", f"run.root={root}",
            f"device={job['device']}", f"trainer.test_episodes={job['episodes']}", "monitor.video=none",
            "monitor.eval_video=none", "logger=[jsonl]",
        ])  # fmt: skip
        run = rlkit.train(config)
        plan, agent, _ = reopen(run.path, "latest", (), job["device"])
        evaluator = Evaluator(
            config.env, config.wrappers, seed=config.seed, episodes=job["episodes"],
            lanes=config.trainer.eval_envs, device=plan.setup.device, stream="test",
        )  # fmt: skip
        final, _ = evaluator(agent.actor())
        curve = [
            (row["step"], row["time"], row["eval/return_mean"])
            for row in run.metrics()
            if "eval/return_mean" in row
        ]
        return {
            "curve": curve,
            "final": final.mean,
            "best": run.info["test_mean"],
            "steps": run.info["steps"],
            "seconds": curve[-1][1] if curve else run.info["seconds"],
        }


def overhead(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of the loop, its last checkpoint included, with or without all that is written beside it."""
    told = settings(job["case"], job["steps"])
    extra = [*BARE, "logger=[]"] if job["variant"] == "bare" else [*QUIET, "logger=[tensorboard,jsonl]"]
    seconds: list[float] = []
    fit = Trainer.fit

    def timed(trainer: Trainer) -> str:
        start = time.perf_counter()
        status = fit(trainer)
        seconds.append(time.perf_counter() - start)
        return status

    Trainer.fit = timed  # type: ignore[method-assign,assignment]
    with tempfile.TemporaryDirectory() as root:
        words = [*overrides(told), *extra, f"run.root={root}", f"seed={job['seed']}"]
        rlkit.train(rlkit.compose([*words, f"device={job['device']}", "accel.mode=eager"]))
        size = sum(path.stat().st_size for path in Path(root).rglob("*") if path.is_file())
        return {"sps": told.steps / seconds[0], "bytes": size}
