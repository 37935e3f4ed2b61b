"""neat_cartpole.ipynb: the cells below, executed in an empty folder without a display, with what they show.

python make_notebook.py            # pip install 'rlkit-lab[notebook,plots]' first; under a minute
"""

import os
import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import v4

HERE = Path(__file__).parent
NAME = "neat_cartpole.ipynb"

# Markdown and code in turns, divided by lines of dashes: `---- text`, `---- code`.
CELLS = """
---- text
# NEAT with Gym, in a notebook

"Why isn't OpenAI Gym with NEAT working in Jupyter?", asks an article of 2024, and names three reasons:
drawing without a display, environments in worker processes, and a configuration that does not fit. Here is
CartPole solved in one cell, and then each of the three.
---- code
import os

import rlkit
from rlkit.cli import main  # the command line, from a cell
from rlkit.errors import UserError

print("display:", os.environ.get("DISPLAY"))
---- text
## Evolution

Fifty genomes begin without a single connection: whatever the champion has, it grew. A generation's networks
are one batch of tensors and its CartPoles another, in this one process. The figure is redrawn while the
cell runs. When the best genome has the reward boundary in reach, it is tried on 100 fresh episodes, and the
run stops if it holds.
---- code
config = rlkit.compose([
    "experiment=neat_cartpole",  # three episodes a genome
    "agent.population=50",
    "agent.evolution.initial_connection=none",
    "agent.evolution.conn_add_prob=0.3",
    "agent.evolution.node_add_prob=0.1",
    "env.engine=torch",  # fifty CartPoles as one tensor
    "logger=[tensorboard,jsonl,notebook]",
    "seed=5",
])
run = rlkit.train(config)
---- text
The champion's score is of 100 more episodes, on seeds that chose nothing.
---- code
def tell(run):
    score, episodes = run.info["test_mean"], run.info["test_episodes"]
    print(f"champion: {score:.1f} over {episodes} fresh episodes; solved at {run.info['threshold']:g}")
    print(f"{run.info['steps']:,} steps in {run.info['seconds']:.1f} s")


tell(run)
---- text
## The champion

One episode of it, its network, and how it came about. The same is told on a terminal by `rlkit neat show`.
---- code
from IPython.display import Image, Video

film = run.films()[-1]
Video(str(film), embed=True, width=420)
---- code
code = main(["neat", "show", f"run={run.path}", "checkpoint=best"])
---- code
Image(str(run.path / "neat" / "champion.png"), width=640)
---- code
Image(str(run.path / "neat" / "species.png"), width=640)
---- text
## Scenario 1: drawing

Training draws nothing. A film is made after its episode: an episode is a seed and its actions, so they are
played again in an environment that draws into memory. There is no X server to miss, and a picture that
fails costs a film, never a genome its fitness. Where a network shall see the frames itself,
`wrappers=[add_render_observation,…]` makes them its inputs, drawn in the same way. The record says which
genome played.
---- code
record = next(episode for episode in reversed(run.episodes()) if episode.get("video") == film.name)
{name: record[name] for name in ("video", "generation", "genome_id", "seed", "return", "length")}
---- text
## Scenario 2: processes

The run above used one process and no pool: nothing to share, nothing to guard. Worker processes pay for
environments that are slow by themselves; `env.engine=async` starts them from a clean server process, so it
may be done in a notebook. It changes nothing but the time: the same evolution in one process and in workers
is equal to the last bit.
---- code
from rlkit.runs import diff

small = [
    "agent=neat", "agent.population=20", "env.num_envs=4", "trainer.total_steps=4_000",
    "trainer.eval_every=0", "trainer.test_episodes=0", "monitor.video=none", "logger=[jsonl]",
]
sync = rlkit.train(rlkit.compose([*small, "env=cartpole", "env.engine=sync"]))
workers = rlkit.train(rlkit.compose([*small, "env=cartpole", "env.engine=async"]))
same, told = diff(sync, workers)
print(told)
---- text
An environment that a cell defines goes to the workers by value:
---- code
import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv


class WindyCart(CartPoleEnv):
    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        x, speed, angle, turning = self.state
        self.state = (x, speed + self.np_random.normal(0, 0.05), angle, turning)
        return obs, reward, terminated, truncated, info


gym.register("WindyCart-v0", WindyCart, max_episode_steps=500)
windy = rlkit.train(rlkit.compose([*small, "env.id=WindyCart-v0", "env.engine=async"]))
print(windy.status, f"after {windy.info['steps']:,} steps")
---- text
What cannot go to another process is refused with a sentence, before anything is started. Nothing hangs.
---- code
import threading

lock = threading.Lock()


class LockedCart(WindyCart):
    def step(self, action):
        with lock:
            return super().step(action)


gym.register("LockedCart-v0", LockedCart, max_episode_steps=500)
try:
    rlkit.train(rlkit.compose([*small, "env.id=LockedCart-v0", "env.engine=async"]))
except UserError as error:
    print(error)
---- text
The stop button ends a run as Ctrl-C does: it saves itself, its workers go, and `resume=` in the message
continues it exactly where it was.

## Scenario 3: configuration

There is little to configure: inputs and outputs of the networks are derived from the environment's spaces.
A wrong key is one sentence, with the nearest right one:
---- code
try:
    rlkit.compose(["agent=neat", "env=cartpole", "agent.evolution.connection_add_prob=0.1"])
except UserError as error:
    print(error)
---- text
Files of neat-python are read as they are. This is the article's:
---- code
%%writefile config-feedforward.txt
[NEAT]
fitness_threshold = 100000 #Example
pop_size = 200
reset_on_extinction = True
[DefaultGenome]
num_hidden = 0
num_inputs = 4
num_outputs = 2
initial_connection = full
connection_add_prob = 0.1
connection_delete_prob = 0.0
node_add_prob = 0.01
node_delete_prob = 0.01
[DefaultSpeciesSet]
[DefaultStagnation]
species_fitness_func = mean
max_stagnation = 15
[DefaultReproduction]
elitism = 2
---- code
code = main("neat check config-feedforward.txt env=cartpole out=corrected.txt".split())
---- text
The corrected file loads in neat-python, too. Here it trains; what is written out, like the goal, wins over
the file.
---- code
corrected = rlkit.train(rlkit.compose([
    "experiment=neat_cartpole", "agent.config_file=corrected.txt", "trainer.stop_at_return=475",
    "env.engine=torch", "env.num_envs=200", "monitor.eval_video=none", "logger=[jsonl,notebook]",
]))
tell(corrected)
"""


def build() -> nbformat.NotebookNode:
    """The notebook, not executed."""
    made = []
    for number, (kind, text) in enumerate(
        re.findall(r"---- (text|code)\n(.*?)(?=\n---- |\Z)", CELLS, re.DOTALL)
    ):
        cell = v4.new_markdown_cell(text.strip()) if kind == "text" else v4.new_code_cell(text.strip())
        cell["id"] = f"cell-{number}"  # nbformat's own are random
        made.append(cell)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=made, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def execute(notebook: nbformat.NotebookNode, folder: str) -> nbformat.NotebookNode:
    """In `folder`, without a display whatever the machine has."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        os.environ.pop(name, None)
    where = {"metadata": {"path": folder}}
    client = NotebookClient(
        notebook, timeout=300, record_timing=False, coalesce_streams=True, resources=where
    )
    return client.execute()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        notebook = execute(build(), folder)
    notebook["metadata"]["language_info"] = {"name": "python"}
    nbformat.write(notebook, HERE / NAME)
    print(f"{NAME}: {len(notebook['cells'])} cells, {(HERE / NAME).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
