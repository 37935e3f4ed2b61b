"""How soon NEAT solves a task, seed by seed, beside neat-python with equal parameters.

python -m benchmarks.neat_learning tasks=cartpole,mountaincar,lunarlander [seeds=20] [first=0]
                                   [generations=0] [sides=rlkit,neat-python] [report=false] [out=FOLDER]

Every generation the oldest genome of the highest fitness is the champion. Where its fitness reaches the goal
it plays 100 fresh episodes, and the task is solved if their mean reaches the goal too. Genome evaluations,
environment steps and generations are counted until then, the checks apart: counts do not depend on speed.

Each finished seed is one line of neat-learning.jsonl in the results' folder, and what stands there is not
run again: an interrupted measurement goes on, `report=true` makes the page of what there is.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from benchmarks import report
from benchmarks.neat_tasks import POPULATION, TASKS, Task, batched_returns, peer_config
from rlkit.agents.neat import NEAT, NEATConfig
from rlkit.config import AccelConfig, EnvConfig, NetConfig
from rlkit.envs.engines import make_envs
from rlkit.evaluator import Evaluator
from rlkit.neat.trials import trial_seeds
from rlkit.seeding import episode_seed
from rlkit.types import Actor, AgentSetup

CHECKED = 100  # fresh episodes of a champion
OURS, PEER = "rlkit", "neat-python"


@dataclass
class LearningArgs:
    tasks: str = "cartpole"
    seeds: int = 20
    first: int = 0
    generations: int = 0  # 0: each task's own
    sides: str = f"{OURS},{PEER}"
    report: bool = False  # only the page of what was measured
    out: str = ""


@dataclass
class Count:
    """What one seed took. `solved` stays None when no champion held."""

    generations: int = 0
    evaluations: int = 0  # episodes of genomes
    steps: int = 0  # of those episodes
    checks: int = 0  # champions whose fitness reached the goal
    solved: float | None = None  # mean of the fresh episodes
    best: float = -float("inf")  # highest fitness of a champion
    highest_check: float | None = None
    seconds: float = 0.0
    error: str | None = None  # of a library that gave up; the seed counts as not solved

    def generation(self, task: Task, fitness: float, steps: int, play: Callable[[list[int]], float],
                   seed: int) -> bool:  # fmt: skip
        """One more; True when its champion holds. play: mean return of the champion on these seeds."""
        self.generations += 1
        self.evaluations += POPULATION * task.trials
        self.steps, self.best = steps, max(self.best, fitness)
        if fitness < task.goal:
            return False
        self.checks += 1
        mean = play([episode_seed(seed, "test", self.generations, k) for k in range(CHECKED)])
        self.highest_check = max(mean, self.highest_check if self.highest_check is not None else mean)
        if mean < task.goal:
            return False
        self.solved = mean
        return True


# ---------------------------------------------------------------------- the two sides


def ours(task: Task, seed: int, generations: int) -> Count:
    """rlkit's agent. The number of lanes changes nothing but the time."""
    lanes = POPULATION * task.trials if task.engine == "torch" else 32
    envs = make_envs(EnvConfig(id=task.id), {}, seed=seed, num_envs=lanes, engine=task.engine)
    setup = AgentSetup(
        envs.obs_spec, envs.action_spec, lanes, 10**9, torch.device("cpu"), seed, NetConfig(), AccelConfig()
    )
    agent = NEAT(NEATConfig(population=POPULATION, trials=task.trials, evolution=task.settings), setup)
    count, steps = Count(), 0
    obs = envs.reset(agent.first_seeds()).obs
    try:
        while count.generations < generations:
            decision = agent.act(obs, steps)
            envs.send(decision)
            step = envs.recv()
            agent.observe(obs, decision, step)
            obs, steps = step.obs, steps + step.count
            if agent.learn(steps) is None:
                continue
            fitness, actor = agent.evolution.best[-1], agent.actor()
            if count.generation(task, fitness, steps, lambda seeds, a=actor: played(task, a, seeds), seed):
                break
    finally:
        envs.close()
    return count


def played(task: Task, actor: Actor, seeds: list[int]) -> float:
    """The mean return of one episode for each seed, in Gymnasium's own environments."""
    evaluator = Evaluator(EnvConfig(id=task.id), {}, seed=0, episodes=len(seeds), lanes=len(seeds))
    evaluator.seeds = seeds
    return evaluator(actor)[0].mean


def peer(task: Task, seed: int, generations: int) -> Count:
    """neat-python in one process, the same seeds of trials; `task.peer` says in which environments."""
    import neat as library

    env = gym.make(task.id, disable_env_checker=True)
    spaces: Any = env.observation_space, env.action_space
    config = peer_config(library, task.settings, spaces[0].shape[0], int(spaces[1].n))
    population = library.Population(config, seed=seed)
    count, steps = Count(), 0

    def episode(network: Any, number: int) -> float:
        nonlocal steps
        obs, _ = env.reset(seed=number)
        total, over = 0.0, False
        while not over:
            obs, reward, terminated, truncated, _ = env.step(int(np.argmax(network.activate(obs))))
            total += float(reward)
            over, steps = terminated or truncated, steps + 1
        return total

    def judge(genomes: Any, config: Any) -> None:
        nonlocal steps
        numbers = trial_seeds(seed, count.generations, 1, task.trials, True).tolist()
        networks = [library.nn.FeedForwardNetwork.create(genome, config) for _, genome in genomes]
        if task.peer == "torch":
            returns, played = batched_returns(task, networks, numbers)
            steps += played
        else:
            returns = [sum(episode(network, number) for number in numbers) for network in networks]
        for (_, genome), total in zip(genomes, returns, strict=True):
            genome.fitness = float(total) / task.trials
        _, champion = min(genomes, key=lambda one: (-one[1].fitness, one[0]))  # of equals the oldest
        network, before = library.nn.FeedForwardNetwork.create(champion, config), steps

        def play(seeds: list[int]) -> float:
            return sum(episode(network, number) for number in seeds) / len(seeds)

        held = count.generation(task, champion.fitness, steps, play, seed)
        steps = before
        if held:
            raise StopIteration

    try:
        population.run(judge, generations)
    except StopIteration:
        pass
    except RuntimeError as error:  # neat-python 2.0 cannot always make a generation of the right size
        count.error = str(error)
    finally:
        env.close()
    return count


# ---------------------------------------------------------------------- seeds, and the page


def main(words: list[str]) -> None:
    args = report.arguments(LearningArgs, words)
    torch.set_num_threads(1)
    unknown = [name for name in args.tasks.split(",") if name not in TASKS]
    if unknown:
        raise SystemExit(f"there is no task {unknown[0]}; choose among {', '.join(TASKS)}")
    book = Path(args.out or report.RESULTS) / "neat-learning.jsonl"
    book.parent.mkdir(parents=True, exist_ok=True)
    if not args.report:
        for name in args.tasks.split(","):
            for seed in range(args.first, args.first + args.seeds):
                for side in args.sides.split(","):
                    _measure(book, name, side, seed, args.generations)
    rows = _read(book)
    facts = report.facts("cpu")
    facts["versions"]["neat-python"] = version("neat-python")
    report.finish_facts(facts, report.command_line("neat_learning", words))
    facts["preliminary"] = False  # a busy machine changes no count
    text = page(rows, facts)
    path = report.write(f"neat-learning-{report.host_kind('cpu')}", {"facts": facts, "runs": rows}, text,
                        args.out or None)  # fmt: skip
    print(text)
    report.say(f"written: {path.parent.name}/{path.name} and its .json")


def _read(book: Path) -> list[dict[str, Any]]:
    lines = book.read_text(encoding="utf-8").splitlines() if book.exists() else []
    return [json.loads(line) for line in lines]


def _measure(book: Path, name: str, side: str, seed: int, generations: int) -> None:
    """One seed of one side, unless its line is in the book."""
    task = TASKS[name]
    task = replace(task, generations=generations) if generations else task
    same = {"task": name, "side": side, "seed": seed, "budget": task.generations, "trials": task.trials}
    if any(same.items() <= row.items() for row in _read(book)):
        return
    random.seed(seed)
    began = time.perf_counter()
    count = (ours if side == OURS else peer)(task, seed, task.generations)
    count.seconds = round(time.perf_counter() - began, 1)
    with book.open("a", encoding="utf-8") as file:
        file.write(json.dumps(same | asdict(count)) + "\n")
    told = count.error or "not solved"
    found = f"solved with {count.solved:.1f}" if count.solved is not None else told
    report.say(
        f"{name:<12} seed {seed:<3} {side:<12} {found} after {count.generations} generations, "
        f"{count.evaluations:,} evaluations, {count.seconds:.0f} s"
    )


def page(rows: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    text = "# NEAT: evaluations until solved\n\n" + report.described(facts)
    text += (
        f"\n{POPULATION} genomes, equal parameters on both sides. The champion of a generation (the oldest "
        f"of the highest fitness) plays {CHECKED} fresh episodes where its fitness reaches the goal; solved: "
        "their mean reaches the goal. An evaluation is one episode of a genome; checks are not counted. "
        "Median [first, third quartile] over all seeds; a seed that was not solved counts as longer than any "
        "(–: half of the seeds or more).\n\n"
    )
    head = ["task", "goal", "trials", "budget", "side", "seeds", "solved", "evaluations", "generations",
            "steps", "failed checks"]  # fmt: skip
    keys = list(dict.fromkeys((r["task"], r["trials"], r["budget"], r["side"]) for r in rows))
    cells = []
    for name, trials, budget, side in sorted(keys, key=lambda key: (list(TASKS).index(key[0]), *key[1:])):
        some = [r for r in rows if (r["task"], r["trials"], r["budget"], r["side"])
                == (name, trials, budget, side)]  # fmt: skip
        solved = [r for r in some if r["solved"] is not None]
        cells.append([
            name, TASKS[name].goal, trials, f"{budget} generations", side, len(some),
            f"{len(solved)} of {len(some)}", *(_quartiles(some, what) for what in
            ("evaluations", "generations", "steps")), sum(r["checks"] for r in some) - len(solved),
        ])  # fmt: skip
    text += report.table(head, cells) + "\n## Seed by seed\n\n"
    named = ["task", "side", "seed", "evaluations", "generations", "steps", "mean of fresh episodes",
             "best fitness", "checks"]  # fmt: skip
    each = [[r["task"], r["side"], r["seed"], r["evaluations"], r["generations"], r["steps"], r["solved"],
             r["best"], r["checks"]] for r in rows]  # fmt: skip
    return text + report.table(named, sorted(each, key=lambda cells: cells[:3]))


def _quartiles(rows: list[dict[str, Any]], what: str) -> str:
    """median [first, third quartile] of a count; – where that lies among seeds that were not solved."""
    values = sorted(float(row[what]) if row["solved"] is not None else math.inf for row in rows)
    told = []
    for share in (0.5, 0.25, 0.75):
        at = share * (len(values) - 1)
        low, high = values[math.floor(at)], values[math.ceil(at)]
        told.append("–" if math.isinf(high) else f"{low + (at % 1) * (high - low):,.0f}")
    return f"{told[0]} [{told[1]}, {told[2]}]"


if __name__ == "__main__":
    main(sys.argv[1:])
