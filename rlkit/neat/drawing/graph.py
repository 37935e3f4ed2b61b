"""One network as a picture: the sign of a weight is its colour, the size its width."""

from __future__ import annotations

import math

from rlkit.neat.drawing.layout import Graph, Link, heights
from rlkit.neat.drawing.scene import (
    GREY,
    INK,
    PALE,
    WHITE,
    Area,
    Colour,
    Disc,
    Line,
    Point,
    Scene,
    Words,
    arrow_head,
    blend,
    curve,
    text_width,
)
from rlkit.neat.naming import Names, labels

POSITIVE, NEGATIVE = (31, 111, 191), (217, 95, 14)  # told apart by colour-blind readers, too
_INPUT, _HIDDEN, _OUTPUT = (234, 238, 242), (255, 247, 214), (218, 243, 224)
ONE_BY_ONE = 24  # inputs that are drawn as nodes; of more, a strip stands for each leaf
MOST_LINKS = 250  # the strongest are drawn
_MARGIN, _HEAD, _FOOT, _ROW, _COLUMN = 16, 34, 48, 44, 120  # pixels
_LONGEST_LABEL = 150


def draw_network(graph: Graph, names: Names, title: str = "") -> Scene:
    """The network with its names. Disabled connections are dashed, those that lead back are curved."""
    return _Drawing(graph, names, title).scene


class _Drawing:
    def __init__(self, graph: Graph, names: Names, title: str) -> None:
        self.graph, self.names = graph, names
        self.notes: list[str] = []
        self.strips: list[tuple[str, float, float, float]] = []  # label, x, top, bottom
        self._choose()
        self._place(title)
        if title:
            self.scene.add(Words((_MARGIN, 16), title, 13))
        self._draw_links()
        self._draw_strips()
        self._draw_nodes()
        self._legend()

    # ------------------------------------------------------------------ what is drawn, and where

    def _choose(self) -> None:
        """Which inputs stand alone, and which links are strong enough."""
        graph = self.graph
        live, off = graph.live, [link for link in graph.links if not link.enabled]
        touched = sorted({link.source for link in live if link.source < 0}, reverse=True)
        if graph.inputs <= ONE_BY_ONE:
            self.alone = [-1 - k for k in range(graph.inputs)]
        elif len(touched) <= ONE_BY_ONE:
            self.alone = touched
            self.notes.append(f"{graph.inputs - len(touched):,} unconnected inputs not shown")
        else:
            self.alone = []
        self.as_strips = graph.inputs > 0 and not self.alone and len(touched) > 0
        self.links = sorted(live, key=lambda link: abs(link.weight))
        if len(live) > MOST_LINKS:
            self.links = self.links[-MOST_LINKS:]
            self.notes.append(f"the {MOST_LINKS} strongest of {len(live):,} connections")
        shown = set(self.alone) | set(graph.nodes)
        few = len(live) + len(off) <= MOST_LINKS
        self.off = [link for link in off if {link.source, link.target} <= shown] if few else []

    def _place(self, title: str) -> None:
        graph = self.graph
        layers = max(graph.depth[0] if graph.outputs else 1, 1) + 1
        counts = [sum(graph.depth[n] == d for n in graph.hidden) for d in range(layers)]
        rows = max(len(self.alone), graph.outputs, *counts, 14 if self.as_strips else 5)
        inner = min(rows * _ROW, 760)
        self.labels = {-1 - k: text for k, text in enumerate(labels(self.names.inputs))} if self.alone else {}
        self.labels |= dict(enumerate(labels(self.names.outputs)))
        left = max([text_width(self.labels[n], 12) for n in self.alone] or [0])
        left = 110.0 if self.as_strips else min(left, _LONGEST_LABEL)
        self.notes_right = {n: self._note(n) for n in range(graph.outputs)}
        right = max([max(text_width(self.labels[n], 12), text_width(self.notes_right[n], 10))
                     for n in range(graph.outputs)] or [0])  # fmt: skip
        right = min(right, _LONGEST_LABEL)
        between = (layers - 1) * max(_COLUMN, 260 / (layers - 1)) if layers < 10 else 1080
        width = round(2 * _MARGIN + left + 24 + between + 24 + right)
        self.scene = Scene(max(width, 460, round(text_width(title, 13)) + 2 * _MARGIN), _HEAD + inner + _FOOT)
        first, last = _MARGIN + left + 20, self.scene.width - _MARGIN - right - 20
        columns = [first + (last - first) * d / (layers - 1) for d in range(layers)]
        self.top, self.bottom = float(_HEAD), float(_HEAD + inner)
        self.radius = min(13.0, 0.4 * inner / max(rows, 1))
        fixed: dict[int, Point] = {}
        self._column(self.alone, columns[0], fixed)
        self._column(list(range(graph.outputs)), columns[-1], fixed)
        if self.as_strips:
            self._place_strips(columns[0], fixed)
        self.places = heights(graph, fixed, columns, self.top + 8, self.bottom - 14, self.radius)

    def _column(self, nodes: list[int], x: float, places: dict[int, Point]) -> None:
        step = min(1.4 * _ROW, (self.bottom - self.top) / max(len(nodes), 1))
        middle = (self.top + self.bottom) / 2
        for k, node in enumerate(nodes):
            places[node] = x, middle + (k - (len(nodes) - 1) / 2) * step

    def _place_strips(self, x: float, places: dict[int, Point]) -> None:
        """One strip for each leaf of the observation, as high as its share of the inputs (at least a bit)."""
        sizes = [shape if isinstance(shape, int) else sum(shape) for _, shape in self.names.inputs]
        gap = min(12.0, 120 / len(sizes))
        free = self.bottom - self.top - gap * (len(sizes) - 1)
        share = [max(size / sum(sizes), 0.03) for size in sizes]
        y, number = self.top, 0
        for (name, _), size, part in zip(self.names.inputs, sizes, share, strict=True):
            high = free * part / sum(share)
            self.strips.append((f"{name}: {size:,}", x, y, y + high))
            for k in range(size):
                places[-1 - number - k] = x, y + high * (k + 0.5) / size
            y, number = y + high + gap, number + size

    def _note(self, node: int) -> str:
        """Bias, and what is not the usual function."""
        one = self.graph.nodes[node]
        words = [one.aggregation] if one.aggregation != self.names.aggregations[0] else []
        words += [one.activation] if one.activation != self.names.activations[0] else []
        return " ".join([*words, f"{one.bias:+.2f}"])

    # ------------------------------------------------------------------ drawing

    def _draw_links(self) -> None:
        self.largest = max((abs(link.weight) for link in self.links), default=1.0) or 1.0
        crowd = len(self.links)
        for link in self.off:
            if link.source != link.target:
                ends = [self.places[link.source], self.places[link.target]]
                self.scene.add(Line(ends, PALE, 0.8, dashed=True))
        for link in self.links:
            size = abs(link.weight) / self.largest
            colour = POSITIVE if link.weight >= 0 else NEGATIVE
            faint = 1.0 if {link.source, link.target} <= self.graph.used else 0.3
            alpha = (0.35 + 0.6 * size) * (1.0 if crowd < 100 else 0.6) * faint
            width = 0.8 + (4.2 if crowd < 100 else 2.0) * size
            if (link.source, link.target) in self.graph.backward:
                self._draw_backward(link, colour, width, alpha)
            else:
                ends = [self.places[link.source], self.places[link.target]]
                self.scene.add(Line(ends, colour, width, alpha))

    def _draw_backward(self, link: Link, colour: Colour, width: float, alpha: float) -> None:
        start, end = self.places[link.source], self.places[link.target]
        r = self.radius
        if link.source == link.target:
            centre = start[0], start[1] - 1.5 * r
            angles = [math.pi * (0.75 + 1.5 * k / 16) for k in range(17)]
            points = [(centre[0] + 0.8 * r * math.cos(a), centre[1] + 0.8 * r * math.sin(a)) for a in angles]
        else:
            far = math.dist(start, end)
            up = (start[1] + end[1]) / 2 < (self.top + self.bottom) / 2
            away = (0.25 * far + 30) * (-1 if up else 1)
            middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + away
            if abs(start[0] - end[0]) < 1:  # one above the other: to the side
                middle = start[0] + 0.3 * far + 30, (start[1] + end[1]) / 2
            points = curve(start, end, middle)
            points = [p for p in points if math.dist(p, end) > r] + [_rim(points, end, r)]
        colour = blend(colour, alpha)
        self.scene.add(
            Line(points, colour, width), Area(arrow_head(points[-1], points[-2], 6 + width), colour)
        )

    def _draw_strips(self) -> None:
        for label, x, top, bottom in self.strips:
            box = [(x - 6, top), (x + 2, top), (x + 2, bottom), (x - 6, bottom)]
            self.scene.add(Area(box, _INPUT), Line([*box, box[0]], GREY, 1.0))
            self.scene.add(Words((x - 12, (top + bottom) / 2), _short(label, 100), 12, INK, "r"))

    def _draw_nodes(self) -> None:
        graph, r = self.graph, self.radius
        for node in [*self.alone, *graph.nodes]:
            x, y = self.places[node]
            lives = node in graph.used
            fill = _INPUT if node < 0 else _OUTPUT if node < graph.outputs else _HIDDEN
            self.scene.add(Disc((x, y), r, fill if lives else WHITE, INK if lives else PALE, 1.3))
            ink = INK if lives else GREY
            if node < 0:
                if r >= 4:
                    text = _short(self.labels[node], _LONGEST_LABEL)
                    self.scene.add(Words((x - r - 7, y), text, 12, ink, "r"))
            elif node < graph.outputs:
                if r >= 4:
                    shift = 6 if r >= 9 else 0
                    text = _short(self.labels[node], _LONGEST_LABEL)
                    self.scene.add(Words((x + r + 7, y - shift), text, 12, ink))
                    if shift:
                        self.scene.add(Words((x + r + 7, y + 8), self.notes_right[node], 10, GREY, halo=True))
            elif r >= 9:
                self.scene.add(Words((x, y), str(node), 10 if node < 1000 else 8, ink, "m"))
                self.scene.add(Words((x, y + r + 7), self._note(node), 10, GREY, "m", halo=True))

    def _legend(self) -> None:
        x, y = float(_MARGIN), self.scene.height - 28.0
        kinds = [("positive weight", POSITIVE, False), ("negative", NEGATIVE, False)]
        kinds += [("disabled", GREY, True)] if self.off else []
        for text, colour, dashed in kinds:
            self.scene.add(Line([(x, y), (x + 20, y)], colour, 1.0 if dashed else 3.0, dashed=dashed))
            self.scene.add(Words((x + 25, y), text, 10, GREY))
            x += 35 + text_width(text, 10)
        self.scene.add(Words((x, y), f"width: |weight| up to {self.largest:.3g}", 10, GREY))
        notes = "; ".join(["small numbers are biases", *self.notes])
        self.scene.add(Words((_MARGIN, y + 15), notes, 10, GREY))


def _rim(points: list[Point], end: Point, radius: float) -> Point:
    """Where a curve reaches the circle around its end."""
    before = [p for p in points if math.dist(p, end) > radius][-1]
    far = math.dist(before, end)
    return tuple(e + (b - e) * radius / far for e, b in zip(end, before, strict=True))  # type: ignore[return-value]


def _short(text: str, width: float) -> str:
    if text_width(text, 12) <= width:
        return text
    while len(text) > 1 and text_width(text + "…", 12) > width:
        text = text[:-1]
    return text + "…"
