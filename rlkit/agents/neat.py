"""NEAT (Stanley & Miikkulainen 2002): a population of growing networks, judged episode by episode.

For every action space and every observation that fits into a vector. One genome plays in each lane, the
next trial begins when its episode ends; learning is due when all trials of a generation are in. What a
network sees and answers is derived from the spaces: one input per number of the encoded observation, one
output per choice (the greatest wins) or per number of a Box (in the policy's units: tanh spans the bounds).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from rlkit.config import NetConfig, key
from rlkit.neat.contradictions import contradiction
from rlkit.neat.draws import Draws
from rlkit.neat.genes import Genomes
from rlkit.neat.lanes import LaneNetworks
from rlkit.neat.naming import Names
from rlkit.neat.network import Networks, build
from rlkit.neat.reproduction import Evolution
from rlkit.neat.settings import Settings
from rlkit.neat.story import Story
from rlkit.neat.trials import Trials, trial_seeds
from rlkit.nets.encoders import Encoder, is_image
from rlkit.seeding import generator
from rlkit.spaces import MASK_NAME, ActionSpec, ObsSpec
from rlkit.types import ALL, Actor, AgentSetup, Decision, Metrics, State, TimeStep, Tree

SPECIES_EVERY = 10  # generations between two pictures of the species, beside those of a new best


@dataclass
class NEATConfig:
    name: str = key("neat", "this agent", choices=("neat",))
    config_file: str | None = key(None, "neat-python's file; the keys below are then its values")
    population: int = key(150, "genomes of a generation", low=2)
    trials: int = key(1, "episodes by which a genome is judged", low=1)
    fitness: str = key("mean", "of a genome's returns", choices=("mean", "median", "min"))
    fitness_criterion: str = key(
        "max", "of a generation's fitness: what must reach the goal before fresh episodes confirm it",
        choices=("max", "mean", "min"),
    )  # fmt: skip
    same_seeds: bool = key(True, "all genomes of a generation meet the same episodes; false: each its own")
    evolution: Settings = field(default_factory=Settings)


def outputs_of(spec: ActionSpec) -> int:
    """Output nodes: one per choice of an integer column, one per number of a Box or MultiBinary."""
    return sum(sum(leaf.n) if _chooses(leaf.kind) else leaf.width for leaf in spec.leaves)


def _chooses(kind: str) -> bool:
    return kind in ("discrete", "multidiscrete")


def greedy(spec: ActionSpec, outputs: Tensor, obs: Tree) -> Tensor:
    """outputs [O, N] → actions [N, A]; of equal outputs the first wins, invalid choices never."""
    outputs = torch.nan_to_num(outputs)  # products and loops overflow: NaN is 0, infinity the largest number
    if spec.is_single_discrete and MASK_NAME in obs:
        outputs = torch.where(obs[MASK_NAME].T != 0, outputs, -torch.inf)
    if spec.is_single_discrete:
        return _first_greatest(outputs).unsqueeze(1)
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
    if len(outputs) == 1 or len(outputs) > 16:
        return outputs.argmax(0)
    best, place = outputs[0], (outputs[1] > outputs[0]).long()
    for number in range(2, len(outputs)):
        best = torch.maximum(best, outputs[number - 1])
        place.masked_fill_(outputs[number] > best, number)
    return place


def _short(number: float) -> str:
    """143.2173 → 143.2, 0.32713 → 0.327"""
    if abs(number) < 10:
        return f"{number:.3g}"
    return f"{number:,.1f}" if number % 1 else f"{number:,.0f}"


class NEAT:
    Config = NEATConfig
    episode_cut = 10_000  # steps: one genome that never fails must not stall a generation for ever

    def __init__(self, config: NEATConfig, setup: AgentSetup) -> None:
        self.config, self.setup = config, setup
        self.encoder = Encoder(setup.obs, setup.net)  # one-hots and units, no parameters
        self.inputs, self.outputs = self.sizes(setup.action, setup.obs, setup.net)
        functions = config.evolution.activations, config.evolution.aggregations
        self.names = Names.of(setup.obs, setup.action, *functions)
        draws = Draws(generator(setup.seed, "agent/evolution"), setup.device)
        self.evolution = Evolution(config.population, self.inputs, self.outputs, config.evolution, draws)
        self._begin()

    @staticmethod
    def contradiction(config: NEATConfig) -> str | None:
        """Which settings cannot be wanted together, or None."""
        return contradiction(config.evolution, config.population)

    @staticmethod
    def sizes(action: ActionSpec, obs: ObsSpec, net: NetConfig) -> tuple[int, int]:
        """Inputs and outputs of every network for these spaces."""
        return Encoder(obs, net).out_features, outputs_of(action)

    @staticmethod
    def serves(action: ActionSpec, obs: ObsSpec) -> str | None:
        """Why this agent cannot serve these spaces, or None."""
        images = [leaf for leaf in obs.leaves if is_image(leaf)]
        if not images:
            return None
        sides = "×".join(map(str, images[0].shape))
        colours = len(images[0].shape) == 3 and 3 in (images[0].shape[0], images[0].shape[-1])
        way = "wrappers=[grayscale,resize,flatten]" if colours else "wrappers=[resize,flatten]"
        name = images[0].name
        return (
            f"neat has one input per number, and {name} is an image of {sides}; make it a vector with {way}"
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
        ids = torch.cat([self.evolution.ids.repeat(config.trials), torch.tensor([-1])])
        generation = torch.where(ids < 0, -1, self.evolution.generation)
        facts = {"genome_id": ids, "generation": generation}
        self._known = {name: column.to(setup.device) for name, column in facts.items()}  # [K + 1] by trial
        self._tell()

    def _networks(self) -> Networks:
        return build(self.evolution.genomes, self.inputs, self.outputs, self.config.evolution)

    def _tell(self) -> None:
        """Whose episodes run, for their records. A lane without a trial (−1) finds the last place: −1."""
        self._facts = {name: column[self.trials.task] for name, column in self._known.items()}

    # ------------------------------------------------------------------ the verbs

    def first_seeds(self) -> list[int]:
        """The seeds of the first episodes. Without this call, episodes that run already are not judged."""
        seeds = self.trials.first_seeds()
        self.nets.assign(self.trials.genome)
        self._tell()
        return seeds

    def act(self, obs: Tree, now: int, lanes: slice = ALL) -> Decision:
        outputs, after = self.nets(self.encoder(obs), self._memory)
        self._after = torch.nan_to_num(after) if self.nets.networks.recurrent else after
        action = greedy(self.setup.action, outputs, obs)
        return Decision(action, seeds=self.trials.seeds, facts=self._facts)

    def observe(self, obs: Tree, decision: Decision, step: TimeStep) -> None:
        self._memory = self._after
        if self.nets.networks.recurrent and (step.ended_lanes != () or step.count < self.setup.lanes):
            goes_on = step.valid & ~(step.terminated | step.truncated)
            self._memory = torch.where(goes_on, self._after, 0.0)
        begun = self.trials.observe(step)
        if begun is not None:
            rows = self.trials.genome
            # Elsewhere asking which lanes begin would wait.
            self.nets.assign(rows, begun.nonzero().flatten() if rows.is_cpu else None)
            self._tell()

    def learn(self, now: int) -> Metrics | None:
        if not self.trials.complete:
            return None
        self.evolution.advance(self.trials.fitness(self.config.fitness))
        self._begin()
        return dict(self.evolution.report)

    def actor(self) -> Champion:
        """The best genome of the newest finished generation; before that, the first of all."""
        evolution = self.evolution
        return self._actor(evolution.champion(), evolution.champion_ids[-1] if evolution.champion_ids else 0)

    def _actor(self, genome: Genomes, number: int) -> Champion:
        networks = build(genome, self.inputs, self.outputs, self.config.evolution)
        facts = {"genome_id": number, "generation": max(0, len(self.evolution.champion_ids) - 1)}
        return Champion(networks, self.encoder, self.setup.action, facts)

    def confirm(self, goal: float, check: Callable[[Actor], float]) -> bool:
        """Whether one of the finished generation that reached `goal` holds it on fresh episodes.

        check: an actor's mean return over episodes that nobody has seen. The best few are checked, one after
        the other, until one holds. It becomes the champion; if none does, the one with the highest mean.
        Nobody is checked until the generation's best, mean or worst fitness, as `fitness_criterion` has it,
        has reached the goal.
        """
        column = {"max": "best", "mean": "mean", "min": "worst"}[self.config.fitness_criterion]
        if self.evolution.report[f"neat/{column}"] < goal:
            return False
        found = -math.inf
        for rival in self.evolution.rivals:
            if found >= goal or rival.fitness < goal:
                break
            mean = check(self._actor(rival.genome, rival.id))
            if mean > found:
                self.evolution.crown(rival)
            found = max(found, mean)
        return found >= goal

    def news(self) -> tuple[str, bool]:
        """A line about the generation that `learn` has just finished, and whether its best is a new best."""
        report = self.evolution.report
        shown = {
            "best": "best", "mean": "mean", "species": "species", "nodes": "nodes_mean",
            "connections": "connections_mean",
        }  # fmt: skip
        words = [f"{word} {_short(report[f'neat/{name}'])}" for word, name in shown.items()]
        line = "  ".join([f"generation {report['neat/generation']:.0f}", *words])
        return line, self.evolution.history.improved

    def pictures(self) -> dict[str, np.ndarray]:
        """Tag → uint8 [H, W, 3]: the champion's network when the best improved, the species now and then."""
        story, history = Story.of(self.evolution, self.names), self.evolution.history
        found = {"neat/champion": story.draw_champion().pixels()} if history.improved else {}
        if history.improved or len(history) % SPECIES_EVERY == 0:
            found["neat/species"] = story.draw_species().pixels()
        return found

    def untaught(self) -> str | None:
        """Why no generation was finished, or None."""
        if self.evolution.champions is not None:
            return None
        return (
            f"{self.trials.finished} of the first generation's {self.trials.total} trials were finished; "
            "raise trainer.total_steps, or lower agent.population or env.max_episode_steps"
        )

    # ------------------------------------------------------------------ state

    def state_dict(self) -> State:
        return {
            "evolution": self.evolution.state_dict(),
            "trials": self.trials.state_dict(),
            "memory": self._memory,
            "names": self.names.state_dict(),
        }

    def load_state_dict(self, state: State, policy_only: bool = False) -> None:
        self.evolution.load_state_dict(state["evolution"])
        self._begin()
        if policy_only:
            return
        self.trials.load_state_dict(state["trials"])
        self.nets.assign(self.trials.genome)
        self._tell()
        self._memory = state["memory"].to(self.setup.device)


class Champion:
    """One network in every lane, with a memory of its own. `facts` go into the records of its episodes."""

    def __init__(self, networks: Networks, encoder: Encoder, spec: ActionSpec, facts: dict[str, int]) -> None:
        self.facts = facts
        self._networks, self._encoder, self._spec = networks, encoder, spec
        self._lanes: LaneNetworks | None = None

    @torch.no_grad()
    def __call__(self, obs: Tree, first: Tensor) -> Tensor:
        if self._lanes is None or self._lanes.lanes != len(first):
            self._lanes = LaneNetworks(self._networks, len(first))
            self._memory = self._lanes.zero_memory()
        if self._networks.recurrent:
            self._memory = torch.where(first, 0.0, self._memory)
        outputs, memory = self._lanes(self._encoder(obs), self._memory)
        self._memory = torch.nan_to_num(memory) if self._networks.recurrent else memory
        return greedy(self._spec, outputs, obs)
