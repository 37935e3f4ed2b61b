"""The agent that learns nothing: uniform over any action space. A baseline, and a test of everything else."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlkit.config import key
from rlkit.seeding import generator
from rlkit.spaces import MASK_NAME, ActionSpec, ObsSpec
from rlkit.types import ALL, AgentSetup, Decision, Metrics, State, TimeStep, Tree


@dataclass
class RandomConfig:
    name: str = key("random", "this agent", choices=("random",))


def uniform(spec: ActionSpec, obs: Tree, random: torch.Generator) -> Tensor:
    """Random actions [N, A], uniform over the space, or over what the observation's action_mask allows."""
    mask = obs.get(MASK_NAME)
    if mask is None or not spec.is_single_discrete:
        return spec.sample(next(iter(obs.values())).shape[0], random)
    legal = (mask != 0).to(random.device)  # [N, n]
    rank = torch.rand(legal.shape[0], 1, generator=random, device=random.device) * legal.sum(1, keepdim=True)
    return (legal.cumsum(1) > rank).int().argmax(1, keepdim=True)


class RandomAgent:
    Config = RandomConfig

    def __init__(self, config: RandomConfig, setup: AgentSetup) -> None:
        self._spec, self._setup = setup.action, setup
        self._generator = generator(setup.seed, "agent/act")

    @staticmethod
    def serves(action: ActionSpec, obs: ObsSpec) -> str | None:
        """Why this agent cannot serve these spaces, or None."""
        return None

    def act(self, obs: Tree, now: int, lanes: slice = ALL) -> Decision:
        return Decision(uniform(self._spec, obs, self._generator).to(self._setup.device))

    def observe(self, obs: Tree, decision: Decision, step: TimeStep) -> None:
        pass

    def learn(self, now: int) -> Metrics | None:
        return None

    def actor(self) -> RandomActor:
        return RandomActor(self._spec, generator(self._setup.seed, "agent/actor"), self._setup.device)

    def state_dict(self) -> State:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: State, policy_only: bool = False) -> None:
        self._generator.set_state(state["generator"])


class RandomActor:
    """Uniform actions from a generator of its own: the same numbers at every evaluation."""

    def __init__(self, spec: ActionSpec, random: torch.Generator, device: torch.device) -> None:
        self._spec, self._generator, self._device = spec, random, device

    def __call__(self, obs: Tree, first: Tensor) -> Tensor:
        return uniform(self._spec, obs, self._generator).to(self._device)
