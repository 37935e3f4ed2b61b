"""The command line: `rlkit VERB [NAME…] key=value …`. One module per verb, imported when it is called."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from rlkit.check import nearest
from rlkit.errors import NumbersBroke, Preempted, UserError

VERBS = {
    "train": "train an agent: rlkit train env=cartpole agent=dqn",
    "eval": "play greedy episodes of a checkpoint and print the returns",
    "play": "film episodes of a checkpoint",
    "runs": "list, show and compare run folders: ls, show RUN, diff A B",
    "envs": "the environments: groups and ids, show ID, wrappers, check MODULE:CLASS",
    "neat": "neat-python's files and a run's champion: check FILE, show RUN, export RUN",
    "agents": "which agent serves which action and observation space",
    "doctor": "check this machine: torch, CUDA, video, rendering, disk, packages",
}

USAGE = "usage: rlkit VERB [NAME…] key=value …\n\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    0 done, 1 crashed (`runs diff`: different), 2 bad input, 3 numbers broke, 75 preempted and resumable.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except BrokenPipeError:  # `rlkit runs ls | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException as error:
        return report(error)


def report(error: BaseException) -> int:
    """Tell on stderr how it ended, and return the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, UserError | NumbersBroke):
        print(f"rlkit: error: {error}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, Preempted):
        print(f"rlkit: {error}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        print("rlkit: interrupted", file=sys.stderr)
        return 130
    traceback.print_exception(error)
    print(f"rlkit: crashed: {type(error).__name__}: {error}", file=sys.stderr)
    return 1


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE + "\n".join(f"  {verb:8} {text}" for verb, text in VERBS.items()))
        print("\n`rlkit VERB --help` tells more; `rlkit --version` tells the version.")
        return 0
    if arguments[0] in ("-V", "--version"):
        from rlkit import __version__

        print(f"rlkit {__version__}")
        return 0
    if arguments[0] in ("-sc", "--shell-completion"):
        from rlkit.cli.completion import complete

        return complete(arguments)
    verb, *rest = arguments
    if verb not in VERBS:
        raise UserError(_unknown(verb))
    code: int = import_module(f"rlkit.cli.{verb}").run(rest)
    return code


def _unknown(verb: str) -> str:
    if "=" in verb:
        return f"the verb comes first: rlkit train {verb} …"
    near = nearest(verb, VERBS)
    meant = f"did you mean rlkit {near[0]}?" if near else "`rlkit --help` lists them."
    return f"there is no verb {verb!r}; {meant}"
