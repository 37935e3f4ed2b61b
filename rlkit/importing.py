"""Code of the user's: what fails in it is told with the user's own line, without our frames."""

from __future__ import annotations

import contextlib
import os
import re
import sysconfig
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from rlkit.errors import UserError

_NAME = re.compile(r"\w+(\.\w+)*")
_HERE = str(Path(__file__).parent) + os.sep
_PACKAGES = ("site-packages", "dist-packages")
_STDLIB = sysconfig.get_paths()["stdlib"] + os.sep


def load(name: str) -> ModuleType:
    """Import a module of the user's. UserError names it, what it raised, and where."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is no module's name; write it as in an import: my_pkg.module.")
    with blamed(f"the module {name} fails"):
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(error.name + ".")):
                told = f"there is no module {name!r}: install it, or start in its folder."
                raise UserError(told) from error
            raise UserError(f"the module {name} needs {error.name}, which is not installed.") from error


def attribute(target: str, what: str) -> object:
    """The object behind "module:attribute". UserError where there is none; `what` says who asks for it."""
    module, _, name = target.partition(":")
    if module.startswith("rlkit."):
        return getattr(import_module(module), name)
    found = load(module)
    if not hasattr(found, name):
        raise UserError(f"{what} is registered as {target}, but the module {module} has no {name}.")
    return getattr(found, name)


@contextlib.contextmanager
def blamed(text: str) -> Iterator[None]:
    """An exception that comes out of the user's own code becomes a UserError: `text`, the error, the line.

    One that has no line of the user's is no mistake of the user's and passes as it is.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # SystemExit: a script without a main guard
        where = place(error)
        if where is None:
            raise
        raise UserError(f"{text}: {sentence(error)}, {where}", below=_frames(error)) from error


def sentence(error: BaseException) -> str:
    """ "ValueError: what it says", on one line."""
    text = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place(error: BaseException) -> str | None:
    """file:line of the innermost line that the user wrote; None where no such line took part."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = _own(error)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _own(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames outside of rlkit, the interpreter and installed packages, outermost first.

    An installed package may be the user's, too: without others its frames count.
    """
    strangers = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_HERE, "<"))
    ]
    written = [frame for frame in strangers if not any(word in frame.filename for word in _PACKAGES)]
    return [frame for frame in written if not frame.filename.startswith(_STDLIB)] or [
        frame for frame in strangers if frame not in written
    ]


def _frames(error: BaseException) -> str:
    """The way through the user's files, as a traceback shows it; "" where it is one line, told already."""
    frames = _own(error)
    return "".join(traceback.format_list(frames)) if len(frames) > 1 else ""
