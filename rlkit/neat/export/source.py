"""A policy as one Python file that needs torch alone.

A file of Python, not torch.export's archive: it can be read and compared, it is bound to no version of torch,
its parameters can be trained on, and it shows the genome.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import MISSING, Field, fields, is_dataclass
from math import isinf
from types import ModuleType
from typing import Any

from rlkit.neat import functions
from rlkit.neat.export import module
from rlkit.neat.export.module import PolicyData

PARTS = (functions, module)  # what the file is a copy of
WIDTH = 100


def python_source(data: PolicyData, name: str, title: str) -> str:
    """The file's text; it is imported as `name`, `title` is its first line."""
    return "\n".join([
        f'"""{title}\n\n{usage(data, name)}\n"""', "", *_imports(), "",
        *(_body(part) for part in PARTS), "", "",
        f"DATA = {_literal(data)}", "", "",
        "def load() -> Policy:", '    """The evolved policy."""', "    return Policy(DATA).eval()", "",
    ])  # fmt: skip


def usage(data: PolicyData, name: str) -> str:
    """How the file is used, and what goes in and comes out."""
    given = ", ".join(f"{leaf.name!r}: …" for leaf in data.seen)
    given = "obs" if len(data.seen) == 1 else f"{{{given}}}"
    lines = [
        f"    from {name} import load", "",
        "    policy = load()  # a torch.nn.Module",
        "    with torch.no_grad():",
        f"        action, state = policy({given}, state)  # of a batch; state is None when episodes begin",
        "", "Observations are what the environment's wrappers hand out. In, of B environments:",
    ]  # fmt: skip
    lines += [f"    {leaf.name}: {leaf.dtype} [{_sides(leaf.shape)}]" for leaf in data.seen]
    lines += ["Out:"]
    lines += [f"    {leaf.name}: {leaf.dtype} [{_sides(leaf.shape)}]" for leaf in data.action]
    nodes = sum(len(layer) for layer in data.graph.layers)
    lines += [f"    state: [B, {nodes}] float32, to be handed in next" if data.graph.recurrent
              else "    state: None, this network keeps nothing"]  # fmt: skip
    return "\n".join(lines)


def _sides(shape: tuple[int, ...]) -> str:
    return ", ".join(["B", *map(str, shape)])


def _imports() -> list[str]:
    """Everything but rlkit that the parts import, each package once."""
    whole: set[str] = set()
    names: dict[str, set[str]] = {}
    for part in PARTS:
        for node in ast.parse(inspect.getsource(part)).body:
            if isinstance(node, ast.Import):
                whole |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not str(node.module).startswith("rlkit"):
                names.setdefault(str(node.module), set()).update(alias.name for alias in node.names)
    first = f"from __future__ import {', '.join(sorted(names.pop('__future__')))}"
    several = [f"from {module} import {', '.join(sorted(parts))}" for module, parts in sorted(names.items())]
    return [first, "", *(f"import {name}" for name in sorted(whole)), *several]


def _body(part: ModuleType) -> str:
    """What follows a file's imports."""
    source = inspect.getsource(part)
    last = max(node.end_lineno or 0 for node in ast.parse(source).body if _is_import(node))
    return "\n".join(source.rstrip().splitlines()[last:])


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _literal(value: Any, indent: str = "") -> str:
    """The Python that makes `value`, one item a line where it is long, without fields at their default."""
    inner = indent + "    "
    if is_dataclass(value):
        items = [f"{item.name}={_literal(getattr(value, item.name), inner)}" for item in fields(value)
                 if getattr(value, item.name) != _default(item)]  # fmt: skip
        opening, closing = f"{type(value).__name__}(", ")"
    elif isinstance(value, list):
        items, opening, closing = [_literal(item, inner) for item in value], "[", "]"
    elif isinstance(value, float) and isinf(value):
        return f'float("{value}")'
    else:
        return repr(value)
    line = opening + ", ".join(items) + closing
    if len(indent + line) <= WIDTH and "\n" not in line:
        return line
    return "\n".join([opening, *(f"{inner}{item}," for item in items), indent + closing])


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()
