"""neat-python's files at the front door: `agent.config_file=PATH` as the keys that it stands for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from rlkit.config import RunConfig, check
from rlkit.errors import UserError
from rlkit.neat.ini import checking, reading
from rlkit.neat.ini.conversion import Difference, converted, differences
from rlkit.neat.ini.mistakes import Mistake, Sizes
from rlkit.registry import agents

LOG = logging.getLogger("rlkit")
KEY = "agent.config_file"


def expanded(words: Sequence[str], strict: bool = False) -> list[str]:
    """The words of a command with the file's own behind the one that names it, before all others.

    A file with mistakes is left to `applied`, which knows the environment; strict: it is refused here.
    """
    mine = [word for word in words if word.partition("=")[0] == KEY]
    path = _path(mine[-1]) if mine else None
    if path is None:
        return list(words)
    checked = checking.check(reading.load(path))
    if checked.mistakes:
        if strict:
            raise refusal(path, checked.mistakes)
        return list(words)
    found = [f"{name}={_word(value)}" for name, value in converted(checked).items()]
    return [*mine, *found, *(word for word in words if word not in mine)]


def applied(values: dict[str, Any], config: RunConfig, words: Sequence[str]) -> RunConfig:
    """The configuration with the file's values wherever no word of the command says otherwise.

    Raises UserError with all mistakes of the file. What it says in vain is told as a warning.
    """
    path, sizes = config.agent.config_file, sizes_of(config)
    checked = checking.check(reading.load(path), sizes)
    if checked.mistakes:
        raise refusal(path, checked.mistakes, sizes)
    named = [word.lstrip("+~").partition("=")[0] for word in words]
    groups = [name + "." for name in named if "." in name]  # agent=neat chooses, and sets no key
    for key, value in converted(checked).items():
        if key not in named and not key.startswith(tuple(groups)):
            _put(values, key, value)
    LOG.warning("%s, otherwise than in neat-python:\n%s", path, told(differences(checked, sizes)))
    return check(values)


def sizes_of(config: RunConfig) -> Sizes:
    """What the environment of a configuration asks of NEAT's networks; one is made and closed."""
    from rlkit.envs.factory import probe

    neat, info = agents.get("neat"), probe(config.env, config.wrappers)
    if reason := neat.serves(info.action, info.obs):
        raise UserError(f"{reason}.")
    inputs, outputs = neat.sizes(info.action, info.obs, config.net)
    return Sizes(config.env.id, inputs, outputs, info.threshold)


def refusal(path: Path | str, mistakes: Sequence[Mistake], sizes: Sizes | None = None) -> UserError:
    """The error that holds them all."""
    env = f" env.id={sizes.env}" if sizes else ""
    return UserError(
        f"{path} has {count(mistakes)}; `rlkit neat check {path}{env} out=FILE` writes it without them:\n"
        + table(mistakes)
    )


def count(mistakes: Sequence[Mistake]) -> str:
    return "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"


def table(mistakes: Iterable[Mistake]) -> str:
    """line, section, key, what is wrong"""
    rows = [("line", "section", "key", "mistake")]
    rows += [(str(m.line or "–"), m.section or "–", m.key or "–", m.text) for m in mistakes]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{line:>{widths[0]}}  {section:{widths[1]}}  {key:{widths[2]}}  {text}"
        for line, section, key, text in rows
    )


def told(found: Iterable[Difference]) -> str:
    """One line for each."""
    return "\n".join(f"  {one.key}: {one.text}" for one in found)


def _path(word: str) -> str | None:
    """The file that a word names; None for several of a sweep, null, and what Hydra will complain about."""
    try:
        override = OverridesParser.create().parse_overrides([word])[0]
    except HydraException:
        return None
    if override.is_sweep_override() or override.value() is None:
        return None
    value = override.value()
    return str(value) if isinstance(value, str) else word.partition("=")[2]


def _word(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(value)}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    for group in groups:
        values = values.setdefault(group, {})
    values[last] = value
