"""Options of the verbs other than train: the same key=value form, the same checks and messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from rlkit.check import read
from rlkit.errors import UserError

T = TypeVar("T")


def parse(arguments: Sequence[str], options: type[T], verb: str, names: Sequence[str] = ()) -> T | None:
    """Read `[NAME…] key=value …` into the dataclass `options`; None when the help was asked for and printed.

    names: the keys that may be given by position, in order.
    """
    if any(word in ("-h", "--help") for word in arguments):
        print(usage(options, verb, names))
        return None
    values: dict[str, Any] = {}
    free = list(names)
    for word in arguments:
        if word.startswith("-"):
            raise UserError(
                f"rlkit {verb} has no {word}; options are written key=value, see rlkit {verb} --help."
            )
        if "=" not in word and free:
            values[free.pop(0)] = word
        elif "=" not in word:
            raise UserError(f"rlkit {verb} does not know what to do with {word!r}; see rlkit {verb} --help.")
        else:
            name, value = _pair(word)
            if name in free:
                free.remove(name)
            values[name] = value
    try:
        return read(options, values)
    except UserError as error:
        raise UserError(str(error).replace("rlkit train --cfg job", f"rlkit {verb} --help")) from None


def usage(options: type[Any], verb: str, names: Sequence[str] = ()) -> str:
    """The help of a verb: its keys with their defaults and sentences."""
    position = "".join(f" [{name.upper()}]" for name in names)
    lines = [f"usage: rlkit {verb}{position} key=value …", ""]
    for item in fields(options):
        default = item.default if item.default is not MISSING else []
        shown = "null" if default is None else str(default).lower() if isinstance(default, bool) else default
        lines.append(f"  {f'{item.name}={shown}':22} {item.metadata.get('doc', '')}")
    return "\n".join(lines)


def print_json(data: Any) -> None:
    print(json.dumps(data, indent=2, default=str, ensure_ascii=False))


def _pair(word: str) -> tuple[str, Any]:
    """One key=value in Hydra's grammar: numbers, true, null, 'quoted text', [lists], {a: 1}."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_overrides([word])[0]
    except HydraException:
        name, _, value = word.partition("=")
        raise UserError(f"{word} cannot be read; quote the value: {name}=\"'{value}'\".") from None
    if override.type is not OverrideType.CHANGE:
        raise UserError(f"{word} cannot be read; write key=value without {word[0]}.")
    if override.is_sweep_override():
        raise UserError(f"{word} holds several values; give one.")
    return override.key_or_group, override.value()
