"""The command line: `rlkit VERB [NAME…] key=value …`. One module per verb, imported when it is called."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module

from rlkit.check import nearest
from rlkit.errors import NumbersBroke, Preempted, UserError
from rlkit.screen import say

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

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_ROOM = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, *_FULL)
USAGE = "usage: rlkit VERB [NAME…] key=value …\n\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    0 done, 1 crashed (`runs diff`: different), 2 bad input, 3 numbers broke, 75 preempted and resumable.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")  # a screen without → shows ?
    try:
        code = _dispatch(arguments)
    except BrokenPipeError:  # `rlkit runs ls | head`
        code = 0
    except BaseException as error:
        code = report(error)
    _flush()
    return code


def _is_full(error: BaseException) -> bool:
    """Whether stdout is a file on a full disk; a run's own files have names."""
    noted = getattr(error, "__notes__", None)
    return isinstance(error, OSError) and error.errno == errno.ENOSPC and not (error.filename or noted)


def _flush() -> None:
    """Write what is left for stdout; where it is gone, the rest must not fail when Python ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        if not isinstance(error, BrokenPipeError):
            _complain(f"rlkit: the output could not be written: {error}")
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report(error: BaseException) -> int:
    """Tell on stderr how it ended, and return the exit code."""
    if isinstance(error, SystemExit):
        if isinstance(error.code, str):
            _complain(error.code)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, UserError | NumbersBroke):
        below = getattr(error, "below", "").rstrip("\n")
        _complain(f"rlkit: error: {error}" + (f"\n{below}" if below else ""))
        return error.exit_code
    if isinstance(error, Preempted):
        _complain(f"rlkit: {error}")
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        _complain("rlkit: interrupted")
        return 130
    if _is_full(error):
        _complain(f"rlkit: the output could not be written: {error}")
        return 1
    told_by_the_run = [note for note in getattr(error, "__notes__", ()) if note.startswith("rlkit: ")]
    if told_by_the_run and isinstance(error, OSError) and error.errno in _FULL:  # no line of code is to blame
        where = f": {error.filename}" if error.filename else ""
        _complain("\n".join([f"rlkit: error: {error.strerror}{where}", *told_by_the_run]))
        return 1
    _complain("".join(traceback.format_exception(error)).rstrip("\n"))
    if not told_by_the_run:
        _complain(f"rlkit: crashed: {type(error).__name__}: {error}")
    return 1


def _complain(text: str) -> None:
    if sys.stderr is not None:
        say(text, to=sys.stderr)


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
    code: int
    if verb == "train":  # a run tells itself where it may not write, and what is left when a disk is full
        code = import_module("rlkit.cli.train").run(rest)
        return code
    with _writable():
        code = import_module(f"rlkit.cli.{verb}").run(rest)
    return code


@contextlib.contextmanager
def _writable() -> Iterator[None]:
    """A place where a verb may not write, or without room, is the user's to change."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM or not error.filename:
            raise
        way = "make it writable or choose another place"
        raise UserError(f"{error.filename} cannot be used ({error.strerror}); {way}") from error


def _unknown(verb: str) -> str:
    if "=" in verb:
        return f"the verb comes first: rlkit train {verb} …"
    near = nearest(verb, VERBS)
    meant = f"did you mean rlkit {near[0]}?" if near else "`rlkit --help` lists them."
    return f"there is no verb {verb!r}; {meant}"
