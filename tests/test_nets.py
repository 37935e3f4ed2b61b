"""Encoders by space, blocks, heads, running normalisation."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces as S
from gymnasium.vector.utils import concatenate, create_empty_array
from torch import Tensor, nn

from rlkit.config import NetConfig
from rlkit.distributions import Product
from rlkit.errors import UserError
from rlkit.nets.blocks import layer_init, mlp
from rlkit.nets.encoders import Cnn, Encoder, is_image
from rlkit.nets.heads import PolicyHead, QHead, ValueHead
from rlkit.nets.normalizer import LeafNorm, ReturnNorm, RunningNorm
from rlkit.spaces import ActionSpec, ObsSpec

f32 = np.float32
NET = NetConfig(cnn_features=24)


@pytest.fixture(autouse=True)
def _seeded() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def observe(spec: ObsSpec, n: int, seed: int = 0) -> dict[str, Tensor]:
    spec.space.seed(seed)
    samples = [spec.space.sample() for _ in range(n)]
    return spec.to_tensors(concatenate(spec.space, samples, create_empty_array(spec.space, n)))


NESTED = S.Dict(
    {
        "camera": S.Box(0, 255, (40, 36, 3), np.uint8),
        "pos": S.Tuple((S.Box(-1, 1, (2, 2), f32), S.Discrete(3, start=1))),
        "bits": S.MultiBinary(4),
        "many": S.MultiDiscrete([2, 5]),
        "action_mask": S.MultiBinary(6),
    }
)


@pytest.mark.parametrize(
    ("space", "features", "images"),
    [
        (S.Box(-1, 1, (4,), f32), 4, False),
        (S.Box(-1, 1, (2, 3), np.float64), 6, False),
        (S.Box(-1, 1, (), f32), 1, False),
        (S.Box(0, 255, (128,), np.uint8), 128, False),
        (S.Box(0, 1, (3,), np.bool_), 3, False),
        (S.Box(-9, 9, (3,), np.int32), 3, False),
        (S.Discrete(5), 5, False),
        (S.MultiDiscrete(np.array([[2, 3], [4, 5]])), 14, False),
        (S.MultiBinary((2, 3)), 6, False),
        (S.Box(0, 255, (84, 84), np.uint8), 24, True),
        (S.Box(0, 255, (3, 96, 64), np.uint8), 24, True),
        (S.Box(0, 255, (36, 36, 3), np.uint8), 24, True),
        (S.Box(0, 255, (4, 84, 84, 3), np.uint8), 24, True),
        (S.Box(0, 1, (10, 10, 4), np.bool_), 24, True),
        (S.Box(0, 1, (7, 20, 20), f32), 24, True),
        (S.Box(0, 1, (3, 4, 4), f32), 48, False),
        (NESTED, 4 + 24 + 7 + 4 + 3, True),
    ],
    ids=str,
)
def test_encoder_serves_every_space(space: S.Space[Any], features: int, images: bool) -> None:
    spec = ObsSpec.of(space)
    encoder = Encoder(spec, NET)
    assert (encoder.out_features, encoder.has_images) == (features, images)
    for n in (1, 3):
        out = encoder(observe(spec, n))
        assert out.shape == (n, features)
        assert out.dtype == torch.float32
        assert out.isfinite().all()
    rows = observe(spec, 3)
    whole, one = encoder(rows), encoder({name: leaf[1:2] for name, leaf in rows.items()})
    torch.testing.assert_close(whole[1:2], one, rtol=1e-4, atol=1e-5)


def test_features_are_in_the_order_of_the_leaves() -> None:
    space = S.Dict({"b": S.Discrete(3), "a": S.MultiDiscrete([2, 3]), "action_mask": S.MultiBinary(2)})
    tree = {"a": torch.tensor([[1, 0], [0, 2]]), "b": torch.tensor([2, 0]), "action_mask": torch.ones(2, 2)}
    out = Encoder(ObsSpec.of(space), NET)(tree)
    assert out.tolist() == [[0, 1, 1, 0, 0, 0, 0, 1], [1, 0, 0, 0, 1, 1, 0, 0]]


def test_a_lone_vector_passes_as_it_is() -> None:
    spec = ObsSpec.of(S.Box(-1, 1, (4,), f32))
    tree = observe(spec, 2)
    assert Encoder(spec, NET)(tree) is tree["obs"]


def test_an_action_mask_alone_is_refused() -> None:
    with pytest.raises(UserError, match="nothing but an action mask"):
        Encoder(ObsSpec.of(S.Dict({"action_mask": S.MultiBinary(2)})), NET)


def cnn(space: S.Space[Any], stack: int = 1) -> Cnn:
    return Cnn(ObsSpec.of(space, stack).leaves[0], 8)


def test_image_layouts_agree() -> None:
    """The same picture, channels first, channels last, and as a stack of grey or coloured frames."""
    first = cnn(S.Box(0, 255, (6, 40, 36), np.uint8))
    picture = torch.randint(0, 256, (2, 6, 40, 36)).to(torch.uint8)
    expected = first(picture)
    layouts = {
        "last": (S.Box(0, 255, (40, 36, 6), np.uint8), 1, picture.movedim(1, 3)),
        "grey stack": (S.Box(0, 255, (6, 40, 36), np.uint8), 6, picture),
        "colour stack": (S.Box(0, 255, (2, 3, 40, 36), np.uint8), 2, picture.view(2, 2, 3, 40, 36)),
        "colour stack, last": (
            S.Box(0, 255, (2, 40, 36, 3), np.uint8),
            2,
            picture.view(2, 2, 3, 40, 36).movedim(2, 4),
        ),
    }
    for name, (space, stack, x) in layouts.items():
        other = cnn(space, stack)
        other.load_state_dict(first.state_dict())
        torch.testing.assert_close(other(x.contiguous()), expected, msg=name)
    assert not torch.allclose(first(picture.flip(1)), expected)
    tall = cnn(S.Box(0, 255, (12, 10, 8), np.uint8), stack=12)  # more frames than columns
    assert (tall.planes, tall.height, tall.width) == (12, 10, 8)


def test_nature_cnn_is_the_published_one() -> None:
    layers = cnn(S.Box(0, 255, (4, 84, 84), np.uint8)).layers
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0]) for c in convolutions] == [
        (4, 32, 8, 4),
        (32, 64, 4, 2),
        (64, 64, 3, 1),
    ]
    assert [layer.in_features for layer in layers if isinstance(layer, nn.Linear)] == [3136]


def test_pixels_are_divided_by_255_and_other_bytes_by_their_bound() -> None:
    for high, unit in ((255, 255.0), (1, 1.0)):
        spec = ObsSpec.of(S.Box(0, high, (10, 10, 4), np.uint8))
        assert is_image(spec.leaves[0])
        module = Cnn(spec.leaves[0], 8)
        seen: list[Tensor] = []
        module.layers.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        module(torch.full((1, 10, 10, 4), high, dtype=torch.uint8))
        assert float(seen[0].max()) == high / unit == 1.0
    vector = Encoder(ObsSpec.of(S.Box(0, 255, (2,), np.uint8)), NET)
    scaled = vector({"obs": torch.tensor([[255, 51]], dtype=torch.uint8)})
    torch.testing.assert_close(scaled, torch.tensor([[1.0, 0.2]]))


def test_initialisation_is_orthogonal_where_asked_and_reproducible() -> None:
    weight = layer_init(nn.Linear(64, 32), gain=3.0).weight.detach()
    torch.testing.assert_close(weight @ weight.T, 9 * torch.eye(32), rtol=1e-4, atol=1e-4)
    plain = layer_init(nn.Linear(64, 32), gain=3.0, orthogonal=False)
    assert float(plain.weight.detach().abs().max()) <= 64**-0.5
    assert float(plain.bias.detach().abs().max()) > 0

    def build(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.detach().flatten() for p in mlp(4, NetConfig()).parameters()])

    assert torch.equal(build(1), build(1))
    assert not torch.equal(build(1), build(2))


def test_mlp_follows_its_configuration() -> None:
    body = mlp(5, NetConfig(hidden=[8, 3], activation="relu", layer_norm=True))
    assert [type(m) for m in body] == 2 * [nn.Linear, nn.LayerNorm, nn.ReLU]
    assert body.out_features == 3
    assert body(torch.zeros(2, 5)).shape == (2, 3)
    empty = mlp(5, NetConfig(hidden=[]))
    assert empty.out_features == 5
    assert empty(torch.ones(2, 5)).tolist() == torch.ones(2, 5).tolist()


def test_policy_head_puts_log_stds_where_the_product_reads_them() -> None:
    space = S.Tuple((S.Discrete(3), S.Box(-1, 1, (2,), f32), S.MultiBinary(2), S.Box(-1, 1, (1,), f32)))
    spec = ActionSpec.of(space)
    product = Product(spec)
    head = PolicyHead(6, spec, NET)
    assert head.log_std is not None
    with torch.no_grad():
        head.log_std.copy_(torch.tensor([10.0, 11.0, 12.0]))
    for b in (1, 7):
        params = head(torch.randn(b, 6))
        assert params.shape == (b, product.param_size)
        stds = params[:, [5, 6, 10]]
        assert torch.equal(stds, torch.tensor([[10.0, 11.0, 12.0]]).expand(b, 3))
        others = params[:, [0, 1, 2, 3, 4, 7, 8, 9]]
        assert float(others.detach().abs().max()) < 0.5
    product.log_prob(params, product.mode(params)).sum().backward()
    assert head.log_std.grad is not None
    assert head.log_std.grad.tolist() == [-7.0, -7.0, -7.0]  # −log std of seven rows


def test_a_new_policy_is_almost_uniform_and_heads_have_their_shapes() -> None:
    spec = ActionSpec.of(S.Discrete(4))
    head = PolicyHead(16, spec, NET)
    assert head.log_std is None
    features = torch.randn(5, 16)
    entropy = Product(spec).entropy(head(features))
    assert float(entropy.detach().min()) > 0.999 * float(np.log(4))
    assert ValueHead(16, NET)(features).shape == (5,)
    assert QHead(16, 3, NET)(features).shape == (5, 3)


def test_running_norm_equals_numpy_in_any_batching() -> None:
    rng = np.random.default_rng(0)
    data = (1e4 + 3 * rng.standard_normal((257, 2, 3))).astype(f32)
    for batches in ([257], [1] * 20 + [237], [100, 1, 156]):
        norm = LeafNorm((2, 3))
        for piece in np.split(data, np.cumsum(batches)[:-1]):
            norm.update(torch.from_numpy(piece))
        np.testing.assert_allclose(norm.mean, data.mean(0, dtype=np.float64), rtol=1e-12)
        np.testing.assert_allclose(norm.var, data.var(0, dtype=np.float64), rtol=1e-9)
        assert float(norm.count) == 257
    out = norm(torch.from_numpy(data))
    assert float(out.mean().abs()) < 1e-2
    assert abs(float(out.std()) - 1) < 1e-2
    assert norm(torch.full((1, 2, 3), 1e9)).flatten().tolist() == [10.0] * 6


def test_running_norm_leaves_out_rows_that_are_not_valid() -> None:
    norm, clean = LeafNorm((1,)), LeafNorm((1,))
    x = torch.tensor([[[1.0], [torch.nan]], [[3.0], [torch.inf]], [[8.0], [2.0]]])  # [T, N, 1]
    valid = torch.tensor([[True, False], [True, False], [True, True]])
    norm.update(x, valid)
    norm.update(torch.full((2, 1), torch.nan), torch.zeros(2, dtype=torch.bool))
    clean.update(torch.tensor([[1.0], [3.0], [8.0], [2.0]]))
    for name, value in clean.state_dict().items():
        torch.testing.assert_close(norm.state_dict()[name], value)
    assert float(norm.count) == 4


def test_running_norm_touches_float_leaves_only_and_only_in_update() -> None:
    spec = ObsSpec.of(NESTED)
    norm = RunningNorm(spec)
    assert norm.names == ["pos/0"]
    tree = observe(spec, 6)
    fresh = norm(tree)
    assert torch.equal(fresh["pos/0"], tree["pos/0"])  # nothing seen yet
    norm.update(tree)
    before = copy.deepcopy(norm.state_dict())
    encoder = Encoder(spec, NET, norm)
    normalised = norm(tree)
    assert encoder(tree).shape == (6, encoder.out_features)
    assert normalised["camera"] is tree["camera"]
    assert normalised["action_mask"] is tree["action_mask"]
    torch.testing.assert_close(normalised["pos/0"].mean(0), torch.zeros(2, 2), atol=1e-5, rtol=0)
    for name, value in norm.state_dict().items():
        assert torch.equal(value, before[name])
    plain = Encoder(spec, NET)
    plain.load_state_dict(encoder.state_dict(), strict=False)
    torch.testing.assert_close(encoder(tree), plain(normalised))
    other = RunningNorm(spec)
    other.load_state_dict(norm.state_dict())
    assert torch.equal(other(tree)["pos/0"], normalised["pos/0"])


def test_return_norm_divides_by_the_deviation_of_discounted_returns() -> None:
    rng = np.random.default_rng(1)
    reward = rng.standard_normal((50, 3)).astype(f32) + 2
    done = rng.random((50, 3)) < 0.1
    running, seen = np.zeros(3), []
    for r, ended in zip(reward, done, strict=True):
        running = 0.9 * running + r
        seen.append(running)
        running = np.where(ended, 0.0, running)
    expected = reward / np.std(seen)
    by_step, at_once = ReturnNorm(3, 0.9), ReturnNorm(3, 0.9)
    for r, ended in zip(reward, done, strict=True):
        by_step.update(torch.from_numpy(r), torch.from_numpy(ended))
    at_once.update(torch.from_numpy(reward), torch.from_numpy(done))
    for norm in (by_step, at_once):
        np.testing.assert_allclose(norm.scale(torch.from_numpy(reward)), expected, rtol=1e-4)
        np.testing.assert_allclose(norm.returns, running, rtol=1e-4)


def test_return_norm_waits_in_lanes_where_nothing_happened() -> None:
    norm, alone = ReturnNorm(2, 0.5), ReturnNorm(1, 0.5)
    norm.returns[1] = 7.0
    for reward in (1.0, 2.0, 4.0):
        here, done = torch.tensor([reward, 99.0]), torch.tensor([False, True])
        norm.update(here, done, torch.tensor([True, False]))
        alone.update(torch.tensor([reward]), torch.tensor([False]))
    assert norm.returns.tolist() == [5.25, 7.0]
    assert torch.equal(norm.stats.var, alone.stats.var)


def test_return_norm_without_variation_only_clips() -> None:
    norm = ReturnNorm(2, 0.99)
    assert norm.scale(torch.tensor([0.5, 70.0])).tolist() == [0.5, 10.0]
    for _ in range(5):
        norm.update(torch.ones(2), torch.ones(2, dtype=torch.bool))
    assert norm.scale(torch.tensor([1.0])).tolist() == [1.0]


def test_the_whole_network_is_one_graph() -> None:
    spec, action = ObsSpec.of(NESTED), ActionSpec.of(S.Tuple((S.Discrete(3), S.Box(-1, 1, (2,), f32))))
    encoder = Encoder(spec, NET, RunningNorm(spec))
    head = PolicyHead(encoder.out_features, action, NET)
    product, tree = Product(action), observe(spec, 3)
    noise = product.noise(3, torch.Generator().manual_seed(0))

    def act(obs: dict[str, Tensor], u: Tensor) -> Tensor:
        return product.sample(head(encoder(obs)), u)

    compiled = torch.compile(act, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(tree, noise), act(tree, noise))
