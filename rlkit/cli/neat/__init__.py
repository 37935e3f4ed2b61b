"""`rlkit neat check|show|export`: neat-python's files, a run's champion, and what leaves with it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from rlkit.check import nearest
from rlkit.errors import UserError

ACTIONS = {
    "check": "every mistake of a neat-python configuration file, and the file without them",
    "show": "a run's champion, its species and its fitness over the generations",
    "export": "a run's champion for PyTorch, ONNX or neat-python",
}


def run(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: rlkit neat VERB …\n")
        print("\n".join(f"  {name:7} {text}" for name, text in ACTIONS.items()))
        print("\n`rlkit neat VERB --help` tells more.")
        return 0
    action, *rest = arguments
    if action not in ACTIONS:
        near = nearest(action, ACTIONS)
        meant = f"did you mean rlkit neat {near[0]}?" if near else f"choose among {', '.join(ACTIONS)}."
        raise UserError(f"there is no verb 'neat {action}'; {meant}")
    code: int = import_module(f"rlkit.cli.neat.{action}").run(rest)
    return code
