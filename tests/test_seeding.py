"""Streams of random numbers: apart from one another, and the same for ever."""

from __future__ import annotations

import itertools

import pytest
import torch

from rlkit.seeding import derive, episode_seed, generator

STREAMS = ("train", "eval", "test", "play", "action_space")


def test_known_values() -> None:
    """A change here makes every recorded seed and every published curve another one: it breaks old runs."""
    assert episode_seed(0, "train", 0, 0) == 116_893_068
    assert episode_seed(0, "train", 0, 1) == 1_589_674_358
    assert episode_seed(0, "train", 1, 0) == 1_101_870_946
    assert episode_seed(1, "train", 0, 0) == 1_153_703_255
    assert episode_seed(0, "eval", 0, 0) == 146_647_922
    assert episode_seed(0, "test", 0, 0) == 299_910_777
    assert episode_seed(123, "play", 9, 77) == 793_074_458
    assert derive(0, "agent/act") == 1_282_984_579_836_706_614
    assert derive(123, "agent/init") == 8_470_226_201_142_105_086
    drawn = torch.randint(1_000_000, (3,), generator=generator(7, "agent/act")).tolist()
    assert drawn == [235_346, 61_260, 240_149]


def test_every_coordinate_changes_the_seed() -> None:
    coordinates = itertools.product((0, 1, 2**31 - 1), STREAMS, range(16), range(64))
    seeds = [episode_seed(*at) for at in coordinates]
    assert len(seeds) == 3 * 5 * 16 * 64
    assert all(0 <= seed < 2**31 for seed in seeds)
    # 15,360 draws from 2³¹ numbers meet 0.05 times on average.
    assert len(set(seeds)) >= len(seeds) - 2


def test_no_coordinate_can_pose_as_another() -> None:
    """Lane 1 of episode 0 is not lane 0 of episode 1, and the next run is not the next lane."""
    a = [episode_seed(0, "train", lane, 0) for lane in range(100)]
    b = [episode_seed(0, "train", 0, episode) for episode in range(100)]
    c = [episode_seed(run, "train", 0, 0) for run in range(100)]
    assert len({*a, *b, *c}) == 298  # they share (0, 0, 0) only


def test_seeds_spread_evenly() -> None:
    seeds = torch.tensor([episode_seed(5, "train", lane, e) for lane in range(8) for e in range(500)])
    counts = torch.bincount(seeds >> 27, minlength=16).float()  # 16 equal bins
    assert counts.numel() == 16
    chi2 = float(((counts - 250).square() / 250).sum())
    assert chi2 < 15 + 4 * 30**0.5  # 15 degrees of freedom, 4 sigma
    for bit in range(31):
        share = float((seeds >> bit & 1).float().mean())
        assert abs(share - 0.5) < 4 * 0.5 / 4_000**0.5


def test_an_unknown_stream_is_refused() -> None:
    with pytest.raises(KeyError):
        episode_seed(0, "training", 0, 0)


def test_generators_are_independent_and_leave_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    draws = {
        (seed, name): tuple(torch.rand(4, generator=generator(seed, name)).tolist())
        for seed in (0, 1)
        for name in ("agent/act", "agent/sample", "agent/init")
    }
    assert len(set(draws.values())) == 6
    again = torch.rand(4, generator=generator(1, "agent/act")).tolist()
    assert tuple(again) == draws[1, "agent/act"]
    assert torch.equal(before, torch.get_rng_state())


def test_derived_seeds_fit_every_library() -> None:
    seeds = [derive(run, name) for run in range(50) for name in ("a", "b", "a/b")]
    assert len(set(seeds)) == 150
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(1, "1/a") != derive(11, "/a")
