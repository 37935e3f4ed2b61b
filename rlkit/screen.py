"""Writing to a screen that may know less than Unicode, or be gone: neither ends a run."""

from __future__ import annotations

import contextlib
import sys
from typing import TextIO


def say(text: str, to: TextIO | None = None) -> None:
    """A line on stdout, or on `to`, with ? for what its encoding does not know."""
    with perhaps_gone():
        try:
            print(text, file=to, flush=True)
        except UnicodeEncodeError as error:
            print(text.encode(error.encoding, "replace").decode(error.encoding), file=to, flush=True)


def is_terminal() -> bool:
    """Whether stdout is a window where somebody looks."""
    with perhaps_gone():
        return sys.stdout is not None and sys.stdout.isatty()  # None where it was closed from the start
    return False


def perhaps_gone() -> contextlib.suppress:
    """What a screen raises that cannot be written to any more: ValueError where it was closed."""
    return contextlib.suppress(OSError, ValueError)
