"""Stepping engines as fast as they go: an engine by itself, and the same engine behind rlkit's boundary.

Each has a process of its own, and they run in short turns with the same actions drawn beforehand, so that a
machine that slows down slows all. Nothing is learnt.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

import rlkit
from rlkit.config import EnvConfig
from rlkit.envs import scratch
from rlkit.envs.engines import make_envs, make_venv
from rlkit.envs.factory import EnvMaker
from rlkit.envs.pool import seed_of as envpool_seed
from rlkit.types import Decision, Envs

TURN = 0.1  # seconds that each side runs before it is the next one's turn: what slows all down is shared
ACTIONS = 64  # different vectors of actions, drawn beforehand

PRESETS = {"CartPole": "cartpole", "Breakout": "breakout", "HalfCheetah": "halfcheetah"}

Outcome = Any  # of an engine alone what its `step` returned, else nothing
Step = Callable[[int], Outcome]  # one vector step, with the i-th actions


def rate(job: dict[str, Any]) -> dict[str, Any]:
    """Steps per second of one engine at a number of lanes, by side.

    own: the engine alone. For sync and async that is Gymnasium's, of the very same wrapped environments;
    `loop` is then what rlkit has in its place, alone, too. copied: the engine, and what no boundary can do
    without: observations as float32 in memory that stays, rewards as float32. through: through rlkit's.
    """
    with ExitStack() as closing:
        pipes = {name: closing.enter_context(_started(job, name)) for name in _names(job["engine"])}
        spent, done = dict.fromkeys(pipes, 0.0), dict.fromkeys(pipes, 0)
        for pipe in pipes.values():
            _turn(pipe, job["seconds"] / 4)  # warm up
        turns = max(2, round(job["seconds"] / TURN))
        for turn in range(turns):
            for name in list(pipes)[:: -1 if turn % 2 else 1]:
                steps, seconds = _turn(pipes[name], job["seconds"] / turns)
                done[name] += steps
                spent[name] += seconds
    return {
        name: {
            "sps": done[name] * job["lanes"] / spent[name],
            "us": 1e6 * spent[name] / done[name],  # per vector step
        }
        for name in pipes
    }


def _names(engine: str) -> list[str]:
    between = {"sync": ["loop"], "async": ["loop"], "ale": ["copied"], "envpool": ["copied"]}
    if engine in PEERS:
        return ["own"]
    return ["own", *between[engine], "through"] if engine in between else ["through"]


def _started(job: dict[str, Any], name: str) -> Connection:
    """A process that steps one side whenever it is asked to, and ends when the pipe to it is closed."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=_take_turns, args=(there, job, name)).start()
    there.close()
    return here


def _take_turns(pipe: Connection, job: dict[str, Any], name: str) -> None:
    torch.set_num_threads(1)
    try:
        step = _side(job, name)
        while True:
            pipe.send(_run(step, pipe.recv(), job["device"]))
    except EOFError:
        pass
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


def _turn(pipe: Connection, seconds: float) -> tuple[int, float]:
    """One turn of that many seconds: steps taken, seconds spent."""
    pipe.send(seconds)
    told = pipe.recv()
    if isinstance(told, str):
        raise RuntimeError(told)
    steps, spent = told
    return steps, spent


def _side(job: dict[str, Any], name: str) -> Step:
    if job["engine"] in PEERS:
        return PEERS[job["engine"]](job)
    config, wrappers = settings(job)
    if name == "through":
        envs = make_envs(config, wrappers, seed=job["seed"], engine=job["engine"], device=job["device"])
        return _through(envs)
    return _alone(job, config, wrappers, name)


def settings(job: dict[str, Any]) -> tuple[EnvConfig, dict[str, dict[str, Any]]]:
    """The environment as `rlkit train env=…` would have it."""
    words = [f"env={PRESETS[job['task']]}", f"env.num_envs={job['lanes']}", "agent=random"]
    if job["engine"] == "ale":  # alone it presses FIRE at resets, not at each life: those are other games
        words.append("wrappers.fire_reset.each_life=false")
    config = rlkit.compose(words)
    return config.env, config.wrappers


def _run(step: Step, seconds: float, device: str) -> tuple[int, float]:
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    wait()
    begin, steps, batch = time.perf_counter(), 0, 1
    while True:
        for number in range(steps, steps + batch):
            step(number)
        wait()
        steps += batch
        spent = time.perf_counter() - begin
        if spent >= seconds:
            return steps, spent
        batch = max(1, min(batch * 2, int(steps * (seconds - spent) / spent / 2)))


# ---------------------------------------------------------------------- rlkit's engines


def _through(envs: Envs) -> Step:
    """Through the boundary, as the trainer does it: a decision in, a TimeStep out, episodes drained."""
    space, lanes = envs.action_spec.space, envs.num_envs
    rng = np.random.default_rng(0)
    device = next(iter(envs.reset().obs.values())).device
    rows = [
        torch.as_tensor(envs.action_spec.from_env(_draw(space, lanes, rng)), device=device)
        for _ in range(ACTIONS)
    ]

    actions = cycle(rows)

    def step(number: int) -> None:
        envs.send(Decision(next(actions)))
        told = envs.recv()
        if told.ended_lanes or number % 256 == 0:
            envs.drain()

    return step


def _alone(job: dict[str, Any], config: EnvConfig, wrappers: dict[str, Any], name: str) -> Step:
    """What stands behind the boundary, stepped directly."""
    engine, lanes = job["engine"], job["lanes"]
    if engine in ("envpool", "ale"):
        step = _envpool(job) if engine == "envpool" else _ale(job)
        return _copied(step) if name == "copied" else step
    maker = EnvMaker(config, wrappers)
    if name == "loop":
        return _gymnasium(make_venv(maker, lanes, engine), own_resets=True)
    theirs = SyncVectorEnv if engine == "sync" else AsyncVectorEnv
    return _gymnasium(theirs([maker] * lanes, autoreset_mode=AutoresetMode.DISABLED), own_resets=True)


def _copied(step: Step) -> Step:
    """A step, and its observations and rewards as tensors of their own."""

    def copied(number: int) -> Outcome:
        outcome = step(number)
        obs, reward = outcome[:2]
        wanted = torch.uint8 if obs.dtype == np.uint8 else torch.float32
        tensor = torch.empty(obs.shape, dtype=wanted)
        np.copyto(tensor.numpy(), obs, casting="unsafe")
        return tensor, torch.from_numpy(reward.astype(np.float32)), *outcome[2:]

    return copied


def _gymnasium(venv: Any, own_resets: bool = False) -> Step:
    rng = np.random.default_rng(0)
    rows = [_draw(venv.single_action_space, venv.num_envs, rng) for _ in range(ACTIONS)]
    venv.reset(seed=0)

    def step(number: int) -> Outcome:
        outcome = venv.step(rows[number % ACTIONS])
        if own_resets:
            ended = outcome[2] | outcome[3]
            if ended.any():
                venv.reset(seed=[number] * venv.num_envs, options={"reset_mask": ended})
        return outcome

    return step


def _draw(space: gym.Space, lanes: int, rng: np.random.Generator) -> np.ndarray:
    if isinstance(space, gym.spaces.Discrete):
        return rng.integers(space.n, size=lanes)
    assert isinstance(space, gym.spaces.Box)
    return rng.uniform(space.low, space.high, (lanes, *space.shape)).astype(space.dtype)


# ---------------------------------------------------------------------- peers


def _sync_vector_env(job: dict[str, Any]) -> Step:
    """Gymnasium's SyncVectorEnv with Gymnasium's own wrappers."""

    name = settings(job)[0].id

    def make() -> gym.Env:
        if job["task"] != "Breakout":
            return gym.make(name, disable_env_checker=True)
        __import__("ale_py")
        env = gym.make("BreakoutNoFrameskip-v4", disable_env_checker=True)
        return FrameStackObservation(AtariPreprocessing(env, noop_max=30), 4)

    return _gymnasium(SyncVectorEnv([make] * job["lanes"], autoreset_mode=AutoresetMode.SAME_STEP))


def _vector_entry_point(job: dict[str, Any]) -> Step:
    """Gymnasium's hand-vectorised CartPole, in NumPy."""
    return _gymnasium(gym.make_vec("CartPole-v1", job["lanes"], vectorization_mode="vector_entry_point"))


def _ale(job: dict[str, Any]) -> Step:
    """ale-py's vector environment with the standard preprocessing, in as many threads as it likes."""
    vector_env = __import__("ale_py.vector_env", fromlist=["AtariVectorEnv"])
    return _gymnasium(
        vector_env.AtariVectorEnv(
            "breakout", num_envs=job["lanes"], repeat_action_probability=0.0, noop_max=30, stack_num=4,
            reward_clipping=True, use_fire_reset=True, autoreset_mode=AutoresetMode.SAME_STEP,
        )
    )  # fmt: skip


def _envpool(job: dict[str, Any]) -> Step:
    """EnvPool, in as many threads as it likes, on the episodes of `env.engine=envpool`."""
    name = {"CartPole": "CartPole-v1", "Breakout": "Breakout-v5", "HalfCheetah": "HalfCheetah-v5"}[
        job["task"]
    ]
    options = {"repeat_action_probability": 0.0, "episodic_life": True, "reward_clip": True}
    with scratch.working_directory():  # its MuJoCo writes a log where the process stands
        pool = __import__("envpool").make(
            name, env_type="gymnasium", num_envs=job["lanes"], seed=envpool_seed(job["seed"], "train"),
        **(options if job["task"] == "Breakout" else {}),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    space = pool.action_space
    rows = [_draw(space, job["lanes"], rng) for _ in range(ACTIONS)]
    if space.dtype.kind == "f":
        rows = [row.astype(np.float32).astype(space.dtype) for row in rows]  # what a policy can ask for
    actions = cycle(rows)
    pool.reset()
    return lambda number: pool.step(next(actions))


PEERS: dict[str, Callable[[dict[str, Any]], Step]] = {
    "SyncVectorEnv": _sync_vector_env,
    "CartPoleVectorEnv": _vector_entry_point,
    "EnvPool": _envpool,
    "AtariVectorEnv": _ale,
}
