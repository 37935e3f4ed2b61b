"""What travels between the trainer and a worker process, and what a worker does with it.

Gymnasium's workers have one environment each and send pickled tuples with everything that `info` says. Steps
are most of the traffic, so here a worker steps several lanes for one message, and messages are bytes:
observations go through shared memory, and of the infos those that the boundary reads. The first byte says
what a message is:

to a worker      s  step: a byte for each lane, 1 if it is parked, then the actions (raw, or pickled)
                 r  reset: pickled {place: seed} and options
                 c  close

to the trainer   s  stepped: reward and flags of each lane, then pickled {place: infos}, if there are any
                 d  done: pickled {place: infos}
                 f  failed: a pickled Failure

A place counts the lanes of one worker.
"""

from __future__ import annotations

import math
import pickle
import struct
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import iterate, write_to_shared_memory

from rlkit.envs.infos import wanted

STEP, RESET, CLOSE, DONE, FAILED = b"s", b"r", b"c", b"d", b"f"
_ROW = struct.Struct("<d??")  # reward, terminated, truncated
_ROWS = np.dtype([("reward", "<f8"), ("terminated", "?"), ("truncated", "?")])
_ARRAYS = spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary

_NOTHING = _ROW.pack(0.0, False, False)  # of a parked lane

Told = dict[int, dict[str, Any]]  # place → infos


# ---------------------------------------------------------------------- the trainer's side


def pack_actions(
    space: spaces.Space, batch_space: spaces.Space, actions: Any, shares: Sequence[range]
) -> list[bytes]:
    """A batch of actions of `batch_space` → for each worker those of its lanes."""
    if not isinstance(space, _ARRAYS):
        singles = list(iterate(batch_space, actions))
        _must_match(len(singles), shares)
        return [pickle.dumps(singles[lanes.start : lanes.stop]) for lanes in shares]
    array = np.asarray(actions, space.dtype)
    _must_match(len(array), shares)
    raw, size = array.tobytes(), array.nbytes // len(array)
    return [raw[size * lanes.start : size * lanes.stop] for lanes in shares]


def _must_match(actions: int, shares: Sequence[range]) -> None:
    if actions != shares[-1].stop:
        raise ValueError(f"{actions} actions for {shares[-1].stop} lanes")


def unpack_rows(answer: bytes, lanes: int) -> tuple[np.ndarray, Told]:
    """An answer to STEP → rows [lanes] with the columns reward, terminated and truncated, and infos."""
    end = 1 + lanes * _ROW.size
    rows = np.frombuffer(answer, _ROWS, lanes, offset=1)
    return rows, pickle.loads(answer[end:]) if len(answer) > end else {}


@dataclass(frozen=True)
class Failure:
    """An exception in a worker, as it travels."""

    lane: int
    packed: bytes | None  # the exception, where it survives pickling
    name: str
    text: str
    trace: str

    @staticmethod
    def of(lane: int, error: BaseException) -> Failure:
        try:
            packed = pickle.dumps(error)
            pickle.loads(packed)
        except Exception:  # whatever its __reduce__ or __init__ raises
            packed = None
        trace = "".join(traceback.format_exception(error))
        try:
            text = str(error)
        except Exception:
            text = "an error without a text"
        return Failure(lane, packed, type(error).__name__, text, trace)

    def exception(self) -> Exception:
        """The exception itself, or one that says as much."""
        try:
            error = pickle.loads(self.packed) if self.packed else None
        except Exception:  # its class is not known here
            error = None
        return error if isinstance(error, Exception) else RuntimeError(f"{self.name}: {self.text}")


# ---------------------------------------------------------------------- the worker's side


class LaneFailed(Exception):
    """The environment of a lane raised an exception."""

    def __init__(self, lane: int, error: BaseException) -> None:
        self.failure = Failure.of(lane, error)


def serve(pipe: Connection, lanes: range, make: Callable[[], gym.Env], shared: Any) -> None:
    """Make the environments of these lanes, and answer until the trainer closes or is gone."""
    worker = Worker(lanes, shared)
    try:
        worker.open(make)
        pipe.send_bytes(DONE + pickle.dumps({}))
        while (message := pipe.recv_bytes())[:1] != CLOSE:
            answer = worker.step(message) if message[:1] == STEP else worker.reset(message)
            pipe.send_bytes(answer)
    except LaneFailed as failed:
        with suppress(OSError):
            pipe.send_bytes(FAILED + pickle.dumps(failed.failure))
    except (EOFError, OSError):
        pass  # the trainer is gone: so are we
    finally:
        worker.close()


class Worker:
    """Environments of consecutive lanes, and the answers to messages about them. Raises LaneFailed."""

    def __init__(self, lanes: range, shared: Any) -> None:
        self.lanes, self._shared = lanes, shared
        self._envs: list[gym.Env] = []

    def open(self, make: Callable[[], gym.Env]) -> None:
        for lane in self.lanes:
            try:
                self._envs.append(make())
            except BaseException as error:  # sys.exit, too
                raise LaneFailed(lane, error) from error
        first = self._envs[0]
        self._read = _action_reader(first.action_space, len(self.lanes))
        self._write = _row_writer(first.observation_space, self._shared)

    def step(self, message: bytes) -> bytes:
        """Step the lanes that are not parked."""
        start = 1 + len(self._envs)
        parked, actions = message[1:start], self._read(message[start:])
        rows, told = [STEP], {}
        for place, env in enumerate(self._envs):
            if parked[place]:
                rows.append(_NOTHING)
                continue
            try:
                obs, reward, terminated, truncated, info = env.step(actions[place])
                self._write(self.lanes[place], obs)
                rows.append(_ROW.pack(float(reward), terminated, truncated))
            except BaseException as error:  # sys.exit, too
                raise LaneFailed(self.lanes[place], error) from error
            if read := wanted(info):
                told[place] = read
        if told:
            rows.append(pickle.dumps(told))
        return b"".join(rows)

    def reset(self, message: bytes) -> bytes:
        """Reset the lanes that have a seed."""
        seeds, options = pickle.loads(message[1:])
        told: Told = {}
        for place, seed in seeds.items():
            try:
                obs, info = self._envs[place].reset(seed=seed, options=options)
                self._write(self.lanes[place], obs)
            except BaseException as error:  # sys.exit, too
                raise LaneFailed(self.lanes[place], error) from error
            if read := wanted(info):
                told[place] = read
        return DONE + pickle.dumps(told)

    def close(self) -> None:
        with ExitStack() as all_of_them:  # even if one raises
            for env in self._envs:
                all_of_them.callback(env.close)


def _action_reader(space: spaces.Space, lanes: int) -> Callable[[bytes], Any]:
    """How to make of bytes the actions that Gymnasium's engines would hand over, one a lane."""
    if not isinstance(space, _ARRAYS):
        return pickle.loads
    shape, dtype = (lanes, *space.shape), space.dtype
    # A copy, because an environment may write into its action, and bytes are for reading only.
    return lambda raw: np.frombuffer(raw, dtype).reshape(shape).copy()


def _row_writer(space: spaces.Space, shared: Any) -> Callable[[int, Any], None]:
    """How to put a lane's observation into the memory that all share."""
    if not isinstance(space, _ARRAYS) or not math.prod(space.shape):
        return lambda lane, obs: write_to_shared_memory(space, lane, obs, shared)
    rows = np.frombuffer(shared.get_obj(), space.dtype).reshape(-1, *space.shape)

    def write(lane: int, obs: Any) -> None:
        rows[lane] = obs

    return write
