"""Learning on a probe in a few seconds: the trainer's loop without its files, and what was learnt."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rlkit.agents.dqn import DQN, DQNConfig
from rlkit.agents.neat import NEAT, NEATConfig
from rlkit.agents.ppo import PPO, PPOConfig
from rlkit.agents.random import RandomAgent, RandomConfig
from rlkit.config import AccelConfig, NetConfig
from rlkit.envs.probe import Clock, CutChain, Echo, Temptation
from rlkit.envs.vector import VectorEnvs
from rlkit.nets.normalizer import LeafNorm
from rlkit.types import AgentSetup, Decision, Metrics, State

Config = DQNConfig | NEATConfig | PPOConfig | RandomConfig
Make = Callable[[], gym.Env]

GAMMA = 0.9
NET = NetConfig(hidden=[32])
MODES = tuple(AutoresetMode)
AGENTS: dict[str, Any] = {"dqn": DQN, "neat": NEAT, "ppo": PPO, "random": RandomAgent}


@dataclass
class Lab:
    """An agent in its lanes, and how many decisions it has taken."""

    agent: DQN | NEAT | PPO | RandomAgent
    envs: VectorEnvs
    now: int = 0


def dqn(n_step: int = 1) -> DQNConfig:
    """Fast on tables of a few states."""
    return DQNConfig(
        lr=5e-3, batch_size=64, buffer_size=2_000, learning_starts=200, train_every=2, gamma=GAMMA,
        n_step=n_step, target_every=0, target_tau=0.1, epsilon_end=0.2, epsilon_steps=1_000,
    )  # fmt: skip


def ppo() -> PPOConfig:
    """Fast on tables of a few states."""
    return PPOConfig(
        lr=1e-2, horizon=32, minibatch_size=64, epochs=8, gamma=GAMMA, entropy_coef=0.0, max_grad_norm=10.0
    )


def lab(
    make: Make,
    config: Config,
    *,
    steps: int = 1_000,
    lanes: int = 4,
    mode: AutoresetMode = AutoresetMode.DISABLED,
    seed: int = 0,
    net: NetConfig = NET,
) -> Lab:
    """Lanes of an environment and an agent with this configuration; nothing has happened yet."""
    envs = VectorEnvs(SyncVectorEnv([make] * lanes, autoreset_mode=mode), seed=seed)
    setup = AgentSetup(
        envs.obs_spec,
        envs.action_spec,
        lanes,
        steps,
        torch.device("cpu"),
        seed,
        net,
        AccelConfig(mode="eager"),
    )
    envs.reset()
    return Lab(AGENTS[config.name](config, setup), envs)


def advance(place: Lab, until: int) -> list[Metrics]:
    """The trainer's loop up to step `until`; returns what `learn` returned."""
    agent, envs, found = place.agent, place.envs, []
    obs = envs.obs
    while place.now < until:
        decision = agent.act(obs, place.now)
        envs.send(decision)
        step = envs.recv()
        agent.observe(obs, decision, step)
        obs = step.obs
        place.now += step.count
        metrics = agent.learn(place.now)
        if metrics is not None:
            found.append(metrics)
    return found


def train(
    make: Make, config: Config, steps: int, *, lanes: int = 4, mode: AutoresetMode = AutoresetMode.DISABLED,
    seed: int = 0, net: NetConfig = NET,
) -> DQN | PPO:  # fmt: skip
    """An agent that has learnt for `steps` decisions."""
    place = lab(make, config, steps=steps, lanes=lanes, mode=mode, seed=seed, net=net)
    advance(place, steps)
    place.envs.close()
    assert isinstance(place.agent, DQN | PPO)
    return place.agent


def value(agent: DQN | PPO, x: float) -> float:
    """What the agent thinks that the observation [x] is worth."""
    obs = {"obs": torch.tensor([[x]])}
    with torch.no_grad():
        found = agent.online(obs).amax(1) if isinstance(agent, DQN) else agent.network.value(obs)
    return float(found)


def check_values(agent: DQN | PPO, expected: Mapping[float, float], tolerance: float) -> None:
    """AssertionError where a learnt value is further than `tolerance` from the known one."""
    found = {x: value(agent, x) for x in expected}
    far = {x: (v, expected[x]) for x, v in found.items() if not abs(v - expected[x]) <= tolerance}
    assert not far, f"observation: (learnt, true) = {far}"


def greedy_reward(agent: DQN | PPO | RandomAgent, make: Make, seed: int = 1, steps: int = 100) -> float:
    """Mean reward per step of the greedy policy on fresh episodes."""
    lanes = 4
    envs = VectorEnvs(SyncVectorEnv([make] * lanes, autoreset_mode=AutoresetMode.DISABLED), seed=seed)
    actor, step = agent.actor(), envs.reset()
    first, rewards = torch.ones(lanes, dtype=torch.bool), []
    for _ in range(steps):
        envs.send(Decision(actor(step.obs, first)))
        step = envs.recv()
        first = step.terminated | step.truncated
        rewards.append(step.reward.numpy())
    envs.close()
    return float(np.mean(rewards))


# ---------------------------------------------------------------------- checks that a planted bug must fail

STEPS = {"dqn": 2_000, "ppo": 2_560}  # enough for an error of a third of what is allowed


def check_clock(
    config: DQNConfig | PPOConfig, truncate: bool, mode: AutoresetMode = AutoresetMode.DISABLED,
    lanes: int = 4, seed: int = 0,
) -> None:  # fmt: skip
    """The infinite value of a truncated episode, the finite sum of a terminated one."""
    agent = train(lambda: Clock(5, truncate), config, STEPS[config.name], lanes=lanes, mode=mode, seed=seed)
    check_values(agent, Clock(5, truncate).values(GAMMA), tolerance=0.25)


def check_chain(
    config: DQNConfig | PPOConfig, mode: AutoresetMode = AutoresetMode.DISABLED, lanes: int = 4, seed: int = 0
) -> None:
    """The bootstrap comes from the final observation, neither from the one before nor from the one after."""
    agent = train(CutChain, config, STEPS[config.name], lanes=lanes, mode=mode, seed=seed)
    check_values(agent, CutChain().values(GAMMA), tolerance=0.3)


def check_no_temptation(
    config: DQNConfig | PPOConfig, truncate: bool, mode: AutoresetMode = AutoresetMode.DISABLED, seed: int = 0
) -> None:
    """What the next episode brings is no merit of this one's actions."""
    if isinstance(config, DQNConfig):
        # A replay mixes policies: while one repeats itself, this action foretells the last one's gift.
        # And Huber's loss learns a median: of rewards 1 and 4, it may be either.
        config = replace(config, epsilon_end=1.0, loss="mse")
    agent = train(lambda: Temptation(truncate), config, STEPS[config.name], mode=mode, seed=seed)
    action = agent.actor()({"obs": torch.ones(1, 1)}, torch.ones(1, dtype=torch.bool))
    assert action.tolist() == [[0]], "a reward leaked across the end of an episode"


class FarBox(Echo):
    """Numbers from 50 to 60: without normalisation they saturate a network."""

    def __init__(self) -> None:
        super().__init__(Box(50, 60, (2,), np.float32))


def normalizing(seed: int = 0) -> Lab:
    """PPO after two rollouts on observations far from zero, with statistics of its own."""
    config = replace(ppo(), normalize_obs=True, normalize_returns=True, lr=1e-1)
    place = lab(FarBox, config, steps=10_000, seed=seed)
    advance(place, 2 * config.horizon * 4)
    return place


def check_evaluation_changes_nothing() -> None:
    """Playing greedily leaves everything that decides the next step as it was, statistics included."""
    place = normalizing()
    before = as_bytes(place.agent.state_dict())
    actor = place.agent.actor()
    for _ in range(5):
        actor(place.envs.obs, torch.zeros(4, dtype=torch.bool))
    assert as_bytes(place.agent.state_dict()) == before, "playing changed the agent"


def check_one_normalizer() -> None:
    """The greedy actor and the learner see observations through the same, learnt, statistics."""
    agent = normalizing().agent
    assert isinstance(agent, PPO)
    assert agent.network.norm is not None
    obs = {"obs": torch.rand(64, 2) * 10 + 50}
    norm = agent.network.norm.norms[0]
    assert isinstance(norm, LeafNorm)
    scaled = {"obs": (obs["obs"] - norm.mean.float()) / (norm.var.float() + 1e-8).sqrt()}
    assert float(scaled["obs"].abs().max()) < 3, "the statistics are not those of the observations"
    with torch.no_grad():
        expected = agent.network.policy(agent.network.actor(agent.network.encoder(scaled)))[:, :2]
    actions = agent.actor()(obs, torch.zeros(64, dtype=torch.bool))
    assert torch.allclose(actions, expected, atol=1e-4), "the actor has a scale of its own"


def as_bytes(state: State) -> bytes:
    """What a checkpoint would hold."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()
