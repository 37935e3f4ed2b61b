"""The engine: N lanes of one task as tensors on one device, from 1 to 65,536 of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlkit.arriving import Arriving
from rlkit.envs.batched.ahead import Ahead
from rlkit.envs.batched.counting import episode_seeds, lane_keys, uniforms_array
from rlkit.envs.batched.records import Actions, Finished, Ring
from rlkit.envs.batched.stepping import (
    BEGIN,
    EPISODE,
    FIRST,
    OWN,
    PARKED,
    SEED,
    TOTAL,
    Advance,
    Carry,
    beginning,
    bound,
)
from rlkit.envs.batched.tasks import Task
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import ALL, Decision, Episode, State, TimeStep, Tree

RECORDED_LANES = 1_024  # of more lanes only these hand out Episodes: an object for each would be the wall


class BatchedEnvs:
    """The `Envs` protocol of `rlkit.types` over a batched task.

    Lane n plays episodes 0, 1, 2, … with the seeds episode_seed(seed, stream, n, episode), unless a
    `Decision` brings its own (−1 parks the lane). Ended lanes begin their next episode in the same step.

    recorded_lanes: the first so many lanes hand out `Episode`s (lanes are exchangeable: theirs are a fair
    sample); `unrecorded` counts what ended in the others. with_actions: lanes whose episodes carry actions.
    capture: what turns a pure function of tensors into a faster one (a compiler, a CUDA graph); None is
    eager.

    On the host a step looks which lanes ended and tells. On a device it does not wait for any number, and
    the flags of `TimeStep` that the host should know are None; a decision with `seeds` starts one small
    transfer, the number of lanes that are not parked, which the next step reads.
    """

    def __init__(
        self,
        make_task: Callable[[int, torch.device], Task],
        num_envs: int,
        *,
        limit: int,
        obs_spec: ObsSpec,
        action_spec: ActionSpec,
        seed: int,
        stream: str = "train",
        device: torch.device | str = "cpu",
        with_actions: Iterable[int] = (),
        recorded_lanes: int = RECORDED_LANES,
        capture: Callable[[Advance], Advance] | None = None,
    ) -> None:
        self.num_envs, self.obs_spec, self.action_spec = num_envs, obs_spec, action_spec
        self.resume_inexact: str | None = None  # always exact: the state is all there is
        self.recorded_lanes = min(num_envs, recorded_lanes)
        self._device = torch.device(device)
        self._limit, self._with_actions = limit, sorted(set(with_actions))
        self._task = make_task(num_envs, self._device)
        self._keys = lane_keys(seed, stream, num_envs).to(self._device)
        self._host = self._device.type == "cpu" and capture is None
        wrap = capture or (lambda function: function)
        # one function for each set of inputs: a recorded graph cannot change what it is given
        self._plain, self._seeded = (wrap(bound(self._task, limit, self.recorded_lanes)) for _ in range(2))
        self._yes = torch.ones(num_envs, dtype=torch.bool, device=self._device)
        self._no = torch.zeros(num_envs, dtype=torch.bool, device=self._device)
        self._nothing = torch.zeros(num_envs, device=self._device)
        leaf = action_spec.leaves[0]
        self._scale: tuple[Tensor, Tensor] | None = None  # from the policy's units to the environment's
        if leaf.kind == "box" and (leaf.scale != 1.0).any() | (leaf.shift != 0.0).any():
            scale, shift = (torch.tensor(float(x[0]), device=self._device) for x in (leaf.scale, leaf.shift))
            self._scale = scale, shift
        self.obs: Tree = {}
        self._stand(beginning(self._task, episode_seeds(self._keys, torch.zeros_like(self._keys))))

    def _stand(self, carry: Carry, t: int = 0, now: int = 0) -> None:
        """Continue from here; nothing has finished yet."""
        self._carry, self._t, self._now = carry, t, now
        self._look()
        self._over = torch.zeros((), dtype=torch.int64, device=self._device)
        self._actions = Actions([n for n in self._with_actions if n < self.recorded_lanes], self._device)
        self._finished = Finished(self.num_envs, self._actions)
        self._seeds: Tensor | None = None
        self._facts: dict[str, Tensor] = {}
        self._oldest = int(carry["book"][BEGIN].min())  # no running episode began earlier
        if self._host:
            self._book = carry["book"].numpy()  # the same memory
            self._totals = self._book[TOTAL].view(np.float64)
            self._ahead = Ahead(self._task, self._keys.numpy().view(np.uint64), self._book[EPISODE])
        else:
            self._ring = Ring(self.recorded_lanes, self._device)
            self._arriving, self._counting = Arriving(self._device), False
        self.obs = {"obs": self._task.observe(carry["state"])}

    # ------------------------------------------------------------------ the verbs

    def reset(self, seeds: Sequence[int] | None = None) -> TimeStep:
        """Start episode 0 in every lane (seed −1 parks it). Nothing has happened yet: no row is valid."""
        if seeds is None:
            chosen = episode_seeds(self._keys, torch.zeros_like(self._keys))
        else:
            chosen = torch.tensor(list(seeds), dtype=torch.int64, device=self._device)
        self._stand(beginning(self._task, chosen))
        width, dtype = self.action_spec.width, self.action_spec.dtype
        action = torch.zeros(self.num_envs, width, dtype=dtype, device=self._device)
        zeros = torch.zeros(self.num_envs, device=self._device)
        return TimeStep(self.obs, action, zeros, self._no, self._no, self.obs, self._no, 0)

    def send(self, decision: Decision, lanes: slice = ALL) -> None:
        """Hand over the actions [N, A]."""
        action = self.action_spec.clip(decision.action.detach())
        self._action = action if action.device == self._device else action.to(self._device)
        self._seeds, self._facts = decision.seeds, decision.facts or {}

    def recv(self) -> TimeStep:
        """The outcome of the actions sent last."""
        self._actions.add(self._action)
        if self._actions.long:
            self._forget()
        column = self._action[:, 0]
        if self._scale is not None:
            column = (column * self._scale[0]).add_(self._scale[1])
        elif not column.is_contiguous():
            column = column.contiguous()
        return self._recv_host(column) if self._host else self._recv_device(column)

    def drain(self) -> list[Episode]:
        """The episodes that finished since last asked; on a device this waits for it."""
        if not self._host:
            self._ring.empty(self._finished)
        return self._finished.take()

    def close(self) -> None:
        """Nothing is held."""

    @property
    def unrecorded(self) -> int:
        """Episodes that finished in lanes which hand out none. Waits for the device."""
        return int(self._over)

    # ------------------------------------------------------------------ a step on the host

    def _recv_host(self, action: Tensor) -> TimeStep:
        carry, task, book = self._carry, self._task, self._book
        moved, reward, terminated = task.move_on_host(carry["state"], action)
        valid, count, parking = self._yes, self._busy, self._busy < self.num_envs
        if parking:
            valid = self._valid
            moved = torch.where(valid, moved, carry["state"])
            reward = torch.where(valid, reward, self._nothing)
            terminated = terminated & valid
        self._t += 1
        self._now += count
        np.add(self._totals, reward.numpy(), out=self._totals)
        carry["state"] = moved
        truncated, ended, cut = self._no, terminated, False
        if self._t - self._oldest >= self._limit:
            truncated = (carry["book"][BEGIN] <= self._t - self._limit) & valid
            ended, cut = terminated | truncated, True
        rows = ended.numpy().nonzero()[0]
        reached = task.observe(moved)
        next_obs = self.obs = {"obs": reached}
        calls = parking and self._seeds is not None and self._anyone_called(valid)
        if not (len(rows) or calls):
            return TimeStep(next_obs, self._action, reward, self._no, self._no, next_obs, valid, count)
        flags = ended.numpy()[rows].view(np.int8)
        cut_lanes: list[int] = []
        if cut:
            flags = terminated.numpy()[rows] + 2 * truncated.numpy()[rows].view(np.int8)
            cut_lanes = rows[flags == 2].tolist()
        self._finish(rows, flags)
        obs = reached.clone()
        begun = self._restart(rows, obs)
        if len(begun):
            self.obs = {"obs": obs}
        if cut:
            self._oldest = int(book[BEGIN].min())
        return TimeStep(
            self.obs, self._action, reward, terminated, truncated, next_obs, valid, count,
            tuple(cut_lanes), tuple(rows.tolist()), tuple(begun.tolist()),
        )  # fmt: skip

    def _finish(self, rows: np.ndarray, flags: np.ndarray) -> None:
        if self.recorded_lanes < self.num_envs:
            kept = int(np.searchsorted(rows, self.recorded_lanes))
            self._over += len(rows) - kept
            rows, flags = rows[:kept], flags[:kept]
        if len(rows):
            facts = {name: column.numpy()[rows] for name, column in self._facts.items()}
            self._finished.add(self._t, self._now, rows, flags, self._book[:, rows], facts)

    def _restart(self, ended: np.ndarray, obs: Tensor) -> np.ndarray:
        """Begin the next episode where one ended, and wherever a parked lane is called; returns the lanes.

        Their first observations are written into `obs`.
        """
        book, ahead, state = self._book, self._ahead, self._carry["state"].numpy()
        rows = ended
        if self._seeds is None:
            ahead.prepare(rows)
            seeds = ahead.seed[rows]
            state[:, rows] = ahead.state[:, rows]
            obs.numpy()[rows] = ahead.obs[rows]
        else:
            idle = book[SEED] < 0
            idle[rows] = True
            rows = idle.nonzero()[0]
            seeds = np.maximum(self._seeds.cpu().numpy()[rows], PARKED)
        book[EPISODE, ended] += 1
        ahead.forget(ended)
        book[BEGIN, rows] = self._t
        book[FIRST, rows] = self._now
        book[TOTAL, rows] = 0
        book[SEED, rows] = seeds
        if self._seeds is None:
            return rows
        self._look()
        rows, seeds = rows[seeds >= 0], seeds[seeds >= 0]
        if len(rows):
            fresh = self._task.initial(torch.from_numpy(uniforms_array(seeds, self._task.draws)))
            state[:, rows] = fresh.numpy()
            obs.numpy()[rows] = self._task.observe(fresh).numpy()
        return rows

    def _anyone_called(self, busy: Tensor) -> bool:
        """Does the decision bring a seed for a parked lane?"""
        assert self._seeds is not None
        return int(self._seeds.max()) >= 0 and bool(((self._seeds >= 0) & ~busy).any())

    def _look(self) -> None:
        """Which lanes are not parked, and how many. Waits for the device."""
        self._valid = self._carry["book"][SEED] >= 0
        self._busy = int(self._valid.sum())

    # ------------------------------------------------------------------ a step on a device

    def _recv_device(self, action: Tensor) -> TimeStep:
        seeds, count = self._seeds, self._busy
        if self._counting:
            count = self._busy = self._arriving.read()[0]
        parking = count < self.num_envs
        if seeds is None and not parking:
            self._carry, outcome = self._plain(self._carry, self._keys, action, None)
        else:
            given = torch.full_like(self._keys, OWN) if seeds is None else seeds.clamp(min=PARKED)
            self._carry, outcome = self._seeded(self._carry, self._keys, action, given.to(self._device))
        self._counting = seeds is not None
        if self._counting:  # the one small transfer; it is read in the next step
            self._arriving.send((self._carry["book"][SEED] >= 0).sum())
        self._t += 1
        self._now += count
        self._ring.add(self._t, self._now, outcome["flags"], outcome["book"], self._facts)
        if self.recorded_lanes < self.num_envs:
            self._over += outcome["over"]
        if self._ring.full:
            self._ring.empty(self._finished)
        next_obs, self.obs = {"obs": outcome["next_obs"]}, {"obs": outcome["obs"]}
        return TimeStep(
            self.obs, self._action, outcome["reward"], outcome["terminated"], outcome["truncated"], next_obs,
            outcome["valid"] if parking else self._yes, count, None, None, None,
        )  # fmt: skip

    def _forget(self) -> None:
        """Drop the kept actions of episodes that are over and made into records."""
        if not self._host:
            self._ring.empty(self._finished)
        self._finished.make()
        begin = self._carry["book"][BEGIN, list(self._actions.lanes)]
        self._actions.forget(int(begin.min()))

    # ------------------------------------------------------------------ state as data

    def state_dict(self) -> State:
        """The tensors themselves, and the actions of running episodes that are to carry them."""
        if self._actions.lanes:
            self._forget()
        carry: dict[str, Any] = {name: self._carry[name].cpu().clone() for name in ("state", "book")}
        return {
            "carry": carry,
            "t": self._t,
            "now": self._now,
            "unrecorded": self.unrecorded,
            "actions_from": self._actions.start,
            "actions": [row.cpu() for row in self._actions.rows],
        }

    def load_state_dict(self, state: State) -> None:
        """Stand exactly there again."""
        carry: Carry = {name: leaf.clone().to(self._device) for name, leaf in state["carry"].items()}
        lanes = carry["book"].shape[1]
        if lanes != self.num_envs:
            raise ValueError(f"the checkpoint has {lanes} lanes, these environments {self.num_envs}")
        t, now = state["t"], state["now"]
        carry["t"] = torch.full((), t, dtype=torch.int64, device=self._device)
        carry["now"] = torch.full((), now, dtype=torch.int64, device=self._device)
        self._stand(carry, t, now)
        self._over += state["unrecorded"]
        self._actions.start = state["actions_from"]
        self._actions.rows = [row.to(self._device) for row in state["actions"]]
