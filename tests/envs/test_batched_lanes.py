"""The engine of batched tasks: time limits, next episodes, seeds, records, parking and resuming."""

from __future__ import annotations

import io
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rlkit.accel import capture
from rlkit.config import EnvConfig
from rlkit.envs import batched
from rlkit.envs.batched.lanes import BatchedEnvs
from rlkit.envs.batched.tasks import TASKS
from rlkit.envs.engines import make_envs
from rlkit.errors import NumbersBroke
from rlkit.seeding import episode_seed
from rlkit.types import Decision, Episode, TimeStep

SEED = 11
CPU = torch.device("cpu")


def build(env_id: str, n: int, limit: int | None = None, **more: Any) -> BatchedEnvs:
    config = EnvConfig(id=env_id, num_envs=n, max_episode_steps=limit)
    return batched.make(config, {}, n, seed=SEED, stream="train", **more)


def chance(envs: BatchedEnvs, steps: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [envs.action_spec.sample(envs.num_envs, generator) for _ in range(steps)]


def step(envs: BatchedEnvs, action: Tensor, seeds: list[int] | None = None) -> TimeStep:
    envs.send(Decision(action, seeds=None if seeds is None else torch.tensor(seeds)))
    return envs.recv()


def play(envs: BatchedEnvs, actions: list[Tensor]) -> tuple[list[TimeStep], list[Episode]]:
    envs.reset()
    return [step(envs, action) for action in actions], envs.drain()


@pytest.mark.parametrize("env_id", list(TASKS))
def test_a_lane_and_the_environment_of_its_films_give_the_same_bits(env_id: str) -> None:
    envs = build(env_id, 19, limit=40, with_actions=tuple(range(19)))
    _, episodes = play(envs, chance(envs, 130))
    assert len(episodes) >= 19 * 3
    maker = batched.film_maker(EnvConfig(id=env_id, max_episode_steps=40), {}, None)
    env = maker()
    for episode in episodes:
        assert episode.actions is not None
        assert len(episode.actions) == episode.length
        env.reset(seed=episode.seed)
        total = 0.0
        for row in episode.actions:
            _, reward, terminated, truncated, _ = env.step(envs.action_spec.to_env_single(row))
            total += reward
        assert total == episode.reward
        assert (terminated, truncated) == (episode.terminated, episode.truncated)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_every_observation_of_a_lane_is_that_of_the_film(env_id: str) -> None:
    envs = build(env_id, 21, limit=30)
    actions = chance(envs, 100)
    first = envs.reset().obs["obs"]
    env = batched.film_maker(EnvConfig(id=env_id, max_episode_steps=30), {}, None)()
    episode = 0
    obs, _ = env.reset(seed=episode_seed(SEED, "train", 17, 0))
    assert np.array_equal(obs, first[17].numpy())
    for action in actions:
        out = step(envs, action)
        obs, reward, terminated, truncated, _ = env.step(envs.action_spec.to_env_single(action[17]))
        assert np.array_equal(obs, out.next_obs["obs"][17].numpy())
        assert reward == float(out.reward[17])
        if terminated or truncated:
            episode += 1
            obs, _ = env.reset(seed=episode_seed(SEED, "train", 17, episode))
            assert 17 in out.ended_lanes
            assert 17 in out.begun_lanes
        assert np.array_equal(obs, out.obs["obs"][17].numpy())
    assert episode >= 3


def test_flags_and_records_follow_the_time_limit() -> None:
    envs = build("MountainCar-v0", 5, limit=7)
    steps, episodes = play(envs, chance(envs, 21))
    for t, out in enumerate(steps, start=1):
        cut = t % 7 == 0
        assert bool(out.truncated.all()) == bool(out.truncated.any()) == cut
        assert not out.terminated.any()
        assert out.count == 5
        assert bool(out.valid.all())
        assert out.ended_lanes == out.truncated_lanes == out.begun_lanes == (tuple(range(5)) if cut else ())
        assert (out.next_obs is out.obs) != cut
    assert [e.id for e in episodes] == [lane + 5 * k for k in range(3) for lane in range(5)]
    for e in episodes:
        k = e.id // 5
        assert (e.reward, e.length, e.terminated, e.truncated) == (-7.0, 7, False, True)
        assert (e.first_step, e.last_step) == (35 * k, 35 * (k + 1))
        assert e.seed == episode_seed(SEED, "train", e.lane, k)
        assert e.actions is None
    assert envs.drain() == []


def test_both_flags_when_the_clock_ends_with_the_episode() -> None:
    free = build("CartPole-v1", 4)
    push = torch.ones(4, 1, dtype=torch.int64)
    _, episodes = play(free, [push] * 30)
    length = next(e.length for e in episodes if e.lane == 2)
    envs = build("CartPole-v1", 4, limit=length)
    steps, _ = play(envs, [push] * length)
    out = steps[-1]
    assert bool(out.terminated[2])
    assert bool(out.truncated[2])
    assert 2 in out.ended_lanes
    assert 2 not in out.truncated_lanes


def test_tensors_that_were_handed_out_never_change() -> None:
    envs = build("CartPole-v1", 33, limit=12)
    envs.reset()
    kept = []
    for action in chance(envs, 50):
        out = step(envs, action)
        tensors = [out.obs["obs"], out.next_obs["obs"], out.reward, out.terminated, out.truncated, out.valid]
        kept.append((tensors, [x.clone() for x in tensors]))
    assert all(torch.equal(a, b) for now, then in kept for a, b in zip(now, then, strict=True))


# ---------------------------------------------------------------------- one pure function


def same(a: TimeStep, b: TimeStep) -> bool:
    names = ("reward", "terminated", "truncated", "valid")
    return (
        all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)
        and torch.equal(a.obs["obs"], b.obs["obs"])
        and torch.equal(a.next_obs["obs"], b.next_obs["obs"])
        and a.count == b.count
    )


def key(episode: Episode) -> tuple:
    values = [getattr(episode, name) for name in Episode.__slots__ if name != "actions"]
    actions = None if episode.actions is None else episode.actions.tolist()
    return (*values, actions)


@pytest.mark.parametrize("env_id", list(TASKS))
def test_the_step_of_a_device_is_that_of_the_host(env_id: str) -> None:
    """As a device runs it: one function without a look at any tensor. Records come through the ring."""
    more = {"limit": 25, "with_actions": (0, 3), "recorded_lanes": 6}
    host, device = build(env_id, 9, **more), build(env_id, 9, capture=lambda f: f, **more)
    ours, theirs = play(host, actions := chance(host, 300)), play(device, actions)
    assert all(same(a, b) for a, b in zip(ours[0], theirs[0], strict=True))
    assert all(b.ended_lanes is None and b.truncated_lanes is None for b in theirs[0])
    assert [key(e) for e in ours[1]] == [key(e) for e in theirs[1]]
    assert len(ours[1]) > 60
    assert {e.lane for e in ours[1]} == set(range(6))
    assert host.unrecorded == device.unrecorded > 30


SCRIPT: dict[int, list[int]] = {  # vector step → seeds of the next episodes
    2: [50, 51, -1, -1, 54],
    5: [60, -1, -1, -1, 64],
    6: [-1, -1, 72, -1, -1],
    11: [-1, 81, -1, 83, -1],
    12: [90, -1, -1, -1, -1],
}


def parked(envs: BatchedEnvs) -> tuple[list[TimeStep], list[Episode]]:
    envs.reset([1, 2, -1, 3, 4])
    return [step(envs, a, SCRIPT.get(t)) for t, a in enumerate(chance(envs, 24))], envs.drain()


def test_seeds_park_and_call_lanes_as_in_gymnasiums_engine() -> None:
    """Valid rows, counts, seeds and episodes are those of the sync engine under the same script."""
    ours = build("MountainCar-v0", 5, limit=3)
    config = EnvConfig(id="MountainCar-v0", max_episode_steps=3)
    sync = make_envs(config, {}, seed=SEED, num_envs=5, engine="sync")
    mine, theirs = parked(ours), parked(sync)  # type: ignore[arg-type]
    for a, b in zip(mine[0], theirs[0], strict=True):
        assert torch.equal(a.valid, b.valid)
        assert a.count == b.count
        assert torch.equal(a.reward, b.reward)
        assert torch.equal(a.truncated, b.truncated)
        assert (a.ended_lanes, a.begun_lanes) == (b.ended_lanes, b.begun_lanes)
    assert {a.count for a in mine[0]} > {4, 2}
    assert [key(e) for e in mine[1]] == [key(e) for e in theirs[1]]
    assert {72, 81, 83, 90} <= {e.seed for e in mine[1]}


def test_a_device_parks_as_the_host_does() -> None:
    ours, theirs = (parked(build("CartPole-v1", 5, limit=4, capture=wrap)) for wrap in (None, lambda f: f))
    assert all(same(a, b) for a, b in zip(ours[0], theirs[0], strict=True))
    assert [key(e) for e in ours[1]] == [key(e) for e in theirs[1]]


def test_the_same_seed_begins_the_same_episode_in_any_lane() -> None:
    envs = build("Acrobot-v1", 40)
    obs = envs.reset([7] * 40).obs["obs"]
    assert torch.equal(obs, obs[:1].expand_as(obs))
    assert torch.equal(build("Acrobot-v1", 1).reset([7]).obs["obs"], obs[:1])


def test_the_step_can_be_compiled() -> None:
    compiled = build("CartPole-v1", 16, capture=partial(capture, mode="compile", device=CPU))
    plain = build("CartPole-v1", 16)
    actions = chance(plain, 12)
    for a, b in zip(play(plain, actions)[0], play(compiled, actions)[0], strict=True):
        torch.testing.assert_close(a.obs["obs"], b.obs["obs"], atol=1e-5, rtol=1e-4)
        assert torch.equal(a.terminated, b.terminated)


# ---------------------------------------------------------------------- state as data


@pytest.mark.parametrize("wrap", [None, lambda f: f], ids=["host", "device"])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_a_resumed_engine_cannot_be_told_from_one_that_went_on(env_id: str, wrap: Any) -> None:
    one = build(env_id, 10, limit=33, with_actions=(0, 4), recorded_lanes=8, capture=wrap)
    actions = chance(one, 120)
    play(one, actions[:50])
    state = torch.load(_saved(one.state_dict()), weights_only=True)
    other = build(env_id, 10, limit=33, with_actions=(0, 4), recorded_lanes=8, capture=wrap)
    other.reset()
    step(other, actions[0])
    other.load_state_dict(state)
    assert other.resume_inexact is None
    assert torch.equal(one.obs["obs"], other.obs["obs"])
    for action in actions[50:]:
        assert same(step(one, action), step(other, action))
    ours, theirs = one.drain(), other.drain()
    assert [key(e) for e in ours] == [key(e) for e in theirs]
    assert len(ours) > 10
    assert any(e.actions is not None for e in ours)
    assert one.unrecorded == other.unrecorded > 0
    with pytest.raises(ValueError, match="10 lanes, these environments 3"):
        build(env_id, 3).load_state_dict(state)


def _saved(state: dict) -> Any:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer


def test_parked_lanes_are_resumed_too() -> None:
    one, other = (build("MountainCar-v0", 5, limit=3) for _ in range(2))
    parked(one)
    other.load_state_dict(one.state_dict())
    for t, action in enumerate(chance(one, 12, seed=1)):
        assert same(step(one, action, SCRIPT.get(t)), step(other, action, SCRIPT.get(t)))


def test_actions_of_dead_episodes_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlkit.envs.batched.records._KEPT", 50)
    envs = build("MountainCar-v0", 3, limit=20, with_actions=(1,))
    _, episodes = play(envs, actions := chance(envs, 205))
    mine = [e for e in episodes if e.lane == 1]
    assert len(mine) == 10
    for k, e in enumerate(mine):
        assert e.actions.tolist() == [a[1].tolist() for a in actions[20 * k : 20 * (k + 1)]]
    assert len(envs.state_dict()["actions"]) == 5


def test_numbers_that_broke_are_told() -> None:
    envs = build("Pendulum-v1", 4, limit=3)
    envs.reset()
    for _ in range(3):
        step(envs, torch.tensor([[0.0], [0.0], [math.nan], [0.0]]))
    with pytest.raises(NumbersBroke, match="lane 2 is not finite"):
        envs.drain()


# ---------------------------------------------------------------------- two engines, one statistics


def _lean(env_id: str, obs: Tensor) -> Tensor:
    """A fixed policy of each task, in the policy's units."""
    if env_id == "CartPole-v1":
        return (obs[:, 2] > 0).long()[:, None]
    return ((obs[:, 1] > 0).long() * 2)[:, None]


@pytest.mark.parametrize(("env_id", "lanes"), [("CartPole-v1", 120), ("MountainCar-v0", 120)])
def test_a_fixed_policy_has_the_same_statistics_on_two_engines(env_id: str, lanes: int) -> None:
    found = {}
    for engine in ("torch", "sync"):
        envs = make_envs(EnvConfig(id=env_id), {}, seed=5, num_envs=lanes, engine=engine)
        obs, episodes, t = envs.reset().obs, [], 0
        while t < 401:
            envs.send(Decision(_lean(env_id, obs["obs"])))
            obs, t = envs.recv().obs, t + 1
            episodes += envs.drain()
        first = [
            e for e in episodes if e.id < 2 * lanes
        ]  # not the quickest ones: the same numbers of each lane
        found[engine] = np.array([e.reward for e in first]), np.array([e.length for e in first])
    for a, b in zip(*found.values(), strict=True):
        assert len(a) == len(b) == 2 * lanes
        error = math.sqrt(a.var() / len(a) + b.var() / len(b)) + 1e-9
        assert abs(a.mean() - b.mean()) < 3.5 * error
        assert a.std() > 0
