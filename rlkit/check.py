"""Strict reading of plain data into dataclasses: unknown keys, types, ranges, one sentence per mistake.

Used for the composed configuration of a run, for run folders, and for the options of every verb.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar, Union, cast

from rlkit.errors import UserError

T = TypeVar("T")

# YAML 1.1 reads 1e4 and 5e-4 as text; people write them for numbers.
_EXPONENT = re.compile(r"[+-]?(\d[\d_]*(\.\d*)?|\.\d+)[eE][+-]?\d+")


def nearest(word: str, words: Iterable[str], count: int = 1, cutoff: float = 0.55) -> list[str]:
    """The words most like `word`, best first; none if nothing is near."""
    by_lower = {name.lower(): name for name in words}
    found = get_close_matches(word.lower(), by_lower, n=count, cutoff=cutoff)
    return [by_lower[name] for name in found]


def nearest_key(path: str, paths: Iterable[str]) -> str | None:
    """The known dotted key that `path` was probably meant to be.

    Tried in turn: the same leaf in a similar group (`agnet.lr`), a similar leaf in the same group
    (`agent.gama`), both similar (`agnet.gama`), and a leaf whose group was forgotten (`lr`).
    """
    known = list(paths)
    group, _, leaf = path.rpartition(".")
    split = {name: name.rpartition(".")[::2] for name in known}
    for like, words in (
        (group, {where: name for name, (where, last) in split.items() if last == leaf}),
        (leaf, {last: name for name, (where, last) in split.items() if where == group}),
        (path, {name: name for name in known if group not in ("", *(w for w, _ in split.values()))}),
        (leaf, {last: name for name, (_, last) in split.items() if not group}),
    ):
        if found := nearest(like, words):
            return words[found[0]]
    return None


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping of dotted keys to leaves; an empty mapping is a leaf."""
    leaves: dict[str, Any] = {}
    for name, value in data.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            leaves.update(flatten(value, path + "."))
        else:
            leaves[path] = value
    return leaves


def keys_of(cls: type[Any], prefix: str = "") -> list[str]:
    """Every dotted key that a dataclass offers."""
    keys: list[str] = []
    for item, hint in _typed_fields(cast(Any, cls)):
        if isinstance(hint, type) and is_dataclass(hint):
            keys += keys_of(hint, f"{prefix}{item.name}.")
        else:
            keys.append(prefix + item.name)
    return keys


def read(cls: type[T], data: Any, where: str = "", also: Iterable[str] = ()) -> T:
    """Make a `cls` from a mapping, or raise UserError naming the first mistake.

    where: dotted prefix of the keys, for messages. also: further dotted keys that suggestions may name.
    """
    if not isinstance(data, Mapping):
        raise UserError(
            f"{where.rstrip('.') or 'the configuration'} must hold keys and values, not {data!r}."
        )
    typed = _typed_fields(cast(Any, cls))
    names = [item.name for item, _ in typed]
    for name in data:
        if name not in names:
            raise UserError(unknown_key(f"{where}{name}", [*keys_of(cls, where), *also]))
    values: dict[str, Any] = {}
    for item, hint in typed:
        if item.name in data:
            values[item.name] = read_value(data[item.name], hint, f"{where}{item.name}", item.metadata)
        elif item.default is MISSING and item.default_factory is MISSING:
            raise UserError(f"{where}{item.name} is missing: write {where}{item.name}=VALUE.")
    return cls(**values)


def unknown_key(path: str, known: Iterable[str]) -> str:
    """The sentence for a key that does not exist."""
    near = nearest_key(path, known)
    if near:
        return f"there is no key {path}; did you mean {near}?"
    return f"there is no key {path}; `rlkit train --cfg job` lists them all."


@cache
def _typed_fields(cls: Any) -> list[tuple[Field[Any], Any]]:
    """Fields with their annotations evaluated (they are strings in modules with postponed annotations)."""
    hints = typing.get_type_hints(cls)
    return [(item, hints[item.name]) for item in fields(cls) if item.init]


def read_value(
    value: Any, hint: Any, path: str, rules: Mapping[str, Any] = types.MappingProxyType({})
) -> Any:
    """One value as the type `hint`, converted where nothing is lost, else refused.

    path: its dotted key, for messages. rules: the metadata that `rlkit.config.key` writes.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _optional(value, arguments, path, rules)
    if origin is typing.Literal:
        return _choice(value, path, arguments)
    if isinstance(hint, type) and is_dataclass(hint):
        return value if isinstance(value, hint) else read(hint, value, path + ".")
    if origin in (list, tuple):
        return _sequence(value, origin, arguments, path, rules)
    if origin is dict or hint is dict:
        return _mapping(value, arguments, path, rules)
    return _rules(_scalar(value, hint, path), path, rules)


def _optional(value: Any, arguments: Sequence[Any], path: str, rules: Mapping[str, Any]) -> Any:
    members = [member for member in arguments if member is not type(None)]
    if value is None and len(members) < len(arguments):
        return None
    for member in members[:-1]:
        try:
            return read_value(value, member, path, rules)
        except UserError:
            continue
    return read_value(value, members[-1], path, rules)


def _sequence(value: Any, kind: type, arguments: Sequence[Any], path: str, rules: Mapping[str, Any]) -> Any:
    if not isinstance(value, list | tuple):
        raise UserError(f"{path} must be a list, like {path}=[{value}], not {value!r}.")
    member = arguments[0] if arguments else Any
    return kind(read_value(item, member, f"{path}[{index}]", rules) for index, item in enumerate(value))


def _mapping(value: Any, arguments: Sequence[Any], path: str, rules: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{path} must hold keys and values, like {path}={{name: value}}, not {value!r}.")
    member = arguments[1] if arguments else Any
    return {str(name): read_value(item, member, f"{path}.{name}", rules) for name, item in value.items()}


def _scalar(value: Any, hint: Any, path: str) -> Any:
    """Strict types: 5 is no bool and 1.5 no integer, but 1e4 is one and 1 is a float."""
    if isinstance(value, str) and hint in (int, float) and _EXPONENT.fullmatch(value):
        value = float(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise UserError(f"{path} must be a finite number, not {value}.")
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    hint_text = f"; quote it: {path}=\"'{value}'\"" if hint is str and isinstance(value, int | float) else ""
    shown = "null" if value is None else repr(value)
    raise UserError(f"{path} must be {words.get(hint, str(hint))}, not {shown}{hint_text}.")


def _rules(value: Any, path: str, rules: Mapping[str, Any]) -> Any:
    """Ranges and choices from the metadata that `rlkit.config.key` writes."""
    if choices := rules.get("choices"):
        return _choice(value, path, choices)
    low, high, above = rules.get("low"), rules.get("high"), rules.get("above")
    if isinstance(value, int | float) and not isinstance(value, bool):
        too_low = (low is not None and value < low) or (above is not None and value <= above)
        if too_low or (high is not None and value > high):
            raise UserError(f"{path} must be {_range(low, high, above)}, not {value}.")
    return value


def _range(low: float | None, high: float | None, above: float | None) -> str:
    if above is not None:
        return f"above {above}" + (f" and at most {high}" if high is not None else "")
    if low is not None and high is not None:
        return f"between {low} and {high}"
    return f"at least {low}" if low is not None else f"at most {high}"


def _choice(value: Any, path: str, choices: Sequence[Any]) -> Any:
    """One of the choices; `every:N` among them stands for any whole N ≥ 1, `cuda:INDEX` for any ≥ 0."""
    for choice in choices:
        if value == choice:
            return value
        if isinstance(value, str) and isinstance(choice, str) and choice.endswith((":N", ":INDEX")):
            stem, _, number = value.partition(":")
            open_stem, _, kind = choice.partition(":")
            if stem == open_stem and number.isdecimal() and (kind == "INDEX" or int(number) > 0):
                return value
    raise UserError(f"{path} must be one of {', '.join(map(str, choices))}, not {value!r}.")
