"""Parameter tuning: what an epoch computes, what is told and rewarded, and (seed, actions) bit for bit."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from torch.nn import functional as F

from rlkit.config import EnvConfig
from rlkit.envs import catalog
from rlkit.envs.engines import make_envs
from rlkit.envs.factory import probe
from rlkit.errors import UserError
from rlkit.types import Decision, Envs
from tests.envs.needs import needs

needs("sklearn")

from rlkit.envs.tuning import digits, training  # noqa: E402
from rlkit.envs.tuning.env import CNNClassifierTraining, ConvergenceControl, Tuning  # noqa: E402
from rlkit.envs.tuning.networks import Convolutional, Network, Perceptron  # noqa: E402
from rlkit.envs.tuning.ranges import Range, values  # noqa: E402

IDS = ("ConvergenceControl-v0", "CNNClassifierTraining-v0")
CLASSES: tuple[type[Tuning], ...] = (ConvergenceControl, CNNClassifierTraining)
USUAL = {
    "learning_rate": 0.03, "momentum": 0.9, "weight_decay": 1e-5, "batch_size": 32, "clip": 10.0,
    "dropout": 0.1, "filters": 12, "kernel": 3, "layers": 2,
}  # fmt: skip


def action(kind: type[Tuning], **chosen: float) -> np.ndarray:
    """The action for the usual hyperparameters, but for those given."""
    return np.array([r.place((USUAL | chosen)[r.name]) for r in kind.ranges], np.float32)


def play(env: Tuning, seed: int, choose: Any) -> list[Any]:
    """One episode: [(observation, reward, terminated, info), …], the first with reward None."""
    obs, info = env.reset(seed=seed)
    seen: list[Any] = [(obs, None, False, info)]
    while not seen[-1][2]:
        obs, reward, terminated, truncated, info = env.step(choose(obs) if callable(choose) else choose)
        assert not truncated
        assert env.observation_space.contains(obs)
        seen.append((obs, reward, terminated, info))
    return seen


def total(episode: list[Any]) -> float:
    return sum(entry[1] for entry in episode[1:])


def wild(kind: type[Tuning], seed: int) -> Any:
    """Random choices, always the same ones."""
    random = np.random.default_rng(seed)
    return lambda obs: random.uniform(-1, 1, len(kind.ranges)).astype(np.float32)


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a[0], b[0]) and a[1:3] == b[1:3] for a, b in zip(one, other, strict=True)
    )


# ---------------------------------------------------------------------- ranges


def test_ranges_by_hand() -> None:
    rate, momentum = Range("a", 1e-5, 10.0, log=True), Range("b", 0.0, 0.99)
    assert [rate.value(x) for x in (-1, 0, 1)] == pytest.approx([1e-5, 1e-2, 10.0])
    assert [momentum.value(x) for x in (-1, 0, 1)] == pytest.approx([0.0, 0.495, 0.99])
    batch, kernel = Range("c", 16, 256, log=True, integer=True), Range("d", 1, 5, odd=True)
    assert [batch.value(x) for x in (-1, 0, 1)] == [16, 64, 256]
    assert {kernel.value(x) for x in np.linspace(-1, 1, 41)} == {1, 3, 5}
    for r in (rate, momentum, batch):
        for x in (-1.0, -0.5, 0.25, 1.0):
            assert r.place(r.value(x)) == pytest.approx(x, abs=0.05 if r.integer else 1e-9)


def test_numbers_beyond_the_border_count_as_the_border() -> None:
    kind = ConvergenceControl
    assert values(kind.ranges, np.full(5, 7.0)) == values(kind.ranges, np.ones(5))
    one, other = kind(epochs=2), kind(epochs=2)
    low = action(kind, learning_rate=1e-5)
    assert same(play(one, 1, low), play(other, 1, np.where(low <= -1, -9, low).astype(np.float32)))


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros((1, 5)), np.array([0, 0, math.nan, 0, 0])])
def test_what_is_no_action_is_named(bad: np.ndarray) -> None:
    env = ConvergenceControl()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="is not 5 finite numbers \\(learning_rate, momentum"):
        env.step(bad)


# ---------------------------------------------------------------------- one epoch


def networks() -> list[Network]:
    random = torch.Generator().manual_seed(3)
    return [Perceptron((20, 16), 1.0, random), Convolutional(6, 5, 2, 1.0, random)]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("clip", [0.5, math.inf])
def test_an_epoch_is_what_torch_computes(which: int, clip: float) -> None:
    """torch.optim.SGD and clip_grad_norm_ on the same minibatches, over two epochs."""
    network = networks()[which]
    task = digits.draw(np.random.default_rng(0), 200, 300)
    copies = [part.detach().clone().requires_grad_() for part in network.parts]
    reference = networks()[which]
    reference.parts = copies
    optimiser = torch.optim.SGD(copies, lr=0.05, momentum=0.8, weight_decay=0.01)
    velocity = torch.zeros_like(network.flat)
    mine, theirs = torch.Generator().manual_seed(9), torch.Generator().manual_seed(9)
    for _ in range(2):
        found = training.epoch(
            network, velocity, task, learning_rate=0.05, momentum=0.8, weight_decay=0.01, batch_size=48,
            clip=clip, random=mine,
        )  # fmt: skip
        sums, norms = 0.0, 0.0
        for rows in torch.randperm(len(task.y), generator=theirs).split(48):
            optimiser.zero_grad()
            loss = F.cross_entropy(reference.logits(task.x[rows]), task.y[rows])
            loss.backward()
            norms += float(torch.nn.utils.clip_grad_norm_(copies, clip)) * len(rows)
            sums += float(loss.detach()) * len(rows)
            optimiser.step()
    for ours, other in zip(network.parts, copies, strict=True):
        torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-4)
    assert found.training_loss == pytest.approx(sums / len(task.y), rel=1e-4)
    assert found.gradient == pytest.approx(norms / len(task.y), rel=1e-3)
    right = reference.logits(task.validation_x).argmax(1) == task.validation_y
    assert found.accuracy == pytest.approx(float(right.float().mean()), abs=0.004)


def test_dropout_drops_the_share_and_keeps_the_mean() -> None:
    network, x = networks()[1], torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    random = torch.Generator().manual_seed(1)
    whole = network.logits(x).detach()
    assert torch.equal(whole, network.logits(x, 0.5))  # without a generator: as in validation
    drawn = torch.stack([network.logits(x, 0.5, random) for _ in range(400)]).detach()
    torch.testing.assert_close(drawn.mean(0), whole, atol=0.25, rtol=0)
    assert float(drawn.std(0).mean()) > 0.1


def test_training_and_validation_share_no_digit_and_only_training_has_wrong_labels() -> None:
    _, labels = digits.digits()
    shares = []
    for seed in range(5):
        task = digits.draw(np.random.default_rng(seed), 200, 800)
        assert 200 <= len(task.y) <= 800
        inside, right = find(task.x, task.contrast), find(task.validation_x, task.contrast)
        assert not set(inside) & set(right)
        assert (len(set(inside)), len(set(right))) == (len(task.y), 500)
        assert np.array_equal(task.validation_y.numpy(), labels[right])
        shares.append((task.y.numpy() != labels[inside]).mean() - 0.9 * task.noise)  # one in ten is right
    assert np.abs(shares).max() < 0.05


def find(x: torch.Tensor, contrast: float) -> np.ndarray:
    """Which of all digits the images [n, 1, 8, 8] are."""
    images = torch.from_numpy(digits.digits()[0].copy()).flatten(1)
    return torch.cdist(x.flatten(1) / contrast, images).argmin(dim=1).numpy()


# ---------------------------------------------------------------------- spaces, observation, reward


@pytest.mark.parametrize("env_id", IDS)
def test_spaces_and_checker(env_id: str) -> None:
    assert catalog.prepare(env_id) is not None
    env = gym.make(env_id, disable_env_checker=True).unwrapped
    n = {"ConvergenceControl-v0": 5, "CNNClassifierTraining-v0": 8}[env_id]
    assert env.action_space == gym.spaces.Box(-1.0, 1.0, (n,), np.float32)
    assert (env.observation_space.shape, env.observation_space.dtype) == ((10 + n,), np.float32)
    assert env.observation_space.is_bounded()
    check_env(env, skip_render_check=True)
    assert gym.spec(env_id).max_episode_steps is None


@pytest.mark.parametrize("kind", CLASSES)
def test_the_observation_by_hand(kind: type[Tuning]) -> None:
    env = kind(epochs=4)
    choice = action(kind)
    seen = play(env, 5, choice)
    past = [epoch.measured for epoch in env.history]
    assert [entry[0][0] for entry in seen] == [0, 0.25, 0.5, 0.75, 1]
    for i, (obs, reward, _, info) in enumerate(seen):
        now, last = past[i], past[max(i - 1, 0)]
        losses = np.log10([now.training_loss, now.validation_loss])
        earlier = np.log10([last.training_loss, last.validation_loss])
        assert obs[1:3] == pytest.approx(losses, abs=1e-5)
        assert obs[4:6] == pytest.approx(losses - earlier, abs=1e-5)
        assert obs[3] == pytest.approx(now.accuracy)
        assert obs[6] == pytest.approx(now.accuracy - last.accuracy, abs=1e-6)
        assert obs[7] == pytest.approx(max(m.accuracy for m in past[: i + 1]))
        assert obs[8] == pytest.approx(np.log10(now.gradient) if now.gradient else 0, abs=1e-5)
        assert obs[9] == pytest.approx(len(env.task.y) / env.most)
        assert np.array_equal(obs[10:], choice if i else 0 * choice)
        if i:
            assert reward == now.accuracy - last.accuracy
            assert info["accuracy"] == now.accuracy
            assert info["learning_rate"] == pytest.approx(0.03, rel=1e-5)
            assert info["batch_size"] == 32
    first = seen[0][0]
    if kind is CNNClassifierTraining:
        assert first[1:4] == pytest.approx([np.log10(np.log(10))] * 2 + [0.1])
    else:  # measured on the untrained network
        assert first[8] != 0
        assert first[1] != first[2]


@pytest.mark.parametrize("kind", CLASSES)
def test_the_return_is_the_accuracy_gained_and_the_last_epoch_ends_it(kind: type[Tuning]) -> None:
    env = kind(epochs=5)
    seen = play(env, 2, action(kind))
    assert len(seen) == 6
    assert total(seen) == pytest.approx(seen[-1][0][3] - seen[0][0][3], abs=1e-6)
    assert total(seen) > 0.3
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        env.step(action(kind))


@pytest.mark.parametrize("kind", CLASSES)
def test_divergence_ends_the_episode_and_costs_one(kind: type[Tuning]) -> None:
    env = kind()
    worst = action(kind, learning_rate=10.0, momentum=0.99, batch_size=16, clip=100.0, layers=2)
    ended = 0
    for seed in range(8):
        seen = play(env, seed, worst)
        obs, reward, _, info = seen[-1]
        if info["diverged"]:
            ended += 1
            assert reward == -1.0
            assert obs[1:4].tolist() == [2.0, 2.0, 0.0]  # the loss's bound
            assert total(seen) == pytest.approx(seen[-2][0][3] - seen[0][0][3] - 1, abs=1e-6)
            assert len(seen) <= 13
        else:
            assert total(seen) < 0.2
    assert ended >= 4


@pytest.mark.parametrize("kind", CLASSES)
def test_good_choices_score_better_than_bad_and_random_ones(kind: type[Tuning]) -> None:
    env, seeds = kind(), range(3)

    def mean(choose: Any) -> float:
        return float(np.mean([total(play(env, 100 + seed, choose(seed))) for seed in seeds]))

    good = mean(lambda seed: action(kind, learning_rate=0.05))
    slow = mean(lambda seed: action(kind, learning_rate=1e-5))
    fast = mean(lambda seed: action(kind, learning_rate=10.0))
    random = mean(lambda seed: wild(kind, seed))
    assert good > 0.6
    assert abs(slow) < 0.15
    assert fast < 0.15
    assert good > random + 0.25


def test_no_constant_learning_rate_is_the_best_everywhere() -> None:
    env = ConvergenceControl()
    slow, fast = (action(ConvergenceControl, learning_rate=rate) for rate in (0.01, 0.1))
    gains = [total(play(env, seed, fast)) - total(play(env, seed, slow)) for seed in (0, 1)]
    assert gains[0] > 0.2
    assert gains[1] < -0.1


def test_the_first_action_alone_chooses_the_architecture() -> None:
    kind = CNNClassifierTraining

    def other(first: bool) -> Any:
        small, large = (action(kind, filters=f, kernel=k, layers=n) for f, k, n in ((5, 1, 1), (20, 5, 2)))
        return lambda obs: small if (obs[0] == 0) == first else large

    env = kind(epochs=3)
    changing, steady = play(env, 4, other(True)), play(env, 4, action(kind, filters=5, kernel=1, layers=1))
    assert same(changing, steady)
    assert [(entry[3]["filters"], entry[3]["kernel"], entry[3]["layers"]) for entry in changing[1:]] == [
        (5, 1, 1)
    ] * 3
    assert len(env.network.parts) == 4
    assert not same(steady, play(env, 4, other(False)))
    assert env.network.parts[0].shape == (20, 1, 5, 5)


# ---------------------------------------------------------------------- (seed, actions) alone


@pytest.mark.parametrize("kind", CLASSES)
def test_seeds_decide_whole_episodes_bit_for_bit(kind: type[Tuning]) -> None:
    one, two = kind(), kind()
    first = play(one, 11, wild(kind, 0))
    play(two, 3, action(kind))
    assert same(first, play(two, 11, wild(kind, 0)))
    assert same(first, play(one, 11, wild(kind, 0)))
    assert not same(first, play(one, 12, wild(kind, 0)))


@pytest.mark.parametrize("kind", CLASSES)
def test_neither_threads_nor_gradient_modes_of_the_caller_matter(kind: type[Tuning]) -> None:
    threads = torch.get_num_threads()
    plain = play(kind(epochs=4), 6, action(kind, batch_size=256))
    try:
        torch.set_num_threads(2)
        with torch.inference_mode():
            assert same(plain, play(kind(epochs=4), 6, action(kind, batch_size=256)))
        with torch.no_grad():
            assert same(plain, play(kind(epochs=4), 6, action(kind, batch_size=256)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", CLASSES)
def test_global_generators_stay_where_they_are(kind: type[Tuning]) -> None:
    before = torch.get_rng_state()
    numpy = np.random.get_state()  # noqa: NPY002
    env = kind(epochs=3)
    play(env, 0, action(kind, dropout=0.5))
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy[1], np.random.get_state()[1])  # noqa: NPY002
    torch.manual_seed(123)
    one = play(env, 1, action(kind, dropout=0.5))
    torch.manual_seed(456)
    other = play(env, 1, action(kind, dropout=0.5))
    torch.set_rng_state(before)
    assert same(one, other)


def advance(envs: Envs, steps: int, random: torch.Generator) -> list[torch.Tensor]:
    seen = []
    for _ in range(steps):
        width = envs.action_spec.width
        envs.send(Decision(torch.rand(envs.num_envs, width, generator=random) - 0.5))
        step = envs.recv()
        seen += [step.obs["obs"].clone(), step.reward.clone()]
    return seen


@pytest.mark.parametrize(("env_id", "engine"), [(IDS[0], "sync"), (IDS[1], "sync"), (IDS[1], "async")])
def test_a_run_stands_again_where_its_networks_stood(env_id: str, engine: str) -> None:
    config = EnvConfig(id=env_id, num_envs=2, kwargs={"epochs": 6})
    one: Any = make_envs(config, {}, seed=5, engine=engine)
    other: Any = make_envs(config, {}, seed=5, engine="sync")
    try:
        one.reset()
        advance(one, 9, torch.Generator().manual_seed(0))
        other.reset()
        other.load_state_dict(one.state_dict())
        assert other.resume_inexact is None
        a, b = (advance(envs, 8, torch.Generator().manual_seed(1)) for envs in (one, other))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    finally:
        one.close()
        other.close()


# ---------------------------------------------------------------------- arguments, pictures


@pytest.mark.parametrize("env_id", IDS)
def test_bad_arguments_are_one_sentence(env_id: str) -> None:
    with pytest.raises(UserError, match="epochs must be 1 or more, not 0"):
        probe(EnvConfig(id=env_id, kwargs={"epochs": 0}), {})
    with pytest.raises(ValueError, match="must be rgb_array or ansi, not 'human'"):
        CNNClassifierTraining(render_mode="human")


@pytest.mark.parametrize("kind", CLASSES)
def test_every_epoch_is_a_new_frame(kind: type[Tuning]) -> None:
    env = kind(epochs=3, render_mode="rgb_array")
    env.reset(seed=1)
    frames = [env.render()]
    kept = frames[0].copy()
    for _ in range(3):
        env.step(action(kind))
        frames.append(env.render())
    assert all((f.shape, f.dtype) == ((480, 640, 3), np.uint8) for f in frames)
    assert all(not np.array_equal(a, b) for a, b in pairwise(frames))
    assert all(len(np.unique(f.reshape(-1, 3), axis=0)) > 20 for f in frames)
    assert np.array_equal(frames[0], kept)
    assert np.array_equal(frames[-1], env.render())  # drawing changes nothing
    assert kind().render() is None


def test_a_run_that_diverged_and_a_long_one_are_drawn_too() -> None:
    env = ConvergenceControl(epochs=30, render_mode="rgb_array")
    worst = action(ConvergenceControl, learning_rate=10.0, momentum=0.99, batch_size=16, clip=100.0)
    seed = next(seed for seed in range(20) if play(env, seed, worst)[-1][3]["diverged"])
    play(env, seed, worst)
    red = np.abs(env.render().astype(int) - (214, 56, 64)).sum(axis=2) < 12
    assert red[70:110, 440:600].sum() > 100  # the word "diverged"


def test_the_text() -> None:
    env = CNNClassifierTraining(epochs=2, render_mode="ansi")
    env.reset(seed=1)
    assert "epoch 0 of 2" in env.render()
    env.step(action(CNNClassifierTraining, filters=7))
    lines = env.render().splitlines()
    assert lines[0] == "CNNClassifierTraining   epoch 1 of 2"
    head, row = lines[3].split(), lines[5].split()
    shown = dict(zip(head, row, strict=True))
    assert (shown["epoch"], shown["learning_rate"], shown["filters"]) == ("1", "3.0e-2", "7")
    assert shown["accuracy"] == f"{env.history[-1].measured.accuracy:.3f}"
