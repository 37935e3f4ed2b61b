"""A run from its configuration to its end: check, claim a folder, build, restore, fit, test, tell.

Everything that can be refused is refused before the folder exists; whatever happens after that, `run.json`
says how the run ended.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rlkit.accel import capture, pick_mode, prepare
from rlkit.checkpoint import Checkpoints
from rlkit.config import RunConfig, load_run_config, require_trusted, to_dict, to_yaml
from rlkit.envs import scratch
from rlkit.envs.engines import film_maker, make_envs
from rlkit.envs.factory import EnvMaker
from rlkit.errors import NumbersBroke, Preempted, UserError
from rlkit.evaluator import Evaluator
from rlkit.files import replace_file
from rlkit.filming import RunMonitor
from rlkit.importing import blamed
from rlkit.logger import Logger
from rlkit.plan import Plan, make_plan, reopen
from rlkit.playing import film_policy, watch_policy
from rlkit.resume import find_resumable, merged
from rlkit.runfolder import RunFolder
from rlkit.runs import Run
from rlkit.telling import conclude, crashed, introduce, resume_command
from rlkit.trainer import Trainer
from rlkit.types import Agent, Score

log = logging.getLogger("rlkit")


def train(
    config: RunConfig,
    *,
    overrides: Sequence[str] = (),
    command: Sequence[str] | None = None,
    folder: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> Run:
    """Do the run that `config` describes, or continue the one that `config.resume` names.

    overrides: the words that made `config` (default: those `compose` was given), to find and compare runs
    by. folder: an empty directory to use. tell: takes the result where no logger has a screen to show it.
    Raises UserError before anything is written; NumbersBroke, Preempted or the exception that ended it.
    """
    overrides = overrides or config.words
    continued = find_resumable(config, overrides)
    if continued is not None:
        stored = load_run_config(continued, config.plugins)
        require_trusted(stored, config.plugins)
        config = merged(config, stored, overrides, continued)
        over = _already_over(continued, config)
        if over is not None:
            if tell:
                tell(f"{over.path} is {over.status} already, at step {over.info['steps']:,}")
            return over
    with blamed(f"env.id={config.env.id} with agent={config.agent.name} cannot be set up"):
        plan = make_plan(config)
    words = list(command or ["rlkit.train", *overrides])
    with _writable(continued):
        if continued is None:
            run_dir = claim(config, folder)
            run_dir.start(to_yaml(config), to_dict(config), words, overrides)
        else:
            run_dir = RunFolder.open(continued)
            run_dir.restart(words)
            replace_file(run_dir.config, to_yaml(config).encode(), sync=True)  # total_steps may have grown
    try:
        return _run(plan, run_dir, resumed=continued is not None, tell=tell)
    finally:
        run_dir.close()


@contextlib.contextmanager
def _writable(continued: Path | None) -> Iterator[None]:
    """A folder that may not be written, or a disk without room, found before anything was done."""
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        if continued is None:
            raise UserError(
                f"the run folder cannot be made ({reason}); choose another place with run.root or run.dir"
            ) from error
        raise UserError(f"{continued} cannot be continued ({reason}); make it writable") from error


def _already_over(folder: Path, config: RunConfig) -> Run | None:
    """A run that has nothing left to do: `auto` returns it, an explicit resume says how to go on."""
    run, goal = Run(folder), config.trainer.stop_at_return
    reached = goal is not None and run.score is not None and run.score >= goal
    confirmed = run.info.get("confirmed")
    if confirmed is not None and config.trainer.check_episodes:
        reached = goal is None or confirmed >= goal
    if config.trainer.stop_when_solved and run.info.get("solved_step") is not None:
        reached = True
    whole = run.info["steps"] >= config.trainer.total_steps
    if not (run.status == "done" and whole) and not (run.status == "stopped" and (whole or reached)):
        return None
    if config.resume == "auto":
        log.info("%s is %s already", folder, run.status)
        return run
    raise UserError(
        f"{folder} is {run.status} at step {run.info['steps']}; to go on, raise trainer.total_steps"
        + (" or what it stopped for (trainer.stop_…)" if reached else "")
    )


def claim(config: RunConfig, folder: Path | None) -> RunFolder:
    """A folder of the run's own."""
    group = config.run.name or f"{config.env.id.split(':')[-1].replace('/', '-')}-{config.agent.name}"
    exact = Path(config.run.dir) if config.run.dir else None
    return RunFolder.create(Path(config.run.root), group, exact=exact, claim=folder)


# ---------------------------------------------------------------------- the run itself


def _run(plan: Plan, folder: RunFolder, resumed: bool, tell: Callable[[str], None] | None) -> Run:
    config = plan.config
    checkpoints = Checkpoints(folder.checkpoints, config.trainer.keep_checkpoints)
    logger = Logger(folder.path, config.logger)
    parts: list[Any] = [logger]
    trainer: Trainer | None = None
    try:
        with _signals() as asked, scratch.use(folder.path / "env"):
            threads = prepare(config.accel, plan.images)
            trainer = build(plan, folder, logger, checkpoints, resumed, parts)
            folder.write(device=str(plan.setup.device), threads=threads)
            if resumed:
                _restore(plan, trainer, checkpoints, folder)
            else:
                introduce(plan, folder, logger)
            asked.trainer = trainer
            status = trainer.fit()
            asked.trainer = None
            untaught: str | None = getattr(trainer.agent, "untaught", lambda: None)()
            if status == "preempted":
                raise KeyboardInterrupt
            tested = test(plan, trainer, checkpoints)
            folder.end(status, **trainer.summary(), **tested)
        logger.end_progress()
        result = conclude(plan, trainer, folder, tested, untaught)
        logger.say(result)
        if tell and not logger.has_screen:
            tell(result)
        return Run(folder.path)
    except KeyboardInterrupt:
        raise _preempted(config, folder, trainer, checkpoints) from None
    except BaseException as error:
        failure = _failed(error, config, folder, trainer, checkpoints)
        if failure is error:
            raise
        raise failure from error
    finally:
        for part in reversed(parts):
            with contextlib.suppress(OSError):
                part.close()


def build(
    plan: Plan, folder: RunFolder, logger: Logger, checkpoints: Checkpoints, resumed: bool, parts: list[Any]
) -> Trainer:
    """Agent, environments, evaluator and monitor, wired; what must be closed is added to `parts`."""
    config, setup, info = plan.config, plan.setup, plan.info
    engine, mode = plan.engine.name, pick_mode(config.accel.mode, setup.device)
    # Environments on a GPU are launches like any other; on a CPU their eager step is the faster one.
    captured = partial(capture, mode=mode, device=setup.device) if setup.device.type == "cuda" else None
    envs = make_envs(
        config.env, config.wrappers, seed=config.seed, engine=engine, device=setup.device, with_actions=(0,),
        capture=None if mode == "eager" else captured,
    )  # fmt: skip
    parts.append(envs)
    agent: Agent = plan.agent_class(config.agent, setup)
    evaluate = EnvMaker(config.env, config.wrappers, training=False, render_mode=info.film_mode)
    monitor = None
    if config.monitor.records or {config.monitor.video, config.monitor.eval_video} != {"none"}:
        monitor = RunMonitor(
            folder.monitor, config.monitor, env=config.env, evaluate=evaluate, info=info,
            train=film_maker(config.env, config.wrappers, engine, info.film_mode),
            run_id=folder.path.name, resume=resumed,
        )  # fmt: skip
        parts.append(monitor)
    evaluator = _evaluator(plan, "eval", config.trainer.eval_episodes) if config.trainer.eval_every else None
    checks = config.trainer.check_episodes if hasattr(agent, "confirm") else 0
    return Trainer(
        config.trainer, agent, envs, logger=logger, folder=folder, evaluator=evaluator,
        checkpoints=checkpoints, monitor=monitor, threshold=info.threshold,
        checker=_evaluator(plan, "check", checks) if checks else None,
    )  # fmt: skip


def _evaluator(plan: Plan, stream: str, episodes: int, lanes: int | None = None) -> Evaluator:
    config = plan.config
    return Evaluator(
        config.env, config.wrappers, seed=config.seed, episodes=episodes,
        lanes=lanes or config.trainer.eval_envs, device=plan.setup.device, stream=stream,
    )  # fmt: skip


def _restore(plan: Plan, trainer: Trainer, checkpoints: Checkpoints, folder: RunFolder) -> None:
    """Stand where the newest whole checkpoint was written; say what is not exactly so."""
    if not checkpoints.steps():
        trainer.start_over()
        folder.write(resume_exact=True)
        trainer.logger.say(f"{folder.path} has no checkpoint yet: starting over from step 0")
        introduce(plan, folder, trainer.logger)
        return
    loaded = checkpoints.load("latest", stores=True)
    trainer.agent.load_state_dict(loaded.state["agent"])
    checkpoints.restore(loaded, getattr(trainer.agent, "stores", dict)())
    trainer.load_state_dict(loaded.state)
    inexact = getattr(trainer.envs, "resume_inexact", None)
    earlier = folder.info.get("resume_exact")
    folder.write(resume_exact=inexact is None and earlier is not False, resume_inexact=inexact)
    trainer.logger.say(
        f"resumed {folder.path} at step {loaded.step:,}" + (f"; not exact: {inexact}" if inexact else "")
    )


def test(plan: Plan, trainer: Trainer, checkpoints: Checkpoints) -> dict[str, Any]:
    """The final score: the best checkpoint, greedy, on seeds that chose nothing; its first episode filmed."""
    episodes = plan.config.trainer.test_episodes
    if not episodes:
        return {}
    agent = trainer.agent
    if trainer.best is not None:
        agent.load_state_dict(checkpoints.load("best").state["agent"], policy_only=True)
    actor = agent.actor()
    score, played = _evaluator(plan, "test", episodes)(actor)
    if trainer.monitor:
        film = plan.config.monitor.eval_video != "none"
        facts = getattr(actor, "facts", None)
        trainer.monitor.evaluation(played, 0, trainer.now, always=film, kind="test", facts=facts)
    threshold = plan.info.threshold
    return {
        "test_mean": score.mean,
        "test_std": score.std,
        "test_episodes": episodes,
        "threshold": threshold,
        "solved": None if threshold is None else score.mean >= threshold,
    }


def _failed(
    error: BaseException,
    config: RunConfig,
    folder: RunFolder,
    trainer: Trainer | None,
    checkpoints: Checkpoints,
) -> BaseException:
    """Write how it ended, and let the error carry what was saved and how to go on."""
    step, good = _newest_good(checkpoints) or (None, None)
    facts = trainer.summary() if trainer else {}
    told = f"{type(error).__name__}: {error}"
    with contextlib.suppress(OSError):
        folder.end("failed", error=told, checkpoint=str(good) if good else None, **facts)
    if isinstance(error, NumbersBroke):
        first = trainer.broken() if trainer else None  # a broken network makes the environment return NaN too
        cause = f" (the agent broke first: its {first} is not finite)" if first else ""
        where = f"the last good checkpoint is {good}" if good else "there is no checkpoint yet"
        error = NumbersBroke(f"{error}{cause}; {where}")
    elif isinstance(error, SystemExit):  # from an environment, say; it would end the sweep with its own code
        exited, error = error, RuntimeError(f"something in the run called sys.exit({error.code!r})")
        error.__cause__ = exited
    if isinstance(error, NumbersBroke | UserError):
        log.info("failed: %s", error)
    else:
        reached = trainer.now if trainer else folder.info["steps"]
        log.info("crashed at step %s", f"{reached:,}", exc_info=error)
        error.add_note(crashed(config, folder.path, reached, step))
    return error


def _preempted(
    config: RunConfig, folder: RunFolder, trainer: Trainer | None, checkpoints: Checkpoints
) -> Preempted:
    """Write that the run was asked to stop, and say where it can go on."""
    steps = checkpoints.steps()
    reached = trainer.now if trainer else folder.info["steps"]
    saved = f"saved at step {steps[-1]:,}" if steps else "nothing saved yet"
    with contextlib.suppress(OSError):  # a full disk
        folder.end("preempted", **(trainer.summary() if trainer else {}))
    told = f"stopped at step {reached:,}, {saved}; continue with: {resume_command(config, folder.path)}"
    log.info(told)
    return Preempted(told)


def _newest_good(checkpoints: Checkpoints) -> tuple[int, Path] | None:
    for step in sorted(checkpoints.steps(), reverse=True):
        path = checkpoints.find(step)
        if not checkpoints.verify(path):
            return step, path
    return None


@dataclass
class _Asked:
    """Who is told when the process is asked to stop: the trainer while it trains, else nobody."""

    trainer: Trainer | None = None


@contextlib.contextmanager
def _signals() -> Iterator[_Asked]:
    """SIGTERM, SIGINT and SIGHUP (the terminal was closed; not under nohup): finish the step, save, end as
    preempted. Outside of training, where everything is saved already, and at a second signal:
    KeyboardInterrupt, at once.
    """
    asked = _Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: Any) -> None:
        if asked.trainer is None or asked.trainer.stop:
            raise KeyboardInterrupt
        asked.trainer.stop = True

    numbers = [signal.SIGTERM, signal.SIGINT]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---------------------------------------------------------------------- afterwards


def evaluate(
    run_path: Path,
    *,
    checkpoint: str = "best",
    episodes: int | None = None,
    lanes: int | None = None,
    device: str = "auto",
    plugins: Sequence[str] = (),
) -> Score:
    """Greedy episodes of a checkpoint, on the run's own evaluation seeds.

    With the run's number of episodes and lanes, `checkpoint=best` gives exactly the mean that was logged.
    """
    plan, agent, _ = reopen(run_path, checkpoint, plugins, device)
    evaluator = _evaluator(plan, "eval", episodes or plan.config.trainer.eval_episodes, lanes)
    return evaluator(agent.actor())[0]


def play(
    run_path: Path,
    *,
    checkpoint: str = "best",
    episodes: int = 3,
    watch: bool = False,
    plugins: Sequence[str] = (),
    device: str = "auto",
    out: Path | None = None,
) -> list[Path]:
    """Film greedy episodes into `out` (default: play/ in the run folder); `watch` shows them in a window."""
    plan, agent, step = reopen(run_path, checkpoint, plugins, device)
    if watch:
        watch_policy(plan.config, plan.setup.device, agent.actor(), episodes)
        return []
    return film_policy(
        plan.config, plan.info, plan.setup.device, agent.actor(), episodes, out or run_path / "play", step
    )
