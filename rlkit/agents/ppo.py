"""Proximal policy optimisation (Schulman et al. 2017) for every observation and action space.

Learning is due when the rollout of `horizon` vector steps is full: one pass gives values and old
log-probabilities of the whole rollout, GAE gives advantages, then `epochs` of minibatches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlkit.accel import call, capture, gradient, pick_mode, read
from rlkit.config import NetConfig, key
from rlkit.distributions import Product
from rlkit.memory.rollout import Rollout
from rlkit.nets.blocks import mlp
from rlkit.nets.encoders import Encoder
from rlkit.nets.flat import Flat, FlatAdam
from rlkit.nets.heads import PolicyHead, ValueHead
from rlkit.nets.host import MAX_ROWS, host_forward
from rlkit.nets.normalizer import ReturnNorm, RunningNorm
from rlkit.returns import explained_variance, gae
from rlkit.schedules import schedule
from rlkit.seeding import derive, generator
from rlkit.spaces import MASK_NAME, ActionSpec, ObsSpec
from rlkit.trees import tree_index
from rlkit.types import ALL, AgentSetup, Decision, Metrics, State, TimeStep, Tree


@dataclass
class PPOConfig:
    name: str = key("ppo", "this agent", choices=("ppo",))
    lr: float = key(3e-4, "Adam's step size at the start", above=0.0)
    lr_schedule: str = key("linear", "to 0 at trainer.total_steps", choices=("constant", "linear", "cosine"))
    horizon: int = key(128, "steps per lane in one rollout", low=1)
    minibatch_size: int = key(64, "transitions per update", low=2)
    epochs: int = key(4, "passes over each rollout", low=1)
    gamma: float = key(0.99, "discount", low=0.0, high=1.0)
    gae_lambda: float = key(0.95, "bias against variance of the advantages", low=0.0, high=1.0)
    clip: float = key(0.2, "how far the probability ratio may leave 1", above=0.0)
    clip_schedule: str = key("constant", "to 0 at trainer.total_steps", choices=("constant", "linear"))
    value_clip: float | None = key(None, "how far a value may move in one update; null: no limit", above=0.0)
    entropy_coef: float = key(0.01, "weight of the entropy bonus at the start", low=0.0)
    entropy_schedule: str = key("constant", "to 0 at trainer.total_steps", choices=("constant", "linear"))
    value_coef: float = key(0.5, "weight of the value loss", low=0.0)
    max_grad_norm: float = key(0.5, "gradients are scaled down to this norm", above=0.0)
    target_kl: float | None = key(
        None, "stop the epochs when the policy moved further; null: never", above=0.0
    )
    normalize_obs: bool = key(False, "running mean and variance of observations, part of the policy")
    normalize_returns: bool = key(False, "rewards divided by the running deviation of the discounted return")
    normalize_advantages: bool = key(True, "mean 0, deviation 1 within each minibatch")


METRICS = ("loss/policy", "loss/value", "policy/entropy", "policy/kl", "policy/clip_fraction", "grad/norm")


class ActorCritic(nn.Module):
    """Observations [B, ...] → policy parameters [B, P] and values [B]. Images share one encoder."""

    def __init__(self, obs: ObsSpec, action: ActionSpec, net: NetConfig, normalize: bool) -> None:
        super().__init__()
        self.norm = RunningNorm(obs) if normalize else None
        self.encoder = Encoder(obs, net)
        self.shared = net.shared or self.encoder.has_images
        self.actor = mlp(self.encoder.out_features, net)
        self.policy = PolicyHead(self.actor.out_features, action, net)
        self.value_encoder = None if self.shared else Encoder(obs, net)
        self.critic = mlp(self.encoder.out_features, net)
        self.value_head = ValueHead(self.critic.out_features, net)

    def normalized(self, obs: Tree) -> Tree:
        return obs if self.norm is None else self.norm(obs)

    def params(self, obs: Tree) -> Tensor:
        return self.policy(self.actor(self.encoder(self.normalized(obs))))  # [B, P]

    def value(self, obs: Tree) -> Tensor:
        encoder = self.encoder if self.value_encoder is None else self.value_encoder
        return self.value_head(self.critic(encoder(self.normalized(obs))))  # [B]

    def forward(self, obs: Tree) -> tuple[Tensor, Tensor]:
        if not self.shared:
            return self.params(obs), self.value(obs)
        features = self.encoder(self.normalized(obs))
        return self.policy(self.actor(features)), self.value_head(self.critic(features))


class PPO:
    Config = PPOConfig

    def __init__(self, config: PPOConfig, setup: AgentSetup) -> None:
        self.config, self.setup = config, setup
        device, total = setup.device, setup.total_steps
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(setup.seed, "agent/init"))
            self.network = ActorCritic(setup.obs, setup.action, setup.net, config.normalize_obs).to(device)
        self.return_norm = (
            ReturnNorm(setup.lanes, config.gamma).to(device) if config.normalize_returns else None
        )
        self.distribution = Product(setup.action)
        self._flat = Flat(self.network)
        self.optimizer = FlatAdam(self._flat, config.lr, eps=1e-5)
        self.rollout = Rollout(setup.obs, setup.action, config.horizon, setup.lanes, (), device)
        self._noise = generator(setup.seed, "agent/act", device)
        self._shuffle = generator(setup.seed, "agent/shuffle", device)
        self._lr = schedule(config.lr_schedule, config.lr, 0.0, total)
        self._clip = schedule(config.clip_schedule, config.clip, 0.0, total)
        self._entropy = schedule(config.entropy_schedule, config.entropy_coef, 0.0, total)
        mode = pick_mode(setup.accel.mode, device)
        self._gradient = gradient(self._loss, self.network, mode)
        self._update = capture(self._update_eager, mode, device)
        self._evaluate = capture(self._evaluate_eager, mode, device)
        network = self.network
        plain = network.encoder.plain == "obs" and network.norm is None
        self._host_policy = host_forward(network.actor, network.policy.linear) if plain else None

    @staticmethod
    def serves(action: ActionSpec, obs: ObsSpec) -> str | None:
        """Why this agent cannot serve these spaces, or None."""
        return None

    @staticmethod
    def learns_after(config: PPOConfig, lanes: int) -> int:
        """Steps before the first update: one rollout."""
        return config.horizon * lanes

    # ------------------------------------------------------------------ the verbs

    @torch.no_grad()
    def act(self, obs: Tree, now: int, lanes: slice = ALL) -> Decision:
        n = next(iter(obs.values())).shape[0]
        noise = self.distribution.noise(n, self._noise, self.setup.device)
        if self._host_policy is not None and n <= MAX_ROWS:
            params = self.network.policy.join(torch.from_numpy(self._host_policy(obs["obs"].numpy())))
        else:
            params = self.network.params(obs)
        return Decision(self.distribution.sample(params, noise, mask=obs.get(MASK_NAME)))

    def observe(self, obs: Tree, decision: Decision, step: TimeStep) -> None:
        # The chosen action, not the executed one: the policy gave its probability to the former.
        self.rollout.add(obs, decision.action, decision.memo, step)

    def learn(self, now: int) -> Metrics | None:
        if not self.rollout.full:
            return None
        config, rollout = self.config, self.rollout
        obs = {name: rollout.flat(leaf) for name, leaf in rollout.obs.items()}
        action, weight = rollout.flat(rollout.action), rollout.flat(rollout.valid).float()
        # The network has not changed since the first row, so one pass gives what acting would have given.
        log_prob, value = self._evaluate(obs, action)
        value_tn = value.view(rollout.horizon, rollout.lanes)
        with torch.no_grad():
            next_value = rollout.next_value(value_tn, self.network.value(rollout.successors()))
        reward = rollout.reward if self.return_norm is None else self._normalized_reward()
        advantage = gae(
            reward,
            value_tn,
            next_value,
            rollout.terminated,
            rollout.truncated,
            config.gamma,
            config.gae_lambda,
        ).flatten()
        target = advantage + value
        self.optimizer.lr.fill_(self._lr(now))
        coefficients = torch.tensor([self._clip(now), self._entropy(now)], device=self.setup.device)

        totals = torch.zeros(len(METRICS), device=self.setup.device)
        updates = epochs = 0
        for _ in range(config.epochs):
            totals_before = totals.clone()
            for rows, real in self._minibatches(advantage.shape[0]):
                batch = (action[rows], log_prob[rows], value[rows], advantage[rows], target[rows])
                totals += self._update(tree_index(obs, rows), *batch, weight[rows] * real, coefficients)
                updates += 1
            epochs += 1
            if config.target_kl is not None:
                kl = (totals - totals_before)[METRICS.index("policy/kl")] / (updates / epochs)
                if read(kl) > config.target_kl:
                    break
        metrics: Metrics = dict(zip(METRICS, totals / updates, strict=True))
        metrics["value/explained_variance"] = explained_variance(value, target)
        metrics["learn/lr"], metrics["learn/epochs"] = self._lr(now), float(epochs)
        if self.network.norm is not None:  # after the updates: within a rollout one scale holds
            self.network.norm.update(obs, rollout.flat(rollout.valid))
        rollout.clear()
        return metrics

    def actor(self) -> ModeActor:
        return ModeActor(self.network, self.distribution)

    # ------------------------------------------------------------------ the update

    def _minibatches(self, rows: int) -> list[tuple[Tensor, Tensor]]:
        """Shuffled row numbers [B] with weights [B]; the last batch is filled up with rows of weight 0."""
        size = min(self.config.minibatch_size, rows)
        device = self.setup.device
        order = torch.randperm(rows, generator=self._shuffle, device=device)
        missing = -rows % size
        real = torch.ones(rows + missing, device=device)
        if missing:
            order = torch.cat([order, order[:missing]])
            real[rows:] = 0.0
        return list(zip(torch.split(order, size), torch.split(real, size), strict=True))

    @torch.no_grad()
    def _evaluate_eager(self, obs: Tree, action: Tensor) -> tuple[Tensor, Tensor]:
        """obs [B, ...], action [B, A] → log-probability [B], value [B]."""
        params, value = self.network(obs)
        return self.distribution.log_prob(params, action, mask=obs.get(MASK_NAME)), value

    def _loss(
        self,
        given: dict[str, Tensor] | None,
        obs: Tree,
        action: Tensor,
        old_log_prob: Tensor,
        old_value: Tensor,
        advantage: Tensor,
        target: Tensor,
        weight: Tensor,
        coefficients: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """All [B]; the clipped surrogate (eq. 7), the value loss and the entropy bonus (eq. 9)."""
        config, mask = self.config, obs.get(MASK_NAME)
        clip, entropy_coef = coefficients[0], coefficients[1]
        share = weight / weight.sum().clamp(min=1.0)  # [B] sums to 1
        params, value = call(self.network, given, obs)
        if config.normalize_advantages:
            centred = advantage - (share * advantage).sum()
            advantage = centred / ((share * centred.square()).sum().sqrt() + 1e-8)
        log_ratio = self.distribution.log_prob(params, action, mask=mask) - old_log_prob
        ratio = log_ratio.exp()
        clipped = torch.minimum(torch.maximum(ratio, 1 - clip), 1 + clip)
        policy_loss = -(share * torch.minimum(ratio * advantage, clipped * advantage)).sum()
        error = (value - target).square()
        if config.value_clip is not None:
            near = old_value + (value - old_value).clamp(-config.value_clip, config.value_clip)
            error = torch.maximum(error, (near - target).square())
        value_loss = 0.5 * (share * error).sum()
        entropy = (share * self.distribution.entropy(params, mask=mask)).sum()
        loss = policy_loss + config.value_coef * value_loss - entropy_coef * entropy
        kl = (share * (ratio - 1 - log_ratio)).sum()  # Schulman's low-variance estimate
        outside = (share * ((ratio - 1).abs() > clip)).sum()
        return loss, torch.stack([policy_loss, value_loss, entropy, kl, outside]).detach()

    def _update_eager(self, *batch: Tree | Tensor) -> Tensor:
        """One gradient step on a minibatch; returns METRICS [6]."""
        grads, _, metrics = self._gradient(*batch)
        with torch.no_grad():
            norm = self._flat.set_grad(grads, self.config.max_grad_norm)
        self.optimizer.step()
        return torch.cat([metrics, norm[None]])

    def _normalized_reward(self) -> Tensor:
        """[T, N] rewards in units of the running deviation of the discounted return."""
        rollout, norm = self.rollout, self.return_norm
        assert norm is not None
        norm.update(rollout.reward, rollout.terminated | rollout.truncated, rollout.valid)
        return norm.scale(rollout.reward)

    # ------------------------------------------------------------------ state

    def state_dict(self) -> State:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "return_norm": self.return_norm.state_dict() if self.return_norm else None,
            "rollout": self.rollout.state_dict(),
            "noise": self._noise.get_state(),
            "shuffle": self._shuffle.get_state(),
        }

    def load_state_dict(self, state: State, policy_only: bool = False) -> None:
        self.network.load_state_dict(state["network"])
        if policy_only:
            return
        self.optimizer.load_state_dict(state["optimizer"])
        if self.return_norm and state["return_norm"]:
            self.return_norm.load_state_dict(state["return_norm"])
        self.rollout.load_state_dict(state["rollout"])
        for mine, saved in ((self._noise, state["noise"]), (self._shuffle, state["shuffle"])):
            if saved.shape == mine.get_state().shape:  # else: saved on another kind of device
                mine.set_state(saved)


class ModeActor:
    """The most likely action."""

    def __init__(self, network: ActorCritic, distribution: Product) -> None:
        self._network, self._distribution = network, distribution

    @torch.no_grad()
    def __call__(self, obs: Tree, first: Tensor) -> Tensor:
        return self._distribution.mode(self._network.params(obs), mask=obs.get(MASK_NAME))
