"""Uniform replay: the last `capacity` transitions, every observation and every stacked frame stored once.

Time runs in rows, one a vector step, in a ring. Row r holds what was observed, done and received at r; the
successor of (r, lane) is the observation of row r + 1, unless the lane's clock ended at r: then its final
observation lies in a small table beside the ring. Terminated successors are worth 0 and are never read.
Of stacked frames (`ObsLeaf.stack`) only the newest is kept; `rlkit.memory.frames` puts stacks together again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlkit.memory.frames import age_dtype, history, next_age, stacked, stored_bytes, stored_shape
from rlkit.returns import n_step
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.trees import tree_equal
from rlkit.types import State, TimeStep, Tree

_TERMINATED, _TRUNCATED, _INVALID = 1, 2, 4


@dataclass(slots=True)
class Batch:
    """B transitions over up to n steps, ready for a target: reward + factor · V(next_obs)."""

    obs: Tree  # [B, ...]
    action: Tensor  # [B, A]
    reward: Tensor  # [B] discounted sum of up to n rewards
    factor: Tensor  # [B] 0 where the window terminated, gamma^k after k rewards elsewhere
    next_obs: Tree  # [B, ...] true successor of the window
    weight: Tensor  # [B] 0 where the row is not a transition (a resetting lane), 1 elsewhere

    def tensors(self) -> tuple[Tree, Tensor, Tensor, Tensor, Tree, Tensor]:
        return self.obs, self.action, self.reward, self.factor, self.next_obs, self.weight


class Replay:
    """A ring of `capacity` transitions over `lanes`; a `RowStore` whose rows are vector steps."""

    def __init__(
        self,
        obs: ObsSpec,
        action: ActionSpec,
        capacity: int,
        lanes: int,
        device: torch.device,
        n: int = 1,
        gamma: float = 0.99,
    ) -> None:
        self.rows = max(-(-capacity // lanes), n)  # transitions' rows alive at most
        self.total = 0  # rows ever written
        self._obs_spec, self._action_spec = obs, action
        self._lanes, self._device, self._n, self._gamma = lanes, device, n, gamma
        self._history = history(obs)  # rows before the oldest transition whose frames it may need
        self._stack = {leaf.name: leaf.stack for leaf in obs.leaves if leaf.stack > 1}
        self._slots = self.rows + self._history + 1  # one more: the newest observation has no action yet
        self._host = device.type == "cpu"
        self._obs: Tree = {}
        self._final_rows: dict[int, list[tuple[int, int]]] = {}  # row → (lane, place in the table)
        self._free: list[int] = []
        self._final_size = 0
        self._seams: list[int] = []  # first row of each gap where the lanes' episodes were broken off
        self._resumed = False  # the next observations may not be those that came last

    @staticmethod
    def nbytes(obs: ObsSpec, action: ActionSpec, capacity: int, lanes: int) -> int:
        """Bytes of a full replay, final observations of truncated lanes (at most 1 % of rows) included."""
        rows = -(-capacity // lanes) + history(obs) + 1
        width = action.width * torch.empty(0, dtype=action.dtype).element_size()
        return int(rows * lanes * (stored_bytes(obs) * 1.01 + width + 4 + 1 + 4))

    @property
    def oldest(self) -> int:
        """The first row that is kept; those before `first` only lend their frames."""
        return max(0, self.total - self.rows - self._history)

    @property
    def first(self) -> int:
        """The first row that is sampled."""
        return max(0, self.total - self.rows)

    def __len__(self) -> int:
        return (self.total - self.first) * self._lanes

    def _allocate(self) -> None:
        """Memory is taken at the first row, so that an agent built only to act costs none."""
        shape, device = (self._slots, self._lanes), self._device
        self._obs = {
            leaf.name: torch.zeros(*shape, *stored_shape(leaf), dtype=leaf.dtype, device=device)
            for leaf in self._obs_spec.leaves
        }
        self._action = torch.zeros(
            *shape, self._action_spec.width, dtype=self._action_spec.dtype, device=device
        )
        self._reward = torch.zeros(*shape, device=device)
        self._flags = torch.zeros(*shape, dtype=torch.uint8, device=device)
        self._final_at = torch.zeros(*shape, dtype=torch.int32, device=device)
        self._final: Tree = {k: v.new_zeros(0, *v.shape[2:]) for k, v in self._obs.items()}
        if self._stack:
            self._age = torch.zeros(*shape, dtype=age_dtype(self._history), device=device)
        # On the host NumPy views write a row several times faster than tensor indexing.
        self._obs_views = [(name, leaf.numpy()) for name, leaf in self._obs.items()] if self._host else []
        if self._host:
            self._action_view, self._reward_view = self._action.numpy(), self._reward.numpy()
            self._flags_view = self._flags.numpy()

    # ------------------------------------------------------------------ writing

    def add(self, obs: Tree, step: TimeStep) -> None:
        """Append the vector step that led from `obs` to `step`."""
        if not self._obs:
            self._allocate()
        if self.total == 0:
            self._put_obs(0, obs)
        elif self._resumed:
            self._resumed = False
            if not tree_equal(self._newest(), obs):
                self._add_seam(obs)
        slot = self.total % self._slots
        self._forget(self.total - self._slots)
        if self._host:
            self._action_view[slot] = step.action.numpy()
            self._reward_view[slot] = step.reward.numpy()
        else:
            self._action[slot] = step.action
            self._reward[slot] = step.reward
        if step.ended_lanes is None or step.ended_lanes or step.count < self._lanes:
            flags = step.terminated * _TERMINATED + (step.truncated & ~step.terminated) * _TRUNCATED
            self._flags[slot] = (flags + ~step.valid * _INVALID).to(torch.uint8)
        elif self._host:
            self._flags_view[slot] = 0
        else:
            self._flags[slot].zero_()
        cut = step.truncated_lanes
        if cut is None:  # an engine on a device: the host has to ask
            cut = tuple((step.truncated & ~step.terminated).nonzero().flatten().tolist())
        for lane in cut:
            final = {k: v[lane, -1] if k in self._stack else v[lane] for k, v in step.next_obs.items()}
            self._keep_final(self.total, lane, final)
        if self._stack:
            self._age[(self.total + 1) % self._slots] = next_age(
                self._age[slot], self._history, step.begun_lanes, step.terminated | step.truncated
            )
        self.total += 1
        self._put_obs(self.total % self._slots, step.obs)

    def _newest(self) -> Tree:
        """The observations [N, ...] that were put last."""
        lanes = torch.arange(self._lanes, device=self._device)
        return self._observations(self.total % self._slots * self._lanes + lanes)

    def _add_seam(self, obs: Tree) -> None:
        """Rows that are no transitions lead from the newest observations to `obs` of other episodes.

        They carry the frames of `obs`, so that every stack is right whatever the lanes have seen.
        """
        self._seams.append(self.total)
        for back in range(self._history, -1, -1):
            slot = self.total % self._slots
            self._forget(self.total - self._slots)
            self._action[slot], self._reward[slot], self._flags[slot] = 0, 0, _INVALID
            self.total += 1
            frames = {k: v[:, : v.shape[1] - back] if k in self._stack else v for k, v in obs.items()}
            self._put_obs(self.total % self._slots, frames)
            if self._stack:
                self._age[self.total % self._slots] = 0 if back else self._history

    def _put_obs(self, slot: int, obs: Tree) -> None:
        if self._stack:
            obs = {name: leaf[:, -1] if name in self._stack else leaf for name, leaf in obs.items()}
        if self._host:
            for name, view in self._obs_views:
                view[slot] = obs[name].numpy()
        else:
            for name, leaf in self._obs.items():
                leaf[slot] = obs[name]

    def _keep_final(self, row: int, lane: int, obs: Tree) -> None:
        if not self._free:
            grow = max(16, self._final_size)
            self._final = {k: torch.cat([v, v.new_zeros(grow, *v.shape[1:])]) for k, v in self._final.items()}
            self._free = list(range(self._final_size + grow - 1, self._final_size - 1, -1))
            self._final_size += grow
        place = self._free.pop()
        for name, leaf in self._final.items():
            leaf[place] = obs[name]
        self._final_at[row % self._slots, lane] = place
        self._final_rows.setdefault(row, []).append((lane, place))

    def _forget(self, row: int) -> None:
        for _, place in self._final_rows.pop(row, ()):
            self._free.append(place)

    # ------------------------------------------------------------------ sampling

    @property
    def ready(self) -> bool:
        """Whether a window of n rows is there."""
        return self.total - self.first >= self._n

    def sample(self, size: int, generator: torch.Generator) -> Batch:
        """`size` transitions, uniform over lanes and rows whose window of n steps is complete."""
        first, rows = self.first, self.total - self._n + 1 - self.first
        pick = torch.randint(rows * self._lanes, (size,), generator=generator, device=generator.device)
        pick = pick.to(self._device, non_blocking=True) + first * self._lanes
        return self.gather(pick)

    def gather(self, pick: Tensor) -> Batch:
        """The transitions numbered row · lanes + lane, [B] int64."""
        size = self._slots * self._lanes
        flags_of, reward_of = self._flags.flatten(), self._reward.flatten()
        at = pick % size
        flags, reward = flags_of.index_select(0, at), reward_of.index_select(0, at)
        if self._n == 1:
            last, terminated = at, (flags & _TERMINATED).bool()
            factor = self._gamma * ~terminated
        else:
            steps = (pick + self._lanes * torch.arange(self._n, device=pick.device)[:, None]) % size  # [n, B]
            window = flags_of[steps]
            terminated, truncated = (window & _TERMINATED).bool(), (window & _TRUNCATED).bool()
            if self._seams:  # a window ends before a row on which nothing happened
                truncated[:-1] |= (window[1:] & _INVALID).bool()
            reward, factor, k = n_step(reward_of[steps], terminated, truncated, self._gamma)
            last = steps.gather(0, k[None])[0]
        after = (last + self._lanes) % size
        next_obs = self._observations(after, last)
        if self._final_size:
            cut = (flags_of[last] & _TRUNCATED).bool()
            place = torch.where(cut, self._final_at.flatten()[last], 0).long()
            for name, leaf in next_obs.items():
                final = self._final[name][place]
                newest = leaf[:, -1] if name in self._stack else leaf
                newest_or_final = torch.where(cut.view(-1, *[1] * (newest.dim() - 1)), final, newest)
                if name in self._stack:
                    leaf[:, -1] = newest_or_final
                else:
                    next_obs[name] = newest_or_final
        return Batch(
            self._observations(at),
            self._action.flatten(0, 1).index_select(0, at),
            reward,
            factor,
            next_obs,
            ((flags & _INVALID) == 0).float(),
        )

    def _observations(self, at: Tensor, before: Tensor | None = None) -> Tree:
        """The observations at places [B] of the ring.

        `before` tells whose successors they are: a stack goes on from there where the clock ended, though
        the ring goes on with a new episode; its newest frame is then still to be replaced.
        """
        if not self._stack:
            return {name: leaf.flatten(0, 1).index_select(0, at) for name, leaf in self._obs.items()}
        ages = self._age.flatten()
        age = ages.index_select(0, at)
        if before is not None:
            older = next_age(ages.index_select(0, before), self._history, (), age)
            cut = (self._flags.flatten().index_select(0, before) & _TRUNCATED).bool()
            age = torch.where(cut, older, age)
        tree: Tree = {}
        for name, leaf in self._obs.items():
            frames, k = leaf.flatten(0, 1), self._stack.get(name, 1)
            tree[name] = stacked(frames, at, age, k, self._lanes) if k > 1 else frames.index_select(0, at)
        return tree

    # ------------------------------------------------------------------ rows as data

    def read_rows(self, start: int, stop: int) -> dict[str, Tensor]:
        """Rows [start, stop) on the CPU, their final observations with them."""
        slots = torch.arange(start, stop, device=self._device) % self._slots
        rows = {f"obs/{name}": leaf[slots].cpu() for name, leaf in self._obs.items()}
        rows |= {
            "action": self._action[slots].cpu(),
            "reward": self._reward[slots].cpu(),
            "flags": self._flags[slots].cpu(),
        }
        if self._stack:
            rows["age"] = self._age[slots].cpu()
        finals = [
            (row, lane, place)
            for row, places in self._final_rows.items()
            if start <= row < stop
            for lane, place in places
        ]
        rows["#final/row"] = torch.tensor([row for row, _, _ in finals], dtype=torch.int64)
        rows["#final/lane"] = torch.tensor([lane for _, lane, _ in finals], dtype=torch.int64)
        places = torch.tensor([place for _, _, place in finals], dtype=torch.int64, device=self._device)
        rows |= {f"#final/obs/{name}": leaf[places].cpu() for name, leaf in self._final.items()}
        return rows

    def write_rows(self, start: int, rows: dict[str, Tensor]) -> None:
        """Put rows [start, start + k) back where they were."""
        if not self._obs:
            self._allocate()
        k = rows["reward"].shape[0]
        slots = torch.arange(start, start + k, device=self._device) % self._slots
        for name, leaf in self._obs.items():
            leaf[slots] = rows[f"obs/{name}"].to(self._device)
        self._action[slots] = rows["action"].to(self._device)
        self._reward[slots] = rows["reward"].to(self._device)
        self._flags[slots] = rows["flags"].to(self._device)
        if self._stack:
            self._age[slots] = rows["age"].to(self._device)
        for i, (row, lane) in enumerate(
            zip(rows["#final/row"].tolist(), rows["#final/lane"].tolist(), strict=True)
        ):
            if row >= self.oldest:
                final = {k: rows[f"#final/obs/{k}"][i].to(self._device) for k in self._final}
                self._keep_final(row, lane, final)

    def state_dict(self) -> State:
        """Everything but the rows: how many there were, and the newest observation."""
        self._seams = [row for row in self._seams if row + self._history >= self.first]
        slot = self.total % self._slots
        newest = {name: leaf[slot].cpu() for name, leaf in self._obs.items()}
        state: State = {"total": self.total, "rows": self.rows, "newest": newest, "seams": list(self._seams)}
        if self._stack and self._obs:
            state["age"] = self._age[slot].cpu()
        return state

    def load_state_dict(self, state: State) -> None:
        """Call before the rows are written back."""
        if state["rows"] != self.rows:
            raise ValueError(f"the checkpoint's replay has {state['rows']} rows, this one {self.rows}")
        self.total = state["total"]
        self._seams, self._resumed = list(state["seams"]), self.total > 0
        self._final_rows, self._free, self._final_size = {}, [], 0
        if self.total:
            self._allocate()
            slot = self.total % self._slots
            for name, leaf in self._obs.items():
                leaf[slot] = state["newest"][name].to(self._device)
            if self._stack:
                self._age[slot] = state["age"].to(self._device)
