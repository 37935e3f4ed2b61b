"""What a run says of itself: when it begins, and when it has ended."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from rlkit.check import flatten
from rlkit.config import RunConfig, imported, to_dict
from rlkit.logger import Logger
from rlkit.plan import Plan
from rlkit.runfolder import RunFolder
from rlkit.solved import WINDOW, Solved
from rlkit.spaces import describe
from rlkit.trainer import Trainer

_PLAIN = re.compile(r"[\w.:+@%-]*/[\w./:+@%-]+", re.ASCII)  # a path that needs no quotes


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
) -> str:
    """How it ended: the test's verdict, what was spent, where to look and what to type next."""
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
        _next(plan, trainer, folder),
    ]
    if trainer.monitor and trainer.monitor.films:
        lines.append(f"film     {trainer.monitor.films[-1]}")
    return "\n".join(lines)


def _next(plan: Plan, trainer: Trainer, folder: RunFolder) -> str:
    """What to type to see more of the run."""
    if "tensorboard" in plan.config.logger:
        return f"watch    tensorboard --logdir {shlex.quote(f'{folder.path}/tb')}"
    line = command("play" if plan.info.can_render else "eval", plan.config, folder.path)
    return f"next     {line}{'' if trainer.best is not None else ' checkpoint=latest'}"


def crashed(config: RunConfig, folder: Path, step: int, saved: int | None) -> str:
    """What an exception left behind: the checkpoint, how to go on, where the record is."""
    if saved is None:
        every = config.trainer.checkpoint_every
        when = f"after every {every:,} steps" if every else "only at the end"
        left = f"nothing was saved yet (trainer.checkpoint_every: {when}); once it is mended, start it again"
    else:
        left = f"saved at step {saved:,}; once it is mended, continue with: {resume_command(config, folder)}"
    return f"rlkit: crashed at step {step:,}, {left}\nrlkit: the record is {folder}: run.json, train.log"


def resume_command(config: RunConfig, folder: Path) -> str:
    """The line that continues a run."""
    return command("train", config, folder)


def command(verb: str, config: RunConfig, folder: Path) -> str:
    """`rlkit VERB` of a run, for a shell, with the modules that the run needs: its folder names none."""
    needed = dict.fromkeys([*config.plugins, *imported(config).values()])
    path = str(folder) if "/" in str(folder) else f"./{folder}"  # no number, and neither latest nor auto
    words = [_word("resume" if verb == "train" else "run", path)]
    return " ".join(["rlkit", verb, *words, *([f"'plugins=[{','.join(needed)}]'"] if needed else [])])


def _word(key: str, value: str) -> str:
    """key=value, quoted where a shell or the reader of values would see something else in it."""
    if _PLAIN.fullmatch(value):
        return f"{key}={value}"
    if not set(value) & set("\"'$`\\!"):
        return f"{key}=\"'{value}'\""
    inner = value.replace("'", "\\'")
    return shlex.quote(f"{key}='{inner}'")


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
