"""`rlkit envs`: the groups and their ids, one environment, the wrappers, and the diagnosis of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from rlkit.check import nearest
from rlkit.cli.options import parse, print_json
from rlkit.config import conf_dir, key
from rlkit.errors import UserError
from rlkit.registry import load_plugins, wrappers


@dataclass
class EnvsOptions:
    what: str | None = key(None, "a group (atari), or show, wrappers, check")
    name: str | None = key(
        None, "of show: an id or preset; of wrappers: one; of check: module:Class or an id"
    )
    group: str | None = key(None, "a group, all of its ids")
    out: str = key("frame.png", "where show writes its frame")
    plugins: list[str] = key([], "modules to import first")  # noqa: RUF009
    json: bool = key(False, "print JSON")


def run(arguments: Sequence[str]) -> int:
    options = parse(arguments, EnvsOptions, "envs", ("what", "name"))
    if options is None:
        return 0
    load_plugins(options.plugins)
    if options.what == "show":
        return _show(options)
    if options.what == "wrappers":
        return _wrappers(options)
    if options.what == "check":
        return _check(options)
    return _groups(options)


# ---------------------------------------------------------------------- the groups


def _groups(options: EnvsOptions) -> int:
    from rlkit.envs.catalog import GROUPS

    wanted = options.group or options.what
    names = [group.name for group in GROUPS]
    if wanted is not None and wanted not in names:
        near = nearest(wanted, [*names, "show", "wrappers", "check"])
        meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}."
        raise UserError(f"there is no group {wanted!r}; {meant}")
    presets = _presets()
    rows: list[dict[str, Any]] = []
    for group in GROUPS:
        if wanted in (None, group.name):
            ids = [] if group.missing() else _ids(group)
            mine = [name for name, env_id in presets.items() if group.module.owns(env_id)]
            rows.append(
                {
                    "number": group.number,
                    "name": group.name,
                    "title": group.title,
                    "install": group.install if group.missing() else None,
                    "ids": ids,
                    "presets": mine,
                }
            )
    if options.json:
        print_json(rows)
        return 0
    if wanted is not None:
        print("\n".join(rows[0]["ids"]) if rows[0]["ids"] else rows[0]["install"] or "no ids yet")
        return 0
    for row in rows:
        state = row["install"] or f"{len(row['ids'])} ids"
        print(f"{row['number']:>2}  {row['title']:18} {row['name']:12} {state}")
        if row["ids"]:
            print(f"      {_fitting(row['ids'])}")
        if row["presets"]:
            print(f"      env={_fitting(row['presets'])}")
    print("\nrlkit envs GROUP lists its ids; also: rlkit envs show ID, wrappers, check MODULE:CLASS")
    return 0


def _ids(group: Any) -> list[str]:
    group.module.register()
    return [name for name in group.module.ids() if not group.missing(name)]


def _presets() -> dict[str, str]:
    """Preset → environment id, in alphabetical order."""
    found = {}
    for path in sorted((conf_dir() / "env").glob("*.yaml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if "id" in data:
            found[path.stem] = str(data["id"])
    return found


def _fitting(names: Sequence[str], width: int = 78) -> str:
    """As many names as fit a line, and how many more there are."""
    line = ""
    for number, name in enumerate(names):
        longer = f"{line}, {name}" if line else name
        if len(longer) > width:
            return f"{line}, … {len(names) - number} more"
        line = longer
    return line


# ---------------------------------------------------------------------- one environment


def _show(options: EnvsOptions) -> int:
    if not options.name:
        raise UserError("show what? rlkit envs show CartPole-v1")
    from rlkit.cli.composing import compose

    preset = options.name in _presets()
    words = [f"env={options.name}"] if preset else [f"env.id={options.name}"]
    if options.plugins:
        words.append(f"plugins=[{','.join(options.plugins)}]")
    config = compose(words)
    from rlkit.envs.engines import SPECIAL, choose
    from rlkit.envs.factory import probe, stays_in_evaluation
    from rlkit.registry import agents
    from rlkit.spaces import describe

    info = probe(config.env, config.wrappers)
    engines = ["sync", "async"]
    engines += [n for n, engine in SPECIAL.items() if engine.why_not(config.env, config.wrappers) is None]
    chosen = choose(config.env, config.wrappers)
    data: dict[str, Any] = {
        "id": config.env.id,
        "observation": describe(info.obs.space) if hasattr(info.obs, "space") else str(info.obs),
        "action": describe(info.action.space),
        "solved at": info.threshold,
        "time limit": info.time_limit,
        "film": f"{info.film_mode}, {info.fps} frames per second" if info.film_mode else None,
        "wrappers": list(config.wrappers),
        "not in evaluation": [
            name
            for name, told in config.wrappers.items()
            if not stays_in_evaluation(wrappers.get(name), told)
        ],
        "engines": engines,
        "auto takes": f"{chosen.name} ({chosen.why})",
        "agents": [name for name in agents.names() if agents.get(name).serves(info.action, info.obs) is None],
        "frame": _frame(config, Path(options.out)) if info.film_mode == "rgb_array" else None,
    }
    if options.json:
        print_json(data)
        return 0
    for name, value in data.items():
        shown = ", ".join(value) or "none" if isinstance(value, list) else value
        print(f"{name:18} {'none' if shown is None else shown}")
    return 0


def _frame(config: Any, out: Path) -> str:
    """The environment after a few random steps, as PNG; the path."""
    from PIL import Image

    from rlkit.envs.factory import EnvMaker

    env = EnvMaker(config.env, config.wrappers, render_mode="rgb_array")()
    try:
        env.action_space.seed(0)
        env.reset(seed=0)
        for _ in range(10):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                env.reset()
        frame: Any = env.render()
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(out)
    finally:
        env.close()
    return str(out)


# ---------------------------------------------------------------------- the wrappers


def _wrappers(options: EnvsOptions) -> int:
    from rlkit.cli.composing import _arguments

    names = [options.name] if options.name else wrappers.names()
    rows: list[dict[str, Any]] = []
    for name in names:
        wrapper = wrappers.get(name)
        told = {
            item.name: "needed" if item.default is item.empty else item.default
            for item in _arguments(wrapper)
        }
        rows.append(
            {
                "name": name,
                "says": (getattr(wrapper, "__doc__", None) or "").strip().split("\n")[0],
                "arguments": told,
                "training_only": bool(getattr(wrapper, "training_only", False)),
                "changes_reward": bool(getattr(wrapper, "changes_reward", True)),
                "instead": getattr(getattr(wrapper, "entry", None), "instead", "") or None,
            }
        )
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        marks = ("T" if row["training_only"] else " ") + ("R" if row["changes_reward"] else " ")
        listed = ", ".join(f"{name}={_shown(value)}" for name, value in row["arguments"].items())
        says = f"not used here: {row['instead']}" if row["instead"] else row["says"]
        print(f"{marks} {row['name']:26} {says}" + (f"  [{listed}]" if listed else ""))
    print("\nT: training only, evaluation and play drop it   R: changes the reward")
    return 0


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


# ---------------------------------------------------------------------- the diagnosis


def _check(options: EnvsOptions) -> int:
    if not options.name:
        raise UserError("check what? rlkit envs check my_module:MyEnv")
    from rlkit.envs.checking import diagnose

    found = diagnose(options.name)
    if options.json:
        print_json([{"what": f.what, "where": f.where, "fix": f.fix} for f in found])
    elif found:
        for number, finding in enumerate(found, 1):
            print(f"{number}. {finding.what}\n   where: {finding.where}\n   fix:   {finding.fix}")
    else:
        print(f"fine; a registered id is trained by: rlkit train env.id={options.name}")
    return 2 if found else 0
