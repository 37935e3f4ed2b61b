"""An agent's own configuration file: `agent.config_file=PATH` stands for the keys of the run that it decides.

Which agents have one, and what reads it, is in `registry.config_files`. The command line wins over the
file, the file wins over presets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from rlkit.cli.explain import explain
from rlkit.config import RunConfig, check, conf_dir
from rlkit.errors import UserError
from rlkit.registry import config_files

KEY = "agent.config_file"


@contextmanager
def composed(words: Sequence[str], folders: Sequence[Path] = ()) -> Iterator[tuple[DictConfig, list[str]]]:
    """What Hydra makes of these words, and the words it was given; its loader is alive inside only."""
    search = [f"hydra.searchpath=[{','.join(_quoted(folder.resolve()) for folder in folders)}]"]
    given = [*words, *(search if folders else [])]
    state = GlobalHydra.instance()
    before = copy(state.hydra)
    state.clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield hydra_compose("config", overrides=given), given
    finally:
        state.hydra = before


def expanded(words: Sequence[str], folders: Sequence[Path] = (), *, shown: bool = False) -> list[str]:
    """The words with those that the file stands for before them.

    shown: the result is printed and no run follows, so a file that a preset names counts too, and one with
    mistakes is refused here. Otherwise both are left to `applied`, which knows the environment, as are
    several files of a sweep and what Hydra will complain about.
    """
    if not shown and not any(_key(word) == KEY for word in words):
        return list(words)
    try:
        with composed(words, folders) as (found, _):
            name, path = OmegaConf.select(found, "agent.name"), OmegaConf.select(found, KEY)
    except Exception as error:
        if explain(error, words, folders) is None:
            raise
        return list(words)
    if path is None or name not in config_files:
        return list(words)
    try:
        values = config_files.get(name)(str(path))
    except UserError:
        if shown:
            raise
        return list(words)
    mine = [word for word in words if _key(word) == KEY]
    theirs = [f"{key}={_text(value)}" for key, value in values.items()]
    return [*mine, *theirs, *(word for word in words if word not in mine)]


def applied(values: dict[str, Any], config: RunConfig, words: Sequence[str]) -> RunConfig:
    """The configuration with the file's values wherever no word of the command says otherwise.

    values: what `config` was made of. Raises UserError with all mistakes of the file.
    """
    path = getattr(config.agent, "config_file", None)
    if path is None or config.agent.name not in config_files:
        return config
    named = [_key(word) for word in words]
    groups = tuple(name + "." for name in named if "." in name)  # agent=NAME chooses, and sets no key
    for key, value in config_files.get(config.agent.name)(path, config).items():
        if key not in named and not key.startswith(groups):
            _put(values, key, value)
    return check(values)


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(value)}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    for group in groups:
        values = values.setdefault(group, {})
    values[last] = value


def _quoted(folder: Path) -> str:
    text = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return f"'file://{text}'"
