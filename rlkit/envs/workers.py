"""The engine `async`: a process per lane, which starts safely anywhere, tells why it failed, leaves nobody.

Gymnasium's AsyncVectorEnv does the work. What is ours is around it:

- Workers are forked from a fresh server process, never from this one: this one may have threads (a
  notebook's, torch's) and a CUDA context, and neither survives a fork. The server imports rlkit once, so a
  worker starts in milliseconds.
- What was registered here by hand (in a notebook cell, in a script) travels to the workers by value, and the
  main script is not run again in them, so it needs no `if __name__ == "__main__"`. What cannot travel (a
  lock, an open file) is refused by name, before anything is started.
- The first failing worker's own traceback is shown before ours; a worker that died is named with its signal.
- Closing never waits for ever, and closes every pipe and queue.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState, _async_worker
from gymnasium.vector.utils import CloudpickleWrapper

from rlkit import registry
from rlkit.config import EnvConfig
from rlkit.envs import catalog
from rlkit.envs.factory import EnvMaker, own_class
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
        try:
            super().reset_async(seed, options)
        except _GONE as error:
            raise self._dead(error) from None

    def step_async(self, actions: Any) -> None:
        try:
            super().step_async(actions)
        except _GONE as error:
            raise self._dead(error) from None

    def reset_wait(self, timeout: float | None = None) -> Any:
        try:
            return super().reset_wait(timeout)
        except _GONE as error:
            raise self._dead(error) from None

    def step_wait(self, timeout: float | None = None) -> Any:
        try:
            return super().step_wait(timeout)
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
        _async_worker(index, lambda: env, pipe, parent_pipe, shared, errors, mode, semaphore)


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
