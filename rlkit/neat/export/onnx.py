"""A policy as an ONNX graph, written node by node: what `module.Policy` computes, for any ONNX runtime.

Inputs are the leaves of the observation and, of a recurrent network, its `state`; outputs are the leaves of
the action, the network's own `outputs`, and `next_state`. The first axis of all of them is the batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rlkit.errors import UserError
from rlkit.neat.export.module import Acting, Graph, Node, PolicyData, Reading

OPSET = 18  # ONNX 1.13 and later
IR_VERSION = 8
SELU = (1.0507009873554805, 1.6732632423543773)
HUGE = 1e18  # as in rlkit.neat.functions


def onnx_model(data: PolicyData, facts: dict[str, str]) -> Any:
    """An `onnx.ModelProto`; `facts` go into its metadata. Needs the package onnx."""
    try:
        import onnx
    except ModuleNotFoundError:
        raise UserError('ONNX files need the package onnx: pip install "rlkit-lab[export]".') from None
    draw = _Drawing(onnx)
    x = draw.concat([_encode(draw, leaf) for leaf in data.observation])
    outputs, state = _network(draw, data.graph, x)
    scores = outputs
    if data.mask is not None:
        mask = draw.given(data.mask.name, data.mask.dtype, data.mask.shape)
        scores = draw("Where", draw("Cast", mask, to=onnx.TensorProto.BOOL), outputs,
                      draw.constant(np.finfo(np.float32).min))  # fmt: skip
    at = 0
    for leaf in data.action:
        _decide(draw, leaf, draw.columns(scores, range(at, at + leaf.outputs)))
        at += leaf.outputs
    draw.result("outputs", "float32", (data.graph.outputs,), "Identity", outputs)
    if state is not None:
        draw.result("next_state", "float32", (len(data.graph.layers[0]),), "Identity", state)
    return draw.model(facts)


class _Drawing:
    """The nodes drawn so far. Calling it adds one and gives the name of its output."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: dict[tuple[Any, ...], Any] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def __call__(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"{kind}#{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        array = np.asarray(value, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            name = f"constant#{len(self.constants)}"
            self.constants[key] = self.onnx.numpy_helper.from_array(array, name)
        return str(self.constants[key].name)

    def integers(self, values: Any) -> str:
        return self.constant(list(values), np.int64)

    def type_of(self, dtype: str) -> int:
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def _value(self, name: str, dtype: str, shape: tuple[int, ...]) -> Any:
        return self.onnx.helper.make_tensor_value_info(name, self.type_of(dtype), ["batch", *shape])

    def given(self, name: str, dtype: str, shape: tuple[int, ...]) -> str:
        self.inputs.append(self._value(name, dtype, shape))
        return name

    def result(self, name: str, dtype: str, shape: tuple[int, ...], kind: str, *inputs: str) -> None:
        """An output of the graph, which one last node makes."""
        while name in {value.name for value in [*self.inputs, *self.outputs]}:
            name += "_"  # a leaf of the observation and one of the action may share a name
        self(kind, *inputs, name=name)
        self.outputs.append(self._value(name, dtype, shape))

    def concat(self, parts: list[str]) -> str:
        return parts[0] if len(parts) == 1 else self("Concat", *parts, axis=1)

    def columns(self, values: str, places: Any) -> str:
        return self("Gather", values, self.integers(places), axis=1)

    def model(self, facts: dict[str, str]) -> Any:
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.nodes, "policy", self.inputs, self.outputs, list(self.constants.values())
        )
        model = helper.make_model(graph, producer_name="rlkit", ir_version=IR_VERSION,
                                  opset_imports=[helper.make_opsetid("", OPSET)])  # fmt: skip
        helper.set_model_props(model, facts)
        self.onnx.checker.check_model(model, full_check=True)
        return model


# ---------------------------------------------------------------------- observation, action


def _encode(draw: _Drawing, leaf: Reading) -> str:
    """[batch, *shape] → [batch, inputs] float32."""
    x = draw.given(leaf.name, leaf.dtype, leaf.shape)
    if len(leaf.shape) != 1:
        x = draw("Reshape", x, draw.integers([-1, int(np.prod(leaf.shape))]))
    if leaf.start:
        x = draw("Sub", x, draw.constant(leaf.start, leaf.dtype))
    if leaf.one_hot:
        entries, values = zip(*leaf.one_hot, strict=True)
        x = draw("Equal", draw.columns(x, entries), draw.constant(values, leaf.dtype))
    if leaf.one_hot or leaf.dtype != "float32":
        x = draw("Cast", x, to=draw.type_of("float32"))
    return x if leaf.unit == 1.0 else draw("Div", x, draw.constant(leaf.unit))


def _decide(draw: _Drawing, leaf: Acting, scores: str) -> None:
    """[batch, outputs] → [batch, *shape], an output of the graph."""
    if leaf.kind == "choice":
        at = np.cumsum([0, *leaf.n])
        ranges = [range(at[k], at[k + 1]) for k in range(len(leaf.n))]
        x = draw.concat([draw("ArgMax", draw.columns(scores, places), axis=1) for places in ranges])
        x = draw("Add", x, draw.integers(leaf.start))
    elif leaf.kind == "switch":
        x = draw("Greater", scores, draw.constant(0.0))
    else:
        x = draw("Add", draw("Mul", scores, draw.constant(leaf.scale)), draw.constant(leaf.shift))
        x = draw("Min", draw("Max", x, draw.constant(leaf.low)), draw.constant(leaf.high))
        x = x if leaf.dtype.startswith("float") else draw("Round", x)
    x = draw("Cast", x, to=draw.type_of(leaf.dtype))
    draw.result(leaf.name, leaf.dtype, leaf.shape, "Reshape", x, draw.integers([-1, *leaf.shape]))


# ---------------------------------------------------------------------- the network


def _network(draw: _Drawing, graph: Graph, x: str) -> tuple[str, str | None]:
    """[batch, inputs] → [batch, outputs], and the new state of a recurrent network."""
    known = [-1 - number for number in range(graph.inputs)]
    values, new = x, None
    if graph.recurrent:
        nodes = [node.id for node in graph.layers[0]]
        state = draw.given("state", "float32", (len(nodes),))
        values, known = draw.concat([x, state]), known + nodes
    for layer in graph.layers:
        new, found = _layer(draw, layer, graph.links, known, values)
        if graph.recurrent:
            return draw.columns(new, [found.index(n) for n in range(graph.outputs)]), draw.columns(
                new, [found.index(node.id) for node in layer]
            )
        values, known = draw.concat([values, new]), known + found
    return draw.columns(values, [known.index(n) for n in range(graph.outputs)]), None


def _layer(
    draw: _Drawing, layer: list[Node], links: list[tuple[int, int, float]], known: list[int], values: str
) -> tuple[str, list[int]]:
    """[batch, known] → [batch, nodes of the layer] and the order of its nodes: by aggregation, activation."""
    groups: dict[tuple[str, str], list[Node]] = {}
    for node in layer:
        groups.setdefault((node.aggregation, node.activation), []).append(node)
    parts, order = [], []
    for (aggregation, activation), nodes in groups.items():
        x = draw.concat(_aggregated(draw, aggregation, nodes, links, known, values))
        x = draw("Mul", x, draw.constant([node.response for node in nodes]))
        x = draw("Add", x, draw.constant([node.bias for node in nodes]))
        parts.append(_activated(draw, activation, x))
        order += [node.id for node in nodes]
    return draw.concat(parts), order


def _aggregated(
    draw: _Drawing, kind: str, nodes: list[Node], links: list[tuple[int, int, float]], known: list[int],
    values: str,
) -> list[str]:  # fmt: skip
    """What [batch, nodes] collect: one product of matrices for sums, else node by node."""
    place = {identity: number for number, identity in enumerate(known)}
    incoming = [[(place[source], w) for source, target, w in links if target == node.id] for node in nodes]
    if kind in ("sum", "mean"):
        matrix = np.zeros((len(known), len(nodes)), dtype=np.float32)
        for column, ends in enumerate(incoming):
            for row, weight in ends:
                matrix[row, column] = weight / (len(ends) if kind == "mean" else 1)
        return [draw("MatMul", values, draw.constant(matrix))]
    return [_collected(draw, kind, ends, values) for ends in incoming]


def _collected(draw: _Drawing, kind: str, ends: list[tuple[int, float]], values: str) -> str:
    """[batch, 1]: one node's product, maximum, …; of nothing 0, or 1 for a product."""
    if not ends:
        nothing = draw("Mul", draw.columns(values, [0]), draw.constant(0.0))
        return draw("Add", nothing, draw.constant(float(kind == "product")))
    places, weights = zip(*ends, strict=True)
    x = draw("Mul", draw.columns(values, places), draw.constant(weights))
    if kind in ("product", "max", "min"):
        name = {"product": "ReduceProd", "max": "ReduceMax", "min": "ReduceMin"}[kind]
        return draw(name, x, draw.integers([1]), keepdims=1)
    if kind == "maxabs":
        return draw("GatherElements", x, draw("ArgMax", draw("Abs", x), axis=1), axis=1)
    count = len(ends)  # median: of an even number the mean of the two in the middle
    kept = count // 2 + 1
    ordered = f"largest#{len(draw.nodes)}"
    draw.nodes.append(draw.onnx.helper.make_node(
        "TopK", [x, draw.integers([kept])], [ordered, f"{ordered}_places"], name=ordered, axis=1,
    ))  # fmt: skip
    middle = [kept - 1] if count % 2 else [kept - 2, kept - 1]
    return draw("ReduceMean", draw.columns(ordered, middle), draw.integers([1]), keepdims=1)


def _activated(draw: _Drawing, name: str, z: str) -> str:
    """rlkit.neat.functions.ACTIVATE in ONNX's operators."""

    def clip(x: str, low: float, high: float) -> str:
        return draw("Clip", x, draw.constant(low), draw.constant(high))

    def times(x: str, factor: float) -> str:
        return draw("Mul", x, draw.constant(factor))

    def plus(x: str, more: float) -> str:
        return draw("Add", x, draw.constant(more))

    match name:
        case "sigmoid":
            return draw("Sigmoid", clip(times(z, 5.0), -60.0, 60.0))
        case "tanh":
            return draw("Tanh", times(z, 2.5))
        case "sin":
            return draw("Sin", clip(times(z, 5.0), -60.0, 60.0))
        case "gauss":
            clipped = clip(z, -3.4, 3.4)
            return draw("Exp", times(draw("Mul", clipped, clipped), -5.0))
        case "relu":
            return draw("Relu", z)
        case "elu":
            return draw("Elu", z, alpha=1.0)
        case "lelu":
            return draw("LeakyRelu", z, alpha=0.005)
        case "selu":
            return draw("Selu", z, gamma=SELU[0], alpha=SELU[1])
        case "softplus":
            return times(draw("Log", plus(draw("Exp", clip(times(z, 5.0), -60.0, 60.0)), 1.0)), 0.2)
        case "identity":
            return draw("Identity", z)
        case "clamped":
            return clip(z, -1.0, 1.0)
        case "inv":
            zero = draw("Equal", z, draw.constant(0.0))
            inverse = clip(draw("Reciprocal", z), -HUGE, HUGE)
            return draw("Where", zero, draw.constant(0.0), inverse)
        case "log":
            return draw("Log", draw("Max", z, draw.constant(1e-7)))
        case "exp":
            return draw("Exp", clip(z, -60.0, 60.0))
        case "abs":
            return draw("Abs", z)
        case "hat":
            return draw("Relu", plus(times(draw("Abs", z), -1.0), 1.0))
        case "square":
            return clip(draw("Mul", z, z), 0.0, HUGE)
        case "cube":
            return clip(draw("Mul", draw("Mul", z, z), z), -HUGE, HUGE)
    raise UserError(f"the activation {name!r} cannot be exported to ONNX.")
