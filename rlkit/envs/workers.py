"""The engine `async`: processes that start safely anywhere, tell why they failed, and leave nobody behind.

Lanes are shared out evenly among worker processes, one for each core where nothing else is asked.

- Workers are forked from a fresh server process, never from this one: this one may have threads (a
  notebook's, torch's) and a CUDA context, and neither survives a fork. The server imports rlkit once, so a
  worker starts in milliseconds.
- What was registered here by hand (in a notebook cell, in a script) travels to the workers by value, and the
  main script is not run again in them, so it needs no `if __name__ == "__main__"`. What cannot travel (a
  lock, an open file) is refused by name, before anything is started.
- The first failing lane's own traceback is shown before ours; a worker that died is named with its signal.
- Closing never waits for ever, and closes every pipe.
- What travels at a step is a few bytes (`wire`); parked lanes are not stepped.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError, NoAsyncCallError
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import (
    CloudpickleWrapper,
    batch_space,
    clear_mpi_env_vars,
    create_shared_memory,
    read_from_shared_memory,
)

from rlkit.config import EnvConfig
from rlkit.envs import luggage, wire
from rlkit.envs.factory import EnvMaker
from rlkit.errors import UserError

_GRACE = 20  # seconds that a worker process outlives SIGTERM
_PATIENCE = 10  # seconds that closing waits for a worker before it is ended
_GONE = (EOFError, BrokenPipeError, ConnectionResetError)


class WorkerTraceback(Exception):
    """The text of a traceback from a worker; shown first, because it is the cause."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


def why_not(config: EnvConfig, wrappers: dict[str, dict[str, Any]]) -> str | None:
    """The reason why worker processes cannot make this environment, or None."""
    try:
        luggage.pack(EnvMaker(config, wrappers))
    except UserError as error:
        return str(error)
    return None


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def how_many(lanes: int, processes: int = 0) -> int:
    """Worker processes for so many lanes; 0 is one for each core. There are never more than lanes."""
    return min(processes or cores(), lanes)


class Workers(VectorEnv):
    """N environments shared out among processes, in DISABLED autoreset mode.

    Observations come through shared memory and are overwritten by the next call: copy what you keep. Whoever
    uses it resets ended lanes: `reset(seed=[…], options={"reset_mask": [N] bool})`.
    """

    def __init__(self, maker: EnvMaker, num_envs: int, processes: int = 0) -> None:
        one = maker()
        self.num_envs = num_envs
        self.metadata = {**one.metadata, "autoreset_mode": AutoresetMode.DISABLED}
        self.render_mode, self.spec = one.render_mode, one.spec
        self.single_observation_space, self.single_action_space = one.observation_space, one.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        one.close()
        count = how_many(num_envs, processes)
        bounds = [num_envs * worker // count for worker in range(count + 1)]
        self.shares = [range(*pair) for pair in pairwise(bounds)]  # lanes of each worker
        self.parked: np.ndarray | None = None  # [N] bool: lanes that `step` leaves alone
        self.processes: list[Any] = []
        self.pipes: list[Connection] = []
        self._asked: list[int] = []  # workers that owe an answer
        self._stepping = False
        # multiprocessing waits for workers at the interpreter's end, and they for us until _GRACE is over.
        Finalize(self, _hang_up, args=(self.pipes,), exitpriority=0)
        try:
            self._open(maker)
        except BaseException:
            self.close_extras()
            raise

    def _open(self, maker: EnvMaker) -> None:
        methods = multiprocessing.get_all_start_methods()
        method = "forkserver" if "forkserver" in methods else "spawn"
        context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(["rlkit.envs.workers"])
        shared = create_shared_memory(self.single_observation_space, n=self.num_envs, ctx=context)
        self._observations = read_from_shared_memory(self.single_observation_space, shared, n=self.num_envs)
        start = Start.of(maker, self.single_observation_space, self.single_action_space)
        with _main_left_alone(), clear_mpi_env_vars():
            for lanes in self.shares:
                ours, theirs = context.Pipe()
                self.pipes.append(ours)
                arguments = (CloudpickleWrapper(start), lanes, theirs, shared)
                process = context.Process(target=_work, args=arguments, daemon=True)
                self.processes.append(process)
                try:
                    process.start()
                finally:
                    theirs.close()
        self._asked = list(range(len(self.shares)))
        self._answers()  # the environments are made

    # ------------------------------------------------------------------ the verbs

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """All lanes, or those of `options["reset_mask"]`; the others' workers are not disturbed."""
        self._may_ask()
        options = dict(options or {})
        mask = options.pop("reset_mask", None)
        seeds = seed if isinstance(seed, Sequence) else [
            None if seed is None else seed + lane for lane in range(self.num_envs)
        ]  # fmt: skip
        for worker, lanes in enumerate(self.shares):
            wanted = {lane - lanes.start: seeds[lane] for lane in lanes if mask is None or mask[lane]}
            if wanted:
                self._ask(worker, wire.RESET + pickle.dumps((wanted, options or None)))
        asked = list(self._asked)
        told = [pickle.loads(answer[1:]) for answer in self._answers()]
        return self._observations, self._batched(asked, told)

    def step_async(self, actions: Any) -> None:
        """Hand over the actions; workers whose lanes are all parked are not asked."""
        self._may_ask()
        parts = wire.pack_actions(self.single_action_space, self.action_space, actions, self.shares)
        parked = bytes(self.num_envs) if self.parked is None else self.parked.tobytes()
        self._stepping = True
        for worker, lanes in enumerate(self.shares):
            mask = parked[lanes.start : lanes.stop]
            if 0 in mask:
                self._ask(worker, wire.STEP + mask + parts[worker])

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """What became of the actions; rewards and flags are fresh arrays [N], of parked lanes 0 and False."""
        if not self._stepping:
            raise NoAsyncCallError("step_wait without step_async", "step")
        self._stepping, asked = False, list(self._asked)
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, dtype=bool), np.zeros(self.num_envs, dtype=bool)
        told = []
        for worker, answer in zip(asked, self._answers(), strict=True):
            lanes = self.shares[worker]
            rows, infos = wire.unpack_rows(answer, len(lanes))
            here = slice(lanes.start, lanes.stop)
            rewards[here], terminated[here] = rows["reward"], rows["terminated"]
            truncated[here] = rows["truncated"]
            told.append(infos)
        return self._observations, rewards, terminated, truncated, self._batched(asked, told)

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self.step_async(actions)
        return self.step_wait()

    def close_extras(self, **kwargs: Any) -> None:
        """Hang up on every worker, which ends it, and end those that do not."""
        for worker, pipe in enumerate(self.pipes):
            if worker not in self._asked:  # one that owes an answer may not be reading: sending would wait
                with suppress(OSError):
                    pipe.send_bytes(wire.CLOSE)
            pipe.close()
        deadline = time.monotonic() + _PATIENCE
        for process in self.processes:
            if process.pid is None:  # the start itself failed
                continue
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()  # SIGTERM would be answered after _GRACE
                process.join()
            process.close()
        self.pipes.clear()
        self.processes, self._asked = [], []

    # ------------------------------------------------------------------ questions and answers

    def _may_ask(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError("the worker processes are closed")
        if self._asked or self._stepping:
            raise AlreadyPendingCallError("the workers still owe an answer", "step")

    def _ask(self, worker: int, message: bytes) -> None:
        self._asked.append(worker)
        try:
            self.pipes[worker].send_bytes(message)
        except _GONE:
            raise self._dead(worker) from None

    def _answers(self) -> list[bytes]:
        """Of all that were asked, in their order; raises what the first failing lane raised."""
        answers = []
        for worker in self._asked:
            try:
                answers.append(self.pipes[worker].recv_bytes())
            except _GONE:
                raise self._dead(worker) from None
        self._asked = []
        failures = [pickle.loads(answer[1:]) for answer in answers if answer[:1] == wire.FAILED]
        if failures:
            first = failures[0]
            others = f" (and of {len(failures) - 1} more)" if len(failures) > 1 else ""
            cause = f"in the worker of lane {first.lane}{others}:\n{first.trace.rstrip()}\n"
            raise first.exception() from WorkerTraceback(cause)
        return answers

    def _batched(self, asked: Iterable[int], told: Iterable[wire.Told]) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        for worker, of_worker in zip(asked, told, strict=True):
            for place, info in of_worker.items():
                infos = self._add_info(infos, info, self.shares[worker][place])
        return infos

    def _dead(self, worker: int) -> RuntimeError:
        """What to say when a worker is not there any more."""
        lanes, process = self.shares[worker], self.processes[worker]
        process.join(1)
        code = process.exitcode
        killed = code is not None and code < 0
        how = f"killed by {signal.Signals(-code).name}" if killed else f"exit code {code}"
        why = "; out of memory?" if killed and how.endswith("SIGKILL") else ""
        whose = f"lane {lanes[0]}" if len(lanes) == 1 else f"lanes {lanes[0]} to {lanes[-1]}"
        return RuntimeError(f"the worker process of {whose} died ({how}{why})")


def _hang_up(pipes: list[Connection]) -> None:
    for pipe in pipes:
        pipe.close()


# ---------------------------------------------------------------------- in the worker process


@dataclass(frozen=True)
class Start:
    """What a worker process is told at its start.

    Ctrl-C and SIGTERM reach the whole process group, and the trainer still needs its workers to save. A
    worker ends when the trainer closes it, or when the trainer's end of the pipe is gone.
    """

    maker: EnvMaker
    spaces: tuple[gym.Space, gym.Space]  # observations and actions, as the trainer knows them
    scratch: str | None  # where environments may write (rlkit.envs.scratch)
    luggage: bytes  # what another process would not know by itself

    @staticmethod
    def of(maker: EnvMaker, obs: gym.Space, action: gym.Space) -> Start:
        return Start(maker, (obs, action), os.environ.get("RLKIT_SCRATCH"), luggage.pack(maker))

    def make(self) -> gym.Env:
        """One environment."""
        luggage.unpack(self.luggage, self.maker.config.id)
        env = self.maker()
        if (env.observation_space, env.action_space) != self.spaces:
            raise RuntimeError(
                f"{self.maker.config.id} has other spaces in a worker process ({env.observation_space}, "
                f"{env.action_space}) than here ({self.spaces[0]}, {self.spaces[1]})"
            )
        return env


def _work(start: Any, lanes: range, pipe: Connection, shared: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_soon)
    told: Start = start.fn
    if told.scratch:
        os.environ["RLKIT_SCRATCH"] = told.scratch
    wire.serve(pipe, lanes, told.make, shared)


def _end_soon(number: int, frame: Any) -> None:
    """SIGTERM may be for all processes of a job: leave the trainer time to save."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "alarm"):
        signal.alarm(_GRACE)


@contextmanager
def _main_left_alone() -> Iterator[None]:
    """While processes are started, hide where the main script came from, so that none runs it again.

    multiprocessing imports it in every child to find what was defined there. Nothing of it is needed: what a
    worker uses travels by value (cloudpickle), and a script without a main guard would start itself for ever.
    """
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    if "__file__" in hidden:
        del main.__file__
    main.__spec__ = None
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)
