"""The nouns of rlkit. Shapes: N lanes, T horizon, B minibatch, A action width.

A *lane* is one slot of a vector environment, a *step* is one agent decision summed over lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rlkit.config import AccelConfig, NetConfig
from rlkit.spaces import ActionSpec, ObsSpec

Tree = dict[str, Tensor]  # one tensor [N, ...] per leaf of the observation space
Metrics = dict[str, Tensor | float]  # 0-d detached tensors (no device sync) or plain numbers
State = dict[str, Any]  # only tensors, int, float, bool, None, str, bytes, list, tuple, dict

ALL = slice(None)


@dataclass(slots=True)
class TimeStep:
    """What happened in these lanes. Flags live on the host and on the device: no one has to wait.

    Engines that live on a device leave `truncated_lanes`, `ended_lanes` and `begun_lanes` None: the host does
    not know, and asking would make it wait. A lane may be told `terminated` while its game goes on (a life
    is lost): it is then in `ended_lanes` but not in `begun_lanes`, and `obs` is the true successor.
    """

    obs: Tree  # [N, ...] decide on this (already the new episode where one ended)
    action: Tensor  # [N, A] what was executed, in the units of ActionSpec
    reward: Tensor  # [N] float32
    terminated: Tensor  # [N] bool: the MDP ended, the value of next_obs is 0
    truncated: Tensor  # [N] bool: the clock ended, bootstrap from next_obs
    next_obs: Tree  # [N, ...] true successor; the SAME object as obs when no lane ended
    valid: Tensor  # [N] bool: False where nothing happened (resetting, parked): never learnt from
    count: int  # valid rows, known on the host
    truncated_lanes: tuple[int, ...] | None = ()  # lanes whose clock ended, known on the host
    ended_lanes: tuple[int, ...] | None = ()  # lanes where either flag is set, known on the host
    begun_lanes: tuple[int, ...] | None = ()  # lanes whose `obs` is the first of an episode
    lanes: slice | None = None  # which lanes: all of them (None) unless an engine works in halves


@dataclass(slots=True)
class Decision:
    """What an agent wants done, and what it needs back when it observes the outcome."""

    action: Tensor  # [N, A]
    memo: dict[str, Tensor] = field(default_factory=dict)  # log-probability, value, …; empty for DQN
    seeds: Tensor | None = None  # [N] int64: seed of each lane's NEXT episode, −1 parks the lane
    facts: dict[str, Tensor] | None = None  # name → [N] int64 for the records of RUNNING episodes; −1: none


@dataclass(slots=True)
class Episode:
    """One finished episode of one lane. `actions` and `seed` are enough to play it again."""

    id: int  # lane + lanes × (how many episodes this lane had before): unique, whatever the order of ends
    lane: int
    seed: int | None  # None where the engine does not let us choose
    reward: float  # the environment's own return, before any reward wrapper
    reward_train: float  # the return that the agent saw
    length: int  # agent decisions
    terminated: bool
    truncated: bool
    first_step: int  # decisions over all lanes before this episode's first one
    last_step: int  # … and after its last
    actions: np.ndarray | None = None  # [length, A]
    facts: dict[str, int] = field(default_factory=dict)  # of the last decision: for its record


@dataclass(frozen=True)
class Score:
    """What an evaluation found: one number per episode, in episode order."""

    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    seeds: tuple[int, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        return float(np.std(self.returns))


@dataclass(frozen=True)
class AgentSetup:
    """What the world tells an agent at build time; shapes are derived from here, never configured."""

    obs: ObsSpec
    action: ActionSpec
    lanes: int
    total_steps: int
    device: torch.device
    seed: int
    net: NetConfig
    accel: AccelConfig


class Actor(Protocol):
    """A policy that only acts, owns its memory, and disturbs nobody.

    It may have `facts`, a dict of what to write into the records and films of its episodes.
    """

    def __call__(self, obs: Tree, first: Tensor) -> Tensor:
        """obs [N, ...], first [N] bool (a new episode begins here) → actions [N, A]."""
        ...


class Agent(Protocol):
    """The verbs every learner has, whatever it learns from.

    Some have more, and are asked when `learn` has returned metrics: `confirm(goal, check)` → whether what
    reached the goal in training holds it where `check(actor)` plays fresh episodes (it is then what `actor()`
    returns); `news()` → a line for people and whether it must not be left out; `pictures()` → {tag: uint8
    [H, W, 3]} for TensorBoard, only where it is on.
    """

    def act(self, obs: Tree, now: int, lanes: slice = ALL) -> Decision: ...
    def observe(self, obs: Tree, decision: Decision, step: TimeStep) -> None: ...
    def learn(self, now: int) -> Metrics | None: ...
    def actor(self) -> Actor: ...
    def state_dict(self) -> State: ...
    def load_state_dict(self, state: State, policy_only: bool = False) -> None:
        """`policy_only` takes what acting needs and leaves the rest: for evaluation, on any device."""
        ...


class RowStore(Protocol):
    """Data too large to rewrite at every checkpoint: rows with absolute numbers, of which the last few live.

    An agent that has one returns it by name from `stores()`; checkpoints then save only what is new.
    """

    @property
    def oldest(self) -> int: ...  # first row still alive
    @property
    def total(self) -> int: ...  # one past the newest row
    def read_rows(self, start: int, stop: int) -> dict[str, Tensor]:
        """Columns of stop − start rows. `#GROUP/…` belong to some rows only, which `#GROUP/row` numbers."""
        ...

    def write_rows(self, start: int, rows: dict[str, Tensor]) -> None: ...


class Envs(Protocol):
    """N lanes of one environment; the only thing that knows engines."""

    num_envs: int
    obs_spec: ObsSpec
    action_spec: ActionSpec
    obs: Tree  # what the next decision is about

    def reset(self, seeds: Sequence[int] | None = None) -> TimeStep: ...
    def send(self, decision: Decision, lanes: slice = ALL) -> None: ...
    def recv(self) -> TimeStep: ...
    def drain(self) -> list[Episode]: ...
    def state_dict(self) -> State: ...
    def load_state_dict(self, state: State) -> None: ...
    def close(self) -> None: ...
