"""Returns and advantages against double loops and closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rlkit.returns import explained_variance, gae, n_step

T, N = 40, 6


def random_case(seed: int, density: float) -> tuple[Tensor, ...]:
    """Rewards, values and flags [T, N]; where both flags are set the MDP ended just as time ran out."""
    g = torch.Generator().manual_seed(seed)
    reward, value, next_value = (torch.randn(T, N, generator=g) for _ in range(3))
    terminated, truncated = (torch.rand(T, N, generator=g) < density for _ in range(2))
    assert density < 0.2 or bool((terminated & truncated).any())
    return reward, value, next_value, terminated, truncated


def slow_gae(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    g: float,
    lam: float,
) -> Tensor:
    """Equation 16 as it is written: a sum of temporal differences for every t."""
    out = torch.zeros(T, N, dtype=torch.float64)
    for n in range(N):
        for t in range(T):
            for k in range(t, T):
                worth = 0.0 if terminated[k, n] else float(next_value[k, n])
                delta = float(reward[k, n]) + g * worth - float(value[k, n])
                out[t, n] += (g * lam) ** (k - t) * delta
                if terminated[k, n] or truncated[k, n]:
                    break
    return out


@pytest.mark.parametrize("density", [0.0, 0.05, 0.3])
@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0), (0.0, 0.9)])
def test_gae_equals_the_double_sum(density: float, gamma: float, lam: float) -> None:
    case = random_case(int(100 * density), density)
    torch.testing.assert_close(
        gae(*case, gamma, lam).double(), slow_gae(*case, gamma, lam), rtol=1e-4, atol=1e-4
    )


def test_exact_values_leave_no_advantage_however_the_episode_ends() -> None:
    one, no, yes = torch.ones(T, N), torch.zeros(T, N, dtype=torch.bool), torch.ones(T, N, dtype=torch.bool)
    forever = one / (1 - 0.9)  # reward 1 without an end
    for truncated in (yes, no):
        advantage = gae(one, forever, forever, no, truncated, 0.9, 0.95)
        torch.testing.assert_close(advantage, torch.zeros(T, N), rtol=0, atol=1e-5)
    # Reward 1 once, then the end: worth 1, whatever the successor's value is said to be, truncated or not.
    for truncated in (yes, no):
        advantage = gae(one, one, 1e6 * one, yes, truncated, 0.9, 0.95)
        torch.testing.assert_close(advantage, torch.zeros(T, N), rtol=0, atol=1e-6)


def test_the_ends_of_lambda() -> None:
    reward, value, next_value, terminated, truncated = random_case(3, 0.1)
    delta = reward + 0.97 * next_value * ~terminated - value
    torch.testing.assert_close(gae(reward, value, next_value, terminated, truncated, 0.97, 0.0), delta)

    # lambda 1, no end: the discounted sum of rewards with one bootstrap after the last row.
    no = torch.zeros_like(terminated)
    following = torch.cat([value[1:], next_value[-1:]])
    total = next_value[-1]
    sums = torch.empty_like(reward)
    for t in reversed(range(T)):
        sums[t] = total = reward[t] + 0.97 * total
    torch.testing.assert_close(
        gae(reward, value, following, no, no, 0.97, 1.0) + value, sums, rtol=1e-4, atol=1e-4
    )


def test_nothing_leaks_over_an_end() -> None:
    reward, value, next_value, terminated, truncated = random_case(4, 0.0)
    for flag in (terminated, truncated):
        flag[10] = True
        before = gae(reward, value, next_value, terminated, truncated, 0.99, 0.95)
        changed = reward.clone()
        changed[11:] += 1_000
        after = gae(changed, value, next_value, terminated, truncated, 0.99, 0.95)
        assert torch.equal(before[:11], after[:11])
        assert not torch.equal(before[11:], after[11:])
        flag[10] = False


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("gamma", [1.0, 0.9, 0.0])
def test_n_step_equals_the_loop(n: int, gamma: float) -> None:
    g = torch.Generator().manual_seed(n)
    rows = 500
    reward = torch.randn(n, rows, generator=g)
    terminated, truncated = (torch.rand(n, rows, generator=g) < 0.2 for _ in range(2))
    total, factor, last = n_step(reward, terminated, truncated, gamma)
    assert last.dtype == torch.int64
    for b in range(rows):
        expected, discount = 0.0, 1.0
        for k in range(n):
            expected += discount * float(reward[k, b])
            discount *= gamma
            if terminated[k, b] or truncated[k, b]:
                break
        if terminated[k, b]:
            discount = 0.0
        assert float(total[b]) == pytest.approx(expected, abs=1e-5)
        assert float(factor[b]) == pytest.approx(discount, abs=1e-6)
        assert int(last[b]) == k


def test_explained_variance() -> None:
    g = torch.Generator().manual_seed(0)
    target = torch.randn(1_000, generator=g)
    noise = torch.randn(1_000, generator=g)
    assert float(explained_variance(target, target)) == 1.0
    assert float(explained_variance(target + 5, target)) == pytest.approx(1.0, abs=1e-5)  # only a bias
    mean = torch.full_like(target, float(target.mean()))
    assert float(explained_variance(mean, target)) == pytest.approx(0.0)
    expected = 1 - float((target - noise).var() / target.var())
    assert float(explained_variance(noise, target)) == pytest.approx(expected, abs=1e-5)
    assert expected < 0
    flat = explained_variance(noise, torch.ones(1_000))
    assert float(flat) == 0.0
    assert flat.dim() == 0
