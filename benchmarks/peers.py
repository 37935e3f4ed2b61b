"""Stable-Baselines3's side of the benchmarks, through its released package and its documented calls."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from benchmarks.settings import ENV, DQNSettings, PPOSettings, Settings, settings
from rlkit.seeding import episode_seed  # so that both sides are tested on the same episodes


class Marks(BaseCallback):
    """Reads the clock where updates are over and the next rollout begins, at most every `interval` steps."""

    def __init__(self, interval: int) -> None:
        super().__init__()
        self.interval, self.marks, self._origin = interval, [(0, 0.0)], 0.0

    def _on_training_start(self) -> None:
        self._origin = time.perf_counter()

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps >= self.marks[-1][0] + self.interval:
            self._read()

    def _on_training_end(self) -> None:
        if self.model.num_timesteps > self.marks[-1][0]:
            self._read()

    def _on_step(self) -> bool:
        return True

    def _read(self) -> None:
        self.marks.append((self.model.num_timesteps, time.perf_counter() - self._origin))


def make_model(told: Settings, seed: int, device: str) -> BaseAlgorithm:
    """The settings as Stable-Baselines3's arguments. Environments run without Gymnasium's checker."""
    envs = _envs(1 if isinstance(told, DQNSettings) else told.lanes, seed)
    if isinstance(told, PPOSettings):
        return make_ppo(told, envs, seed, device)
    return DQN(
        "MlpPolicy", envs, seed=seed, device=device, learning_rate=told.lr, buffer_size=told.buffer_size,
        learning_starts=told.learning_starts, batch_size=told.batch_size, train_freq=told.train_every,
        gradient_steps=told.gradient_steps, target_update_interval=told.target_every, tau=1.0,
        gamma=told.gamma, exploration_initial_eps=1.0, exploration_final_eps=told.epsilon_end,
        exploration_fraction=told.exploration, max_grad_norm=told.max_grad_norm,
        policy_kwargs={"net_arch": list(told.hidden), "activation_fn": nn.ReLU},
    )  # fmt: skip


def make_ppo(told: PPOSettings, envs: VecEnv, seed: int, device: str) -> PPO:
    lr, clip = told.lr, told.clip
    return PPO(
        "MlpPolicy", envs, seed=seed, device=device, learning_rate=lambda left: lr * left,
        clip_range=(lambda left: clip * left) if told.clip_linear else clip, n_steps=told.horizon,
        n_epochs=told.epochs, batch_size=told.minibatch_size, gamma=told.gamma, gae_lambda=told.gae_lambda,
        ent_coef=told.entropy_coef, vf_coef=told.value_coef, max_grad_norm=told.max_grad_norm,
        policy_kwargs={"net_arch": list(told.hidden), "activation_fn": nn.Tanh},
    )  # fmt: skip


def speed(job: dict[str, Any]) -> dict[str, Any]:
    """One training run; time is read by a callback between rollouts."""
    told = settings(job["case"], job["steps"])
    before = time.process_time()
    model = make_model(told, job["seed"], job["device"])
    clock = Marks(told.mark)
    model.learn(told.steps, callback=clock)
    used = time.process_time() - before
    wall = time.time() - job["started"]
    batch = told.batch_size if isinstance(told, DQNSettings) else told.minibatch_size
    updates = _updates(model)
    return {
        "marks": clock.marks,
        "wall": wall,
        "cpu_seconds": used,
        "steps": model.num_timesteps,
        "updates": updates,
        "samples": updates * batch,
        "returns": greedy(model, job["seed"], "eval", job["episodes"]),
    }


def _updates(model: BaseAlgorithm) -> int:
    """Gradient updates as the optimiser counted them."""
    state = model.policy.optimizer.state_dict()["state"]
    return int(next(iter(state.values()))["step"]) if state else 0


def greedy(model: BaseAlgorithm, seed: int, stream: str, episodes: int) -> list[float]:
    """Returns of greedy episodes 0…K−1, on the seeds that rlkit's evaluator uses."""
    env = gym.make(ENV, disable_env_checker=True)
    returns = []
    for k in range(episodes):
        obs, _ = env.reset(seed=episode_seed(seed, stream, 0, k))
        total, over = 0.0, False
        while not over:
            action, _ = model.predict(obs, deterministic=True)
            obs, reward, terminated, truncated, _ = env.step(int(action))
            total += float(reward)
            over = terminated or truncated
        returns.append(total)
    env.close()
    return returns


# ---------------------------------------------------------------------- learning quality


class Watch(BaseCallback):
    """Evaluates every `interval` steps as rlkit's trainer does, and keeps the parameters that scored best."""

    def __init__(self, interval: int, episodes: int, seed: int, origin: float) -> None:
        super().__init__()
        self.interval, self.episodes, self._seed, self._origin = interval, episodes, seed, origin
        self.curve: list[tuple[int, float, float]] = []  # step, seconds, mean return
        self.best: dict[str, Any] | None = None
        self._top, self._due = -np.inf, interval

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps >= self._due:
            self._evaluate()
            self._due = (self.model.num_timesteps // self.interval + 1) * self.interval

    def _on_training_end(self) -> None:
        if not self.curve or self.curve[-1][0] < self.model.num_timesteps:
            self._evaluate()

    def _on_step(self) -> bool:
        return True

    def _evaluate(self) -> None:
        mean = float(np.mean(greedy(self.model, self._seed, "eval", self.episodes)))
        self.curve.append((self.model.num_timesteps, time.perf_counter() - self._origin, mean))
        if mean >= self._top:
            self._top, self.best = mean, deepcopy(self.model.policy.state_dict())


def learning(job: dict[str, Any]) -> dict[str, Any]:
    """rl-zoo's tuned hyperparameters; best and final network on the episodes that rlkit is tested on."""
    seed, device = job["seed"], job["device"]
    start = time.perf_counter()
    model = _zoo_dqn(seed, device) if job["agent"] == "dqn" else _zoo_ppo(job["steps"], seed, device)
    watch = Watch(job["eval_every"], job["eval_episodes"], seed, start)
    model.learn(job["steps"], callback=watch)
    final = greedy(model, seed, "test", job["episodes"])
    if watch.best is not None:
        model.policy.load_state_dict(watch.best)
    best = greedy(model, seed, "test", job["episodes"])
    return {
        "curve": watch.curve,
        "final": float(np.mean(final)),
        "best": float(np.mean(best)),
        "steps": model.num_timesteps,
        "seconds": watch.curve[-1][1],
    }


def _zoo_dqn(seed: int, device: str) -> DQN:
    """rl-zoo's hyperparams/dqn.yml, CartPole-v1; its budget is 50,000 steps."""
    return DQN(
        "MlpPolicy", _envs(1, seed), seed=seed, device=device, learning_rate=2.3e-3, batch_size=64,
        buffer_size=100_000, learning_starts=1_000, gamma=0.99, target_update_interval=10, train_freq=256,
        gradient_steps=128, exploration_fraction=0.16, exploration_final_eps=0.04,
        policy_kwargs={"net_arch": [256, 256]},
    )  # fmt: skip


def _zoo_ppo(steps: int, seed: int, device: str) -> PPO:
    """rl-zoo's hyperparams/ppo.yml, CartPole-v1; its budget is 100,000 steps."""
    told = settings("ppo_zoo", steps)
    assert isinstance(told, PPOSettings)
    return make_ppo(told, _envs(told.lanes, seed), seed, device)


def _envs(lanes: int, seed: int) -> VecEnv:
    """Stable-Baselines3's own helper, its Monitor included: rlkit counts returns and lengths too."""
    return make_vec_env(ENV, n_envs=lanes, seed=seed, env_kwargs={"disable_env_checker": True})
