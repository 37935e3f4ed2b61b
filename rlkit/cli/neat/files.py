"""neat-python's files at the front door: the keys of a run that a file decides, and its mistakes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rlkit.config import RunConfig
from rlkit.errors import UserError
from rlkit.neat.ini import checking, reading
from rlkit.neat.ini.conversion import Difference, converted, differences
from rlkit.neat.ini.mistakes import Mistake, Sizes
from rlkit.registry import agents

LOG = logging.getLogger("rlkit")


def values(path: str, config: RunConfig | None = None) -> dict[str, Any]:
    """The keys of a run that a file decides, with their values.

    config: with it the sizes of its environment are checked, too, and what the file says in vain is told as
    a warning. Raises UserError with all mistakes of the file.
    """
    sizes = None if config is None else sizes_of(config)
    checked = checking.check(reading.load(path), sizes)
    if checked.mistakes:
        raise refusal(path, checked.mistakes, sizes)
    if config is not None:
        LOG.warning("%s, otherwise than in neat-python:\n%s", path, told(differences(checked, sizes)))
    return converted(checked)


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
