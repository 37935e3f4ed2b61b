"""Values, gradients and samples against torch.distributions, at B = 1 and B = 7."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.distributions as D
from gymnasium import spaces as S
from scipy import stats
from torch import Tensor

from rlkit.distributions import Bernoulli, Categorical, DiagGaussian, MultiCategorical, Product
from rlkit.errors import UserError
from rlkit.spaces import ActionSpec

batch = pytest.mark.parametrize("b", [1, 7])
HYBRID = S.Dict(
    {
        "arm": S.Box(-1, 1, (2,), np.float32),
        "bits": S.MultiBinary(3),
        "choice": S.Discrete(4),
        "many": S.MultiDiscrete([2, 3]),
    }
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference(spec: ActionSpec, params: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy [B] by torch.distributions, leaf after leaf."""
    log_prob, entropy, at = torch.zeros(len(params)), torch.zeros(len(params)), 0

    def take(width: int) -> Tensor:
        nonlocal at
        at += width
        return params[:, at - width : at]

    for leaf in spec.leaves:
        chosen = action[:, leaf.columns]
        parts: list[tuple[D.Distribution, Tensor]]
        if leaf.kind == "box":
            mean, log_std = take(leaf.width), take(leaf.width)
            parts = [(D.Independent(D.Normal(mean, log_std.exp()), 1), chosen)]
        elif leaf.kind == "multibinary":
            parts = [(D.Independent(D.Bernoulli(logits=take(leaf.width)), 1), chosen.float())]
        else:
            parts = [(D.Categorical(logits=take(n)), chosen[:, k]) for k, n in enumerate(leaf.n)]
        for distribution, value in parts:
            log_prob = log_prob + distribution.log_prob(value)
            entropy = entropy + distribution.entropy()
    return log_prob, entropy


@batch
@pytest.mark.parametrize(
    "space",
    [
        S.Discrete(4),
        S.Discrete(3, start=2),
        S.MultiDiscrete([2, 5, 3]),
        S.MultiBinary((2, 2)),
        S.Box(-1, 1, (3,), np.float32),
        HYBRID,
        S.Tuple((S.Discrete(2), S.Dict({"a": S.MultiBinary(2), "b": S.MultiDiscrete([3, 3])}))),
    ],
    ids=["discrete", "start", "multidiscrete", "multibinary", "box", "hybrid", "integers"],
)
def test_product_agrees_with_torch_distributions(space: S.Space, b: int) -> None:  # type: ignore[type-arg]
    spec = ActionSpec.of(space)
    product = Product(spec)
    params = normal(b, product.param_size).requires_grad_()
    noise = product.noise(b, torch.Generator().manual_seed(1), "cpu")
    action = product.sample(params, noise).detach()
    assert action.shape == (b, spec.width)
    assert action.dtype == spec.dtype
    assert product.mode(params).shape == (b, spec.width)
    assert product.mode(params).dtype == spec.dtype
    ours = (product.log_prob(params, action), product.entropy(params))
    theirs = reference(spec, params, action)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.shape == (b,)
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
        weight = normal(b, seed=2)
        (my_gradient,) = torch.autograd.grad((weight * mine).sum(), params, retain_graph=True)
        (gradient,) = torch.autograd.grad((weight * other).sum(), params, retain_graph=True)
        torch.testing.assert_close(my_gradient, gradient, rtol=1e-4, atol=1e-5)


@batch
def test_each_row_has_its_own_choice(b: int) -> None:
    logits = 20 * torch.eye(7)[:b]
    noise = torch.rand(b, 7, generator=torch.Generator().manual_seed(0)).clamp(0.05, 0.95)
    expected = torch.arange(b)[:, None]
    assert torch.equal(Categorical(logits).mode(), expected)
    assert torch.equal(Categorical(logits).sample(noise), expected)
    two = MultiCategorical(torch.cat([logits, logits.flip(1)], dim=1), (7, 7))
    assert torch.equal(two.mode(), torch.cat([expected, 6 - expected], dim=1))
    assert torch.equal(Bernoulli(logits - 10).mode(), torch.eye(7, dtype=torch.int64)[:b])


def chi_square_p(samples: Tensor, probabilities: Tensor) -> float:
    counts = torch.bincount(samples.flatten(), minlength=len(probabilities)).numpy()
    expected = probabilities.double() / probabilities.double().sum() * len(samples)
    return float(stats.chisquare(counts, expected.numpy()).pvalue)


def test_sampling_frequencies() -> None:
    n = 40_000
    product = Product(ActionSpec.of(HYBRID))
    params = normal(1, product.param_size)
    action = product.sample(params.expand(n, -1), product.noise(n, torch.Generator().manual_seed(3)))
    arm, bits, choice, many = params[0, :4], params[0, 4:7], params[0, 7:11], params[0, 11:]
    for column in range(2):
        scaled = (action[:, column] - arm[column]) / arm[2 + column].exp()
        assert stats.kstest(scaled.numpy(), "norm").pvalue > 1e-3
    for column in range(3):
        p = torch.sigmoid(bits[column])
        assert chi_square_p(action[:, 2 + column].long(), torch.stack([1 - p, p])) > 1e-3
    assert chi_square_p(action[:, 5].long(), choice.softmax(0)) > 1e-3
    assert chi_square_p(action[:, 6].long(), many[:2].softmax(0)) > 1e-3
    assert chi_square_p(action[:, 7].long(), many[2:].softmax(0)) > 1e-3
    centred = action - action.mean(0)
    correlation = (centred.T @ centred) / (centred.norm(dim=0)[:, None] * centred.norm(dim=0)[None])
    assert float((correlation - torch.eye(8)).abs().max()) < 0.03  # leaves do not share noise


def test_gumbel_max_survives_noise_of_zero() -> None:
    logits = torch.tensor([[0.0, -1e8, 1.0]])
    assert int(Categorical(logits).sample(torch.tensor([[0.0, 0.999999, 0.0]]))) != 1
    log_prob = Categorical(logits).log_prob(torch.tensor([[0]]))
    assert math.isclose(float(log_prob), -math.log(1 + math.e), rel_tol=1e-5)


def test_extreme_logits_stay_finite() -> None:
    bits = Bernoulli(torch.tensor([[200.0, -200.0]]))
    assert float(bits.log_prob(torch.tensor([[1, 0]]))) == 0.0
    assert float(bits.log_prob(torch.tensor([[0, 1]]))) == -400.0
    assert float(bits.entropy()) == 0.0
    wide = DiagGaussian(torch.zeros(1, 1), torch.full((1, 1), 2.0))
    assert math.isclose(float(wide.sample(torch.ones(1, 1))), math.exp(2.0), rel_tol=1e-6)


@batch
def test_masked_choices_never_happen(b: int) -> None:
    product = Product(ActionSpec.of(S.Discrete(4)))
    params = normal(b, 4).requires_grad_()
    mask = torch.tensor([1, 0, 1, 0], dtype=torch.int8).expand(b, -1)
    reps = 500
    noise = product.noise(b * reps, torch.Generator().manual_seed(0))
    many = product.sample(params.repeat(reps, 1), noise, mask=mask.repeat(reps, 1))
    assert set(many.flatten().tolist()) == {0, 2}
    allowed = D.Categorical(logits=params[:, ::2])
    torch.testing.assert_close(product.entropy(params, mask), allowed.entropy())
    picked = product.log_prob(params, torch.full((b, 1), 2), mask)
    torch.testing.assert_close(picked, allowed.log_prob(torch.ones(b, dtype=torch.int64)))
    (gradient,) = torch.autograd.grad((product.entropy(params, mask) + picked).sum(), params)
    assert gradient.isfinite().all()
    assert float(gradient[:, 1::2].abs().max()) == 0.0
    best_is_forbidden = torch.tensor([[0.0, 9.0, 1.0, 9.0]])
    assert product.mode(best_is_forbidden, mask[:1]).tolist() == [[2]]
    nothing_left = product.log_prob(params, torch.zeros(b, 1, dtype=torch.int64), torch.zeros(b, 4))
    torch.testing.assert_close(nothing_left, torch.full((b,), -math.log(4)))


def test_a_mask_for_another_space_is_refused() -> None:
    product = Product(ActionSpec.of(S.MultiBinary(2)))
    with pytest.raises(UserError, match="one Discrete action"):
        product.mode(torch.zeros(1, 2), torch.ones(1, 2))


def test_noise_is_reproducible_and_of_the_right_kind() -> None:
    product = Product(ActionSpec.of(HYBRID))
    noise = product.noise(4_000, torch.Generator().manual_seed(0))
    assert torch.equal(noise, product.noise(4_000, torch.Generator().manual_seed(0)))
    uniform, gauss = noise[:, : product.uniforms], noise[:, product.uniforms :]
    assert uniform.shape[1] == 3 + 4 + 5
    assert gauss.shape[1] == product.normals == 2
    assert 0 <= float(uniform.min()) < float(uniform.max()) < 1
    assert float(gauss.min()) < -1


def test_sampling_compiles_to_one_graph_with_equal_numbers() -> None:
    product = Product(ActionSpec.of(HYBRID))
    params = normal(7, product.param_size)
    noise = product.noise(7, torch.Generator().manual_seed(5))

    def both(p: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        action = product.sample(p, u)
        return action, product.log_prob(p, action) + product.entropy(p)

    compiled = torch.compile(both, fullgraph=True, backend="eager")
    for mine, other in zip(compiled(params, noise), both(params, noise), strict=True):
        assert torch.equal(mine, other)
