"""Hyperparameters in neutral words, translated by `ours` and `peers`: what both sides are told to do.

`steps` is rounded so that no side stops within a rollout; the warm-up and the marks between which time is
taken lie on the same steps on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

ENV = "CartPole-v1"


@dataclass(frozen=True)
class DQNSettings:
    """Single Q-learning with a hard target copy; the defaults are those of CleanRL's dqn.py on CartPole."""

    steps: int
    learning_starts: int = 10_000
    lr: float = 2.5e-4
    buffer_size: int = 10_000
    batch_size: int = 128
    train_every: int = 10
    gradient_steps: int = 1
    target_every: int = 500
    gamma: float = 0.99
    epsilon_end: float = 0.05
    exploration: float = 0.5  # share of the steps over which epsilon falls from 1
    hidden: tuple[int, ...] = (120, 84)
    max_grad_norm: float = 10.0

    @property
    def warmup(self) -> int:
        """Steps before the measured window: pure exploration and the first updates."""
        return self.learning_starts + self.mark * 2

    @property
    def mark(self) -> int:
        """Steps between readings of the clock."""
        return _up(self.steps // 50, self.train_every)


@dataclass(frozen=True)
class PPOSettings:
    """Proximal policy optimisation with separate 64-64 tanh networks."""

    steps: int
    lanes: int
    horizon: int
    epochs: int
    minibatch_size: int
    lr: float  # falls linearly to 0
    clip: float
    clip_linear: bool
    gamma: float
    gae_lambda: float
    entropy_coef: float
    value_coef: float = 0.5  # of the mean squared error
    hidden: tuple[int, ...] = (64, 64)
    max_grad_norm: float = 0.5

    @property
    def warmup(self) -> int:
        return self.mark * 2

    @property
    def mark(self) -> int:
        return _up(self.steps // 50, self.lanes * self.horizon)


Settings = DQNSettings | PPOSettings

CASES = {
    "dqn": "DQN, CleanRL's hyperparameters",
    "dqn_zoo": "DQN, rl-zoo's hyperparameters: 128 updates of 64 every 256 steps",
    "ppo_zoo": "PPO, rl-zoo's hyperparameters: 8 × 32, 20 epochs of 256",
    "ppo_default": "PPO, common defaults: 4 × 128, 4 epochs of 128",
}


def settings(case: str, steps: int) -> Settings:
    """The hyperparameters of a case, for a budget of about `steps` (rounded up to whole rollouts)."""
    if case == "dqn":
        return DQNSettings(_up(steps, 10), learning_starts=min(10_000, _up(steps // 5, 10)))
    if case == "dqn_zoo":
        return DQNSettings(
            _up(steps, 256), learning_starts=1_000, lr=2.3e-3, buffer_size=100_000, batch_size=64,
            train_every=256, gradient_steps=128, target_every=10, epsilon_end=0.04, exploration=0.16,
            hidden=(256, 256),
        )  # fmt: skip
    if case == "ppo_zoo":
        return PPOSettings(
            _up(steps, 256), lanes=8, horizon=32, epochs=20, minibatch_size=256, lr=1e-3, clip=0.2,
            clip_linear=True, gamma=0.98, gae_lambda=0.8, entropy_coef=0.0,
        )  # fmt: skip
    if case == "ppo_default":
        return PPOSettings(
            _up(steps, 512), lanes=4, horizon=128, epochs=4, minibatch_size=128, lr=2.5e-4, clip=0.2,
            clip_linear=False, gamma=0.99, gae_lambda=0.95, entropy_coef=0.01,
        )  # fmt: skip
    raise SystemExit(f"there is no case {case}; choose among {', '.join(CASES)}")


def _up(number: int, unit: int) -> int:
    """The smallest multiple of `unit` that is at least `number`, and at least one unit."""
    return max(-(-number // unit), 1) * unit
