"""Networks of a whole population, beside neat-python's FeedForwardNetwork and RecurrentNetwork."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from by_hand import evolved, genome, theirs

from rlkit.neat import network
from rlkit.neat.network import Networks, build
from rlkit.neat.reproduction import Evolution
from rlkit.neat.settings import ACTIVATIONS, AGGREGATIONS, Number, Settings

library = pytest.importorskip("neat", reason="pip install neat-python")

STEEP = {"exp", "square", "cube", "inv", "log"}  # values beyond float32 within a few layers
WILD = Settings(
    node_add_prob=0.3, conn_add_prob=0.5, node_delete_prob=0.05, conn_delete_prob=0.05,
    enabled_mutate_rate=0.05,
    activation_mutate_rate=0.1, aggregation_mutate_rate=0.1,
    response=Number(init_mean=1.0, init_stdev=0.0, mutate_rate=0.1, mutate_power=0.2, replace_rate=0.0),
)  # fmt: skip
SMOOTH = [name for name in ACTIVATIONS if name not in STEEP]


def worst(evolution: Evolution, dtype: torch.dtype, steps: int = 5) -> float:
    """The largest difference (relative above 1) over some steps of every genome."""
    p, inputs = evolution.size, evolution.inputs
    nets = build(evolution.genomes, inputs, evolution.outputs, evolution.settings).to(dtype)
    references = [theirs(library, evolution, row) for row in range(p)]
    random, state, found = torch.Generator().manual_seed(3), None, 0.0
    for _ in range(steps):
        x = torch.randn(p, inputs, generator=random)
        outputs, state = nets(x.to(dtype), state)
        for row, reference in enumerate(references):
            for ours, their in zip(outputs[row].tolist(), reference.activate(x[row].tolist()), strict=True):
                found = max(found, abs(ours - their) / max(1.0, abs(their)))
    return found


@pytest.mark.parametrize("aggregations", [["sum"], list(AGGREGATIONS)], ids=["sum", "all"])
def test_feed_forward_equals_neat_python(aggregations: list[str]) -> None:
    settings = replace(WILD, activations=SMOOTH, aggregations=aggregations)
    evolution = evolved(settings, 60, 4, 3, 20)
    assert worst(evolution, torch.float64) < 1e-9
    assert worst(evolution, torch.float32) < 1e-5
    assert len(build(evolution.genomes, 4, 3, settings).layers) > 4


@pytest.mark.parametrize("aggregations", [["sum"], list(AGGREGATIONS)], ids=["sum", "all"])
def test_recurrent_equals_neat_python(aggregations: list[str]) -> None:
    """In float64 with every activation (some are chaotic: float32 errors double), the others to 1e-5."""
    settings = replace(WILD, feed_forward=False, aggregations=aggregations)
    assert worst(evolved(replace(settings, activations=SMOOTH), 60, 4, 3, 20), torch.float64) < 1e-9
    calm = ["clamped", "relu", "hat"] if aggregations == ["sum"] else ["clamped", "hat"]
    settings = replace(settings, activations=calm, weight=Number(mutate_power=0.2))
    assert worst(evolved(settings, 60, 4, 3, 20), torch.float32) < 1e-5


def test_every_activation_is_neat_pythons() -> None:
    """One connection of weight 1 into one output, so that values stay where formulas are defined."""
    their = library.activations.ActivationFunctionSet()
    for name in ACTIVATIONS:
        nets = build(genome([0], [(0, -1, 0, 1.0, True)]), 1, 1, Settings(activations=[name]))
        for x in (-2.0, -0.5, 0.0, 0.3, 1.7):
            ours = float(nets(torch.tensor([[x]]))[0])
            assert ours == pytest.approx(their.get(name)(x), rel=1e-5, abs=1e-6), (name, x)


def test_values_by_hand() -> None:
    """Hidden 1 and 2 in a chain, a disabled connection, and a node that leads nowhere."""
    one = genome([0, 1, 2, 3], [(0, -1, 1, 2.0, True), (1, 1, 2, 3.0, True), (2, 2, 0, 1.0, True),
                                (3, -2, 0, 100.0, False), (4, -2, 3, 9.0, True)])  # fmt: skip
    x = torch.tensor([[1.0, 1.0]])
    nets = build(one, 2, 1, Settings(activations=["identity"]))
    assert float(nets(x)[0]) == pytest.approx(3 * (2 + 0.1) + 0.2)
    recurrent = build(one, 2, 1, Settings(activations=["identity"], feed_forward=False))
    seen, state = [], None
    for _ in range(4):
        outputs, state = recurrent(x, state)
        seen.append(round(float(outputs), 4))
    assert seen == [0.0, 0.2, 6.5, 6.5]  # a signal takes a step per connection


def alone(evolution: Evolution, row: int) -> Networks:
    part = evolution.genomes.take(torch.tensor([row])).trimmed()
    return build(part, evolution.inputs, evolution.outputs, evolution.settings)


def padding_is_right() -> bool:
    """Every genome gives the same by itself, without a single empty slot, as among wider ones."""
    evolution = evolved(
        replace(WILD, activations=["sigmoid"], aggregations=["sum", "product", "min"]), 30, 3, 2, 12
    )
    x = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    together = build(evolution.genomes, 3, 2, evolution.settings)(x)[0]
    single = torch.cat([alone(evolution, row)(x[row : row + 1])[0] for row in range(30)])
    return torch.allclose(together, single, atol=1e-6)


def test_padding_changes_nothing() -> None:
    assert padding_is_right()


def test_a_planted_error_in_padding_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty slots taken for real ones: aggregation over all of them."""
    original = network.aggregate
    monkeypatch.setattr(network, "aggregate", lambda w, t, k, n: original(w, torch.ones_like(t), k, n))
    assert not padding_is_right()
