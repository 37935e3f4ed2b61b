"""Deep Q-learning (Mnih et al. 2015) with double targets (van Hasselt et al. 2016) and n-step returns.

For one Discrete action and any observation space. Learning is due every `train_every` steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlkit.accel import call, capture, gradient, pick_mode
from rlkit.config import NetConfig, key
from rlkit.memory.replay import Replay
from rlkit.nets.blocks import mlp
from rlkit.nets.encoders import Encoder
from rlkit.nets.flat import Flat, FlatAdam
from rlkit.nets.heads import QHead
from rlkit.nets.host import MAX_ROWS, host_forward
from rlkit.schedules import Every, schedule
from rlkit.seeding import derive, generator
from rlkit.spaces import MASK_NAME, ActionSpec, ObsSpec
from rlkit.types import ALL, AgentSetup, Decision, Metrics, RowStore, State, TimeStep, Tree


@dataclass
class DQNConfig:
    """Defaults were chosen on CartPole-v1, seeds 1000 and above."""

    name: str = key("dqn", "this agent", choices=("dqn",))
    lr: float = key(1e-3, "Adam's step size at the start", above=0.0)
    lr_schedule: str = key("linear", "to 0 at trainer.total_steps", choices=("constant", "linear", "cosine"))
    batch_size: int = key(64, "transitions per update", low=1)
    buffer_size: int = key(10_000, "transitions kept, over all lanes", low=1)
    learning_starts: int = key(1_000, "steps before the first update", low=0)
    train_every: int = key(2, "steps between learning", low=1)
    gradient_steps: int = key(1, "updates each time learning is due", low=1)
    gamma: float = key(0.99, "discount", low=0.0, high=1.0)
    n_step: int = key(5, "rewards summed before bootstrapping", low=1)
    double: bool = key(
        True, "the online network chooses the successor's action, the target network values it"
    )
    target_every: int = key(0, "steps between copies into the target network; 0: after every update", low=0)
    target_tau: float = key(
        0.01, "share of the online network in each update of the target", above=0.0, high=1.0
    )
    epsilon_start: float = key(1.0, "probability of a random action at step 0 …", low=0.0, high=1.0)
    epsilon_end: float = key(0.05, "… and after epsilon_steps", low=0.0, high=1.0)
    epsilon_steps: int = key(10_000, "steps of linear decay", low=0)
    loss: str = key("huber", "", choices=("huber", "mse"))
    max_grad_norm: float = key(10.0, "gradients are scaled down to this norm", above=0.0)


class QNetwork(nn.Module):
    """Observations [B, ...] → action values [B, n]."""

    def __init__(self, obs: ObsSpec, n: int, net: NetConfig) -> None:
        super().__init__()
        self.encoder = Encoder(obs, net)
        self.body = mlp(self.encoder.out_features, net)
        self.head = QHead(self.body.out_features, n, net)

    def forward(self, obs: Tree) -> Tensor:
        return self.head(self.body(self.encoder(obs)))  # [B, n]


def allowed(q: Tensor, obs: Tree) -> Tensor:
    """q [B, n] with invalid actions (0 in the observation's action_mask) never the best."""
    mask = obs.get(MASK_NAME)
    return q if mask is None else torch.where(mask != 0, q, torch.finfo(q.dtype).min)


class DQN:
    Config = DQNConfig

    def __init__(self, config: DQNConfig, setup: AgentSetup) -> None:
        self.config, self.setup = config, setup
        device = setup.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(setup.seed, "agent/init"))
            self.online = QNetwork(setup.obs, setup.action.n, setup.net).to(device)
            self.target = QNetwork(setup.obs, setup.action.n, setup.net).to(device)
        self._online, self._target = Flat(self.online), Flat(self.target)
        self._target.copy_from(self._online)
        self.target.requires_grad_(False)
        self.optimizer = FlatAdam(self._online, config.lr)
        self.replay = Replay(
            setup.obs, setup.action, config.buffer_size, setup.lanes, device, config.n_step, config.gamma
        )
        self._explore = generator(setup.seed, "agent/act")
        self._sample = generator(setup.seed, "agent/sample", device)
        self._epsilon = schedule("linear", config.epsilon_start, config.epsilon_end, config.epsilon_steps)
        self._lr = schedule(config.lr_schedule, config.lr, 0.0, setup.total_steps)
        self._train_due = Every(config.train_every, start=config.learning_starts)
        self._target_due = Every(config.target_every)
        mode = pick_mode(setup.accel.mode, device)
        self._gradient = gradient(self._loss, self.online, mode)
        self._update = capture(self._update_eager, mode, device)
        network = self.online
        plain = network.encoder.plain == "obs" and len(setup.obs.leaves) == 1  # no mask beside it
        self._host_q = host_forward(network.body, network.head) if plain else None

    @staticmethod
    def serves(action: ActionSpec, obs: ObsSpec) -> str | None:
        """Why this agent cannot serve these spaces, or None."""
        if action.is_single_discrete:
            return None
        return f"dqn needs one Discrete action, and this space is {action.describe()}"

    @staticmethod
    def nbytes(config: DQNConfig, setup: AgentSetup) -> int:
        """Bytes of a full replay."""
        return Replay.nbytes(setup.obs, setup.action, config.buffer_size, setup.lanes)

    @staticmethod
    def learns_after(config: DQNConfig, lanes: int) -> int:
        """Steps before the first update."""
        return config.learning_starts

    # ------------------------------------------------------------------ the verbs

    def act(self, obs: Tree, now: int, lanes: slice = ALL) -> Decision:
        n = next(iter(obs.values())).shape[0]
        draw = torch.rand(2, n, generator=self._explore).numpy()  # on the host: no kernel for so few numbers
        explore = draw[0] < self._epsilon(now)  # [N]
        exploring = np.count_nonzero(explore)
        if exploring == n:
            return Decision(self._random(draw[1], obs))
        if self._host_q is not None and n <= MAX_ROWS:
            action = torch.from_numpy(self._host_q(obs["obs"].numpy()).argmax(1))[:, None]  # [N, 1]
        else:
            with torch.no_grad():
                action = allowed(self.online(obs), obs).argmax(1)[:, None]
        if not exploring:
            return Decision(action)
        return Decision(torch.where(self._to(explore)[:, None], self._random(draw[1], obs), action))

    def _random(self, uniform: np.ndarray, obs: Tree) -> Tensor:
        """Uniform numbers [N] → actions [N, 1], uniform over those that the mask allows."""
        if MASK_NAME not in obs:
            return self._to((uniform.astype(np.float64) * self.setup.action.n).astype(np.int64))[:, None]
        mask = obs[MASK_NAME] != 0  # [N, n]
        rank = self._to(uniform) * mask.sum(1)
        return (mask.cumsum(1) > rank[:, None]).int().argmax(1)[:, None]

    def _to(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.setup.device, non_blocking=True)

    def observe(self, obs: Tree, decision: Decision, step: TimeStep) -> None:
        self.replay.add(obs, step)

    def learn(self, now: int) -> Metrics | None:
        config = self.config
        copies = self._target_due(now)
        if now <= config.learning_starts or not self.replay.ready:
            return None
        metrics: Metrics | None = None
        updates = self._train_due(now) * config.gradient_steps
        if updates:
            self.optimizer.lr.fill_(self._lr(now))
        for _ in range(updates):
            batch = self.replay.sample(config.batch_size, self._sample)
            metrics = self._update(*batch.tensors())
            metrics["explore/epsilon"] = self._epsilon(now)
        if copies:
            self._target.lerp_from(self._online, config.target_tau)
        return metrics

    def actor(self) -> GreedyQ:
        return GreedyQ(self.online)

    # ------------------------------------------------------------------ the update

    def _loss(
        self, params: dict[str, Tensor] | None, obs: Tree, action: Tensor, target: Tensor, weight: Tensor
    ) -> tuple[Tensor, Metrics]:
        """obs [B, ...], action [B, 1], target [B], weight [B] → the weighted mean TD loss, 0-d."""
        q = call(self.online, params, obs).gather(1, action)[:, 0]  # [B]
        if self.config.loss == "huber":
            error = F.smooth_l1_loss(q, target, reduction="none")
        else:
            error = F.mse_loss(q, target, reduction="none")
        loss = (error * weight).sum() / weight.sum().clamp(min=1.0)
        return loss, {"loss/td": loss.detach(), "value/q_mean": q.detach().mean()}

    def _update_eager(
        self, obs: Tree, action: Tensor, reward: Tensor, factor: Tensor, next_obs: Tree, weight: Tensor
    ) -> Metrics:
        """One gradient step on B transitions; target = reward + factor · Q(next_obs) (van Hasselt, eq. 4)."""
        with torch.no_grad():
            next_q = self.target(next_obs)  # [B, n]
            if self.config.double:
                best = allowed(self.online(next_obs), next_obs).argmax(1, keepdim=True)  # [B, 1]
                value = next_q.gather(1, best)[:, 0]
            else:
                value = allowed(next_q, next_obs).amax(1)
            target = reward + factor * value  # [B]
        grads, _, metrics = self._gradient(obs, action, target, weight)
        with torch.no_grad():
            metrics["grad/norm"] = self._online.set_grad(grads, self.config.max_grad_norm)
        self.optimizer.step()
        if not self.config.target_every:
            self._target.lerp_from(self._online, self.config.target_tau)
        return metrics

    # ------------------------------------------------------------------ state

    def stores(self) -> dict[str, RowStore]:
        return {"replay": self.replay}

    def state_dict(self) -> State:
        return {
            "online": self.online.state_dict(),
            "target": self.target.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "replay": self.replay.state_dict(),
            "explore": self._explore.get_state(),
            "sample": self._sample.get_state(),
            "due": [self._train_due.last, self._target_due.last],
        }

    def load_state_dict(self, state: State, policy_only: bool = False) -> None:
        self.online.load_state_dict(state["online"])
        if policy_only:
            return
        self.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.replay.load_state_dict(state["replay"])
        self._explore.set_state(state["explore"])
        if state["sample"].shape == self._sample.get_state().shape:  # else: saved on another kind of device
            self._sample.set_state(state["sample"])
        self._train_due.last, self._target_due.last = state["due"]


class GreedyQ:
    """The action of highest value."""

    def __init__(self, network: QNetwork) -> None:
        self._network = network

    @torch.no_grad()
    def __call__(self, obs: Tree, first: Tensor) -> Tensor:
        return allowed(self._network(obs), obs).argmax(1, keepdim=True)  # [N, 1]
