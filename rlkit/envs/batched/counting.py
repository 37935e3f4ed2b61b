"""Random numbers by counting: a pure function of (seed, index), on any device, for all lanes at once.

Every function exists twice, for int64 tensors and for uint64 arrays, and both give the same bits: on the
host NumPy starts the few lanes that ended in a fraction of the time that as many small tensor operations
take. int64 wraps around as uint64 does; only its right shift must be made logical by a mask.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rlkit.seeding import STREAMS
from rlkit.seeding import mix as mix_integer

_GAMMA, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_BITS = 24  # of a uniform number: what a float32 holds exactly


def _signed(x: int) -> int:
    """The int64 of the same bits."""
    x &= (1 << 64) - 1
    return x - (1 << 64) if x >> 63 else x


def _shift(x: Tensor, by: int) -> Tensor:
    return (x >> by) & ((1 << (64 - by)) - 1)


def mix(x: Tensor) -> Tensor:
    """`rlkit.seeding`'s finaliser of SplitMix64 (Steele, Lea & Flood 2014), entry by entry, int64."""
    x = x + _signed(_GAMMA)
    x = (x ^ _shift(x, 30)) * _signed(_FIRST)
    x = (x ^ _shift(x, 27)) * _signed(_SECOND)
    return x ^ _shift(x, 31)


_U = {n: np.uint64(n) for n in (27, 30, 31, 33, 64 - _BITS, _GAMMA, _FIRST, _SECOND)}


def mix_array(x: np.ndarray) -> np.ndarray:
    """The same of a uint64 array."""
    x = x + _U[_GAMMA]
    x ^= x >> _U[30]
    x *= _U[_FIRST]
    x ^= x >> _U[27]
    x *= _U[_SECOND]
    x ^= x >> _U[31]
    return x


def lane_keys(run_seed: int, stream: str, lanes: int) -> Tensor:
    """[N] int64: what the seeds of all episodes of a lane share."""
    key = _signed(mix_integer(run_seed ^ (STREAMS[stream] << 48)))
    return mix((torch.arange(lanes, dtype=torch.int64) << 32) ^ key)


def episode_seeds(keys: Tensor, episode: Tensor) -> Tensor:
    """`rlkit.seeding.episode_seed` of every lane: keys and episode numbers [n] int64 → seeds [n] int64."""
    return _shift(mix(keys ^ episode), 33)


def episode_seeds_array(keys: np.ndarray, episode: np.ndarray) -> np.ndarray:
    """The same of arrays: keys [n] uint64, episode [n] int64 → [n] int64."""
    return (mix_array(keys ^ episode.view(np.uint64)) >> _U[33]).view(np.int64)


def uniforms(seeds: Tensor, count: int) -> Tensor:
    """seeds [n] int64 → [count, n] float32 in [0, 1), multiples of 2⁻²⁴."""
    index = torch.arange(count, dtype=torch.int64, device=seeds.device)[:, None]
    return _shift(mix(mix(seeds) ^ index), 64 - _BITS).float() * 2.0**-_BITS


def uniforms_array(seeds: np.ndarray, count: int) -> np.ndarray:
    """The same of an array [n] int64."""
    index = np.arange(count, dtype=np.uint64)[:, None]
    bits = mix_array(mix_array(seeds.view(np.uint64)) ^ index) >> _U[64 - _BITS]
    return bits.astype(np.float32) * np.float32(2.0**-_BITS)
