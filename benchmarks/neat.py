"""NEAT on CartPole-v1 beside neat-python: a whole generation, and the evolution step alone.

python -m benchmarks.neat [sizes=150,500,2000] [evolution=500,2000,10000] [repeats=3] [workers=2] [threads=1]
                          [seed=0] [device=cpu] [out=…]

`sizes=` or `evolution=` with nothing behind it leaves that part out. device=cuda plays 10,000 genomes with
environments on the device beside a ParallelEvaluator on all cores.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
import torch

from benchmarks import report
from benchmarks.neat_sides import (
    Measured,
    Ours,
    Theirs,
    copied,
    drifted,
    evolve_ours,
    newborn,
    survivors,
)
from rlkit.neat.reproduction import Evolution

DRIFT = 20  # generations of random fitness before the evolution step is measured
SPECIES = 20  # and the number of species in which it is measured a second time
ON_DEVICE = "10000"  # genomes
Run = dict[str, Any]


@dataclass
class NeatArgs:
    sizes: str = "150,500,2000"
    evolution: str = "500,2000,10000"
    repeats: int = 3
    workers: int = 2  # of neat-python's ParallelEvaluator
    threads: int = 1  # of rlkit; more do not pay below some ten thousand genomes
    seed: int = 0
    device: str = "cpu"
    out: str = ""


def main(words: list[str]) -> None:
    parts = [word.removesuffix("=") for word in words if word in ("sizes=", "evolution=")]
    args = report.arguments(NeatArgs, [word for word in words if word[:-1] not in parts])
    for part in parts:
        setattr(args, part, "")
    device = report.pick_device(args.device)
    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            report.say("device=cuda: there is no CUDA device here, so nothing was measured")
            return
        args.sizes, args.evolution = args.sizes if "sizes" in " ".join(words) else ON_DEVICE, ""
        args.workers = os.cpu_count() or 1
    torch.set_num_threads(1)
    facts = report.facts(device)
    has_peer = find_spec("neat") is not None
    facts["versions"]["neat-python"] = version("neat-python") if has_peer else None
    runs = [*generations(args, device, has_peer), *evolution_steps(args, has_peer)]
    report.finish_facts(facts, report.command_line("neat", words))
    data = {"facts": facts, "arguments": asdict(args) | {"out": None}, "runs": runs}
    text = page(facts, runs, args, has_peer)
    path = report.write(f"neat-{report.host_kind(device)}", data, text, args.out or None)
    print(text)
    report.say(f"written: {path.parent.name}/{path.name} and its .json")


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


# ---------------------------------------------------------------------- measuring


def generations(args: NeatArgs, device: str, has_peer: bool) -> Iterator[Run]:
    """A whole generation of newborn genomes, and of genomes that hold the pole for all 500 steps."""
    sizes = _numbers(args.sizes)
    holding = survivors(args.seed) if sizes else None
    for size in sizes:
        for kind in ("first generation", "500 steps"):
            population = newborn(size, args.seed)
            if kind == "500 steps" and holding is not None:
                population = copied(holding, population)
            yield from _in_turns(_sides(population, args, device, has_peer), kind, size, args.repeats)


def _sides(population: Evolution, args: NeatArgs, device: str, has_peer: bool) -> dict[str, Any]:
    sides: dict[str, Any] = {}
    if has_peer:
        sides[f"neat-python, ParallelEvaluator({args.workers})"] = Theirs(population, args.seed, args.workers)
        if device == "cpu":
            sides["neat-python"] = Theirs(population, args.seed)
    sides["rlkit"] = Ours(population, args.seed, device, args.threads)
    return sides


def _in_turns(sides: dict[str, Any], kind: str, size: int, repeats: int) -> Iterator[Run]:
    """Each repeat goes through all sides, every other one backwards; rlkit's first is not counted."""
    for name, side in sides.items():
        if name == "rlkit":
            side.generation()
    calls = {name: side.generation for name, side in sides.items()}
    yield from _measured(calls, repeats, {"part": "generation", "kind": kind, "genomes": size})
    for name, side in sides.items():
        if name.startswith("neat"):
            side.close()


def evolution_steps(args: NeatArgs, has_peer: bool) -> Iterator[Run]:
    """The evolution step by itself, with equal fitness on both sides: equal thresholds, or equal species."""
    for size, species in product(_numbers(args.evolution), (0, SPECIES)):
        ours = drifted(size, DRIFT, args.seed, species)
        theirs = Theirs(ours, args.seed) if has_peer else None
        if theirs is not None and species:
            theirs.aim(species)
        random = torch.Generator().manual_seed(args.seed)
        kind = f"about {species} species" if species else "equal thresholds"
        for repeat in range(args.repeats):
            fitness = torch.rand(size, generator=random)
            calls: dict[str, Callable[[], Measured]] = {"rlkit": partial(evolve_ours, ours, fitness)}
            if theirs is not None:
                calls["neat-python"] = partial(theirs.evolve, fitness)
            yield from _measured(calls, 1, {"part": "evolution", "kind": kind, "genomes": size}, repeat)


def _measured(
    calls: dict[str, Callable[[], Measured]], repeats: int, facts: Run, first: int = 0
) -> Iterator[Run]:
    for repeat in range(first, first + repeats):
        for name in list(calls)[:: 1 if repeat % 2 == 0 else -1]:
            gc.collect()
            gc.disable()  # neither side pays for a look at the other's objects
            found = {**facts, "side": name, "repeat": repeat, **calls[name]()}
            gc.enable()
            told = f"{found['part']}, {found['kind']:18} {found['genomes']:6,} genomes  {name}"
            report.say(f"{told}: {found['seconds']:.3f} s")
            yield found


# ---------------------------------------------------------------------- the page


def page(facts: dict[str, Any], runs: list[Run], args: NeatArgs, has_peer: bool) -> str:
    parts = ["# NEAT beside neat-python\n", report.described(facts)]
    whole = [run for run in runs if run["part"] == "generation"]
    if whole:
        parts += [
            "## Seconds per generation on CartPole-v1\n",
            "All genomes play one episode, the population evolves, the next networks are built; equal "
            "genomes and parameters on both sides. *First generation*: newborn genomes. *500 steps*: genomes "
            "that evolved until they hold the pole from each of four first states, in turn until the "
            "population is full. Medians, in brackets the range; × is how many times as long as rlkit the "
            "side took.\n",
            _generation_table(whole),
        ]
    alone = [run for run in runs if run["part"] == "evolution"]
    if alone:
        parts += [
            "## The evolution step alone\n",
            f"Reproduce, speciate, and build (rlkit: pack) the networks, in one thread, after {DRIFT} "
            "generations of random fitness, with equal fitness on both sides. The two libraries measure "
            "distances differently, so equal thresholds give different numbers of species; what a step costs "
            f"grows with them. So it is measured again with thresholds that give each about {SPECIES}.\n",
            _evolution_table(alone),
        ]
    if not has_peer:
        parts.append('Not measured: neat-python is not installed (pip install "rlkit-lab[neat]").\n')
    if facts["device"] == "cpu":
        parts.append("Not measured here: 10,000 genomes on a device, `device=cuda`.\n")
    return "\n".join(parts)


def _of(runs: list[Run], what: str) -> str:
    values = [run[what] for run in runs]
    digits = 3 if max(values) < 10 else 1
    return f"{np.median(values):,.{digits}f} [{min(values):,.{digits}f}, {max(values):,.{digits}f}]"


def _times(runs: list[Run], name: str, what: str = "seconds") -> str | None:
    """How many times as long as rlkit's median the side took; None for itself."""
    own = [run[what] for run in runs if run["side"] == "rlkit"]
    if name == "rlkit" or not own:
        return None
    return f"{np.median([run[what] for run in runs if run['side'] == name]) / np.median(own):.1f} ×"


def _generation_table(runs: list[Run]) -> str:
    rows = []
    for kind, size in dict.fromkeys((run["kind"], run["genomes"]) for run in runs):
        same = [run for run in runs if (run["kind"], run["genomes"]) == (kind, size)]
        for name in sorted({run["side"] for run in same}, reverse=True):
            mine = [run for run in same if run["side"] == name]
            steps = float(np.median([run["steps"] for run in mine]))
            rate = float(np.median([run["steps"] / (run["seconds"] - run["evolving"]) for run in mine]))
            rows.append([f"{size:,}, {kind}", name, _of(mine, "seconds"), _times(same, name), rate,
                         float(np.median([run["evolving"] for run in mine])), steps / size])  # fmt: skip
    head = ["genomes", "side", "seconds", "beside rlkit", "genome steps/s", "of it evolving, s",
            "mean return"]  # fmt: skip
    return report.table(head, sorted(rows, key=lambda row: row[0].split(", ")[1] != "first generation"))


def _evolution_table(runs: list[Run]) -> str:
    rows = []
    for size, kind in dict.fromkeys((run["genomes"], run["kind"]) for run in runs):
        same = [run for run in runs if (run["genomes"], run["kind"]) == (size, kind)]
        for name in ("rlkit", "neat-python"):
            mine = [run for run in same if run["side"] == name]
            if mine:
                species = float(np.median([run["species"] for run in mine]))
                rows.append([f"{size:,}, {kind}", name, _of(mine, "seconds"), _times(same, name), species])
    return report.table(["genomes", "side", "seconds", "beside rlkit", "species"], rows)


if __name__ == "__main__":
    main(sys.argv[1:])
