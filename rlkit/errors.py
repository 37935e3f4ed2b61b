"""The ways a run can end badly, each with the exit code that scripts see."""

from __future__ import annotations


class _Told(Exception):
    """An ending whose message says everything."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: IPython asks for this before it prints a traceback."""
        return [f"{type(self).__name__}: {self}"]


class UserError(_Told):
    """Bad input, told in one sentence. Exit code 2, no traceback.

    below: lines that stand under the sentence, such as the way through the user's own files.
    """

    exit_code = 2

    def __init__(self, text: str = "", below: str = "") -> None:
        super().__init__(text)
        self.below = below


class NumbersBroke(_Told):
    """NaN or infinity from the environment or a loss. Exit code 3."""

    exit_code = 3


class Preempted(_Told):
    """The run was asked to stop (SIGTERM, SIGINT) and saved itself. Exit code 75: call again to resume."""

    exit_code = 75
