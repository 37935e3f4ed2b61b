"""What an evolution tells of itself, while it goes on or from a checkpoint: champions, species, fitness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlkit.neat.drawing.charts import draw_fitness, draw_species
from rlkit.neat.drawing.graph import draw_network
from rlkit.neat.drawing.layout import Graph
from rlkit.neat.drawing.scene import Scene
from rlkit.neat.genes import Genomes
from rlkit.neat.history import History
from rlkit.neat.naming import Names
from rlkit.neat.reproduction import Evolution


@dataclass
class Story:
    names: Names
    history: History
    genomes: Genomes  # the champion of each finished generation; before that, the first generation
    champion_ids: list[int]
    fitness: list[float]  # of the champions
    species: list[tuple[int, int, int, float, int]]  # living ones: id, size, born, best fitness, improved

    @staticmethod
    def of(evolution: Evolution, names: Names) -> Story:
        """Of an evolution that goes on. Nothing is copied."""
        genomes = evolution.genomes if evolution.champions is None else evolution.champions
        return Story(names, evolution.history, genomes, evolution.champion_ids, evolution.best, [])

    @staticmethod
    def from_state(state: dict[str, Any]) -> Story:
        """Of the state that the agent `neat` leaves in a checkpoint."""
        told, history = state["evolution"], History()
        history.load_state_dict(told["history"])
        sizes = told["species"]["members"].bincount(minlength=len(told["species"]["species"])).tolist()
        return Story(
            names=Names.from_state(state["names"]),
            history=history,
            genomes=Genomes.from_state(told["genomes"] if told["champions"] is None else told["champions"]),
            champion_ids=list(told["champion_ids"]),
            fitness=list(told["best"]),
            species=[
                (int(one[0]), size, int(one[1]), float(one[2]), int(one[3]))
                for one, size in zip(told["species"]["species"], sizes, strict=True)
            ],
        )

    def champion(self, generation: int | None = None) -> Graph:
        """The best genome of a finished generation, of the newest by default."""
        return Graph.of(self.genomes, self.names, self._row(generation))

    def title(self, graph: Graph, generation: int | None = None) -> str:
        """Which champion it is, how good and how large."""
        row, hidden = self._row(generation), len(graph.hidden)
        size = f"{hidden} hidden node{'' if hidden == 1 else 's'}, {len(graph.live):,} connections"
        if not self.champion_ids:
            return f"a genome of the first generation: {size}"
        return f"generation {row}, genome {self.champion_ids[row]}, fitness {self.fitness[row]:.6g}: {size}"

    def draw_champion(self, generation: int | None = None) -> Scene:
        graph = self.champion(generation)
        return draw_network(graph, self.names, self.title(graph, generation))

    def draw_fitness(self) -> Scene:
        return draw_fitness(self.history)

    def draw_species(self) -> Scene:
        return draw_species(self.history)

    def _row(self, generation: int | None) -> int:
        return max(len(self.champion_ids) - 1, 0) if generation is None else generation
