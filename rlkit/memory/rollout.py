"""A rollout: the last T vector steps of N lanes, in order, for on-policy learning."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import State, TimeStep, Tree


class Rollout:
    """Tensors [T, N, …]. Successors of truncated lanes are kept compactly: only rows where a clock ended.

    `columns` names extra float32 values per step (log-probability, value) and comes from the decision's memo.
    """

    def __init__(
        self,
        obs: ObsSpec,
        action: ActionSpec,
        horizon: int,
        lanes: int,
        columns: tuple[str, ...],
        device: torch.device,
    ) -> None:
        self.horizon, self.lanes, self.size = horizon, lanes, 0
        shape = (horizon, lanes)

        def empty(*extra: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(*shape, *extra, dtype=dtype, device=device)

        self.obs: Tree = {leaf.name: empty(*leaf.shape, dtype=leaf.dtype) for leaf in obs.leaves}
        self.action = empty(action.width, dtype=action.dtype)
        self.reward = empty()
        self.terminated, self.truncated, self.valid = (empty(dtype=torch.bool) for _ in range(3))
        self.columns = {name: empty() for name in columns}
        self.final: list[tuple[int, tuple[int, ...], Tree]] = []  # (t, lanes, their final observations)
        self._blind: list[tuple[int, Tensor, Tree]] = []  # (t, truncated [N], next_obs): lanes not known yet
        self.last_obs: Tree = {}
        self._loaded = False  # the rows are those of another process: does its last episode go on?

    @property
    def full(self) -> bool:
        return self.size == self.horizon

    def add(self, obs: Tree, action: Tensor, memo: Mapping[str, Tensor], step: TimeStep) -> None:
        """Append one vector step. `action` is what the policy chose; the executed one may be clipped."""
        t = self.size
        if self._loaded:
            self._part(obs)
        for name, leaf in obs.items():
            self.obs[name][t] = leaf
        self.action[t] = action
        self.reward[t] = step.reward
        self.terminated[t] = step.terminated
        self.truncated[t] = step.truncated
        self.valid[t] = step.valid
        for name, column in self.columns.items():
            column[t] = memo[name]
        if step.truncated_lanes is None:  # asking the device here would make every step wait
            self._blind.append((t, step.truncated, step.next_obs))
        elif step.truncated_lanes:
            rows = torch.tensor(step.truncated_lanes, device=self.reward.device)
            self.final.append((t, step.truncated_lanes, {k: v[rows] for k, v in step.next_obs.items()}))
        self.last_obs = step.obs
        self.size = t + 1

    def successors(self) -> Tree:
        """What still needs a value: the last observations [N, …], then every final observation in order."""
        self._find_truncated()
        if not self.final:
            return self.last_obs
        return {
            k: torch.cat([self.last_obs[k], *(tree[k] for _, _, tree in self.final)]) for k in self.last_obs
        }

    def _part(self, obs: Tree) -> None:
        """After a resume that was not exact new episodes began here: cut the old ones where they stood."""
        self._loaded, t = False, self.size - 1
        if t < 0:
            return
        other = torch.zeros(self.lanes, dtype=torch.bool, device=self.reward.device)
        for name, leaf in obs.items():
            other |= (leaf != self.last_obs[name]).reshape(self.lanes, -1).any(1)
        lanes = (other & ~self.terminated[t] & ~self.truncated[t]).nonzero().flatten()
        if len(lanes):
            self.truncated[t, lanes] = True
            final = {name: leaf[lanes] for name, leaf in self.last_obs.items()}
            self.final.append((t, tuple(lanes.tolist()), final))

    def _find_truncated(self) -> None:
        """Which lanes an engine on a device cut, asked once for the whole rollout."""
        if not self._blind:
            return
        flags = torch.stack([truncated for _, truncated, _ in self._blind]).cpu()
        for (t, _, next_obs), row in zip(self._blind, flags, strict=True):
            lanes = row.nonzero().flatten()
            if len(lanes):
                rows = lanes.to(self.reward.device)
                self.final.append((t, tuple(lanes.tolist()), {k: v[rows] for k, v in next_obs.items()}))
        self._blind = []

    def next_value(self, value: Tensor, successor_value: Tensor) -> Tensor:
        """V of the true successors [T, N], from V(obs) [T, N] and V(successors()) [N + rows]."""
        following = torch.cat([value[1:], successor_value[None, : self.lanes]])
        if self.final:
            ts = [t for t, lanes, _ in self.final for _ in lanes]
            lanes = [lane for _, lanes, _ in self.final for lane in lanes]
            following[ts, lanes] = successor_value[self.lanes :]
        return following

    def flat(self, tensor: Tensor) -> Tensor:
        """[T, N, …] → [T·N, …]."""
        return tensor.flatten(0, 1)

    def clear(self) -> None:
        self.size = 0
        self.final.clear()
        self._blind.clear()

    def state_dict(self) -> State:
        """Only the rows that are there."""
        self._find_truncated()
        n = self.size
        return {
            "size": n,
            "obs": {k: v[:n].cpu() for k, v in self.obs.items()},
            "action": self.action[:n].cpu(),
            "reward": self.reward[:n].cpu(),
            "flags": torch.stack([self.terminated[:n], self.truncated[:n], self.valid[:n]]).cpu(),
            "columns": {k: v[:n].cpu() for k, v in self.columns.items()},
            "final": [
                (t, list(lanes), {k: v.cpu() for k, v in tree.items()}) for t, lanes, tree in self.final
            ],
            "last_obs": {k: v.cpu() for k, v in self.last_obs.items()},
        }

    def load_state_dict(self, state: State) -> None:
        n, device = state["size"], self.reward.device
        self.size = n
        for name, leaf in state["obs"].items():
            self.obs[name][:n] = leaf.to(device)
        self.action[:n] = state["action"].to(device)
        self.reward[:n] = state["reward"].to(device)
        flags = state["flags"].to(device)
        self.terminated[:n], self.truncated[:n], self.valid[:n] = flags[0], flags[1], flags[2]
        for name, column in state["columns"].items():
            self.columns[name][:n] = column.to(device)
        self.final = [
            (t, tuple(lanes), {k: v.to(device) for k, v in tree.items()}) for t, lanes, tree in state["final"]
        ]
        self.last_obs = {k: v.to(device) for k, v in state["last_obs"].items()}
        self._loaded = bool(self.last_obs)
