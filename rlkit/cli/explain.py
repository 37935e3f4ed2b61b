"""One short sentence for each way in which Hydra, OmegaConf or YAML can refuse a command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from rlkit.check import flatten, keys_of, nearest, unknown_key
from rlkit.config import RunConfig, conf_dir
from rlkit.errors import UserError

_MANY = 12  # choices that are too many for a sentence


def groups(folders: Iterable[Path] = ()) -> dict[str, list[str]]:
    """Every configuration group with its choices, of `conf/` and of the user's folders."""
    found: dict[str, set[str]] = {}
    for root in (conf_dir(), *folders):
        for path in root.glob("*/*.yaml"):
            if not path.name.startswith("_"):
                found.setdefault(path.parent.name, set()).add(path.stem)
    return {group: sorted(found[group]) for group in sorted(found)}


def explain(error: BaseException, overrides: Sequence[str], folders: Sequence[Path] = ()) -> UserError | None:
    """The mistake behind an exception, or None if it is not a mistake of the user.

    folders: the user's own configuration folders.
    """
    if isinstance(error, UserError):
        return error
    if isinstance(error, MissingConfigException):
        return UserError(_no_choice(error, folders))
    if isinstance(error, OverrideParseException):
        return UserError(_unreadable(str(error.override or "")))
    if isinstance(error, HydraException):
        return UserError(_composition(error, overrides, folders))
    if isinstance(error, MissingMandatoryValue):
        return UserError(f"{error.full_key} has no value: write {error.full_key}=VALUE.")
    if isinstance(error, InterpolationResolutionError):
        return UserError(f"{error.full_key} refers to something that is not there: {_first_line(error)}.")
    if isinstance(error, OmegaConfBaseException):
        where = f"{error.full_key}: " if error.full_key else ""
        return UserError(f"{where}{_first_line(error)}.")
    if isinstance(error, yaml.YAMLError):
        return UserError(f"a YAML file cannot be read: {' '.join(str(error).split())}.")
    if isinstance(error, ValueError) and "Config group override" in str(error):
        return UserError(_null_choice(overrides, folders))
    if isinstance(error, ValueError) and "can be specified" in str(error):
        return UserError(f"{_first_line(error)}.")
    return None


def _no_choice(error: MissingConfigException, folders: Sequence[Path]) -> str:
    """agent=dqnn, wrappers=[frame_stak], --config-name=nothing"""
    missing = str(error.missing_cfg_file)
    group, _, name = missing.rpartition("/")
    choices = groups(folders).get(group) or sorted(error.options or ())
    if not group or not choices:
        return f"there is no configuration {missing}; look into {conf_dir()} or add --config-dir=FOLDER."
    near = nearest(name, choices)
    meant = f"; did you mean {near[0]}?" if near else "."
    if group == "wrappers" and not near:
        meant = f"; one of your own without a YAML file is written +wrappers.{name}={{}}."
    return f"{group} has no choice {name!r} (choices: {_few(group, choices, name)}){meant}"


def _null_choice(overrides: Sequence[str], folders: Sequence[Path]) -> str:
    """agent=null, wrappers=null"""
    word = next((word for word in overrides if word.partition("=")[2].lower() in ("null", "")), "")
    group = word.partition("=")[0].lstrip("+")
    choices = groups(folders).get(group, [])
    if group in ("wrappers", "logger"):
        return f"{word} is no list: write {group}=[] for none, or choose among {_few(group, choices)}."
    return f"{word or 'null'} chooses nothing; choose among {_few(group, choices)}."


def _few(group: str, choices: Sequence[str], name: str = "") -> str:
    """All choices where they fit a sentence, else those most like `name` and who lists the rest."""
    if len(choices) <= _MANY:
        return ", ".join(choices)
    some = [*nearest(name, choices, 3), *choices[:3]] if name else choices[:3]
    rest = {"env": "rlkit envs", "wrappers": "rlkit envs wrappers"}.get(group, "rlkit train --help")
    return f"{', '.join(dict.fromkeys(some))}, …; `{rest}` lists all {len(choices)}"


def _composition(error: HydraException, overrides: Sequence[str], folders: Sequence[Path]) -> str:
    text = str(error)
    first = _first_line(error)
    if "Ambiguous value for argument" in text or "requires --multirun" in text:
        word = _between_quotes(first)
        name, _, value = word.partition("=")
        return (
            f"{word} holds several values: add -m to run each of them, or write {name}=[{value}] for a list."
        )
    if "Could not override" in text or "Could not delete from config" in text:
        return _no_key(_between_quotes(first), error, folders)
    if "Multiple values for" in text:
        name = first.removeprefix("Multiple values for ").split(".")[0]
        return f"{name} is chosen already: write {name}=NAME without +."
    if "not found" in text and "config directory" in text:
        return f"--config-dir wants a folder, and {_between_quotes(first)} is none."
    return first if first.endswith(".") else first + "."


def _no_key(path: str, error: HydraException, folders: Sequence[Path]) -> str:
    """agnet.lr=1, agent.dqn=1, ~agent.lrr"""
    group, _, leaf = path.rpartition(".")
    if leaf in groups(folders).get(group, []):
        return f"there is no key {path}; to choose it write {group}={leaf}."
    if group.partition(".")[0] == "wrappers" and (name := path.split(".")[1]) in groups(folders)["wrappers"]:
        return _no_argument(path, name, folders)
    node = getattr(error.__cause__, "parent_node", None)
    root = node._get_root() if node is not None else None
    if isinstance(root, DictConfig):
        data = OmegaConf.to_container(root, resolve=False)
        assert isinstance(data, dict)
        known = list(flatten({str(name): value for name, value in data.items() if name != "hydra"}))
    else:
        known = [*keys_of(RunConfig), *_agent_keys(folders)]
    return unknown_key(path, known)


def _no_argument(path: str, name: str, folders: Sequence[Path]) -> str:
    """wrappers.frame_stack.siz=3, or an argument of a wrapper that was not chosen"""
    known: dict[str, None] = {}
    for root in (conf_dir(), *folders):
        if (file := root / "wrappers" / f"{name}.yaml").exists():
            data = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get(name) or {}
            known.update({f"wrappers.{name}.{key}": None for key in data})
    if path in known:
        return f"{path} has no effect, because {name} is not chosen: add wrappers=[{name}]."
    if not known:
        return f"there is no key {path}: the wrapper {name} takes no arguments."
    return unknown_key(path, known)


def _agent_keys(folders: Sequence[Path]) -> list[str]:
    """The keys of every agent's YAML, where the composed configuration cannot be asked."""
    keys: set[str] = set()
    for root in (conf_dir(), *folders):
        for path in root.glob("agent/*.yaml"):
            keys.update(f"agent.{name}" for name in yaml.safe_load(path.read_text(encoding="utf-8")) or ())
    return sorted(keys)


def _unreadable(word: str) -> str:
    name, equals, value = word.partition("=")
    if not equals:
        return f"{word!r} is not key=value; a value with blanks, commas or brackets is quoted: key=\"'a b'\"."
    return f"{word} cannot be read; quote the value: {name}=\"'{value}'\"."


def _between_quotes(text: str) -> str:
    found = re.search(r"'(.*)'", text)
    return found[1] if found else text


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
