"""Q-learning in a table (Watkins 1989), for one Discrete observation and one Discrete action."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from gymnasium import spaces
from torch import Tensor

from rlkit.config import key
from rlkit.seeding import generator
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import ALL, AgentSetup, Decision, Metrics, State, TimeStep, Tree


@dataclass
class TabularQConfig:
    name: str = key("tabular_q", "this agent", choices=("tabular_q",))
    lr: float = key(0.5, "share of the error that is corrected at once", above=0.0, high=1.0)
    gamma: float = key(0.9, "discount", low=0.0, high=1.0)
    epsilon: float = key(0.2, "probability of a random action", low=0.0, high=1.0)


class TabularQ:
    Config = TabularQConfig

    def __init__(self, config: TabularQConfig, setup: AgentSetup) -> None:
        self.config, self.setup = config, setup
        self.table = torch.zeros(int(setup.obs.space.n), setup.action.n, device=setup.device)
        self._random = generator(setup.seed, "agent/act")  # a stream of its own: nothing global is drawn from
        self._errors: list[Tensor] = []

    @staticmethod
    def serves(action: ActionSpec, obs: ObsSpec) -> str | None:
        """Why this agent cannot serve these spaces, or None."""
        if action.is_single_discrete and isinstance(obs.space, spaces.Discrete):
            return None
        return "tabular_q needs one Discrete observation and one Discrete action"

    def act(self, obs: Tree, now: int, lanes: slice = ALL) -> Decision:
        greedy = self.table[obs["obs"].long()].argmax(1)  # [N]
        draw = torch.rand(2, len(greedy), generator=self._random).to(greedy.device)
        random = (draw[1] * self.setup.action.n).long()
        return Decision(torch.where(draw[0] < self.config.epsilon, random, greedy)[:, None])

    def observe(self, obs: Tree, decision: Decision, step: TimeStep) -> None:
        """step.action is what was done, step.next_obs the true successor; truncation is no end."""
        here, after = obs["obs"].long(), step.next_obs["obs"].long()  # [N]
        target = step.reward + self.config.gamma * self.table[after].amax(1) * ~step.terminated
        error = (target - self.table[here, step.action[:, 0]]) * step.valid
        self.table.index_put_((here, step.action[:, 0]), self.config.lr * error, accumulate=True)
        self._errors.append(error.abs().mean())

    def learn(self, now: int) -> Metrics | None:
        metrics: Metrics = {"loss/td": torch.stack(self._errors).mean()}
        self._errors.clear()
        return metrics

    def actor(self) -> Greedy:
        return Greedy(self.table)

    def state_dict(self) -> State:
        return {"table": self.table, "random": self._random.get_state()}

    def load_state_dict(self, state: State, policy_only: bool = False) -> None:
        self.table.copy_(state["table"])
        if not policy_only:
            self._random.set_state(state["random"])


class Greedy:
    def __init__(self, table: Tensor) -> None:
        self._table = table

    def __call__(self, obs: Tree, first: Tensor) -> Tensor:
        return self._table[obs["obs"].long()].argmax(1, keepdim=True)  # [N, 1]
