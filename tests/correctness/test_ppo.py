"""PPO's arithmetic, by hand: losses, minibatches, schedules, the stop by KL, normalisation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import TransformReward
from torch import Tensor

from correctness.harness import FarBox, advance, greedy_reward, lab, ppo, train
from correctness.test_probes import SPACES
from rlkit.agents.ppo import PPO, PPOConfig
from rlkit.envs.probe import Clock, Echo, Match
from rlkit.nets.normalizer import LeafNorm
from rlkit.types import Decision


def _agent(config: PPOConfig, make: Any = Match, lanes: int = 4) -> PPO:
    agent = lab(make, config, lanes=lanes).agent
    assert isinstance(agent, PPO)
    return agent


def _rows(count: int, seed: int = 0) -> dict[str, Tensor]:
    """What `_loss` takes for Match, by name, [B] each."""
    random = torch.Generator().manual_seed(seed)
    return {
        "obs": torch.randn(count, 1, generator=random),
        "action": torch.randint(2, (count, 1), generator=random),
        "old_log_prob": -torch.rand(count, generator=random),
        "old_value": torch.randn(count, generator=random),
        "advantage": torch.randn(count, generator=random),
        "target": torch.randn(count, generator=random),
        "weight": torch.ones(count),
    }


def _batch(rows: dict[str, Tensor], clip: float = 0.2, entropy: float = 0.01) -> tuple[Any, ...]:
    obs, *rest = rows.values()
    return ({"obs": obs}, *rest, torch.tensor([clip, entropy]))


# ---------------------------------------------------------------------- the loss


@pytest.mark.parametrize("value_clip", [None, 0.1])
@pytest.mark.parametrize("normalize", [True, False])
def test_loss(value_clip: float | None, normalize: bool) -> None:
    """Row by row in plain Python, from the paper."""
    config = replace(ppo(), value_clip=value_clip, normalize_advantages=normalize, value_coef=0.7)
    agent, rows, clip, bonus = _agent(config), _rows(16), 0.1, 0.05
    found, metrics = agent._loss(None, *_batch(rows, clip, bonus))

    advantage = rows["advantage"].double()
    if normalize:
        advantage = (advantage - advantage.mean()) / advantage.std(correction=0)
    policy, value_loss, entropies = [], [], []
    with torch.no_grad():
        logits, values = agent.network({"obs": rows["obs"]})
    for i, logit in enumerate(logits.double()):
        probability = logit.exp() / logit.exp().sum()
        ratio = float(probability[rows["action"][i]] / rows["old_log_prob"][i].double().exp())
        a, v, old = float(advantage[i]), float(values[i]), float(rows["old_value"][i])
        policy.append(-min(ratio * a, min(max(ratio, 1 - clip), 1 + clip) * a))
        errors = [(v - float(rows["target"][i])) ** 2]
        if value_clip is not None:
            errors.append((old + min(max(v - old, -0.1), 0.1) - float(rows["target"][i])) ** 2)
        value_loss.append(max(errors) / 2)
        entropies.append(-float((probability * probability.log()).sum()))
    expected = np.mean(policy), np.mean(value_loss), np.mean(entropies)
    assert metrics[:3].tolist() == pytest.approx(expected, abs=1e-5)
    assert float(found.detach()) == pytest.approx(
        expected[0] + 0.7 * expected[1] - bonus * expected[2], abs=1e-5
    )


def test_ratio_outside_the_clip_has_no_gradient() -> None:
    """Where moving on would only gain, the policy is left alone: actions already likelier by half."""
    agent = _agent(replace(ppo(), normalize_advantages=False, value_coef=0.0))
    rows = _rows(8)
    rows["advantage"] = torch.ones(8)
    with torch.no_grad():
        log_prob = agent.distribution.log_prob(agent.network.params({"obs": rows["obs"]}), rows["action"])
    rows["old_log_prob"] = log_prob - 0.5
    grads = agent._gradient(*_batch(rows, entropy=0.0))[0]
    assert all(not grad.any() for grad in grads)
    rows["old_log_prob"] = log_prob + 0.5  # less likely than before: there is much to be gained
    assert any(grad.any() for grad in agent._gradient(*_batch(rows, entropy=0.0))[0])


# ---------------------------------------------------------------------- minibatches


def test_minibatches_hold_every_row_once() -> None:
    agent = _agent(replace(ppo(), minibatch_size=4))
    batches = agent._minibatches(10)
    assert [len(rows) for rows, _ in batches] == [4, 4, 4]
    real = [
        row for rows, weight in batches for row, w in zip(rows.tolist(), weight.tolist(), strict=True) if w
    ]
    assert sorted(real) == list(range(10))
    assert real != list(range(10))
    assert [weight.sum().item() for _, weight in batches] == [4, 4, 2]
    assert len(agent._minibatches(3)) == 1


@pytest.mark.parametrize("value_clip", [None, 0.1])
def test_padding_has_no_influence(value_clip: float | None) -> None:
    """Gradients of a filled-up minibatch are those of its real rows alone, whatever the others hold."""
    agent = _agent(replace(ppo(), value_clip=value_clip))
    rows = _rows(6)
    rows["weight"][4:] = 0.0
    for name in ("old_log_prob", "old_value", "advantage", "target"):
        rows[name][4:] = 50.0
    alone = {name: leaf[:4] for name, leaf in rows.items()}
    padded, single = agent._gradient(*_batch(rows)), agent._gradient(*_batch(alone))
    assert torch.allclose(padded[2], single[2], atol=1e-6)
    for mine, its in zip(padded[0], single[0], strict=True):
        assert torch.allclose(mine, its, atol=1e-6)
        assert mine.shape == its.shape
    assert any(grad.any() for grad in padded[0])


def test_rollout_that_is_no_multiple_of_the_minibatch() -> None:
    """15 rows in minibatches of 4: learning stays finite, and goes where it should."""
    config = replace(ppo(), horizon=5, minibatch_size=4, epochs=2, lr=3e-3)
    place = lab(Match, config, lanes=3, steps=1_500)
    for metrics in advance(place, 1_500):
        assert all(torch.isfinite(torch.as_tensor(number)) for number in metrics.values())
    obs = {"obs": torch.tensor([[-1.0], [1.0]])}
    assert place.agent.actor()(obs, torch.ones(2, dtype=torch.bool)).tolist() == [[0], [1]]


# ---------------------------------------------------------------------- the rollout


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("key", ["discrete", "nested-dict"])
def test_one_pass_gives_what_acting_would_have_given(key: str, normalize: bool) -> None:
    """Log-probabilities and values at the end of a rollout equal those of the moment of the decision."""
    config = replace(ppo(), horizon=8, normalize_obs=normalize)
    place = lab(lambda: Echo(SPACES[key]), config)
    agent = place.agent
    assert isinstance(agent, PPO)
    moments: list[tuple[Tensor, Tensor]] = []
    passes: list[tuple[Tensor, Tensor]] = []
    act, evaluate = agent.act, agent._evaluate

    def acting(obs: Any, *rest: Any) -> Decision:
        decision = act(obs, *rest)
        with torch.no_grad():
            log_prob = agent.distribution.log_prob(agent.network.params(obs), decision.action)
            moments.append((log_prob, agent.network.value(obs)))
        return decision

    def evaluating(*batch: Any) -> Any:
        passes.append(evaluate(*batch))
        return passes[-1]

    agent.act, agent._evaluate = acting, evaluating  # type: ignore[method-assign, assignment]
    advance(place, 3 * 8 * 4)
    assert len(passes) == 3
    for column in (0, 1):
        then = torch.cat([moment[column] for moment in moments])
        now = torch.cat([one[column] for one in passes])
        assert torch.allclose(then, now, atol=1e-5)
    assert float(then.std()) > 0


# ---------------------------------------------------------------------- schedules and stops


@pytest.mark.parametrize(("target_kl", "epochs"), [(1e-9, 1), (None, 8), (1e9, 8)])
def test_stop_by_kl(target_kl: float | None, epochs: int) -> None:
    found = advance(lab(Match, replace(ppo(), target_kl=target_kl)), 512)
    assert [metrics["learn/epochs"] for metrics in found] == [epochs] * 4


def _coefficients(config: PPOConfig, steps: int) -> tuple[list[list[float]], list[float]]:
    """(clip, entropy coefficient) of every update, learning rate of every rollout."""
    place = lab(Match, config, steps=steps)
    seen: list[list[float]] = []
    agent = place.agent
    assert isinstance(agent, PPO)
    update = agent._update

    def spy(*batch: Any) -> Any:
        seen.append(batch[-1].tolist())
        return update(*batch)

    agent._update = spy
    found = advance(place, steps)
    return seen, [float(metrics["learn/lr"]) for metrics in found]


def test_schedules_go_to_zero() -> None:
    config = replace(
        ppo(),
        lr_schedule="linear",
        clip_schedule="linear",
        entropy_schedule="linear",
        entropy_coef=0.4,
        epochs=1,
    )
    seen, rates = _coefficients(config, 512)  # four rollouts of 128, two minibatches each
    assert rates == pytest.approx([0.0075, 0.005, 0.0025, 0.0])
    shares = np.repeat([0.75, 0.5, 0.25, 0.0], 2)
    assert np.allclose(seen, shares[:, None] * [0.2, 0.4])


def test_constant_schedules_stay() -> None:
    config = replace(ppo(), lr_schedule="constant", entropy_coef=0.4, epochs=1)
    seen, rates = _coefficients(config, 512)
    assert rates == [0.01] * 4
    assert np.allclose(seen, [0.2, 0.4])


def test_a_learning_rate_of_zero_changes_nothing() -> None:
    place = lab(Match, replace(ppo(), lr_schedule="linear"), steps=256)
    agent = place.agent
    assert isinstance(agent, PPO)
    advance(place, 252)
    half = agent._flat.vector.detach().clone()
    assert len(advance(place, 256)) == 1
    assert torch.equal(agent._flat.vector, half)


# ---------------------------------------------------------------------- normalisation


def test_statistics_are_those_of_the_observations_seen() -> None:
    """Resetting rows of NEXT_STEP engines count for nothing, and nobody but `learn` counts."""
    config = replace(ppo(), normalize_obs=True, horizon=12)
    place = lab(lambda: Clock(3, truncate=False), config, lanes=2, mode=AutoresetMode.NEXT_STEP)
    agent = place.agent
    assert isinstance(agent, PPO)
    assert agent.network.norm is not None
    statistics = agent.network.norm.norms[0]
    assert isinstance(statistics, LeafNorm)
    advance(place, 16)
    assert float(statistics.count) == 0
    advance(place, 20)  # 12 vector steps, three episodes of 3 steps and a reset in both lanes, and one more
    assert float(statistics.count) == 18
    assert float(statistics.mean) == pytest.approx((1 + 2 / 3 + 1 / 3) / 3)
    assert float(statistics.var) == pytest.approx(np.var([1, 2 / 3, 1 / 3]))


@pytest.mark.parametrize("normalize", [True, False])
def test_observations_far_from_zero_can_be_learnt(normalize: bool) -> None:
    """50 … 60 saturates tanh; with running statistics the same agent can repeat it."""
    config = replace(ppo(), normalize_obs=normalize)
    assert (greedy_reward(train(FarBox, config, 4_096, lanes=8), FarBox) >= 0.9) == normalize


def test_returns_are_normalized_away() -> None:
    """Rewards a thousand times larger give the same weights."""
    config = replace(ppo(), normalize_returns=True)
    agents = [
        train(lambda scale=scale: TransformReward(Match(), lambda r: r * scale), config, 1_000)  # type: ignore[misc]
        for scale in (1.0, 1_000.0)
    ]
    first, second = (torch.cat([p.flatten() for p in agent.network.parameters()]) for agent in agents)  # type: ignore[union-attr]
    assert torch.allclose(first, second, atol=1e-2)
    plain = train(lambda: TransformReward(Match(), lambda r: r * 1_000), ppo(), 1_000)
    third = torch.cat([p.flatten() for p in plain.network.parameters()])  # type: ignore[union-attr]
    assert not torch.allclose(first, third, atol=1e-1)
