"""The batched tasks: equal to Gymnasium's environments, step by step and in their first states."""

from __future__ import annotations

import math
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlkit.config import EnvConfig
from rlkit.envs import batched
from rlkit.envs.batched import counting
from rlkit.envs.batched.tasks import TASKS, Task
from rlkit.seeding import episode_seed, mix

IDS = list(TASKS)
CPU = torch.device("cpu")

# Columns as the state's rows: where random states lie, and values that are met on purpose.
RANGES = {
    "CartPole-v1": ([-2.6, -3, -0.25, -3], [2.6, 3, 0.25, 3]),
    "MountainCar-v0": ([-1.2, -0.07], [0.6, 0.07]),
    "MountainCarContinuous-v0": ([-1.2, -0.07], [0.6, 0.07]),
    "Pendulum-v1": ([-12, -8], [12, 8]),
    "Acrobot-v1": (np.array([-1, -1, -4, -9]) * math.pi, np.array([1, 1, 4, 9]) * math.pi),
}  # fmt: skip


def states(env_id: str, n: int) -> np.ndarray:
    """[k, n] float32: random ones, and every corner of the box."""
    low, high = (np.asarray(x, dtype=np.float32) for x in RANGES[env_id])
    rng = np.random.default_rng(7)
    drawn = rng.uniform(low[:, None], high[:, None], size=(len(low), n)).astype(np.float32)
    corners = np.stack(np.meshgrid(*zip(low, (low + high) / 2, high, strict=True)), axis=0).reshape(
        len(low), -1
    )
    drawn[:, : corners.shape[1]] = corners
    return drawn


def actions(env_id: str, n: int, space: gym.Space) -> np.ndarray:
    rng = np.random.default_rng(8)
    if isinstance(space, gym.spaces.Discrete):
        return rng.integers(space.n, size=n)
    drawn = rng.uniform(-1.3, 1.3, size=n) * float(space.high[0])  # some out of bounds
    drawn[:2] = space.low[0], space.high[0]
    return drawn.astype(np.float32)


def distance_to_a_threshold(env_id: str, kwargs: dict, state: np.ndarray) -> float:
    """How far the new state is from where `terminated` changes, in units of the state."""
    if env_id == "CartPole-v1":
        return min(abs(abs(state[0]) - 2.4), abs(abs(state[2]) - 12 * 2 * math.pi / 360))
    if env_id.startswith("MountainCar"):
        goal = 0.45 if "Continuous" in env_id else 0.5
        return min(abs(state[0] - goal), abs(state[1] - kwargs.get("goal_velocity", 0)))
    if env_id == "Acrobot-v1":
        return abs(-math.cos(state[0]) - math.cos(state[0] + state[1]) - 1)
    return 1.0


def precise(env_id: str, n: int, kwargs: dict) -> Task:
    """The same equations in float64."""
    kind: type = TASKS[env_id]  # type: ignore[assignment]
    task: Task = type(kind.__name__, (kind,), {"dtype": torch.float64})(n, CPU, **kwargs)
    return task


def exact_action(action: np.ndarray) -> torch.Tensor:
    given = torch.from_numpy(action)
    return given if given.dtype == torch.int64 else given.double()


CASES = [(env_id, {}) for env_id in IDS]
CASES += [
    ("CartPole-v1", {"sutton_barto_reward": True}),
    ("MountainCar-v0", {"goal_velocity": 0.02}),
    ("MountainCarContinuous-v0", {"goal_velocity": 0.02}),
    ("Pendulum-v1", {"g": 9.81}),
]


@pytest.mark.parametrize(("env_id", "kwargs"), CASES)
def test_every_step_is_gymnasiums(env_id: str, kwargs: dict) -> None:
    n = 600
    env = gym.make(env_id, **kwargs)
    env.reset(seed=0)
    own = env.unwrapped
    state, action = states(env_id, n), actions(env_id, n, env.action_space)
    task: Task = TASKS[env_id](n, CPU, **kwargs)
    moved, reward, terminated = task.move(torch.from_numpy(state), torch.from_numpy(action))
    obs = task.observe(moved)
    exact, _, _ = precise(env_id, n, kwargs).move(torch.from_numpy(state).double(), exact_action(action))
    compared, ends, largest = 0, 0, []
    for lane in range(n):
        # MountainCarContinuous keeps float32 itself; the others compute in float64
        own.state = state[:, lane].astype(np.float64)
        own.steps_beyond_terminated = None
        given = int(action[lane]) if action.dtype == np.int64 else action[lane : lane + 1]
        true_obs, true_reward, true_end, _, _ = own.step(given)
        true_state = np.asarray(own.state, dtype=np.float64)
        gap, exact_gap = (x[:, lane].numpy() - true_state for x in (moved, exact))
        if env_id == "Acrobot-v1":  # an angle of π may come out as −π
            for x in (gap, exact_gap):
                x[:2] = (x[:2] + math.pi) % (2 * math.pi) - math.pi
        if env_id != "MountainCarContinuous-v0":  # whose own state is float32
            np.testing.assert_allclose(exact_gap, 0, atol=2e-8, err_msg=f"{lane}")
        # at its highest speeds the acrobot turns a rounding error into a thousand
        np.testing.assert_allclose(gap, 0, atol=5e-3 if env_id == "Acrobot-v1" else 4e-6, err_msg=f"{lane}")
        largest.append(np.abs(gap).max())
        np.testing.assert_allclose(obs[lane].numpy(), true_obs, atol=5e-3 if env_id == "Acrobot-v1" else 1e-5)
        if distance_to_a_threshold(env_id, kwargs, true_state) > 1e-4:
            assert bool(terminated[lane]) == true_end, (lane, true_state)
            assert float(reward[lane]) == pytest.approx(float(true_reward), rel=1e-5, abs=1e-5)
            compared += 1
            ends += true_end
    assert np.median(largest) < 1e-6
    assert compared > 0.7 * n
    assert ends > 5 or env_id == "Pendulum-v1"


@pytest.mark.parametrize("env_id", IDS)
def test_many_steps_in_a_row_stay_with_gymnasium(env_id: str) -> None:
    """A few dozen steps from one first state: rounding grows, but nothing else."""
    env = gym.make(env_id).unwrapped
    env.reset(seed=3)
    task = TASKS[env_id](1, CPU)
    state = torch.tensor(np.asarray(env.state, dtype=np.float32))[:, None]
    env.state = state[:, 0].numpy().astype(np.float64)
    given = actions(env_id, 60, env.action_space)
    limits = env.action_space.high if given.dtype == np.float32 else None
    for t in range(60):
        one = given[t] if limits is None else np.clip(given[t], -limits[0], limits[0])
        state, reward, terminated = task.move(state, torch.tensor([one]))
        obs, true_reward, true_end, _, _ = env.step(
            int(one) if limits is None else np.array([one], np.float32)
        )
        np.testing.assert_allclose(task.observe(state)[0].numpy(), obs, atol=2e-3, rtol=1e-3)
        assert float(reward) == pytest.approx(float(true_reward), abs=2e-3)
        assert bool(terminated) == true_end
        if true_end:
            break
    assert t > 5


# ---------------------------------------------------------------------- seeds and first states


def test_seeds_are_those_of_the_run() -> None:
    for run_seed in (0, 1, 12345, 2**31 - 1, 2**63 - 1):
        for stream in ("train", "eval", "play"):
            keys = counting.lane_keys(run_seed, stream, 300)
            for episode in (0, 1, 77, 2**31 + 5, 2**40):
                numbers = torch.full((300,), episode)
                expected = [episode_seed(run_seed, stream, lane, episode) for lane in range(300)]
                assert counting.episode_seeds(keys, numbers).tolist() == expected
                as_arrays = counting.episode_seeds_array(keys.numpy().view(np.uint64), numbers.numpy())
                assert as_arrays.tolist() == expected


def test_the_finaliser_wraps_and_shifts_as_unsigned_numbers_do() -> None:
    x = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), -12345, 987654321])
    expected = [mix(int(v) & (2**64 - 1)) for v in x.tolist()]
    assert [v & (2**64 - 1) for v in counting.mix(x).tolist()] == expected
    assert counting.mix_array(x.numpy().view(np.uint64)).tolist() == expected


def test_uniform_numbers_count_from_the_seed_alone() -> None:
    seeds = torch.arange(40_000)
    u = counting.uniforms(seeds, 4)
    assert torch.equal(u, torch.from_numpy(counting.uniforms_array(seeds.numpy(), 4)))
    assert torch.equal(u[:, 7:9], counting.uniforms(torch.tensor([7, 8]), 4))
    assert torch.equal(u[:2], counting.uniforms(seeds, 2))
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    for row in u:
        assert kolmogorov(row.double().numpy(), lambda x: x) < 1.95 / math.sqrt(len(seeds))
    correlation = np.corrcoef(np.concatenate([u.numpy(), u[:1].roll(1, 1).numpy()]))
    assert np.abs(correlation - np.eye(5)).max() < 0.02


def kolmogorov(x: np.ndarray, cdf) -> float:
    """The greatest distance between the empirical distribution and a continuous one."""
    x = cdf(np.sort(x))
    n = len(x)
    return max(np.abs(x - np.arange(n) / n).max(), np.abs(x - np.arange(1, n + 1) / n).max())


@pytest.mark.parametrize("env_id", IDS)
def test_first_states_are_distributed_as_gymnasiums(env_id: str) -> None:
    n = 1_500
    env = gym.make(env_id).unwrapped
    theirs = np.empty((n, TASKS[env_id].rows))  # type: ignore[attr-defined]
    for k in range(n):
        env.reset(seed=k)
        theirs[k] = env.state
    task = TASKS[env_id](n, CPU)
    ours = task.initial(counting.uniforms(torch.arange(n), task.draws)).double().numpy().T
    for column in range(theirs.shape[1]):
        a, b = ours[:, column], theirs[:, column]
        if b.std() == 0:
            assert (a == b).all()
            continue
        low, high = task.low[column], task.high[column]
        assert low - 1e-6 <= a.min()
        assert a.max() <= high + 1e-6
        assert a.mean() == pytest.approx(b.mean(), abs=0.06 * (high - low))
        assert a.std() == pytest.approx(b.std(), rel=0.06)
        both = np.sort(np.concatenate([a, b]))
        gap = np.abs(
            np.searchsorted(np.sort(a), both, "right") / n - np.searchsorted(np.sort(b), both, "right") / n
        ).max()
        assert gap < 1.95 * math.sqrt(2 / n)  # p ≈ 0.001


# ---------------------------------------------------------------------- places in a batch


@pytest.mark.parametrize("env_id", IDS)
def test_a_lane_has_the_same_bits_wherever_it_lies(env_id: str) -> None:
    n = 67
    env = gym.make(env_id)
    state, action = torch.from_numpy(states(env_id, 120)[:, -n:].copy()), actions(env_id, n, env.action_space)
    whole = TASKS[env_id](n, CPU).move(state, torch.from_numpy(action))
    for first, last in [(0, 1), (66, 67), (3, 5), (1, 8), (5, 14), (10, 27), (2, 35), (0, 64), (1, 66)]:
        part = TASKS[env_id](last - first, CPU)
        piece = part.move(state[:, first:last].clone(), torch.from_numpy(action[first:last].copy()))
        assert torch.equal(piece[0], whole[0][:, first:last])
        assert torch.equal(piece[1], whole[1][first:last])
        assert torch.equal(piece[2], whole[2][first:last])
        assert torch.equal(part.observe(piece[0]), part.observe(whole[0])[first:last])


# ---------------------------------------------------------------------- what it serves, and films


def test_what_it_cannot_serve_is_one_reason() -> None:
    assert all(batched.why_not(EnvConfig(id=env_id), {}) is None for env_id in IDS)
    assert batched.why_not(EnvConfig(id="Pendulum-v1", kwargs={"g": 9.81}), {}) is None
    assert "CartPole-v1" in str(batched.why_not(EnvConfig(id="CartPole-v0"), {}))
    assert "clip_reward" in str(batched.why_not(EnvConfig(), {"clip_reward": {}}))
    assert "env.kwargs.g" in str(batched.why_not(EnvConfig(kwargs={"g": 3}), {}))
    assert "must be a number" in str(batched.why_not(EnvConfig(id="Pendulum-v1", kwargs={"g": "x"}), {}))


@pytest.mark.parametrize("env_id", IDS)
def test_films_are_drawn_by_gymnasium_from_the_lanes_state(env_id: str) -> None:
    maker = pickle.loads(pickle.dumps(batched.film_maker(EnvConfig(id=env_id), {}, "rgb_array")))
    env = maker()
    theirs = gym.make(env_id, render_mode="rgb_array").unwrapped
    env.reset(seed=5)
    theirs.reset(seed=0)
    frames = [env.render()]
    given = actions(env_id, 40, env.action_space)
    for action in given:
        env.step(action if given.dtype == np.int64 else np.array([action]))
    frames.append(env.render())
    state = env._state[:, 0].numpy().astype(np.float64)
    theirs.state = state
    if env_id == "Pendulum-v1":
        theirs.last_u = float(np.clip(given[-1], -2, 2))
    assert np.array_equal(frames[-1], theirs.render())
    assert frames[0].dtype == np.uint8
    assert frames[0].ndim == 3
    assert not np.array_equal(*frames)
    env.close()
    theirs.close()
