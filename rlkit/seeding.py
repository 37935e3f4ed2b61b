"""Named independent random streams, all grown from the one seed of the run.

Nothing in rlkit draws from a global generator: every consumer owns a stream, so that adding one (an
evaluation, a film) never shifts the numbers of another.
"""

from __future__ import annotations

import hashlib

import torch

STREAMS = {"train": 1, "eval": 2, "test": 3, "play": 4, "action_space": 5, "check": 6}
_MASK = (1 << 64) - 1


def mix(x: int) -> int:
    """SplitMix64's finaliser (Steele, Lea & Flood 2014): a bijection that spreads neighbouring inputs."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def episode_seed(run_seed: int, stream: str, lane: int, episode: int) -> int:
    """The seed in [0, 2³¹) of one episode: `episode` counts within its lane, `stream` says whose it is."""
    x = mix(run_seed ^ (STREAMS[stream] << 48))
    x = mix(x ^ (lane << 32))
    return mix(x ^ episode) >> 33


def derive(run_seed: int, name: str) -> int:
    """A 63-bit seed for the stream called `name`."""
    digest = hashlib.blake2b(f"{run_seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(run_seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """An independent torch generator for the stream called `name`."""
    return torch.Generator(device=device).manual_seed(derive(run_seed, name))
