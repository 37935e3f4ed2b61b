"""What every agent owes: the truth about its spaces, actions that fit, one life per seed, plain state."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from gymnasium import Space
from gymnasium.vector import AutoresetMode
from torch import Tensor

from correctness.harness import AGENTS, Config, Lab, advance, as_bytes, dqn, lab, normalizing, ppo
from correctness.test_probes import SPACES
from rlkit import registry
from rlkit.agents.dqn import DQN, DQNConfig
from rlkit.agents.neat import NEATConfig
from rlkit.agents.random import RandomConfig
from rlkit.config import EnvConfig, RunConfig
from rlkit.envs.probe import Echo, Match
from rlkit.errors import UserError
from rlkit.session import make_plan
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import State

CONFIGS: dict[str, Config] = {
    "dqn": dqn(), "dqn-3-step": dqn(3), "neat": NEATConfig(population=10, trials=2), "ppo": ppo(),
    "random": RandomConfig(),
}  # fmt: skip


def _single(space: Space) -> bool:
    return ActionSpec.of(space).is_single_discrete


SERVED = [(name, key) for name in CONFIGS for key in SPACES if "dqn" not in name or _single(SPACES[key])]


def _plain(value: Any, path: str = "state") -> None:
    """Only what a checkpoint may hold."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _plain(name, f"{path} key")
            _plain(inner, f"{path}/{name}")
    elif isinstance(value, list | tuple):
        assert type(value) in (list, tuple), path
        for number, inner in enumerate(value):
            _plain(inner, f"{path}/{number}")
    else:
        allowed = (Tensor, int, float, bool, type(None), str, bytes)
        assert type(value) in allowed, f"{path} is a {type(value).__name__}"


def _reload(state: State) -> State:
    return torch.load(io.BytesIO(as_bytes(state)), weights_only=True)


def _stores(agent: Any) -> dict[str, Any]:
    return agent.stores() if hasattr(agent, "stores") else {}


# ---------------------------------------------------------------------- spaces


@pytest.mark.parametrize("key", SPACES)
@pytest.mark.parametrize("name", AGENTS)
def test_serves_tells_the_truth(name: str, key: str) -> None:
    """Served spaces can be built and stepped; refused ones are refused in a sentence that names the space."""
    space = SPACES[key]
    reason = AGENTS[name].serves(ActionSpec.of(space), ObsSpec.of(space))
    if name == "dqn" and not _single(space):
        assert reason is not None
        assert reason.startswith("dqn needs one Discrete action")
        assert ActionSpec.of(space).describe() in reason
        return
    assert reason is None
    advance(lab(lambda: Echo(space), CONFIGS[name]), 8)


def test_a_refusal_names_the_agents_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.envs._targets, "probe/echo-box", lambda: Echo(SPACES["box"]))
    config = RunConfig(agent=dqn(), env=EnvConfig(id="probe/echo-box"), device="cpu")
    with pytest.raises(UserError, match=r"dqn needs one Discrete action.*agents that can: .*ppo, random"):
        make_plan(config)
    config.agent = ppo()
    assert make_plan(config).setup.action.dtype == torch.float32


@pytest.mark.parametrize("lanes", [1, 7])
@pytest.mark.parametrize(("name", "key"), SERVED)
def test_actions_have_the_form_of_the_spec(name: str, key: str, lanes: int) -> None:
    space = SPACES[key]
    place = lab(lambda: Echo(space), CONFIGS[name], lanes=lanes)
    first = torch.ones(lanes, dtype=torch.bool)
    actor = place.agent.actor()
    for now in (0, 10_000):  # all explored, mostly greedy
        for action in (place.agent.act(place.envs.obs, now).action, actor(place.envs.obs, first)):
            spec = place.envs.action_spec
            assert action.shape == (lanes, spec.width)
            assert action.dtype == spec.dtype
            assert not action.requires_grad
            for row in spec.clip(action):
                assert space.contains(spec.to_env_single(row))


# ---------------------------------------------------------------------- seeds


def _life(config: Config, seed: int, steps: int = 500) -> tuple[Tensor, bytes]:
    """The first actions and what the agent was afterwards."""
    place = lab(Match, config, steps=steps, seed=seed)
    return _actions(place, steps), as_bytes(place.agent.state_dict())


def _actions(place: Lab, until: int) -> Tensor:
    """Advance, and return what was decided [steps / N, N, A]."""
    found, act = [], place.agent.act

    def spy(*arguments: Any) -> Any:
        decision = act(*arguments)
        found.append(decision.action.clone())
        return decision

    place.agent.act = spy  # type: ignore[method-assign, assignment]
    advance(place, until)
    place.agent.act = act  # type: ignore[method-assign]
    return torch.stack(found)


@pytest.mark.parametrize("name", CONFIGS)
def test_one_seed_one_life(name: str) -> None:
    torch.manual_seed(1)
    actions, state = _life(CONFIGS[name], seed=3)
    torch.manual_seed(2)  # the global generator is nobody's business
    again, state_again = _life(CONFIGS[name], seed=3)
    other, _ = _life(CONFIGS[name], seed=4)
    assert torch.equal(actions, again)
    assert state == state_again
    assert not torch.equal(actions, other)


@pytest.mark.parametrize("name", ["dqn", "ppo"])
def test_another_seed_other_first_weights(name: str) -> None:
    first, second = (lab(Match, CONFIGS[name], seed=seed).agent.state_dict() for seed in (0, 1))
    key = "online" if name == "dqn" else "network"
    pairs = zip(first[key].items(), second[key].values(), strict=True)
    assert all(not torch.equal(a, b) for (name, a), b in pairs if name.endswith("weight"))


def test_nothing_draws_from_the_global_generators() -> None:
    before = torch.get_rng_state()
    for config in CONFIGS.values():
        advance(lab(Match, config, steps=400), 400)
    assert torch.equal(before, torch.get_rng_state())


# ---------------------------------------------------------------------- state


def _run_and_copy(place: Lab, fresh: Lab, at: int, until: int) -> tuple[Any, ...]:
    """Continue a run and its copy from step `at`: (actions, state) of both."""
    advance(place, at)
    state = _reload(place.agent.state_dict())
    _plain(state)
    fresh.agent.load_state_dict(state)
    for name, store in _stores(place.agent).items():
        rows = _reload(store.read_rows(store.oldest, store.total))
        _stores(fresh.agent)[name].write_rows(store.oldest, rows)
    fresh.envs.load_state_dict(_reload(place.envs.state_dict()))
    assert fresh.envs.resume_inexact is None
    fresh.now = place.now
    return (
        _actions(place, until), _actions(fresh, until),
        as_bytes(place.agent.state_dict()), as_bytes(fresh.agent.state_dict()),
    )  # fmt: skip


@pytest.mark.parametrize("at", [96, 484], ids=["early", "mid-rollout"])
@pytest.mark.parametrize("name", CONFIGS)
def test_state_decides_everything_that_follows(name: str, at: int) -> None:
    config = CONFIGS[name]
    if isinstance(config, DQNConfig):
        config = replace(config, buffer_size=400)  # the ring is full, and has been written over
    place, fresh = (lab(Match, config, steps=4_000) for _ in range(2))
    advance(fresh, 40)  # a life of its own, to be forgotten
    mine, its, state, copied = _run_and_copy(place, fresh, at, at + 200)
    assert len(mine) == 50 if name != "neat" else len(mine) > 50  # it parks lanes
    assert torch.equal(mine, its)
    assert state == copied


def test_state_of_running_statistics() -> None:
    place, fresh = normalizing(), normalizing()
    advance(fresh, fresh.now + 300)  # a life of its own, to be forgotten
    mine, its, state, copied = _run_and_copy(place, fresh, place.now + 52, place.now + 400)
    assert torch.equal(mine, its)
    assert state == copied


@pytest.mark.parametrize("name", CONFIGS)
def test_policy_only_takes_what_acting_needs(name: str) -> None:
    place, fresh = lab(Match, CONFIGS[name], steps=800), lab(Match, CONFIGS[name], seed=9)
    advance(place, 800)
    fresh.agent.load_state_dict(_reload(place.agent.state_dict()), policy_only=True)
    obs = {"obs": torch.linspace(-1, 1, 20)[:, None]}
    first = torch.ones(20, dtype=torch.bool)
    if name != "random":  # its actor draws from a stream of the run's seed
        assert torch.equal(place.agent.actor()(obs, first), fresh.agent.actor()(obs, first))
    if isinstance(fresh.agent, DQN):
        assert fresh.agent.replay.total == 0
        unused = lab(Match, CONFIGS[name], seed=9).agent.state_dict()["optimizer"]
        assert as_bytes(fresh.agent.state_dict()["optimizer"]) == as_bytes(unused)


@pytest.mark.parametrize("name", CONFIGS)
def test_playing_leaves_training_as_it_was(name: str) -> None:
    place = lab(Match, CONFIGS[name], steps=600)
    advance(place, 400)
    before = as_bytes(place.agent.state_dict())
    actor, first = place.agent.actor(), torch.ones(5, dtype=torch.bool)
    for _ in range(10):
        actor({"obs": torch.randn(5, 1, generator=torch.Generator().manual_seed(0))}, first)
    assert as_bytes(place.agent.state_dict()) == before


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", CONFIGS)
def test_metrics_are_finite_numbers_off_the_graph(name: str, mode: AutoresetMode) -> None:
    found = advance(lab(Match, CONFIGS[name], steps=600, lanes=3, mode=mode), 600)
    assert bool(found) == (name != "random")
    for metrics in found:
        for key, number in metrics.items():
            assert torch.isfinite(torch.as_tensor(number)), key
            if isinstance(number, Tensor):
                assert number.shape == ()
                assert not number.requires_grad
