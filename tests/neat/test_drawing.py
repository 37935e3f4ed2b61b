"""Networks and histories as pictures: what stands where, in which colour, how much of it."""

from __future__ import annotations

import io
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from by_hand import Gene, evolved, genome
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from PIL import Image

from rlkit.neat.drawing import charts
from rlkit.neat.drawing.graph import MOST_LINKS, NEGATIVE, POSITIVE, draw_network
from rlkit.neat.drawing.layout import Graph
from rlkit.neat.drawing.scene import Area, Disc, Line, Scene, Words
from rlkit.neat.drawing.text import WIDTH, fitness_lines, network_lines, species_lines, species_table
from rlkit.neat.history import Generation, History
from rlkit.neat.naming import Names, labels
from rlkit.neat.settings import Settings
from rlkit.spaces import ActionSpec, ObsSpec

NAMES = Names((("obs", 3),), (("action", [2]),), ("tanh", "relu"), ("sum", "mean"))
# inputs −1 −2 −3, outputs 0 1, hidden 2 3 4; 4 leads nowhere
GENES: list[Gene] = [
    (1, -1, 2, 1.0, True), (2, 2, 3, -2.0, True), (3, 3, 0, 0.5, True), (4, -2, 0, -0.25, True),
    (5, -3, 1, 0.1, True), (6, -1, 1, 9.0, False), (7, -2, 4, 1.0, True),
]  # fmt: skip


def graph(*more: Gene, nodes: tuple[int, ...] = (0, 1, 2, 3, 4)) -> Graph:
    return Graph.of(genome(list(nodes), [*GENES, *more]), NAMES)


# ---------------------------------------------------------------------- layout


def test_depth_is_the_longest_way_from_an_input() -> None:
    found = graph()
    assert found.depth == {-1: 0, -2: 0, -3: 0, 2: 1, 3: 2, 4: 1, 0: 3, 1: 3}
    assert found.used == {-1, -2, -3, 0, 1, 2, 3}
    assert found.backward == set()
    # a second, shorter way into 3 changes nothing; a longer one does
    assert graph((8, -3, 3, 1.0, True)).depth[3] == 2
    assert graph((8, 4, 2, 1.0, True)).depth == found.depth | {4: 1, 2: 2, 3: 3, 0: 4, 1: 4}


def test_cycles_are_cut_and_outputs_stay_at_the_end() -> None:
    found = graph((8, 3, 2, 1.0, True), (9, 2, 2, 1.0, True), (10, 0, 4, 1.0, True), (11, 1, 0, 1.0, True))
    assert found.backward == {(3, 2), (2, 2), (0, 4), (1, 0)}
    assert found.depth == graph().depth
    assert 4 in graph((8, 4, 0, 1.0, True)).used
    assert (3, 2) not in graph((8, 3, 2, 1.0, False)).backward  # disabled


def test_names_follow_the_spaces() -> None:
    space = Dict({"a": Box(-1, 1, (2, 2), np.float32), "b": Discrete(2), "c": MultiDiscrete([1, 2]),
                  "action_mask": MultiBinary(4)})  # fmt: skip
    names = Names.of(ObsSpec.of(space), ActionSpec.of(MultiDiscrete([2, 1])), ["tanh"], ["sum"])
    assert labels(names.inputs) == [
        "a[0]", "a[1]", "a[2]", "a[3]", "b=0", "b=1", "c[0]=0", "c[1]=0", "c[1]=1",
    ]  # fmt: skip
    assert labels(names.outputs) == ["action[0]=0", "action[0]=1", "action[1]=0"]
    box = Names.of(ObsSpec.of(Discrete(3)), ActionSpec.of(Box(-1, 1, (2,))), ["tanh"], ["sum"])
    assert labels(box.inputs) + labels(box.outputs) == ["obs=0", "obs=1", "obs=2", "action[0]", "action[1]"]
    assert Names.from_state(names.state_dict()) == names


# ---------------------------------------------------------------------- the picture of a network


def links(scene: Scene) -> dict[tuple[int, int, int], list[Line]]:
    """Lines by colour, without those of the legend."""
    found: dict[tuple[int, int, int], list[Line]] = {}
    for shape in scene.shapes:
        if isinstance(shape, Line) and shape.points[0][1] < scene.height - 40:
            found.setdefault(shape.colour, []).append(shape)
    return found


def test_signs_are_colours_and_sizes_are_widths() -> None:
    scene = draw_network(graph(), NAMES)
    found = links(scene)
    assert (len(found[POSITIVE]), len(found[NEGATIVE])) == (4, 2)
    widths = {colour: [line.width for line in found[colour]] for colour in (POSITIVE, NEGATIVE)}
    assert widths[POSITIVE] == sorted(widths[POSITIVE])  # the strongest on top
    assert max(widths[POSITIVE]) < max(widths[NEGATIVE])  # 1.0 and −2.0
    dashed = [line for lines in found.values() for line in lines if line.dashed]
    assert len(dashed) == 1


def test_inputs_stand_left_of_hidden_nodes_and_those_left_of_outputs() -> None:
    scene = draw_network(graph(), NAMES, "title")
    discs = {shape.centre: shape for shape in scene.shapes if isinstance(shape, Disc)}
    columns = sorted({x for x, _ in discs})
    assert [sum(x == column for x, _ in discs) for column in columns] == [3, 2, 1, 2]
    ends = {round(x) for line in links(scene)[NEGATIVE] for x, _ in line.points}
    assert ends <= {round(x) for x in columns}
    for shape in scene.shapes:
        points = shape.points if isinstance(shape, Line | Area) else [getattr(shape, "at", (1, 1))]
        assert all(0 <= x <= scene.width and 0 <= y <= scene.height for x, y in points)
    words = [shape.text for shape in scene.shapes if isinstance(shape, Words)]
    assert {"title", "obs[0]", "obs[2]", "action=0", "action=1", "2", "3", "+0.20"} <= set(words)


def test_what_is_not_usual_is_said() -> None:
    one = genome([0, 1, 2, 3, 4], GENES)
    one.activation[0, 2], one.aggregation[0, 2] = 1, 1
    words = [w.text for w in draw_network(Graph.of(one, NAMES), NAMES).shapes if isinstance(w, Words)]
    assert "mean relu +0.20" in words
    assert "+0.30" in words


def test_a_link_that_leads_back_is_a_curve_with_a_head() -> None:
    def curves(*more: Gene) -> int:
        scene = draw_network(graph(*more), NAMES)
        heads = sum(isinstance(shape, Area) for shape in scene.shapes)
        assert sum(len(line.points) > 2 for lines in links(scene).values() for line in lines) == heads
        return heads

    assert curves() == 0
    assert curves((8, 3, 2, 1.0, True)) == 1
    assert curves((8, 3, 2, 1.0, True), (9, 2, 2, -1.0, True), (10, 0, 1, 1.0, True)) == 3


def test_nodes_of_a_layer_do_not_overlap() -> None:
    settings = Settings(node_add_prob=0.4, conn_add_prob=0.5)
    evolution = evolved(settings, 20, 6, 3, 20)
    names = Names((("obs", 6),), (("action", [3]),), ("tanh",), ("sum",))
    for row in range(20):
        scene = draw_network(Graph.of(evolution.genomes, names, row), names)
        discs = [shape for shape in scene.shapes if isinstance(shape, Disc)]
        for k, one in enumerate(discs):
            for other in discs[k + 1 :]:
                assert np.hypot(*np.subtract(one.centre, other.centre)) > one.radius + other.radius


def test_many_inputs_become_a_strip_and_the_strongest_links_stay() -> None:
    settings = replace(Settings(), node_add_prob=0.5)
    evolution = evolved(settings, 4, 784, 10, 2)
    names = Names((("image", 780), ("speed", 4)), (("action", [10]),), ("tanh",), ("sum",))
    found = Graph.of(evolution.genomes, names)
    scene = draw_network(found, names)
    drawn = [line for colour in (POSITIVE, NEGATIVE) for line in links(scene)[colour]]
    assert len(drawn) == MOST_LINKS
    sizes = sorted(abs(link.weight) for link in found.live)
    thin, thick = min(line.width for line in drawn), max(line.width for line in drawn)
    assert thin / thick > sizes[-MOST_LINKS] / sizes[-1]  # the others are weaker
    words = [shape.text for shape in scene.shapes if isinstance(shape, Words)]
    assert {"image: 780", "speed: 4"} <= set(words)
    assert f"the {MOST_LINKS} strongest of {len(found.live):,} connections" in words[-1]
    assert sum(isinstance(shape, Disc) for shape in scene.shapes) == 10 + len(found.hidden)
    assert scene.height < 900


def test_of_many_inputs_few_connected_ones_are_named() -> None:
    names = Names((("image", 784),), (("action", [2]),), ("tanh",), ("sum",))
    found = Graph.of(genome([0, 1], [(1, -10, 0, 1.0, True), (2, -784, 1, 1.0, True)]), names)
    words = [w.text for w in draw_network(found, names).shapes if isinstance(w, Words)]
    assert {"image[9]", "image[783]"} <= set(words)
    assert "782 unconnected inputs not shown" in words[-1]


def test_a_genome_without_any_connection_can_be_drawn() -> None:
    scene = draw_network(Graph.of(genome([0, 1], []), NAMES), NAMES)
    assert sum(isinstance(shape, Disc) for shape in scene.shapes) == 5


# ---------------------------------------------------------------------- shapes as SVG and as pixels


def test_svg_is_well_formed_and_names_are_escaped() -> None:
    names = replace(NAMES, inputs=(("<obs & co>", 3),))
    scene = draw_network(graph((8, 3, 2, 1.0, True)), names, "a < b")
    root = ElementTree.fromstring(scene.svg())
    assert len(root) == len(scene.shapes) + 1  # the background
    texts = [element.text for element in root if element.tag.endswith("text")]
    assert {"a < b", "<obs & co>[0]"} <= set(texts)
    assert scene._repr_svg_() == scene.svg()


def test_pixels_show_the_shapes() -> None:
    scene = Scene(60, 40)
    scene.add(Area([(10, 10), (30, 10), (30, 30), (10, 30)], (200, 0, 0)), Disc((45, 20), 8, (0, 0, 200)))
    scene.add(Line([(0, 35), (60, 35)], (0, 150, 0), 3), Words((5, 5), "x", 8))
    pixels = scene.pixels()
    assert pixels.shape == (40, 60, 3)
    assert pixels.dtype == np.uint8
    for (x, y), colour in {(20, 20): (200, 0, 0), (45, 20): (0, 0, 200), (50, 35): (0, 150, 0),
                           (58, 2): (255, 255, 255)}.items():  # fmt: skip
        assert tuple(pixels[y, x]) == colour
    assert (pixels[0:9, 0:12] < 128).any()  # the letter
    decoded = np.asarray(Image.open(io.BytesIO(scene.png(2.0))))
    assert decoded.shape == (80, 120, 3)
    assert tuple(decoded[40, 40]) == (200, 0, 0)


# ---------------------------------------------------------------------- generations


def history(count: int) -> History:
    found = History()
    for g in range(count):
        sizes = {1: 20 - min(g, 15), 2: min(g, 15)} if g else {1: 20}
        found.add(Generation(float(g), g / 2, -1.0, 1.0, 4.0, {k: v for k, v in sizes.items() if v}))
    return found


def test_a_history_survives_a_checkpoint_and_goes_on() -> None:
    evolution = evolved(Settings(compatibility_threshold=0.5), 30, 3, 2, 5)
    numbers = evolution.history
    assert len(numbers) == 5
    assert numbers.column("best") == evolution.best
    for one in numbers.generations:
        assert sum(one.sizes.values()) == 30
        assert one.worst <= one.mean <= one.best
    assert len({species for one in numbers.generations for species in one.sizes}) > 3
    again = History()
    again.load_state_dict(numbers.state_dict())
    assert again.generations == numbers.generations
    empty = History()
    empty.load_state_dict(History().state_dict())
    assert len(empty) == 0


def test_a_history_counts_the_species_that_were_judged() -> None:
    evolution = evolved(Settings(compatibility_threshold=0.5), 30, 3, 2, 5)
    living = [one.id for one in evolution.species.species]
    members = evolution.species.members.tolist()
    evolution.advance(torch.rand(30, generator=torch.Generator().manual_seed(0)))
    expected = {number: members.count(place) for place, number in enumerate(living)}
    assert evolution.history.generations[-1].sizes == expected


def test_only_a_new_best_is_an_improvement() -> None:
    found, told = History(), []
    for best in (1.0, 3.0, 3.0, 2.0, 4.0):
        found.add(Generation(best, 0.0, 0.0, 0.0, 0.0, {1: 1}))
        told.append(found.improved)
    assert told == [True, True, False, False, True]


@pytest.mark.parametrize("count", [1, 30, 1_000])
def test_the_areas_of_species_fill_the_population(count: int) -> None:
    scene = charts.draw_species(history(count))
    areas = [shape for shape in scene.shapes if isinstance(shape, Area)]
    assert len(areas) == (1 if count == 1 else 2)
    right = max(x for x, _ in areas[0].points)
    sides = [[y for x, y in area.points if x == right] for area in areas]
    heights = [max(side) - min(side) for side in sides]
    if count > 1:
        assert heights[0] == pytest.approx(heights[1] / 3)  # 5 and 15 of 20
        assert max(sides[1]) == pytest.approx(min(sides[0]))  # the second stands on the first
    assert sum(heights) == pytest.approx(scene.height - 84)
    assert max(len(area.points) for area in areas) <= 2 * charts.MOST_COLUMNS + 4


def test_the_curves_of_fitness_keep_the_extremes() -> None:
    found = history(1_000)
    found.generations[501] = replace(found.generations[501], best=5_000.0)
    scene = charts.draw_fitness(found)
    lines = {shape.colour: shape for shape in scene.shapes if isinstance(shape, Line)}
    assert len(lines[charts.BEST].points) <= charts.MOST_COLUMNS
    assert min(y for _, y in lines[charts.BEST].points) == pytest.approx(40)  # the top of the chart
    words = [shape.text for shape in scene.shapes if isinstance(shape, Words)]
    assert any(text.startswith("best 999") for text in words)
    assert "4,000" in words


def test_ticks_are_round_and_few() -> None:
    assert charts.ticks(0, 500) == [0, 100, 200, 300, 400, 500]
    assert charts.ticks(-200, 37) == [-200, -150, -100, -50, 0]
    assert [round(value, 9) for value in charts.ticks(0.12, 0.31)] == [0.15, 0.2, 0.25, 0.3]
    assert charts.ticks(3, 3) == [3]
    for low, high in ((0, 1), (-7, 1e6), (0.001, 0.0011)):
        assert 2 <= len(charts.ticks(low, high)) <= 6


@pytest.mark.parametrize("count", [1, 2, 40, 5_000])
def test_the_terminal_has_80_columns(count: int) -> None:
    found = history(count)
    lines = [*fitness_lines(found), *species_lines(found), *network_lines(graph(), NAMES)]
    lines += species_table([(k, k, 0, 1e6 / k, k) for k in range(1, 30)])
    assert max(len(line) for line in lines) <= WIDTH
    rows = species_lines(found)[:8]
    cells = "".join(row.split("│")[1] for row in rows)
    assert set(cells) == ({"a"} if count < 3 else {"a", "b"})
    if count == 40:
        assert [row[-1] for row in rows] == ["b"] * 6 + ["a"] * 2  # 15 and 5 of 20


def test_text_tells_every_node_the_strongest_input_first() -> None:
    lines = network_lines(graph((8, -3, 0, 3.0, True)), NAMES)
    assert lines[0] == "action=0     = tanh  +0.00  +3.00 obs[2]  +0.50 #3  -0.25 obs[1]"
    assert [line.split()[0] for line in lines] == ["action=0", "action=1", "#2", "#3", "#4"]
    assert "no output depends on it" in lines[-1]
