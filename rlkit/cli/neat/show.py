"""`rlkit neat show`: champion, species, fitness of a run. Nothing in its folder is executed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlkit.cli.options import parse, print_json
from rlkit.config import key
from rlkit.errors import UserError

if TYPE_CHECKING:
    from rlkit.neat.story import Story


@dataclass
class ShowOptions:
    run: str = key("latest", "path, name, or latest")
    checkpoint: int | str = key("latest", "latest, best, or a step")
    generation: int | None = key(None, "whose champion is shown; null: the newest finished one's", low=0)
    root: str = key("runs", "where run folders are looked for")
    json: bool = key(False, "print JSON")


def run(arguments: Sequence[str]) -> int:
    options = parse(arguments, ShowOptions, "neat show", names=("run",))
    if options is None:
        return 0
    from rlkit import runs

    found = runs.Run(runs.find_run(options.run, root=options.root))
    story, step = read_story(found, str(options.checkpoint))
    finished = len(story.history)
    if options.generation is not None and options.generation >= finished:
        raise UserError(
            f"generation={options.generation} is not finished in {found.path}; {finished} are, from 0"
        )
    files = draw(story, found.path / "neat", options.generation)
    if options.json:
        print_json(facts(found, story, step, files))
    else:
        print("\n".join(told(found, story, step, files, options.generation)))
    return 0


def read_story(found: Any, checkpoint: str = "latest") -> tuple[Story, int]:
    """What a checkpoint of a `runs.Run` tells of its evolution, and the checkpoint's step."""
    from rlkit.checkpoint import Checkpoints
    from rlkit.neat.story import Story

    if found.info.get("agent") != "neat":
        agent = found.info.get("agent")
        raise UserError(f"{found.path} is a run of {agent}; rlkit neat show needs one of agent=neat")
    which = int(checkpoint) if checkpoint.isdecimal() else checkpoint
    loaded = Checkpoints(found.path / "checkpoints").load(which)
    return Story.from_state(loaded.state["agent"]), loaded.step


def draw(story: Story, folder: Path, generation: int | None = None) -> list[Path]:
    """Write the pictures as PNG and SVG; those that are there are replaced."""
    from rlkit.files import replace_file

    name = "champion" if generation is None else f"champion-{generation:04}"
    scenes = {name: story.draw_champion(generation)}
    if len(story.history):
        scenes |= {"species": story.draw_species(), "fitness": story.draw_fitness()}
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, scene in scenes.items():
        for ending, data in (("png", scene.png()), ("svg", scene.svg().encode())):
            replace_file(folder / f"{name}.{ending}", data, sync=False)
            written.append(folder / f"{name}.{ending}")
    return written


def facts(found: Any, story: Story, step: int, files: Sequence[Path]) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "run": found.path, "step": step, "generations": len(story.history),
        "champion_ids": story.champion_ids,
        **{name: story.history.column(name) for name in ("best", "mean", "worst")},
        "species": [
            # Before the first generation is finished nothing is the best: JSON knows no infinity.
            {"id": number, "size": size, "born": born, "best": best if isfinite(best) else None,
             "improved": improved} for number, size, born, best, improved in story.species
        ],
        "files": files,
    }  # fmt: skip


def told(
    found: Any, story: Story, step: int, files: Sequence[Path], generation: int | None = None
) -> list[str]:
    """Lines for a terminal, 80 columns."""
    from rlkit.neat.drawing.text import fitness_lines, network_lines, species_lines, species_table

    history, graph = story.history, story.champion(generation)
    finished = len(history)
    lines = [str(found.path), f"{found.info.get('env')}, checkpoint at step {step:,}"]
    if finished:
        best = history.column("best")
        first = best.index(max(best))
        top = f"best fitness {max(best):.6g}, first in generation {first:,}"
        lines += [f"{finished:,} generations, {top}", "", *fitness_lines(history)]
        lines += ["", f"species, {len(story.species)} now", *species_lines(history)]
        lines += ["", *species_table(story.species)]
    else:
        lines.append("no generation was finished before this checkpoint")
    head = "node         = activation  bias  weights of what leads into it"
    lines += ["", story.title(graph, generation), head, *network_lines(graph, story.names)]
    return [*lines, "", *(str(path) for path in files)]
