"""Who plays the other colour. Every game begins an opponent anew, with a seed: it draws from that alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch

from rlkit.envs.board.rules import Rules
from rlkit.spaces import ObsSpec
from rlkit.types import Actor

Observation = dict[str, np.ndarray]


class Opponent(Protocol):
    def begin(self, seed: int) -> None: ...

    def move(self, state: Any, observe: Callable[[], Observation]) -> int:
        """state: pyspiel's, not to be changed. observe: makes the observation as this player sees it."""
        ...


class RandomOpponent:
    """Uniform over the legal moves (in Go to pass is one of them)."""

    def begin(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def move(self, state: Any, observe: Callable[[], Observation]) -> int:
        legal = state.legal_actions()
        return int(legal[self._random.integers(len(legal))])


class MctsOpponent:
    """Upper confidence trees (Kocsis & Szepesvári 2006) with random playouts: OpenSpiel's, in C++.

    simulations: playouts of each move. Positions that are proven won or lost are known as such.
    """

    _EXPLORATION = 1.4  # √2, of UCB1 for rewards in −1…1
    _MEGABYTES = 256  # limit of the tree

    def __init__(self, rules: Rules, simulations: int) -> None:
        if simulations < 1:
            raise ValueError(f"simulations must be at least 1, not {simulations}")
        self._rules, self._simulations = rules, simulations

    def begin(self, seed: int) -> None:
        import pyspiel

        self._playouts = pyspiel.RandomRolloutEvaluator(1, seed)  # the bot borrows it: keep it alive
        self._bot = pyspiel.MCTSBot(
            self._rules.game,
            self._playouts,
            self._EXPLORATION,
            self._simulations,
            self._MEGABYTES,
            True,  # solve
            seed,
            False,  # verbose
        )

    def move(self, state: Any, observe: Callable[[], Observation]) -> int:
        return int(self._bot.step(state))


class ActorOpponent:
    """A policy of the house: an `Actor`, asked with the observation of its own colour."""

    def __init__(self, actor: Actor, spec: ObsSpec) -> None:
        self._actor, self._spec = actor, spec

    def begin(self, seed: int) -> None:
        self._first = True

    def move(self, state: Any, observe: Callable[[], Observation]) -> int:
        obs = self._spec.to_tensors({name: leaf[None] for name, leaf in observe().items()})
        action = int(self._actor(obs, torch.tensor([self._first]))[0, 0])
        self._first = False
        return action


def make_opponent(chosen: str | Actor, simulations: int, rules: Rules, spec: ObsSpec) -> Opponent:
    """The opponent that an environment's `opponent=` names or brings."""
    if chosen == "random":
        return RandomOpponent()
    if chosen == "mcts":
        return MctsOpponent(rules, simulations)
    if isinstance(chosen, str) or not callable(chosen):
        raise ValueError(f"opponent must be random, mcts or an Actor (from Python), not {chosen!r}")
    return ActorOpponent(chosen, spec)
