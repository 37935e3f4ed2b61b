"""`rlkit runs ls|show|diff`: read run folders. Nothing in them is executed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlkit.check import nearest
from rlkit.cli.options import parse, print_json, usage
from rlkit.config import key
from rlkit.errors import UserError


@dataclass
class ListOptions:
    root: str = key("runs", "folder with runs")
    json: bool = key(False, "print JSON")


@dataclass
class ShowOptions:
    run: str = key("latest", "path, name, or latest")
    root: str = key("runs", "where run folders are looked for")
    json: bool = key(False, "print JSON")


@dataclass
class DiffOptions:
    a: str = key(doc="path, name, or latest")
    b: str = key(doc="path, name, or latest")
    root: str = key("runs", "where run folders are looked for")
    json: bool = key(False, "print JSON")


def run(arguments: Sequence[str]) -> int:
    actions = {"ls": _ls, "show": _show, "diff": _diff}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage(ListOptions, "runs ls", ("root",)), "\n")
        print(usage(ShowOptions, "runs show", ("run",)), "\n")
        print(usage(DiffOptions, "runs diff", ("a", "b")), "\nexit code 0: equal, 1: different")
        return 0
    if arguments[0] not in actions:
        near = nearest(arguments[0], actions)
        meant = f"did you mean rlkit runs {near[0]}?" if near else f"choose among {', '.join(actions)}."
        raise UserError(f"there is no verb 'runs {arguments[0]}'; {meant}")
    return actions[arguments[0]](arguments[1:])


def _ls(arguments: Sequence[str]) -> int:
    options = parse(arguments, ListOptions, "runs ls", names=("root",))
    if options is not None:
        from rlkit import runs

        found = runs.list_runs(options.root)
        if options.json:
            print_json([{"path": str(item.path), **item.info} for item in found])
        else:
            print(runs.table(found))
    return 0


def _show(arguments: Sequence[str]) -> int:
    options = parse(arguments, ShowOptions, "runs show", names=("run",))
    if options is not None:
        from rlkit import runs

        found = runs.Run(runs.find_run(options.run, root=options.root))
        if options.json:
            print_json({"path": str(found.path), **found.info, "config": found.config_dict()})
        else:
            print(runs.show(found))
    return 0


def _diff(arguments: Sequence[str]) -> int:
    options = parse(arguments, DiffOptions, "runs diff", names=("a", "b"))
    if options is None:
        return 0
    from rlkit import runs

    first = runs.Run(runs.find_run(options.a, root=options.root))
    second = runs.Run(runs.find_run(options.b, root=options.root))
    equal, text = runs.diff(first, second)
    if options.json:
        print_json({"equal": equal, "report": text})
    else:
        print(text)
    return 0 if equal else 1
