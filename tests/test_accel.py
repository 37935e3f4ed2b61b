"""Ways to run a function give the same numbers; parameters as one vector are still the same parameters."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium import spaces as S
from torch import Tensor, nn

from rlkit.accel import CudaGraph, call, capture, gradient, pick_device, pick_mode, prepare
from rlkit.agents.dqn import DQN, DQNConfig
from rlkit.agents.ppo import PPO, PPOConfig
from rlkit.config import AccelConfig, NetConfig
from rlkit.errors import UserError
from rlkit.nets.flat import Flat, FlatAdam
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import AgentSetup

CPU = torch.device("cpu")
COMPILER = any(shutil.which(name) for name in ("g++", "clang++", "c++"))
HEADERS = Path(sysconfig.get_paths()["include"], "Python.h").is_file()
needs_compiler = pytest.mark.skipif(
    not (COMPILER and HEADERS), reason="torch.compile needs a C++ compiler and Python's headers"
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")
B = 6


def setup(mode: str, device: torch.device = CPU) -> AgentSetup:
    return AgentSetup(
        ObsSpec.of(S.Box(-1, 1, (3,))),
        ActionSpec.of(S.Discrete(2)),
        2,
        1_000,
        device,
        0,
        NetConfig(hidden=[8]),
        AccelConfig(mode=mode),
    )


def batches(kind: str, count: int, device: torch.device = CPU) -> list[tuple[Any, ...]]:
    """Arguments of `count` updates."""
    g = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g).to(device)

    out: list[tuple[Any, ...]] = []
    for k in range(count):
        action = torch.randint(2, (B, 1), generator=g).to(device)
        weight = torch.ones(B, device=device)
        weight[-1] = k % 2  # a padded row now and then
        if kind == "dqn":
            out.append(({"obs": draw(B, 3)}, action, draw(B), 0.9 * weight, {"obs": draw(B, 3)}, weight))
        else:
            rest = (draw(B) / 10 - 0.7, draw(B), draw(B), draw(B), weight)
            out.append(({"obs": draw(B, 3)}, action, *rest, torch.tensor([0.2, 0.01], device=device)))
    return out


def build(kind: str, mode: str, device: torch.device = CPU, **keys: Any) -> Any:
    if kind == "ppo":
        return PPO(PPOConfig(lr=0.01, **keys), setup(mode, device))
    return DQN(DQNConfig(lr=0.01, target_every=0, **keys), setup(mode, device))


def assert_equal_updates(kind: str, fast: Any, plain: Any, count: int = 3) -> None:
    """The same metrics, parameters and optimiser state after `count` updates, and not those of the start."""
    networks = ("online", "target") if kind == "dqn" else ("network",)
    start = {k: v.clone() for k, v in plain.state_dict()[networks[0]].items()}
    for batch in batches(kind, count, plain.setup.device):
        torch.testing.assert_close(fast._update(*batch), plain._update(*batch), rtol=1e-5, atol=1e-5)
    one, other = plain.state_dict(), fast.state_dict()
    for name in (*networks, "optimizer"):
        assert one[name].keys() == other[name].keys()
        torch.testing.assert_close(dict(other[name]), dict(one[name]), rtol=1e-5, atol=1e-5)
    assert not any(torch.equal(start[k], one[networks[0]][k]) for k in start if "weight" in k)


@needs_compiler
def test_compiled_ppo_equals_eager_ppo() -> None:
    assert_equal_updates("ppo", build("ppo", "compile"), build("ppo", "eager"))


@needs_compiler
def test_compiled_dqn_equals_eager_dqn_also_beside_another() -> None:
    """What one agent's configuration says is not built into the update of the next one in this process."""
    configs: list[dict[str, Any]] = [
        {"target_tau": 0.3, "max_grad_norm": 10.0, "loss": "huber"},
        {"target_tau": 0.9, "max_grad_norm": 0.01, "loss": "mse"},
    ]
    pairs = [[build("dqn", mode, **keys) for mode in ("compile", "eager")] for keys in configs]
    for fast, plain in pairs:
        assert_equal_updates("dqn", fast, plain)


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("kind", ["dqn", "ppo"])
def test_graph_updates_equal_eager_ones(kind: str) -> None:
    device = torch.device("cuda")
    fast, plain = build(kind, "cudagraph", device), build(kind, "eager", device)
    assert_equal_updates(kind, fast, plain, count=8)  # three warm up, five are replayed


@pytest.mark.gpu
@needs_cuda
def test_a_graph_runs_once_a_call_and_hands_out_copies() -> None:
    total = torch.zeros(3, device="cuda")

    def accumulate(tree: dict[str, Tensor]) -> dict[str, Tensor]:
        total.add_(tree["x"])
        return {"total": total * 1}

    graph = CudaGraph(accumulate)
    seen = [graph({"x": torch.full((3,), float(k), device="cuda")})["total"] for k in range(1, 8)]
    assert [float(x[0]) for x in seen] == [1.0, 3.0, 6.0, 10.0, 15.0, 21.0, 28.0]
    assert float(total[0]) == 28.0


def test_capture_hands_eager_functions_back_as_they_are() -> None:
    def double(x: Tensor) -> Tensor:
        return 2 * x

    assert capture(double, "eager", CPU) is double
    assert isinstance(capture(double, "cudagraph", CPU), CudaGraph)


def test_both_gradients_are_the_same() -> None:
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    Flat(module)
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))

    def loss(params: dict[str, Tensor] | None, x: Tensor) -> tuple[Tensor, Tensor]:
        y = call(module, params, x)
        return y.square().mean(), y.detach()

    by_autograd, by_function = gradient(loss, module, "eager")(x), gradient(loss, module, "compile")(x)
    torch.testing.assert_close(by_function, by_autograd)
    assert len(by_autograd[0]) == 4
    assert not any(part.requires_grad for part in (*by_autograd[0], *by_autograd[1:]))


# ---------------------------------------------------------------------- what is set before anything runs


def test_devices_and_modes_that_are_not_there_are_refused() -> None:
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UserError, match=r"device=cuda:99 asks for a CUDA device.*device=cpu"):
        pick_device("cuda:99")
    with pytest.raises(UserError, match="device=tpu9000 is no device"):
        pick_device("tpu9000")
    with pytest.raises(UserError, match=r"accel\.mode=cudagraph needs device=cuda"):
        pick_mode("cudagraph", CPU)
    assert pick_mode("auto", CPU) == "eager"
    assert pick_mode("compile", CPU) == "compile"


def test_small_networks_take_one_thread() -> None:
    before = torch.get_num_threads()
    try:
        assert prepare(AccelConfig(), images=False) == torch.get_num_threads() == 1
        assert prepare(AccelConfig(threads=2), images=False) == torch.get_num_threads() == 2
        assert prepare(AccelConfig(), images=True) == 2
        prepare(AccelConfig(deterministic=True), images=False)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(before)


# ---------------------------------------------------------------------- parameters as one vector


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 5), nn.LayerNorm(5), nn.Linear(5, 1))


def numbers(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_flat_changes_neither_values_nor_keys() -> None:
    module, plain = network(), network()
    flat = Flat(module)
    assert list(module.state_dict()) == list(plain.state_dict())
    assert torch.equal(numbers(module), numbers(plain))
    assert all(p.data_ptr() % 64 == flat.vector.data_ptr() % 64 for p in module.parameters())
    flat.vector.mul_(2)
    assert torch.equal(numbers(module), 2 * numbers(plain))


def test_views_survive_loading() -> None:
    module, other = network(), network(1)
    flat = Flat(module)
    module.load_state_dict(other.state_dict())
    assert torch.equal(numbers(module), numbers(other))
    flat.vector.zero_()
    assert not numbers(module).any()
    assert numbers(other).any()  # it was copied


@pytest.mark.parametrize("max_norm", [0.01, 1.0, 1e6, None])
def test_set_grad_clips_as_torch_does(max_norm: float | None) -> None:
    module, plain = network(), network()
    flat = Flat(module)
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    plain(x).square().sum().backward()
    grads = [p.grad.clone() for p in plain.parameters() if p.grad is not None]
    flat.grad.fill_(0)
    norm = flat.set_grad(grads, max_norm)
    expected = nn.utils.clip_grad_norm_(plain.parameters(), 1e9 if max_norm is None else max_norm)
    torch.testing.assert_close(norm, expected)
    assert norm.dim() == 0
    offsets = [p.storage_offset() for p in module.parameters()]
    for at, p in zip(offsets, plain.parameters(), strict=True):
        assert p.grad is not None
        found = flat.grad[at : at + p.numel()].view_as(p)
        torch.testing.assert_close(found, p.grad)
    torch.testing.assert_close(
        flat.grad.norm(), nn.utils.get_total_norm([p.grad for p in plain.parameters()])
    )


def gradients(module: nn.Module, k: int) -> list[Tensor]:
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(k))
    return list(torch.autograd.grad(module(x).square().sum(), list(module.parameters())))


@pytest.mark.parametrize(("lr", "eps", "betas"), [(0.01, 1e-8, (0.9, 0.999)), (0.003, 1e-5, (0.8, 0.99))])
def test_adam_on_the_vector_equals_torchs(lr: float, eps: float, betas: tuple[float, float]) -> None:
    module, plain = network(), network()
    flat = Flat(module)
    one = FlatAdam(flat, lr, eps, betas)
    other = torch.optim.Adam(plain.parameters(), lr=lr, eps=eps, betas=betas)
    for k in range(60):
        if k == 30:
            one.lr.fill_(lr / 3)
            other.param_groups[0]["lr"] = lr / 3
        flat.set_grad(gradients(module, k), 0.5)
        one.step()
        for p, grad in zip(plain.parameters(), gradients(plain, k), strict=True):
            p.grad = grad
        nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        other.step()
    torch.testing.assert_close(numbers(module), numbers(plain), rtol=1e-3, atol=2e-5)
    assert (numbers(plain) - numbers(network())).abs().median() > lr


def test_adam_continues_from_its_state() -> None:
    module, again = network(), network()
    flat, flat_again = Flat(module), Flat(again)
    one, other = FlatAdam(flat, 0.01), FlatAdam(flat_again, 0.5)
    for k in range(5):
        flat.set_grad(gradients(module, k))
        one.step()
    other.load_state_dict(one.state_dict())
    again.load_state_dict(module.state_dict())
    for k in range(5, 9):
        for m, f, optimizer in ((module, flat, one), (again, flat_again, other)):
            f.set_grad(gradients(m, k))
            optimizer.step()
    assert torch.equal(numbers(module), numbers(again))


def test_copies_and_mixtures() -> None:
    a, b = network(0), network(1)
    one, other = Flat(a), Flat(b)
    before = numbers(a).clone()
    one.lerp_from(other, 0.25)
    torch.testing.assert_close(numbers(a), 0.75 * before + 0.25 * numbers(b))
    one.copy_from(other)
    assert torch.equal(numbers(a), numbers(b))
    other.vector.zero_()
    assert numbers(a).any()
