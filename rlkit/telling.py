"""What a run says of itself: when it begins, and when it has ended."""

from __future__ import annotations

from typing import Any

from rlkit.check import flatten
from rlkit.config import to_dict
from rlkit.logger import Logger
from rlkit.plan import Plan
from rlkit.runfolder import RunFolder
from rlkit.solved import WINDOW, Solved
from rlkit.spaces import describe
from rlkit.trainer import Trainer


def introduce(plan: Plan, folder: RunFolder, logger: Logger) -> None:
    """What the run is, before its first step."""
    config, info = plan.config, plan.info
    logger.hparams(flatten(to_dict(config)), ["eval/return_mean", "episode/return"])
    lanes = "1 lane" if config.env.num_envs == 1 else f"{config.env.num_envs} lanes"
    logger.say(
        f"{config.agent.name} on {config.env.id}: {describe(info.obs.space)} → {info.action.describe()}\n"
        f"{lanes}, engine {plan.engine.name} ({plan.engine.why}), {plan.setup.device}, seed {config.seed}"
    )
    nbytes = getattr(plan.agent_class, "nbytes", None)
    if nbytes:
        logger.say(f"replay: {nbytes(config.agent, plan.setup) / 1e6:,.1f} MB when full")
    learns_after = getattr(plan.agent_class, "learns_after", None)
    if learns_after:
        first, total = learns_after(config.agent, config.env.num_envs), config.trainer.total_steps
        if first > total:
            logger.say(
                f"nothing will be learnt: {config.agent.name} begins after {first:,} steps of {total:,}; "
                "raise trainer.total_steps"
                + (" or lower agent.horizon" if hasattr(config.agent, "horizon") else "")
            )
    if plan.cut:
        logger.say(
            f"{config.env.id} names no time limit: episodes are cut after {plan.cut:,} steps "
            "(env.max_episode_steps=N says otherwise)"
        )
    if plan.info.can_render and not plan.films_training and config.monitor.video != "none":
        logger.say(f"films show evaluations: {plan.engine.name} cannot play its episodes again")
    logger.say(f"run folder {folder.path}")


def conclude(
    plan: Plan, trainer: Trainer, folder: RunFolder, tested: dict[str, Any], untaught: str | None
) -> None:
    """How it ended: the test's verdict, what was spent, where to look."""
    summary = trainer.summary()
    lines = [f"nothing was learnt: {untaught}"] if untaught else []
    if tested:
        mean, episodes = tested["test_mean"], tested["test_episodes"]
        verdict = {True: "solved", False: "not solved", None: "no threshold"}[tested["solved"]]
        against = "" if tested["threshold"] is None else f", threshold {tested['threshold']:g}"
        lines.append(
            f"{verdict}: mean return {mean:.1f} over {episodes} greedy episodes on fresh seeds{against}"
        )
    if trainer.confirmed is None:  # else fresh episodes of one policy have said more
        lines.append(_solved(trainer.solved))
    lines += [
        f"steps    {summary['steps']:,} in {summary['seconds']:.1f} s ({summary['sps']:,.0f} steps/s)",
        f"run      {folder.path}",
        f"watch    tensorboard --logdir {folder.path}/tb",
    ]
    if trainer.monitor and trainer.monitor.films:
        lines.append(f"film     {trainer.monitor.films[-1]}")
    trainer.logger.end_progress()
    trainer.logger.say("\n".join(lines))


def _solved(solved: Solved) -> str:
    """Gym's own notion: 100 consecutive training episodes against the reward boundary."""
    if solved.best is None:
        return (
            f"training {solved.episodes} episodes, fewer than the {WINDOW} that decide whether it is solved"
        )
    best = f"best mean of {WINDOW} consecutive episodes {solved.best:.1f}"
    if solved.boundary is None:
        return f"training {best}; the environment names no boundary (env.solved_at=…)"
    if solved.step is None:
        return f"training not solved: {best}, boundary {solved.boundary:g}"
    where = f"step {solved.step:,}, episode {solved.episode:,}"
    return f"training solved at {where}; {best}, boundary {solved.boundary:g}"
