"""Wrappers by name, as the configuration's `wrappers` group lists them; order written is nesting.

A wrapper is any callable (env, **arguments) → env registered in `rlkit.registry.wrappers`. Three attributes
tell the house more about it: `training_only` (exploration, reward clipping: evaluation drops it, unless
`wrappers.NAME.in_evaluation=true`, which the wrapper itself never sees), `changes_reward` (True unless it
says otherwise: the environment's own return is then recorded beneath it) and `draws` (it looks at rendered
frames: lanes are made with render_mode=rgb_array).
"""

from __future__ import annotations

from rlkit.envs.wrappers.exploration import RandomAction
from rlkit.envs.wrappers.frames import FrameStack
from rlkit.envs.wrappers.library import ClipReward
from rlkit.envs.wrappers.record import RawReturn

__all__ = ["ClipReward", "FrameStack", "RandomAction", "RawReturn"]
