"""DQN's arithmetic, by hand: targets, losses, exploration, target network, when learning is due."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from correctness.harness import NET, advance, dqn, lab
from rlkit.agents.dqn import DQN, DQNConfig, allowed
from rlkit.config import NetConfig
from rlkit.envs.probe import Clock, Echo, Match

LINEAR = NetConfig(hidden=[])


def _linear(config: DQNConfig) -> DQN:
    """Q(x) = w x + b with online w = (1, 2, 0), b = (0, 0, 1) and target w = (10, 5, 0), b = (0, 1, 30)."""
    agent = lab(lambda: _Line(), config, net=LINEAR).agent
    assert isinstance(agent, DQN)
    with torch.no_grad():
        agent.online.head.linear.weight.copy_(torch.tensor([[1.0], [2.0], [0.0]]))
        agent.online.head.linear.bias.copy_(torch.tensor([0.0, 0.0, 1.0]))
        agent.target.head.linear.weight.copy_(torch.tensor([[10.0], [5.0], [0.0]]))
        agent.target.head.linear.bias.copy_(torch.tensor([0.0, 1.0, 30.0]))
    return agent


class _Line(Echo):
    """A number in, one of three actions out."""

    def __init__(self) -> None:
        super().__init__(spaces.Discrete(3))
        self.observation_space = spaces.Box(-9, 9, (1,))

    def reset(self, **arguments: Any) -> Any:
        super().reset(**arguments)
        return self.observation_space.low, {}

    def step(self, action: Any) -> Any:
        return self.observation_space.low, 0.0, True, False, {}


def _column(*numbers: float) -> dict[str, Tensor]:
    return {"obs": torch.tensor(numbers)[:, None]}


def _batch(weight: Tensor | None = None) -> tuple[Any, ...]:
    """Two transitions: (x, a, r, factor, x′) = (1, 0, 0.5, 0.9, 2) and (−1, 2, 3, 0, 1)."""
    return (
        _column(1.0, -1.0), torch.tensor([[0], [2]]), torch.tensor([0.5, 3.0]), torch.tensor([0.9, 0.0]),
        _column(2.0, 1.0), torch.ones(2) if weight is None else weight,
    )  # fmt: skip


# ---------------------------------------------------------------------- the update


@pytest.mark.parametrize(("double", "successor"), [(True, 11.0), (False, 30.0)])
def test_target(double: bool, successor: float) -> None:
    """At x′ = 2 the online values are (2, 4, 1), the target's (20, 11, 30): double takes 11, single 30."""
    agent = _linear(replace(dqn(), double=double))
    given: list[Tensor] = []
    gradient = agent._gradient

    def spy(obs: Any, action: Tensor, target: Tensor, weight: Tensor) -> Any:
        given.append(target)
        return gradient(obs, action, target, weight)

    agent._gradient = spy
    agent._update(*_batch())
    assert torch.allclose(given[0], torch.tensor([0.5 + 0.9 * successor, 3.0]))
    assert not given[0].requires_grad


@pytest.mark.parametrize(("loss", "expected"), [("mse", (9.0 + 0.25) / 2), ("huber", (2.5 + 0.125) / 2)])
def test_loss(loss: str, expected: float) -> None:
    """Q(1, 0) = 1 against 4 and Q(−1, 2) = 1 against 0.5: errors 3 and 0.5."""
    agent = _linear(replace(dqn(), loss=loss))
    obs, action = _batch()[:2]
    found, metrics = agent._loss(None, obs, action, torch.tensor([4.0, 0.5]), torch.ones(2))
    assert float(found.detach()) == pytest.approx(expected)
    assert float(metrics["loss/td"]) == pytest.approx(expected)


def test_rows_that_are_no_transitions_count_nothing() -> None:
    agent = _linear(dqn())
    obs, action = _batch()[:2]
    only_first = agent._gradient(_column(1.0), action[:1], torch.tensor([4.0]), torch.ones(1))
    masked = agent._gradient(obs, action, torch.tensor([4.0, 1e6]), torch.tensor([1.0, 0.0]))
    assert float(masked[1]) == pytest.approx(float(only_first[1]))
    for mine, its in zip(masked[0], only_first[0], strict=True):
        assert torch.allclose(mine, its)
    nothing = agent._gradient(obs, action, torch.tensor([4.0, 1e6]), torch.zeros(2))
    assert all(not grad.any() for grad in nothing[0])


def _gradient_norm(agent: DQN) -> float:
    """Of what the optimiser was given."""
    flat = agent._online
    gradient = flat.grad if hasattr(flat, "grad") else flat.vector.grad
    assert gradient is not None
    return float(gradient.norm())


def test_gradient_is_scaled_down_to_its_norm() -> None:
    agent = _linear(replace(dqn(), max_grad_norm=0.01, loss="mse"))
    metrics = agent._update(*_batch())
    assert float(metrics["grad/norm"]) > 1
    assert _gradient_norm(agent) == pytest.approx(0.01, rel=1e-3)
    free = _linear(replace(dqn(), max_grad_norm=1e6, loss="mse"))
    norm = free._update(*_batch())["grad/norm"]
    assert _gradient_norm(free) == pytest.approx(float(norm))


# ---------------------------------------------------------------------- the target network


def test_soft_target() -> None:
    """target ← 0.75 target + 0.25 online, after the online network's step."""
    agent = _linear(replace(dqn(), target_every=0, target_tau=0.25))
    before = agent.target.head.linear.weight.clone()
    agent._update(*_batch())
    after, online = agent.target.head.linear.weight, agent.online.head.linear.weight
    assert torch.allclose(after, 0.75 * before + 0.25 * online)
    assert not torch.allclose(online, torch.tensor([[1.0], [2.0], [0.0]]))


@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_target_is_copied_at_its_period(tau: float) -> None:
    config = replace(dqn(), learning_starts=100, target_every=200, target_tau=tau)
    place = lab(Match, config, lanes=1)
    agent = place.agent
    assert isinstance(agent, DQN)
    for now in range(101, 801):
        before = agent._target.vector.detach().clone()
        advance(place, now)
        online, target = agent._online.vector, agent._target.vector
        if now % 200:
            assert torch.equal(target, before), f"the target moved at step {now}"
        else:
            assert torch.allclose(target, (1 - tau) * before + tau * online)
            assert not torch.equal(target, before)


def test_target_starts_equal_and_never_gets_a_gradient() -> None:
    agent = lab(Match, dqn()).agent
    assert isinstance(agent, DQN)
    assert torch.equal(agent._online.vector, agent._target.vector)
    assert agent._online.vector.data_ptr() != agent._target.vector.data_ptr()
    assert not any(parameter.requires_grad for parameter in agent.target.parameters())


# ---------------------------------------------------------------------- exploring, and when learning is due


@pytest.mark.parametrize(("now", "epsilon"), [(0, 1.0), (500, 0.6), (750, 0.4), (1_000, 0.2), (9_999, 0.2)])
def test_share_of_random_actions(now: int, epsilon: float) -> None:
    """Among n actions a random one is not the greedy one in (n − 1) / n of the cases."""
    agent, n, draws = lab(lambda: Echo(spaces.Discrete(4)), dqn()).agent, 4, 20_000
    obs = {"obs": torch.zeros(draws, dtype=torch.int64)}
    greedy = agent.actor()(obs, torch.ones(draws, dtype=torch.bool))
    action = agent.act(obs, now).action
    share = epsilon * (n - 1) / n
    sigma = math.sqrt(share * (1 - share) / draws)
    assert abs(float((action != greedy).float().mean()) - share) < 3.5 * sigma
    counts = torch.bincount(action[action != greedy], minlength=n).float()
    assert int((counts > 0).sum()) == n - 1  # every other action is tried, and as often
    assert float(counts.max() - counts[counts > 0].min()) < 6 * math.sqrt(draws * share / (n - 1))


@pytest.mark.parametrize("net", [NET, LINEAR, NetConfig(hidden=[8, 8], activation="gelu", layer_norm=True)])
@pytest.mark.parametrize("lanes", [1, 7, 100])
def test_without_exploring_it_acts_greedily(lanes: int, net: NetConfig) -> None:
    """Whatever way the network is run for a single decision, it is the network of this moment."""
    config = replace(dqn(), epsilon_start=0.0, epsilon_end=0.0)
    place, first = lab(Match, config, net=net), torch.ones(lanes, dtype=torch.bool)
    obs = {"obs": torch.linspace(-2, 2, lanes)[:, None] + 0.01}
    agents = [place.agent, lab(Match, config, net=net, seed=5).agent]
    answers = []
    for until in (0, 400):
        advance(place, until)
        agents[1].load_state_dict(place.agent.state_dict(), policy_only=True)
        q = place.agent.online(obs)  # type: ignore[union-attr]
        for agent in agents:
            assert torch.equal(agent.act(obs, 0).action, q.argmax(1, keepdim=True))
            assert torch.equal(agent.actor()(obs, first), q.argmax(1, keepdim=True))
        answers.append(q)
    assert not torch.equal(*answers)


@pytest.mark.parametrize("lanes", [1, 4, 7, 64])
@pytest.mark.parametrize("gradient_steps", [1, 2])
def test_updates_are_the_arithmetic_of_the_configuration(lanes: int, gradient_steps: int) -> None:
    """One update per train_every steps after learning_starts, whatever the number of lanes."""
    config = replace(dqn(), learning_starts=200, train_every=8, gradient_steps=gradient_steps, batch_size=4)
    place = lab(Clock, config, lanes=lanes)
    updates: list[int] = []
    agent = place.agent
    assert isinstance(agent, DQN)
    update = agent._update

    def spy(*batch: Any) -> Any:
        updates.append(place.now)
        return update(*batch)

    agent._update = spy
    advance(place, 1_000)
    assert len(updates) == (place.now - 200) // 8 * gradient_steps
    assert min(updates) > 200


class _Masked(_Line):
    """Three actions, of which the observation's mask allows only the second."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Dict(
            {"action_mask": spaces.MultiBinary(3), "obs": spaces.Box(-9, 9, (1,))}
        )

    def reset(self, **arguments: Any) -> Any:
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        return self._seen(), 0.0, True, False, {}

    def _seen(self) -> dict[str, Any]:
        return {"action_mask": np.array([0, 1, 0], dtype=np.int8), "obs": np.zeros(1, dtype=np.float32)}


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
def test_invalid_actions_are_never_taken(epsilon: float) -> None:
    place = lab(lambda: _Masked(), replace(dqn(), epsilon_start=epsilon, epsilon_end=epsilon), lanes=16)
    obs = {"action_mask": torch.tensor([[0, 1, 0]] * 16, dtype=torch.uint8), "obs": torch.zeros(16, 1)}
    assert all(bool((place.agent.act(obs, 0).action == 1).all()) for _ in range(10))
    assert bool((place.agent.actor()(obs, torch.ones(16, dtype=torch.bool)) == 1).all())


def test_random_actions_are_uniform_over_what_is_valid() -> None:
    place = lab(lambda: _Masked(), replace(dqn(), epsilon_start=1.0, epsilon_end=1.0), lanes=3000)
    obs = {"action_mask": torch.tensor([[1, 0, 1]] * 3000, dtype=torch.uint8), "obs": torch.zeros(3000, 1)}
    counts = torch.bincount(place.agent.act(obs, 0).action[:, 0], minlength=3)
    assert counts[1] == 0
    assert abs(int(counts[0]) - 1500) < 4 * (3000 / 4) ** 0.5


def test_targets_ignore_invalid_successors() -> None:
    agent = _linear(replace(dqn(), double=False))
    q = agent.target(_column(2.0))  # (20, 11, 30)
    mask = {"action_mask": torch.tensor([[1, 1, 0]])}
    assert float(allowed(q, mask).amax()) == 20.0
