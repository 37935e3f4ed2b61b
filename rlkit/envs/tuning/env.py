"""`ConvergenceControl-v0` and `CNNClassifierTraining-v0`: their names and idea come from OpenAI Gym 0.x.

A small classifier of handwritten digits trains; one step is one epoch, and before it the agent chooses with
which hyperparameters. An action is a number within −1..1 for each of them; `ranges` says what it means.

**Observation**, float32 [10 + A], A numbers of the action; logarithms are decimal:

     0  share of the epochs that are over, 0..1
     1  log of the training loss (cross entropy in nats), −4..2
     2  log of the validation loss, −4..2
     3  validation accuracy, 0..1
     4  change of number 1 since the last epoch
     5  change of number 2
     6  change of number 3
     7  best validation accuracy so far
     8  log of the gradient's mean norm over the epoch's minibatches, −4..4
     9  digits to train on, as a share of the most there may be
    10… the action executed last, zeros at first

**Reward**: the change of validation accuracy, so an episode's return is the accuracy that was reached minus
that at the start. An episode is over (`terminated`) after `epochs` epochs, and at once, with the reward −1,
when the training diverges: a loss that is no number or lies beyond 100 nats.

**Tasks differ** from seed to seed: the split of the data, how many digits there are to train on, their
contrast, the share of wrong labels, the deviation of the initial weights and the size of the perceptron.
So no constant choice is the best one everywhere; the first observation hints at which is, and those after
it tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from rlkit.envs.tuning import digits, pictures, training
from rlkit.envs.tuning.networks import Convolutional, Network, Perceptron
from rlkit.envs.tuning.ranges import Range, values
from rlkit.envs.tuning.training import CHANCE, GUESSING, Measured

Info = dict[str, Any]
Floats = NDArray[np.float32]

_STATE = 10  # numbers of the observation before the action
_LOWEST, _HIGHEST = -4.0, 2.0  # decimal logarithm of a loss; 100 nats is where it has diverged
_STEEPEST = 4.0  # decimal logarithm of the gradient's norm
_DIVERGED = -1.0  # reward

OPTIMISER = (
    Range("learning_rate", 1e-5, 10.0, log=True),
    Range("momentum", 0.0, 0.99),
    Range("weight_decay", 1e-6, 1e-1, log=True),
    Range("batch_size", 16, 256, log=True, integer=True),
)


@dataclass(frozen=True)
class Epoch:
    """One entry of an episode's history; the first, number 0, is the network before training."""

    measured: Measured
    chosen: dict[str, float]  # hyperparameter → value, empty for number 0
    reward: float


class Tuning(gym.Env[Floats, Floats]):
    """What both have in common. A subclass names its `ranges` and builds its network.

    `epochs`: steps of an episode. Frames are uint8 [480, 640, 3]: the learning curves so far.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array", "ansi"], "render_fps": 2}
    ranges: ClassVar[tuple[Range, ...]]
    fewest: ClassVar[int]  # digits to train on
    most: ClassVar[int]

    def __init__(self, epochs: int = 12, render_mode: str | None = None) -> None:
        if epochs < 1:
            raise ValueError(f"epochs must be 1 or more, not {epochs}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode must be rgb_array or ansi, not {render_mode!r}")
        self.epochs, self.render_mode = epochs, render_mode
        n = len(self.ranges)
        loss, spread = (_LOWEST, _HIGHEST), _HIGHEST - _LOWEST
        bounds = [(0, 1), loss, loss, (0, 1), (-spread, spread), (-spread, spread), (-1, 1), (0, 1)]
        bounds += [(-_STEEPEST, _STEEPEST), (0, 1), *[(-1, 1)] * n]
        low, high = np.array(bounds, np.float32).T
        self.observation_space = spaces.Box(low, high, dtype=np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (n,), np.float32)
        self.history: list[Epoch] = []
        self._action = np.zeros(n, np.float32)  # executed last

    # ------------------------------------------------------------------ what a task is

    def begin(self) -> Measured:
        """A new episode of `self.task`: make the network, or put it off, and say how it stands."""
        raise NotImplementedError

    def train(self, action: Floats, chosen: dict[str, float]) -> tuple[Measured, Floats, dict[str, float]]:
        """One epoch → how the network stands, and the action and the choice that were executed."""
        raise NotImplementedError

    def _take(self, network: Network) -> None:
        self.network, self._velocity = network, torch.zeros_like(network.flat)

    # ------------------------------------------------------------------ the verbs

    def _epoch(self, chosen: dict[str, float], **special: float) -> Measured:
        """One epoch with the optimiser's four numbers, and what only one of the tasks has."""
        return training.epoch(
            self.network,
            self._velocity,
            self.task,
            learning_rate=chosen["learning_rate"],
            momentum=chosen["momentum"],
            weight_decay=chosen["weight_decay"],
            batch_size=int(chosen["batch_size"]),
            random=self._random,
            **special,
        )

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Floats, Info]:
        """A new task and an untrained network. `info` says what the task is, which the agent is not told."""
        super().reset(seed=seed)
        with training.alone():
            self.task = digits.draw(self.np_random, self.fewest, self.most)
            self._random = torch.Generator().manual_seed(int(self.np_random.integers(2**63)))
            self.history = [Epoch(self.begin(), {}, 0.0)]
        self._action = np.zeros(len(self.ranges), np.float32)
        task = self.task
        info = {"digits": len(task.y), "contrast": task.contrast, "noise": task.noise, "gain": task.gain}
        return self._observe(), info

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, Info]:
        """One epoch. `info` holds each hyperparameter's value, `accuracy`, `best` and `diverged`."""
        chosen = values(self.ranges, action)
        if self.over:
            raise gym.error.ResetNeeded("the episode is over: call reset()")
        executed = np.clip(np.asarray(action, np.float32), -1.0, 1.0)
        before = self.history[-1].measured
        with training.alone():
            now, self._action, chosen = self.train(executed, chosen)
        reward = _DIVERGED if now.diverged else now.accuracy - before.accuracy
        self.history.append(Epoch(now, chosen, reward))
        info = {**chosen, "accuracy": now.accuracy, "best": self.best, "diverged": now.diverged}
        return self._observe(), reward, self.over, False, info

    @property
    def over(self) -> bool:
        return len(self.history) > self.epochs or (bool(self.history) and self.history[-1].measured.diverged)

    @property
    def best(self) -> float:
        """The highest validation accuracy so far, 0..1."""
        return max(epoch.measured.accuracy for epoch in self.history)

    def _observe(self) -> Floats:
        now, last = self.history[-1].measured, self.history[-2 if len(self.history) > 1 else -1].measured
        losses = np.log10(np.maximum([now.training_loss, now.validation_loss], 10**_LOWEST))
        earlier = np.log10(np.maximum([last.training_loss, last.validation_loss], 10**_LOWEST))
        told = [
            (len(self.history) - 1) / self.epochs,
            *losses,
            now.accuracy,
            *(losses - earlier),
            now.accuracy - last.accuracy,
            self.best,
            np.log10(min(max(now.gradient, 10**-_STEEPEST), 10**_STEEPEST)) if now.gradient else 0.0,
            len(self.task.y) / self.most,
        ]
        assert len(told) == _STATE
        state = np.array([*told, *self._action], np.float32)
        space = self.observation_space
        return np.clip(state, space.low, space.high)

    # ------------------------------------------------------------------ pictures

    def describe(self) -> str:
        """The task in a line, for people."""
        task = self.task
        return f"{len(task.y)} digits, {task.noise:.0%} wrong labels, contrast {task.contrast:.2f}"

    def render(self) -> Any:
        """A frame uint8 [480, 640, 3], or the same as text, as `render_mode` says."""
        if self.render_mode is None:
            return None
        title = self.spec.id if self.spec else type(self).__name__
        draw: Callable[..., Any] = pictures.frame if self.render_mode == "rgb_array" else pictures.text
        return draw(title, self.describe(), self.ranges, self.history, self.epochs)


class ConvergenceControl(Tuning):
    """A perceptron of one or two hidden layers of 16 to 64 units, drawn with the task.

    Action: learning rate 1e-5..10 (log), momentum 0..0.99, weight decay 1e-6..0.1 (log), batch size 16..256
    (log, whole), clip 0.1..100 (log): the norm to which a minibatch's gradient is scaled down.
    At the start the network is there: its first accuracy, loss and gradient are measured, not assumed.
    """

    ranges: ClassVar[tuple[Range, ...]] = (*OPTIMISER, Range("clip", 0.1, 100.0, log=True))
    fewest: ClassVar[int] = 200
    most: ClassVar[int] = 800

    def begin(self) -> Measured:
        layers = int(self.np_random.integers(1, 3))
        hidden = tuple(int(n) for n in self.np_random.integers(16, 65, size=layers))
        self._take(Perceptron(hidden, self.task.gain, self._random))
        return training.first_look(self.network, self.task)

    def train(self, action: Floats, chosen: dict[str, float]) -> tuple[Measured, Floats, dict[str, float]]:
        return self._epoch(chosen, clip=chosen["clip"]), action, chosen

    def describe(self) -> str:
        assert isinstance(self.network, Perceptron)
        return f"{super().describe()}, hidden {'+'.join(str(n) for n in self.network.hidden)}"


class CNNClassifierTraining(Tuning):
    """A convolutional network, which the first action chooses, too.

    Action: learning rate 1e-5..10 (log), momentum 0..0.99, weight decay 1e-6..0.1 (log), batch size 16..256
    (log, whole), dropout 0..0.8 before the output layer; then the architecture: filters of the first layer
    4..24 (log, whole; a second layer has twice as many), kernel 1, 3 or 5 pixels wide, layers 1 or 2.
    The last three count in the first step alone; afterwards the observation's last action and the picture
    go on to show those that were chosen then. Before the first step there is no network: accuracy (0.1) and
    losses (ln 10) are those of a guess, the gradient's number is 0.
    """

    ranges: ClassVar[tuple[Range, ...]] = (
        *OPTIMISER,
        Range("dropout", 0.0, 0.8),
        Range("filters", 4, 24, log=True, integer=True),
        Range("kernel", 1, 5, odd=True),
        Range("layers", 1, 2, integer=True),
    )
    fewest: ClassVar[int] = 150
    most: ClassVar[int] = 500
    _ARCHITECTURE: ClassVar[int] = 3  # the last so many numbers

    def begin(self) -> Measured:
        self._built: tuple[Floats, dict[str, float]] | None = None  # the action's last numbers; their values
        return Measured(GUESSING, GUESSING, CHANCE, 0.0)

    def train(self, action: Floats, chosen: dict[str, float]) -> tuple[Measured, Floats, dict[str, float]]:
        if self._built is None:
            names = [r.name for r in self.ranges[-self._ARCHITECTURE :]]
            self._built = action[-self._ARCHITECTURE :].copy(), {name: chosen[name] for name in names}
            filters, kernel, layers = (int(chosen[name]) for name in names)
            self._take(Convolutional(filters, kernel, layers, self.task.gain, self._random))
        first, architecture = self._built
        action, chosen = action.copy(), {**chosen, **architecture}
        action[-self._ARCHITECTURE :] = first
        return self._epoch(chosen, dropout=chosen["dropout"]), action, chosen
