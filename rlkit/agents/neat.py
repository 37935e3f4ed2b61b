"""NEAT (Stanley & Miikkulainen 2002): a population of growing networks, judged episode by episode.

For every action space and every observation that fits into a vector. One genome plays in each lane, the
next trial begins when its episode ends; learning is due when all trials of a generation are in. What a
network sees and answers is derived from the spaces: one input per number of the encoded observation, one
output per choice (the greatest wins) or per number of a Box (in the policy's units: tanh spans the bounds).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rlkit.config import key
from rlkit.neat.draws import Draws
from rlkit.neat.lanes import LaneNetworks
from rlkit.neat.network import Networks, build
from rlkit.neat.reproduction import Evolution
from rlkit.neat.settings import Settings
from rlkit.neat.trials import Trials, trial_seeds
from rlkit.nets.encoders import Encoder, is_image
from rlkit.nets.normalizer import MASK_NAME
from rlkit.seeding import generator
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import ALL, AgentSetup, Decision, Metrics, State, TimeStep, Tree


@dataclass
class NEATConfig:
    name: str = key("neat", "this agent", choices=("neat",))
    population: int = key(150, "genomes of a generation", low=2)
    trials: int = key(1, "episodes by which a genome is judged", low=1)
    fitness: str = key("mean", "of a genome's returns", choices=("mean", "median", "min"))
    same_seeds: bool = key(True, "all genomes of a generation meet the same episodes; false: each its own")
    evolution: Settings = field(default_factory=Settings)


def outputs_of(spec: ActionSpec) -> int:
    """Output nodes: one per choice of an integer column, one per number of a Box or MultiBinary."""
    return sum(sum(leaf.n) if _chooses(leaf.kind) else leaf.width for leaf in spec.leaves)


def _chooses(kind: str) -> bool:
    return kind in ("discrete", "multidiscrete")


def greedy(spec: ActionSpec, outputs: Tensor, obs: Tree) -> Tensor:
    """outputs [O, N] → actions [N, A]; of equal outputs the first wins, invalid choices never."""
    if spec.is_single_discrete and MASK_NAME in obs:
        outputs = torch.where(obs[MASK_NAME].T != 0, outputs, torch.finfo(outputs.dtype).min)
    columns: list[Tensor] = []
    at = 0
    for leaf in spec.leaves:
        if _chooses(leaf.kind):
            for n in leaf.n:
                columns.append(_first_greatest(outputs[at : at + n]))
                at += n
            continue
        numbers = outputs[at : at + leaf.width]
        columns += [*(numbers if leaf.kind == "box" else numbers > 0)]
        at += leaf.width
    return spec.clip(torch.stack([column.to(spec.dtype) for column in columns], dim=1))


def _first_greatest(outputs: Tensor) -> Tensor:
    """outputs [n, N] → [N]; a tournament: argmax across the first axis takes several times as long."""
    if len(outputs) > 16:
        return outputs.argmax(0)
    best, place = outputs[0], torch.zeros_like(outputs[0], dtype=torch.int64)
    for number in range(1, len(outputs)):
        better = outputs[number] > best
        place = torch.where(better, number, place)
        if number + 1 < len(outputs):
            best = torch.maximum(best, outputs[number])
    return place


class NEAT:
    Config = NEATConfig

    def __init__(self, config: NEATConfig, setup: AgentSetup) -> None:
        self.config, self.setup = config, setup
        self.encoder = Encoder(setup.obs, setup.net)  # one-hots and units, no parameters
        self.inputs, self.outputs = self.encoder.out_features, outputs_of(setup.action)
        draws = Draws(generator(setup.seed, "agent/evolution"), setup.device)
        self.evolution = Evolution(config.population, self.inputs, self.outputs, config.evolution, draws)
        self._begin()

    @staticmethod
    def serves(action: ActionSpec, obs: ObsSpec) -> str | None:
        """Why this agent cannot serve these spaces, or None."""
        images = [leaf for leaf in obs.leaves if is_image(leaf)]
        if not images:
            return None
        sides = "×".join(map(str, images[0].shape))
        return (
            f"neat has one input per number, and {images[0].name} is an image of {sides}; make it a vector \
with wrappers=[grayscale,resize,flatten]"
        )

    def _begin(self) -> None:
        """Networks and trials of the evolution's present generation."""
        config, setup = self.config, self.setup
        self.nets = LaneNetworks(self._networks(), setup.lanes)
        self._memory = self._after = self.nets.zero_memory()  # [S, N] of recurrent nodes
        seeds = trial_seeds(
            setup.seed, self.evolution.generation, config.population, config.trials, config.same_seeds
        )
        self.trials = Trials(config.population, config.trials, setup.lanes, seeds, setup.device)

    def _networks(self) -> Networks:
        return build(self.evolution.genomes, self.inputs, self.outputs, self.config.evolution)

    # ------------------------------------------------------------------ the verbs

    def first_seeds(self) -> list[int]:
        """The seeds of the first episodes. Without this call, episodes that run already are not judged."""
        seeds = self.trials.first_seeds()
        self.nets.assign(self.trials.genome)
        return seeds

    @torch.no_grad()
    def act(self, obs: Tree, now: int, lanes: slice = ALL) -> Decision:
        outputs, self._after = self.nets(self.encoder(obs), self._memory)
        return Decision(greedy(self.setup.action, outputs, obs), seeds=self.trials.seeds)

    @torch.no_grad()
    def observe(self, obs: Tree, decision: Decision, step: TimeStep) -> None:
        self._memory = self._after
        if self.nets.networks.recurrent and (step.ended_lanes != () or step.count < self.setup.lanes):
            goes_on = step.valid & ~(step.terminated | step.truncated)
            self._memory = torch.where(goes_on, self._after, 0.0)
        if self.trials.observe(step) is not None:
            rows = self.trials.genome
            on_host = rows.device.type == "cpu"  # elsewhere asking which lanes changed would wait
            self.nets.assign(rows, (rows != self.nets.rows).nonzero().flatten() if on_host else None)

    def learn(self, now: int) -> Metrics | None:
        if not self.trials.complete:
            return None
        self.evolution.advance(self.trials.fitness(self.config.fitness))
        self._begin()
        return dict(self.evolution.report)

    def actor(self) -> Champion:
        """The best genome of the newest finished generation; before that, the first of all."""
        networks = build(self.evolution.champion(), self.inputs, self.outputs, self.config.evolution)
        return Champion(networks, self.encoder, self.setup.action)

    # ------------------------------------------------------------------ state

    def state_dict(self) -> State:
        return {
            "evolution": self.evolution.state_dict(),
            "trials": self.trials.state_dict(),
            "memory": self._memory,
        }

    def load_state_dict(self, state: State, policy_only: bool = False) -> None:
        self.evolution.load_state_dict(state["evolution"])
        self._begin()
        if policy_only:
            return
        self.trials.load_state_dict(state["trials"])
        self.nets.assign(self.trials.genome)
        self._memory = state["memory"].to(self.setup.device)


class Champion:
    """One network in every lane, with a memory of its own."""

    def __init__(self, networks: Networks, encoder: Encoder, spec: ActionSpec) -> None:
        self._networks, self._encoder, self._spec = networks, encoder, spec
        self._lanes: LaneNetworks | None = None

    @torch.no_grad()
    def __call__(self, obs: Tree, first: Tensor) -> Tensor:
        if self._lanes is None or self._lanes.lanes != len(first):
            self._lanes = LaneNetworks(self._networks, len(first))
            self._memory = self._lanes.zero_memory()
        if self._networks.recurrent:
            self._memory = torch.where(first, 0.0, self._memory)
        outputs, self._memory = self._lanes(self._encoder(obs), self._memory)
        return greedy(self._spec, outputs, obs)
