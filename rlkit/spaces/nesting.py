"""Nested spaces taken apart and put together: leaves, their names and their paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gymnasium import spaces

from rlkit.errors import UserError

KeyPath = tuple[str | int, ...]


def walk(space: spaces.Space, path: KeyPath = ()) -> Iterator[tuple[KeyPath, spaces.Space]]:
    """The leaves of a nested space with their paths, in the order in which Gymnasium flattens them."""
    if isinstance(space, spaces.Dict):
        for name, inner in space.items():
            yield from walk(inner, (*path, name))
    elif isinstance(space, spaces.Tuple):
        for number, inner in enumerate(space.spaces):
            yield from walk(inner, (*path, number))
    else:
        yield path, space


def named_leaves(space: spaces.Space, what: str, lone: str) -> list[tuple[str, KeyPath, spaces.Space]]:
    """(name, path, space) of every leaf, or a UserError that says which spaces are supported."""
    known = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    leaves = [("/".join(map(str, path)) or lone, path, leaf) for path, leaf in walk(space)]
    for name, _, leaf in leaves:
        if not isinstance(leaf, known):
            raise UserError(
                f"{what} space {type(leaf).__name__} (leaf {name!r}) is not supported: use Box, Discrete, "
                "MultiDiscrete, MultiBinary, or Tuple and Dict of these (a wrapper can convert it)."
            )
    if not leaves:
        raise UserError(f"{what} space {space} is empty: give it at least one Box or Discrete.")
    if len({name for name, _, _ in leaves}) < len(leaves):
        raise UserError(f"Two leaves of the {what.lower()} space share a name: rename keys that contain '/'.")
    return leaves


def follow(value: Any, path: KeyPath) -> Any:
    for step in path:
        value = value[step]
    return value


def nest(space: spaces.Space, values: Iterator[Any]) -> Any:
    """The inverse of `walk`: leaf values, in order, in the nested form of `space`."""
    if isinstance(space, spaces.Dict):
        return {name: nest(inner, values) for name, inner in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple([nest(inner, values) for inner in space.spaces])
    return next(values)


def describe(space: spaces.Space) -> str:
    """A space in one short line, without its bounds."""
    if isinstance(space, spaces.Dict):
        return "Dict(" + ", ".join(f"{name}: {describe(inner)}" for name, inner in space.items()) + ")"
    if isinstance(space, spaces.Tuple):
        return "Tuple(" + ", ".join(describe(inner) for inner in space.spaces) + ")"
    if isinstance(space, spaces.Discrete):
        return f"Discrete({space.n})"
    if isinstance(space, spaces.MultiDiscrete):
        return f"MultiDiscrete({'×'.join(map(str, space.nvec.reshape(-1)))})"
    return f"{type(space).__name__}({'×'.join(map(str, space.shape))})"
