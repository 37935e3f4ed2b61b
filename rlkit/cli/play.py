"""`rlkit play`: films of greedy episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlkit.cli.options import parse, print_json
from rlkit.config import DEVICES, key
from rlkit.registry import load_plugins


@dataclass
class PlayOptions:
    run: str = key("latest", "path, name, or latest")
    checkpoint: int | str = key("best", "best, latest, or a step")
    episodes: int = key(3, "how many", low=1)
    watch: bool = key(False, "open a window instead, where there is a display")
    out: str | None = key(None, "folder of the films; null: inside the run folder")
    device: str = key("auto", "auto, cpu, cuda, cuda:INDEX", choices=DEVICES)
    plugins: list[str] = key([], "modules to import first, those that the run needs")  # noqa: RUF009
    root: str = key("runs", "where run folders are looked for")
    json: bool = key(False, "print JSON")


def run(arguments: Sequence[str]) -> int:
    options = parse(arguments, PlayOptions, "play", names=("run",))
    if options is None:
        return 0
    load_plugins(options.plugins)
    from rlkit import runs, session

    films = session.play(
        runs.find_run(options.run, root=options.root),
        checkpoint=str(options.checkpoint),
        episodes=options.episodes,
        watch=options.watch,
        plugins=options.plugins,
        device=options.device,
        out=None if options.out is None else Path(options.out),
    )
    if options.json:
        print_json([str(film) for film in films])
    else:
        print("\n".join(str(film) for film in films))
    return 0
