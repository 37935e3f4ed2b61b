"""The engine `async`: a process per lane, which starts safely anywhere, tells why it failed, leaves nobody.

Gymnasium's AsyncVectorEnv starts the processes and shares the memory. What is ours is around it:

- Workers are forked from a fresh server process, never from this one: this one may have threads (a
  notebook's, torch's) and a CUDA context, and neither survives a fork. The server imports rlkit once, so a
  worker starts in milliseconds.
- What was registered here by hand (in a notebook cell, in a script) travels to the workers by value, and the
  main script is not run again in them, so it needs no `if __name__ == "__main__"`. What cannot travel (a
  lock, an open file) is refused by name, before anything is started.
- The first failing worker's own traceback is shown before ours; a worker that died is named with its signal.
- Closing never waits for ever, and closes every pipe and queue.
- A step is a few bytes (`wire`), and a reset disturbs only the workers of the lanes that are reset.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState, _async_worker
from gymnasium.vector.utils import CloudpickleWrapper

from rlkit import registry
from rlkit.config import EnvConfig
from rlkit.envs import catalog, wire
from rlkit.envs.factory import EnvMaker, own_class
from rlkit.envs.infos import wanted
from rlkit.errors import UserError

_GRACE = 20  # seconds that a worker process outlives SIGTERM
_PATIENCE = 10  # seconds that closing waits for a worker before it is ended
_GONE = (EOFError, BrokenPipeError, ConnectionResetError)


class WorkerTraceback(Exception):
    """The text of a traceback from a worker; shown first, because it is the cause."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


@dataclass(frozen=True)
class Worker:
    """Makes one lane's environment in its process.

    Ctrl-C and SIGTERM reach the whole process group, and the trainer still needs its workers to save. A
    worker ends when the trainer closes it, or when the trainer's end of the pipe is gone.
    """

    maker: EnvMaker
    parent: int  # process id: a vector environment also makes one environment there, to read its spaces
    scratch: str | None = None  # where environments may write (rlkit.envs.scratch)
    luggage: bytes = b""  # what another process would not know by itself

    @staticmethod
    def of(maker: EnvMaker) -> Worker:
        return Worker(maker, os.getpid(), os.environ.get("RLKIT_SCRATCH"), _pack(maker))

    def __call__(self) -> gym.Env:
        if os.getpid() != self.parent:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, _end_soon)
            if self.scratch:
                os.environ["RLKIT_SCRATCH"] = self.scratch
            _unpack(self.luggage, self.maker.config.id)
        return self.maker()


def why_not(config: EnvConfig, wrappers: dict[str, dict[str, Any]]) -> str | None:
    """The reason why worker processes cannot make this environment, or None."""
    try:
        _pack(EnvMaker(config, wrappers))
    except UserError as error:
        return str(error)
    return None


def _pack(maker: EnvMaker) -> bytes:
    """The objects behind the maker's names, by value where the main script or a notebook defined them."""
    name = maker.config.id
    module, _, bare = name.rpartition(":")
    found = {("wrapper", key): registry.wrappers.get(key) for key in maker.wrappers}
    if name in registry.envs:
        found["environment", name] = registry.envs.get(name)
    elif module == "__main__" and (own := own_class(name)):
        found["environment", name] = own
    elif module in ("", "__main__") and (spec := gym.registry.get(bare)):
        if str(spec.entry_point).startswith("__main__:"):
            spec = replace(spec, entry_point=load_env_creator(str(spec.entry_point)))
        found["environment", bare] = spec
    packed = {}
    for (kind, key), thing in found.items():
        try:
            packed[kind, key] = pickle.dumps(CloudpickleWrapper(thing))
        except Exception as error:  # whatever a __reduce__ raises
            reason = str(error) or type(error).__name__
            raise UserError(
                f"the {kind} {key} cannot be sent to a worker process ({reason}); "
                "make that object in its __init__, or in a module that it imports"
            ) from error
    return pickle.dumps(packed)


def _unpack(luggage: bytes, name: str) -> None:
    """Register here, in a worker, what was packed there."""
    for (kind, key), packed in pickle.loads(luggage).items():
        try:
            thing = pickle.loads(packed).fn
        except Exception as error:
            raise UserError(
                f"a worker process cannot load the {kind} {key} ({type(error).__name__}: {error}); "
                "put it into a module that can be imported, or take env.engine=sync"
            ) from error
        if isinstance(thing, EnvSpec):
            catalog.prepare(name)
            gym.registry.setdefault(key, thing)
            continue
        known = registry.wrappers if kind == "wrapper" else registry.envs
        if key not in known:
            known.add(key, thing)


class Workers(AsyncVectorEnv):
    """N environments in N processes, in DISABLED autoreset mode; observations through shared memory."""

    def __init__(self, maker: EnvMaker, num_envs: int) -> None:
        methods = multiprocessing.get_all_start_methods()
        method = "forkserver" if "forkserver" in methods else "spawn"
        if method == "forkserver":
            multiprocessing.get_context(method).set_forkserver_preload(["rlkit.envs.workers"])
        self.processes: list[Any] = []
        self.parent_pipes: list[Any] = []
        self.parked: np.ndarray | None = None  # [N] bool: lanes that a step leaves alone
        self._asked: Sequence[int] = ()  # lanes that owe an answer
        worker = Worker.of(maker)
        with _main_left_alone():
            try:
                super().__init__(
                    [worker] * num_envs, shared_memory=True, copy=False, context=method,
                    worker=_work, autoreset_mode=AutoresetMode.DISABLED,
                )  # fmt: skip
            except _GONE as error:
                self._state = AsyncState.DEFAULT
                raise self._dead(error) from None
            except BaseException:
                self._state = AsyncState.DEFAULT
                self.close_extras()
                raise

    def reset_async(self, seed: Any = None, options: dict[str, Any] | None = None) -> None:
        """All lanes, or those of `options["reset_mask"]` [N] bool; the others' workers are not disturbed."""
        self._expect(AsyncState.DEFAULT)
        options = dict(options or {})
        mask = options.pop("reset_mask", None)
        seeds = seed if isinstance(seed, Sequence) else [
            None if seed is None else seed + lane for lane in range(self.num_envs)
        ]  # fmt: skip
        lanes = range(self.num_envs) if mask is None else np.flatnonzero(mask).tolist()
        with self._workers_alive():
            for lane in lanes:
                self.parent_pipes[lane].send(("reset", {"seed": seeds[lane], "options": options or None}))
        self._asked, self._state = lanes, AsyncState.WAITING_RESET

    def reset_wait(self, timeout: float | None = None) -> tuple[Any, dict[str, Any]]:
        """The observations of all lanes, and what those that were reset tell."""
        self._expect(AsyncState.WAITING_RESET, timeout)
        with self._workers_alive():
            answers = [self.parent_pipes[lane].recv() for lane in self._asked]
        self._raise_if_errors(good for _, good in answers)
        infos: dict[str, Any] = {}
        for lane, ((_, info), _) in zip(self._asked, answers, strict=True):
            infos = self._add_info(infos, wanted(info), lane)
        self._state = AsyncState.DEFAULT
        return self.observations, infos

    def step_async(self, actions: Any) -> None:
        """Send every worker that is not parked its action."""
        self._expect(AsyncState.DEFAULT)
        messages = wire.pack_actions(self.single_action_space, self.action_space, actions)
        if len(messages) != self.num_envs:
            raise ValueError(f"{len(messages)} actions for {self.num_envs} lanes")
        lanes = range(self.num_envs) if self.parked is None else np.flatnonzero(~self.parked).tolist()
        with self._workers_alive():
            for lane in lanes:
                self.parent_pipes[lane].send_bytes(messages[lane])
        self._asked, self._state = lanes, AsyncState.WAITING_STEP

    def step_wait(
        self, timeout: float | None = None
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """What became of the actions; rewards and flags are fresh arrays [N], of parked lanes 0 and False."""
        self._expect(AsyncState.WAITING_STEP, timeout)
        with self._workers_alive():
            rows = [wire.unpack_row(self.parent_pipes[lane].recv_bytes()) for lane in self._asked]
        if None in rows:
            self._raise_if_errors(row is not None for row in rows)
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, dtype=bool), np.zeros(self.num_envs, dtype=bool)
        infos: dict[str, Any] = {}
        for lane, row in zip(self._asked, rows, strict=True):
            assert row is not None
            rewards[lane], terminated[lane], truncated[lane], info = row
            if info:
                infos = self._add_info(infos, info, lane)
        self._state = AsyncState.DEFAULT
        return self.observations, rewards, terminated, truncated, infos

    def _expect(self, state: AsyncState, timeout: float | None = None) -> None:
        """Whether this call may come now; a wait with a timeout also says when nobody answered in time."""
        self._assert_is_running()
        if self._state is not state:
            kind = AlreadyPendingCallError if state is AsyncState.DEFAULT else NoAsyncCallError
            raise kind(f"the workers are in the state {self._state.value}", self._state.value)
        if not self._poll_pipe_envs(timeout):
            self._state = AsyncState.DEFAULT
            raise multiprocessing.TimeoutError(f"no answer from every worker after {timeout} seconds")

    @contextmanager
    def _workers_alive(self) -> Iterator[None]:
        try:
            yield
        except _GONE as error:
            raise self._dead(error) from None

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """Ask every worker to end, end those that do not, and let go of every pipe and queue."""
        pipes = [pipe for pipe in self.parent_pipes if pipe is not None and not pipe.closed]
        for pipe in pipes:
            with suppress(*_GONE, OSError):
                pipe.send(("close", None))
        for process in self.processes:
            if process.pid is None:  # the start itself failed
                continue
            process.join(0 if terminate else _PATIENCE)
            if process.is_alive():
                process.kill()  # SIGTERM would be answered after _GRACE
                process.join()
            process.close()
        for pipe in pipes:
            pipe.close()
        self.processes, self.parent_pipes = [], []
        if hasattr(self, "error_queue"):
            self.error_queue.close()
            self.error_queue.join_thread()

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """Raise the first failing worker's exception, its own traceback shown before ours."""
        failed = [lane for lane, good in enumerate(successes) if not good]
        if not failed:
            return
        found = sorted(self.error_queue.get(timeout=_PATIENCE) for _ in failed)
        self._state = AsyncState.DEFAULT
        lane, kind, value, trace = found[0]
        others = f" (and {len(found) - 1} more lanes)" if len(found) > 1 else ""
        cause = WorkerTraceback(f"in the worker of lane {lane}{others}:\n{trace.rstrip()}\n")
        error = value if isinstance(value, BaseException) else _like(kind, value)
        raise error from cause

    def _dead(self, error: BaseException) -> RuntimeError:
        """What to say when a worker is not there any more."""
        for lane, process in enumerate(self.processes):
            process.join(1)
            if process.exitcode not in (None, 0):
                code = process.exitcode
                how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
                why = "; out of memory?" if code == -signal.SIGKILL else ""
                return RuntimeError(f"the worker process of lane {lane} died ({how}{why})")
        return RuntimeError(f"a worker process is gone ({type(error).__name__})")


def _work(
    index: int, make: Any, pipe: Any, parent_pipe: Any, shared: Any, errors: Any, mode: Any, semaphore: Any
) -> None:
    """Gymnasium's worker, whose environment could not always be made."""
    try:
        env = make()
    except Exception as error:
        _tell(errors, index, error)
        with suppress(*_GONE):
            pipe.send((None, False))
        return
    with suppress(*_GONE, KeyboardInterrupt):  # the trainer is gone: so are we
        end = wire.WorkerEnd(pipe, env, index, shared)
        _async_worker(index, lambda: env, end, parent_pipe, shared, errors, mode, semaphore)


def _tell(errors: Any, index: int, error: Exception) -> None:
    errors.put((index, type(error), str(error), traceback.format_exc()))


def _like(kind: Any, value: Any) -> Exception:
    """The worker's exception again; some kinds cannot be made from their text."""
    try:
        made = kind(str(value))
    except Exception:
        made = None
    return made if isinstance(made, Exception) else RuntimeError(f"{kind.__name__}: {value}")


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
