"""What is checked before a run may write anything, and how a finished run is taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlkit import registry
from rlkit.accel import pick_device, pick_mode, prepare
from rlkit.checkpoint import Checkpoints
from rlkit.config import RunConfig, load_run_config, require_trusted
from rlkit.envs.engines import SPECIAL, Choice, choose, film_maker
from rlkit.envs.factory import EnvInfo, probe
from rlkit.errors import UserError
from rlkit.logger import check_sinks
from rlkit.memory.budget import refuse_if_too_large
from rlkit.nets.encoders import is_image
from rlkit.types import Agent, AgentSetup


@dataclass
class Plan:
    """What was checked and can be built: nothing has been written yet."""

    config: RunConfig
    info: EnvInfo
    engine: Choice
    agent_class: Any
    setup: AgentSetup
    cut: int | None = None  # steps after which the agent has episodes cut that have no limit of their own

    @property
    def films_training(self) -> bool:
        """Whether the engine's training episodes can be played again, to be filmed."""
        maker = film_maker(self.config.env, self.config.wrappers, self.engine.name, self.info.film_mode)
        return maker is not None and self.info.can_render

    @property
    def images(self) -> bool:
        """Whether the policy looks at images: they are worth all cores."""
        return any(is_image(leaf) for leaf in self.info.obs.leaves)


def make_plan(config: RunConfig) -> Plan:
    """Everything that bad input can break, before anything is written."""
    check_sinks(config.logger)
    device = pick_device(config.device)
    pick_mode(config.accel.mode, device)
    agent_class = registry.agents.get(config.agent.name)
    _refuse_contradiction(agent_class, config)
    info = probe(config.env, config.wrappers)
    cut = getattr(agent_class, "episode_cut", None) if info.time_limit is None else None
    if cut:  # in this plan only: what was asked for stays as it was, and every plan of it finds the same
        config = replace(config, env=replace(config.env, max_episode_steps=cut))
        info = replace(info, time_limit=cut)
    engine = choose(config.env, config.wrappers)
    reason = agent_class.serves(info.action, info.obs)
    if reason:
        able = [name for name in registry.agents.names() if not _refuses(name, info)]
        raise UserError(f"{reason}; agents that can: {', '.join(able)}")
    setup = AgentSetup(
        info.obs, info.action, config.env.num_envs, config.trainer.total_steps, device, config.seed,
        config.net, config.accel,
    )  # fmt: skip
    refuse_if_too_large(agent_class, config.agent, setup)
    return Plan(config, info, engine, agent_class, setup, cut)


def _refuse_contradiction(agent_class: Any, config: RunConfig) -> None:
    """Values that are right one by one and wrong together, and episodes that an engine cannot seed."""
    find = getattr(agent_class, "contradiction", None)
    if find and (reason := find(config.agent)):
        raise UserError(reason)
    engine = config.env.engine
    if hasattr(agent_class, "first_seeds") and engine in SPECIAL and engine != "torch":
        raise UserError(
            f"{config.agent.name} gives every episode its seed, which env.engine={engine} cannot take; "
            "write env.engine=sync or async."
        )


def _refuses(name: str, info: EnvInfo) -> str | None:
    reason: str | None = registry.agents.get(name).serves(info.action, info.obs)
    return reason


def reopen(
    run_path: Path, checkpoint: str, plugins: Sequence[str], device: str | None
) -> tuple[Plan, Agent, int]:
    """The plan and the trained agent of a run folder; nothing that the folder names is imported."""
    registry.load_plugins(plugins)
    config = load_run_config(run_path, plugins)
    require_trusted(config, plugins)
    config.device = device or "auto"
    loaded = Checkpoints(run_path / "checkpoints").load(
        int(checkpoint) if checkpoint.isdigit() else checkpoint, map_location="cpu"
    )
    plan = make_plan(config)
    prepare(config.accel, plan.images)
    agent: Agent = plan.agent_class(config.agent, plan.setup)
    agent.load_state_dict(loaded.state["agent"], policy_only=True)
    return plan, agent, loaded.step
