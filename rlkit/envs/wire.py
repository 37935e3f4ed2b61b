"""What travels between the trainer and a worker process at a step: an action there, a row of numbers back.

Gymnasium sends both as pickled tuples with everything that `info` says. Steps are most of the traffic, so
here they are a few bytes: observations go through shared memory, and of the infos those that the boundary
reads. Whatever else is asked of a worker (reset, close, …) travels as Gymnasium has it.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import iterate, write_to_shared_memory

from rlkit.envs import infos

_STEP = b"s"  # no pickle begins with it
_ROW = struct.Struct("<cd??")  # _STEP, reward, terminated, truncated; a pickle of infos may follow
_ARRAYS = spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary


def pack_actions(space: spaces.Space, batch_space: spaces.Space, actions: Any) -> list[bytes]:
    """A batch of actions of `batch_space` → one message for each lane."""
    if not isinstance(space, _ARRAYS):
        return [_STEP + pickle.dumps(action) for action in iterate(batch_space, actions)]
    array = np.asarray(actions, space.dtype)
    raw, size = array.tobytes(), array.nbytes // len(array)
    return [_STEP + raw[start : start + size] for start in range(0, len(raw), size)]


def unpack_row(message: bytes) -> tuple[float, bool, bool, dict[str, Any]] | None:
    """A worker's answer → reward, terminated, truncated and infos; None where it failed to step."""
    if message[:1] != _STEP:
        return None
    _, reward, terminated, truncated = _ROW.unpack_from(message)
    told = pickle.loads(message[_ROW.size :]) if len(message) > _ROW.size else {}
    return reward, terminated, truncated, told


class WorkerEnd:
    """A worker's end of the pipe as Gymnasium's worker uses it; steps are taken and answered here."""

    def __init__(self, pipe: Connection, env: gym.Env, index: int, shared: Any) -> None:
        self._pipe, self._env = pipe, env
        self._action = _action_reader(env.action_space)
        self._write = _row_writer(env.observation_space, index, shared)

    def recv(self) -> Any:
        """The next command that is not a step."""
        while (message := self._pipe.recv_bytes())[:1] == _STEP:
            obs, reward, terminated, truncated, info = self._env.step(self._action(message))
            self._write(obs)
            read = infos.wanted(info)
            row = _ROW.pack(_STEP, float(reward), terminated, truncated)
            self._pipe.send_bytes(row + pickle.dumps(read) if read else row)
        return pickle.loads(message)

    def send(self, answer: Any) -> None:
        self._pipe.send(answer)


def _action_reader(space: spaces.Space) -> Callable[[bytes], Any]:
    """How to make of a message the action that Gymnasium's engines would hand over."""
    if not isinstance(space, _ARRAYS):
        return lambda message: pickle.loads(message[1:])
    shape, dtype = (1, *space.shape), space.dtype
    # A copy, because an environment may write into its action, and bytes are for reading only.
    return lambda message: np.frombuffer(message, dtype, offset=1).reshape(shape).copy()[0]


def _row_writer(space: spaces.Space, index: int, shared: Any) -> Callable[[Any], None]:
    """How to put this worker's observation into the memory that all share."""
    if not isinstance(space, _ARRAYS) or not math.prod(space.shape):
        return lambda obs: write_to_shared_memory(space, index, obs, shared)
    row = np.frombuffer(shared.get_obj(), space.dtype).reshape(-1, *space.shape)[index : index + 1]

    def write(obs: Any) -> None:
        row[0] = obs

    return write
