"""`rlkit envs`: the groups and their ids, one environment, the wrappers, and the diagnosis of one's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
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
    out: str | None = key(None, "where show writes its frame; null: ID.png, in a new file")
    kwargs: dict[str, Any] = key({}, "of show and check: arguments of the constructor, {size: 5}")  # noqa: RUF009
    plugins: list[str] = key([], "modules to import first")  # noqa: RUF009
    json: bool = key(False, "print JSON")


_VERBS = ("show", "wrappers", "check")


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


def completions(words: Sequence[str], start: str) -> list[str]:
    """What may follow: words after the verb, of which the last is unfinished and begins with `start`."""
    from rlkit.envs.catalog import GROUPS

    done = [word for word in words if word != start or not start]
    if not done:
        choices = [*_VERBS, *(group.name for group in GROUPS)]
    elif done[-1] in ("show", "check"):
        choices = [*_presets(), *(name for group in GROUPS if not group.missing() for name in _ids(group))]
    else:
        choices = wrappers.names() if done[-1] == "wrappers" else []
    return [name for name in choices if name.startswith(start)]


# ---------------------------------------------------------------------- the groups


def _groups(options: EnvsOptions) -> int:
    from rlkit.envs.catalog import GROUPS

    wanted = options.group or options.what
    names = [group.name for group in GROUPS]
    if wanted is not None and wanted not in names:
        near = nearest(wanted, [*names, *_VERBS])
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
            print(f"      {fitting(row['ids'])}")
        if row["presets"]:
            print(f"      env={fitting(row['presets'])}")
    print("\nrlkit envs GROUP lists its ids; also: rlkit envs show ID, wrappers, check MODULE:CLASS")
    return 0


_TOLD_BY_IMPORT = ("pygame",)  # groups whose packages say what they have; the others' lists are ours


def _ids(group: Any) -> list[str]:
    """The ids that can be made here; nothing is imported that need not be."""
    if group.name in _TOLD_BY_IMPORT:
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


def fitting(names: Sequence[str], width: int = 78) -> str:
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

    words = [f"env={options.name}" if options.name in _presets() else f"env.id={options.name}"]
    words += [f"env.kwargs={{{_inline(options.kwargs)}}}"] if options.kwargs else []
    words += [f"plugins=[{','.join(options.plugins)}]"] if options.plugins else []
    config = compose(words)
    from rlkit.envs.engines import SPECIAL, choose
    from rlkit.envs.factory import probe, stays_in_evaluation
    from rlkit.registry import agents
    from rlkit.spaces import describe

    info = probe(config.env, config.wrappers)
    reasons = {name: agents.get(name).serves(info.action, info.obs) for name in agents.names()}
    refusals = {name: engine.why_not(config.env, config.wrappers) for name, engine in SPECIAL.items()}
    chosen = choose(config.env, config.wrappers)
    modes, frame = _frame(config, info.film_mode, _new_file(options))
    data: dict[str, Any] = {
        "id": config.env.id,
        "observation": describe(info.obs.space),
        "action": describe(info.action.space),
        "solved at": info.threshold,
        "time limit": info.time_limit,
        "render modes": modes,
        "films": f"{info.film_mode}, {info.fps} frames per second" if info.film_mode else None,
        "wrappers": list(config.wrappers),
        "not in evaluation": [
            name
            for name, told in config.wrappers.items()
            if not stays_in_evaluation(wrappers.get(name), told)
        ],
        "engines": ["sync", "async", *(name for name, reason in refusals.items() if reason is None)],
        "other engines": {name: reason for name, reason in refusals.items() if reason is not None},
        "auto takes": f"{chosen.name} ({chosen.why.removeprefix('auto: ')})",
        "agents": [name for name, reason in reasons.items() if reason is None],
        "other agents": {name: reason for name, reason in reasons.items() if reason is not None},
        "frame": frame,
    }
    if options.json:
        print_json(data)
        return 0
    for name, value in data.items():
        if isinstance(value, dict):
            for other, reason in value.items():
                print(f"{'':18} not {other}: {reason}")
        else:
            shown = ", ".join(value) if isinstance(value, list) else value
            print(f"{name:18} {'none' if shown in (None, '') else shown}")
    return 0


def _inline(values: dict[str, Any]) -> str:
    """{size: 5} as Hydra reads it on one line."""
    return ", ".join(f"{name}: {_shown(value)}" for name, value in values.items())


def _new_file(options: EnvsOptions) -> Path:
    """Where the frame goes: where the user says, or beside him under a name that is free."""
    if options.out is not None:
        return Path(options.out)
    stem = re.sub(r"[^\w.-]+", "-", str(options.name))
    names = (f"{stem}.png" if number == 1 else f"{stem}-{number}.png" for number in count(1))
    return next(path for path in map(Path, names) if not path.exists())


def _frame(config: Any, mode: str | None, out: Path) -> tuple[list[str], str | None]:
    """The render modes, and the path of a PNG of the environment after a few random steps.

    Text that the environment draws is returned in the place of the path.
    """
    from rlkit.envs.factory import EnvMaker

    env = EnvMaker(config.env, config.wrappers, render_mode=mode)()
    try:
        modes = [str(name) for name in env.metadata.get("render_modes") or ()]
        if mode is None:
            return modes, None
        env.action_space.seed(0)
        env.reset(seed=0)
        for _ in range(10):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                env.reset()
        frame: Any = env.render()
    finally:
        env.close()
    if mode == "ansi":
        return modes, "\n" + str(frame)
    from PIL import Image

    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frame).save(out, "PNG")
    return modes, str(out.resolve())


# ---------------------------------------------------------------------- the wrappers


def _wrappers(options: EnvsOptions) -> int:
    from rlkit.cli.composing import wrapper_arguments

    names = [options.name] if options.name else wrappers.names()
    rows: list[dict[str, Any]] = []
    for name in names:
        wrapper = wrappers.get(name)
        told = {
            item.name: "needed" if item.default is item.empty else item.default
            for item in wrapper_arguments(wrapper)
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

    found = diagnose(options.name, options.kwargs)
    faults = [finding for finding in found if not finding.advice]
    lines = _lines(options.name, options.kwargs, bool(faults))
    if options.json:
        print_json({"found": [vars(finding) for finding in found], "train": lines})
        return 2 if faults else 0
    for number, finding in enumerate(found, 1):
        kind = " (advice)" if finding.advice else ""
        print(f"{number}. {finding.what}{kind}\n   where: {finding.where}\n   fix:   {finding.fix}")
    if not faults:
        print("fine" if not found else "nothing that keeps it from training")
    for what, line in lines.items():
        print(f"{what}: {line}")
    return 2 if faults else 0


def _lines(name: str, kwargs: dict[str, Any], faulty: bool) -> dict[str, str]:
    """The commands that train it: now (tried), and once it is mended."""
    from rlkit.envs.checking import plain, trainable

    lines = {}
    now = trainable(name, kwargs)
    given = "".join(f" env.kwargs.{key}={_shown(value)}" for key, value in kwargs.items())
    if now is not None:
        fitting = [agent for agent in ("dqn", "ppo", "random") if _serves(agent, now.action, now.obs)]
        agent = "" if fitting[:1] == ["dqn"] else f" agent={fitting[0]}" if fitting else ""
        limit = "" if now.ends else " env.max_episode_steps=1000"
        bridged = now.env_id.startswith("gym:") and name != now.env_id
        what = "train it unchanged, by the bridge to the old gym" if bridged else "train it"
        lines[what] = f"rlkit train env.id={now.env_id}{given}{limit}{agent}"
    if faulty and (now is None or now.env_id.startswith("gym:")):
        lines["once it is mended"] = f"rlkit train env.id={plain(name)}{given}"
    return lines


def _serves(agent: str, action: Any, obs: Any) -> bool:
    from rlkit.registry import agents

    return agents.get(agent).serves(action, obs) is None
