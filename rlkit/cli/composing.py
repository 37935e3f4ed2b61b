"""From key=value overrides and YAML to a checked RunConfig; here ends everything that Hydra knows."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from rlkit.check import read_value, unknown_key
from rlkit.cli.config_file import applied, composed, expanded
from rlkit.cli.explain import explain
from rlkit.config import RunConfig, check
from rlkit.errors import UserError
from rlkit.registry import load_plugins, wrappers

MULTI_SELECT = ("wrappers", "logger")

_OPEN = re.compile(r"^(?:\+{0,2}(?=env\.kwargs(?:\.[^=]+)?=|wrappers\.\w+\.\w+={)|\+(?=logger\.\w+\.\w+=))")

PROVIDERS = {  # ids that other packages register when they are imported → (module, package)
    "GymV2": ("shimmy", "shimmy and gym"),
    "dm_control/": ("shimmy", "shimmy[dm-control]"),
    "highway-": ("highway_env", "highway-env"),
}


def compose(overrides: Sequence[str] | None = None, *, config_dir: Path | str | None = None) -> RunConfig:
    """The configuration that `rlkit train` would use for these overrides.

    config_dir: a folder with YAML groups of your own, as `--config-dir` on the command line.
    Raises UserError for every mistake. May be called any number of times.
    """
    folders = [] if config_dir is None else [Path(config_dir)]
    if folders and not folders[0].is_dir():
        raise UserError(f"config_dir={config_dir} is no folder.")
    words = expanded(opened(overrides or ()), folders)
    try:
        with composed(words, folders) as (found, given):
            config = finish(found, given)
    except Exception as error:
        known = explain(error, words, folders)
        raise error if known is None else known from error
    config.__dict__["words"] = tuple(words)
    return config


def opened(words: Sequence[str]) -> list[str]:
    """Hydra wants a + before a new key, and only there; in free mappings (`env.kwargs`, a wrapper's own) none
    is new, and a + before a logger's option does no harm. UserError for a value without a key.
    """
    for word in words:
        if word.startswith("="):
            raise UserError(f"{word!r} has no key: write key=value.")
        if word.startswith("agent.name="):
            raise UserError(f"an agent is chosen with all its keys: write agent={word.partition('=')[2]}.")
    return [_OPEN.sub("++", word) for word in words]


def finish(found: DictConfig, overrides: Sequence[str]) -> RunConfig:
    """Resolve, import the plugins, and check everything. Called where Hydra's loader is still alive.

    overrides: all of them, Hydra's own included, so that repeated names can be seen.
    """
    _refuse_repeated(overrides)
    data = OmegaConf.to_container(found, resolve=True, throw_on_missing=True)
    assert isinstance(data, dict)
    values = {str(name): value for name, value in data.items() if name != "hydra"}
    load_plugins(read_value(values.get("plugins", []), list[str], "plugins"))
    config = check(values)
    check_wrappers(config.wrappers)
    _check_env(config.env.id)
    return applied(values, config, overrides)


def check_wrappers(chosen: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse unknown wrappers, unknown arguments and wrong types before anything is built."""
    for name, arguments in chosen.items():
        expected = wrapper_arguments(wrappers.get(name))
        if any(item.kind is item.VAR_KEYWORD for item in expected):
            continue
        known = {f"wrappers.{name}.{item.name}": item for item in expected}
        for key, value in arguments.items():
            path = f"wrappers.{name}.{key}"
            if path not in known:
                raise UserError(unknown_key(path, known))
            if value is None and known[path].default is inspect.Parameter.empty:
                raise UserError(f"the wrapper {name} needs {key}: write {path}=VALUE.")
            if known[path].annotation in (int, float, bool, str):
                read_value(value, known[path].annotation, path)
        for path, item in known.items():
            if item.default is item.empty and item.name not in arguments:
                raise UserError(f"the wrapper {name} needs {item.name}: write +{path}=VALUE.")


def wrapper_arguments(wrapper: Any) -> list[inspect.Parameter]:
    """What a wrapper can be told, the environment left out."""
    try:
        signature = inspect.signature(wrapper, eval_str=True)
    except NameError:  # annotations that exist for type checkers only
        signature = inspect.signature(wrapper)
    found = list(signature.parameters.values())[1:]
    if getattr(wrapper, "training_only", False):  # the house's word, which no wrapper sees
        word = inspect.Parameter(
            "in_evaluation", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool
        )
        found = [*(item for item in found if item.name != word.name), word]
    return found


def _check_env(name: str) -> None:
    """An unknown environment ends here; `module:…` was written by the user, so the module is imported."""
    from rlkit.envs.factory import check_id

    try:
        check_id(name)
    except UserError:
        for start, (owner, package) in PROVIDERS.items():
            if name.startswith(start):
                hint = f"install {package} and write env.id={owner}:{name}"
                raise UserError(f"env.id={name} is not registered: {hint}.") from None
        raise


def _refuse_repeated(overrides: Sequence[str]) -> None:
    """A name written twice in a multi-select group would silently collapse into one."""
    loader = GlobalHydra.instance().config_loader()
    found = loader.compute_defaults_list("config", list(overrides), RunMode.RUN)
    paths = [item.config_path for item in found.defaults if item.config_path]
    for path in paths:
        group, _, name = path.rpartition("/")
        if group in MULTI_SELECT and paths.count(path) > 1:
            raise UserError(f"{group} names {name} twice; write it once.")
