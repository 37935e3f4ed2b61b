"""Watching a trained policy: films of greedy episodes, or a window."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from gymnasium.vector.utils import concatenate, create_empty_array

from rlkit.config import RunConfig
from rlkit.envs.factory import EnvInfo, EnvMaker
from rlkit.envs.headless import why_not_drawn
from rlkit.errors import UserError
from rlkit.evaluator import Evaluator, play_seeds
from rlkit.filming import RunMonitor
from rlkit.spaces import ActionSpec, ObsSpec
from rlkit.types import Actor


def film_policy(
    config: RunConfig, info: EnvInfo, device: torch.device, actor: Actor, episodes: int, out: Path, step: int
) -> list[Path]:
    """Play episodes one after the other and film each; returns the films."""
    if not info.can_render:
        nothing = f"{config.env.id} offers no rgb_array or ansi rendering, so there is nothing to film"
        raise UserError(why_not_drawn(config.env.id) or nothing)
    maker = EnvMaker(config.env, config.wrappers, training=False, render_mode=info.film_mode)
    every = replace(config.monitor, eval_video="every:1", gif=False)
    monitor = RunMonitor(
        out,
        every,
        env=config.env,
        train=maker,
        evaluate=maker,
        info=info,
        run_id=out.parent.name,
        resume=True,
    )
    evaluator = Evaluator(
        config.env,
        config.wrappers,
        seed=config.seed,
        episodes=episodes,
        lanes=1,
        device=device,
        stream="play",
    )
    try:
        _, played = evaluator(actor)
        facts = getattr(actor, "facts", None)
        for number, episode in enumerate(played):
            monitor.evaluation([episode], number, step, always=True, kind="play", facts=facts)
        return list(monitor.films)
    finally:
        monitor.close()


def watch_policy(config: RunConfig, device: torch.device, actor: Actor, episodes: int) -> None:
    """Open a window and play in it, at the environment's own pace."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        raise UserError("watch=true needs a display, and there is none here; without it play makes films")
    env = EnvMaker(config.env, config.wrappers, training=False, render_mode="human")()
    space = env.observation_space
    obs_spec, action_spec = ObsSpec.of(env.observation_space), ActionSpec.of(env.action_space)
    try:
        for seed in play_seeds(config.seed, episodes):
            obs, _ = env.reset(seed=seed)
            first, over = torch.ones(1, dtype=torch.bool, device=device), False
            while not over:
                one = concatenate(space, [obs], create_empty_array(space, n=1))
                batch = obs_spec.to_tensors(one, device)
                row = action_spec.clip(actor(batch, first))[0]
                obs, _, terminated, truncated, _ = env.step(action_spec.to_env_single(row.cpu()))
                first, over = torch.zeros_like(first), terminated or truncated
    finally:
        env.close()
