"""Uniform replay: the last `capacity` transitions, every observation stored once.

Time runs in rows, one a vector step, in a ring. Row r holds what was observed, done and received at r; the
successor of (r, lane) is the observation of row r + 1, unless the lane's clock ended at r: then its final
observation lies in a small table beside the ring. Terminated successors are worth 0 and are never read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlkit.returns import n_step
from rlkit.spaces import ActionSpec, ObsSpec
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
        self._slots = self.rows + 1  # one more: the newest observation has no action yet
        self._host = device.type == "cpu"
        self._obs: Tree = {}
        self._final_rows: dict[int, list[tuple[int, int]]] = {}  # row → (lane, place in the table)
        self._free: list[int] = []
        self._final_size = 0

    @staticmethod
    def nbytes(obs: ObsSpec, action: ActionSpec, capacity: int, lanes: int) -> int:
        """Bytes of a full replay, final observations of truncated lanes (at most 1 % of rows) included."""
        rows = -(-capacity // lanes) + 1
        width = action.width * torch.empty(0, dtype=action.dtype).element_size()
        return int(rows * lanes * (obs.nbytes * 1.01 + width + 4 + 1 + 4))

    @property
    def oldest(self) -> int:
        return max(0, self.total - self.rows)

    def __len__(self) -> int:
        return (self.total - self.oldest) * self._lanes

    def _allocate(self) -> None:
        """Memory is taken at the first row, so that an agent built only to act costs none."""
        shape, device = (self._slots, self._lanes), self._device
        self._obs = {
            leaf.name: torch.zeros(*shape, *leaf.shape, dtype=leaf.dtype, device=device)
            for leaf in self._obs_spec.leaves
        }
        self._action = torch.zeros(
            *shape, self._action_spec.width, dtype=self._action_spec.dtype, device=device
        )
        self._reward = torch.zeros(*shape, device=device)
        self._flags = torch.zeros(*shape, dtype=torch.uint8, device=device)
        self._final_at = torch.zeros(*shape, dtype=torch.int32, device=device)
        self._final: Tree = {k: v.new_zeros(0, *v.shape[2:]) for k, v in self._obs.items()}
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
            self._keep_final(self.total, lane, {k: v[lane] for k, v in step.next_obs.items()})
        self.total += 1
        self._put_obs(self.total % self._slots, step.obs)

    def _put_obs(self, slot: int, obs: Tree) -> None:
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
        return self.total - self.oldest >= self._n

    def sample(self, size: int, generator: torch.Generator) -> Batch:
        """`size` transitions, uniform over lanes and rows whose window of n steps is complete."""
        first, rows = self.oldest, self.total - self._n + 1 - self.oldest
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
            reward, factor, k = n_step(reward_of[steps], terminated, truncated, self._gamma)
            last = steps.gather(0, k[None])[0]
        after = (last + self._lanes) % size
        next_obs = {name: leaf.flatten(0, 1).index_select(0, after) for name, leaf in self._obs.items()}
        if self._final_size:
            cut = (flags_of[last] & _TRUNCATED).bool()
            place = torch.where(cut, self._final_at.flatten()[last], 0).long()
            for name, leaf in next_obs.items():
                mask = cut.view(-1, *[1] * (leaf.dim() - 1))
                next_obs[name] = torch.where(mask, self._final[name][place], leaf)
        return Batch(
            {name: leaf.flatten(0, 1).index_select(0, at) for name, leaf in self._obs.items()},
            self._action.flatten(0, 1).index_select(0, at),
            reward,
            factor,
            next_obs,
            ((flags & _INVALID) == 0).float(),
        )

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
        for i, (row, lane) in enumerate(
            zip(rows["#final/row"].tolist(), rows["#final/lane"].tolist(), strict=True)
        ):
            if row >= self.oldest:
                final = {k: rows[f"#final/obs/{k}"][i].to(self._device) for k in self._final}
                self._keep_final(row, lane, final)

    def state_dict(self) -> State:
        """Everything but the rows: how many there were, and the newest observation."""
        newest = {k: v[self.total % self._slots].cpu() for k, v in self._obs.items()}
        return {"total": self.total, "rows": self.rows, "newest": newest}

    def load_state_dict(self, state: State) -> None:
        """Call before the rows are written back."""
        if state["rows"] != self.rows:
            raise ValueError(f"the checkpoint's replay has {state['rows']} rows, this one {self.rows}")
        self.total = state["total"]
        self._final_rows, self._free, self._final_size = {}, [], 0
        if self.total:
            self._allocate()
            self._put_obs(
                self.total % self._slots, {k: v.to(self._device) for k, v in state["newest"].items()}
            )
