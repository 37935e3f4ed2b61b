"""`rlkit train`: the one Hydra application. Hydra composes; folders, logs, errors and exit codes are ours."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from rlkit.cli.composing import finish, opened
from rlkit.cli.config_file import expanded
from rlkit.cli.envs import fitting
from rlkit.cli.explain import explain, groups
from rlkit.config import conf_dir
from rlkit.errors import Preempted, UserError
from rlkit.screen import say

if TYPE_CHECKING:
    from rlkit.runs import Run

HELP = """usage: rlkit train key=value … [-m] [--cfg job] [--config-dir FOLDER]

  rlkit train                                        DQN on CartPole-v1
  rlkit train agent=ppo env=pendulum seed=3          choose from the groups below
  rlkit train experiment=ppo_cartpole agent.lr=1e-3  a preset, then a change
  rlkit train env.id=my_pkg:MyEnv-v0                 any Gymnasium environment
  rlkit train -m seed=0,1,2                          several runs, one after the other
  rlkit train resume=latest                          continue a run
"""


@dataclass
class Job:
    """How one run of this command ended."""

    title: str
    folder: Path | None
    run: Run | None = None
    error: Exception | None = None


@dataclass
class Jobs:
    """The task that Hydra calls, once or once per job. It never lets an exception reach Hydra."""

    command: list[str]
    pid: int = field(default_factory=os.getpid)
    done: list[Job] = field(default_factory=list)
    skipped: int = 0

    def one(self, composed: DictConfig) -> float | None:
        """Check, train, remember. Returns the score, which sweepers optimise."""
        settings = HydraConfig.get()
        multirun = settings.mode == RunMode.MULTIRUN
        words = _words(settings.overrides.task)
        if self.preempted:
            self.skipped += 1
            return None
        job = Job(" ".join(words), Path(settings.runtime.output_dir) if multirun else None)
        number = settings.job.num if multirun else None
        try:
            job.run = self._train(composed, words, _words(settings.overrides.hydra), job.folder)
        except Exception as error:
            if os.getpid() != self.pid:  # a launcher's worker process: only Hydra can carry it home
                raise
            job.error = error
        self.done.append(job)
        if number is not None:
            _tell(number, job)
        score = job.run.info.get("score") if job.run else None
        return float(score) if isinstance(score, int | float) else float("nan") if job.error else None

    @property
    def preempted(self) -> bool:
        return any(isinstance(job.error, Preempted) for job in self.done)

    def exit_code(self) -> int:
        """Of a single run its own; of a sweep 0, 1 if a job failed, 75 if it was asked to stop."""
        from rlkit.cli import report

        if len(self.done) == 1 and self.done[0].folder is None:
            error = self.done[0].error
            return report(error) if error is not None else 0
        failed = [job for job in self.done if job.error is not None and not isinstance(job.error, Preempted)]
        say(f"{len(self.done) - len(failed) - self.preempted} of {len(self.done) + self.skipped} jobs done")
        if self.preempted:
            return Preempted.exit_code
        return 1 if failed else 0

    def _train(self, composed: DictConfig, words: list[str], own: list[str], folder: Path | None) -> Run:
        try:
            config = finish(composed, [*words, *own])
        except Exception as error:
            known = explain(error, words)
            raise error if known is None else known from error
        from rlkit import session

        return session.train(config, overrides=words, command=self.command, folder=folder, tell=say)


def run(arguments: Sequence[str]) -> int:
    """`rlkit train …` without the verb; returns the exit code."""
    if any(word in ("-h", "--help") for word in arguments):
        print(HELP)
        for group, choices in groups(_config_dirs(arguments)).items():
            print(f"  {group + '=':12}{fitting(choices, 96)}")
        print("\n`rlkit envs` and `rlkit envs wrappers` list what env= and wrappers= can be.")
        print("`rlkit train --cfg job` prints every key; docs/configuration.md explains them.")
        return 0
    jobs = hydra_app(list(arguments))
    return jobs.exit_code() if jobs.done else 0


def hydra_app(arguments: list[str]) -> Jobs:
    """Hand the words after the verb to Hydra. Raises UserError for what it refuses."""
    overrides, options = _split(arguments)
    jobs = Jobs(command=["rlkit", "train", *arguments])
    settings: dict[str, Any] = {"version_base": "1.3"}
    if "execution_whitelist" in inspect.signature(hydra.main).parameters:  # Hydra 1.4
        settings = {
            "execution_whitelist": ("rlkit.*", "torch.*", "gymnasium.*", "hydra.*", "hydra_plugins.*")
        }
    application = hydra.main(config_path=str(conf_dir()), config_name="config", **settings)(jobs.one)
    shown = any(word.partition("=")[0] in ("--cfg", "-c") for word in options)  # `finish` is not called
    folders = [folder for folder in _config_dirs(arguments) if folder.is_dir()]
    overrides = expanded(opened(overrides), folders, shown=shown)
    with _process_state([*options, *overrides]):
        try:
            application()
        except Exception as error:
            known = explain(error, overrides, _config_dirs(arguments))
            raise error if known is None else known from error
    return jobs


@contextlib.contextmanager
def _process_state(arguments: list[str]) -> Iterator[None]:
    """What Hydra reads from the process: argv, whole exceptions, and a name for a sweep's folder."""
    argv, environment = sys.argv, dict(os.environ)
    sys.argv = ["rlkit", *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    os.environ["RLKIT_SWEEP"] = f"{time.strftime('%Y%m%d_%H%M%S')}-{secrets.token_hex(3)}"
    try:
        yield
    finally:
        sys.argv = argv
        for name in ("HYDRA_FULL_ERROR", "RLKIT_SWEEP"):
            os.environ.pop(name)
            if name in environment:
                os.environ[name] = environment[name]


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides and options apart: Hydra's parser wants options first. UserError for an unknown option."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed = get_args_parser().parse_intermixed_args(list(arguments))
    except SystemExit as error:
        if not error.code:  # --version
            raise
        reason = complaint.getvalue().strip().splitlines()[-1].partition("error: ")[2]
        raise UserError(f"{reason}; see rlkit train --help.") from None
    if parsed.experimental_rerun is not None:
        raise UserError("--experimental-rerun executes a pickle; use resume=RUN.")
    left = Counter(parsed.overrides)
    options = []
    for word in arguments:
        if left[word]:
            left[word] -= 1
        else:
            options.append(word)
    return list(parsed.overrides), options


def _config_dirs(arguments: Sequence[str]) -> list[Path]:
    """The folders named by --config-dir or -cd."""
    found = []
    for word, following in zip(arguments, [*arguments[1:], ""], strict=False):
        if word in ("--config-dir", "-cd"):
            found.append(Path(following))
        elif word.startswith("--config-dir="):
            found.append(Path(word.partition("=")[2]))
    return found


def _words(overrides: ListConfig) -> list[str]:
    """As written: ${…} inside an override is not resolved here."""
    return [str(word) for word in OmegaConf.to_container(overrides, resolve=False)]


def _tell(number: int, job: Job) -> None:
    """One line per job of a sweep; failures say why."""
    if job.error is None:
        score = job.run.info.get("score") if job.run else None
        say(f"job {number}: {job.title} → done, score {score} ({job.folder})")
        return
    from rlkit.cli import report

    report(job.error)
    say(f"job {number}: {job.title} → {type(job.error).__name__} ({job.folder})")
