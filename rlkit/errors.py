"""The ways a run can end badly, each with the exit code that scripts see."""

from __future__ import annotations


class UserError(Exception):
    """Bad input, told in one sentence. Exit code 2, no traceback."""

    exit_code = 2


class NumbersBroke(Exception):
    """NaN or infinity from the environment or a loss. Exit code 3."""

    exit_code = 3


class Preempted(Exception):
    """The run was asked to stop (SIGTERM, SIGINT) and saved itself. Exit code 75: call again to resume."""

    exit_code = 75
