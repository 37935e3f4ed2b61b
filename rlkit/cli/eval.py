"""`rlkit eval`: greedy episodes of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rlkit.cli.options import parse, print_json
from rlkit.config import DEVICES, key
from rlkit.registry import load_plugins


@dataclass
class EvalOptions:
    run: str = key("latest", "path, name, or latest")
    checkpoint: int | str = key("best", "best, latest, or a step")
    episodes: int | None = key(None, "how many; null: as many as an evaluation of the run", low=1)
    lanes: int | None = key(None, "played at once; null: as in the run", low=1)
    device: str = key("auto", "auto, cpu, cuda, cuda:INDEX", choices=DEVICES)
    plugins: list[str] = key([], "modules to import first, those that the run needs")  # noqa: RUF009
    root: str = key("runs", "where run folders are looked for")
    json: bool = key(False, "print JSON")


def run(arguments: Sequence[str]) -> int:
    options = parse(arguments, EvalOptions, "eval", names=("run",))
    if options is None:
        return 0
    load_plugins(options.plugins)
    from rlkit import runs, session

    path = runs.find_run(options.run, root=options.root)
    score = session.evaluate(
        path,
        checkpoint=str(options.checkpoint),
        episodes=options.episodes,
        lanes=options.lanes,
        device=options.device,
        plugins=options.plugins,
    )
    if options.json:
        print_json({"run": path, "checkpoint": options.checkpoint, "mean": score.mean, "std": score.std,
                    **asdict(score)})  # fmt: skip
        return 0
    print(f"{path}, checkpoint {options.checkpoint}")
    print(f"mean {score.mean:.2f} ± {score.std:.2f} over {len(score.returns)} episodes")
    shown = " ".join(f"{value:g}" for value in score.returns[:20])
    print(f"returns: {shown}{' …' if len(score.returns) > 20 else ''}")
    return 0
