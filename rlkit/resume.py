"""Which run a command continues, and which of its words may differ from that run's own configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlkit.check import flatten
from rlkit.config import RunConfig, to_dict
from rlkit.errors import UserError
from rlkit.runs import find_run, unfinished

# What may be changed without changing what is learnt. Everything else belongs to the run.
FREE = (
    "device",
    "env.workers",
    "plugins",
    "resume",
    "run",
    "trainer.check_episodes",
    "trainer.checkpoint_every",
    "trainer.keep_checkpoints",
    "trainer.stop_at_return",
    "trainer.stop_when_solved",
    "trainer.test_episodes",
    "trainer.total_steps",
)


def find_resumable(config: RunConfig, overrides: Sequence[str]) -> Path | None:
    """The folder to continue, or None for a new run. `auto` starts where there is nothing to continue."""
    if config.resume is None:
        return None
    root = config.run.root
    if config.resume != "auto":
        return find_run(config.resume, root)
    if config.run.dir is None:
        return unfinished(root, overrides)
    folder = Path(config.run.dir)
    return folder if (folder / "run.json").exists() else None


def merged(config: RunConfig, stored: RunConfig, overrides: Sequence[str], folder: Path) -> RunConfig:
    """The stored configuration with what this command may change; UserError for what it may not."""
    mine, theirs = flatten(to_dict(config)), flatten(to_dict(stored))
    named = [_key(word) for word in overrides]
    for name in named:
        if _free(name):
            continue
        whole = not any(_under(key, name) for key in mine)  # a preset: it may have set any key
        for key in sorted(mine.keys() | theirs.keys()):
            if _free(key) or not (whole or _under(key, name)):
                continue
            if mine.get(key) != theirs.get(key):
                raise UserError(
                    f"{key}={mine.get(key)} differs from the run's own {theirs.get(key)}, and {folder} is "
                    f"continued exactly; leave it out, or start a new run without resume="
                )
    for name in named:
        if _free(name):
            _copy(config, stored, name)
    stored.plugins, stored.resume = list(config.plugins), config.resume
    return stored


def _key(word: str) -> str:
    return word.lstrip("+~").split("=", 1)[0].split("@", 1)[0]


def _under(key: str, name: str) -> bool:
    return key == name or key.startswith(name + ".")


def _free(key: str) -> bool:
    return any(_under(key, free) for free in FREE)


def _copy(source: Any, target: Any, key: str) -> None:
    *path, last = key.split(".")
    for part in path:
        source, target = getattr(source, part), getattr(target, part)
    setattr(target, last, getattr(source, last))
