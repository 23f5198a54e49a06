"""The ensemble in an ONNX model that `argosy push` made of scikit-learn trees: its thresholds and leaves are exact."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from argosy.engines.base import require
from argosy.engines.trees.form import Ensemble, Link, Scoring, distinct
from argosy.spec.errors import Unsupported
from argosy.spec.tensor import Array

PLAIN = ("Cast", "Identity", "Reshape", "Unsqueeze", "Gather", "Constant")
"""Operators that change no number here."""
SCALES: dict[str, Any] = {"Sub": np.subtract, "Add": np.add, "Mul": np.multiply, "Div": np.divide}
BINARY = ("Add", "Mul", "Sigmoid", "Sub", "Concat")
TAILS: dict[tuple[str, ...], tuple[Link, bool]] = {
    (): ("none", False),
    ("ArgMax",): ("none", False),
    ("Div",): ("none", False),
    ("ArgMax", "Div"): ("none", False),
    ("Add",): ("none", False),
    ("Add", "Exp"): ("exp", False),
    ("Add", "ArgMax", "Softmax"): ("softmax", False),
    tuple(sorted((*BINARY, "Greater"))): ("sigmoid", True),
    tuple(sorted((*BINARY, "GreaterOrEqual"))): ("sigmoid", True),
}
"""What stands behind the sum over trees → the link, and whether the classes are two."""


class Graph:
    """Nodes by what they give, constants by name."""

    def __init__(self, path: Path) -> None:
        onnx: Any = require("onnx", "onnx", f"reading the trees of {path.name}")
        self.model = onnx.load(path)
        graph: Any = self.model.graph
        self.nodes: list[Any] = list(graph.node)
        self.of: dict[str, Any] = {name: node for node in self.nodes for name in node.output}
        self.inputs: list[str] = [value.name for value in graph.input]
        self.single = {v.name for v in graph.input if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
        self.constants: dict[str, Array] = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}

    def attributes(self, node: Any) -> dict[str, Any]:
        """Name → value; tensors as arrays."""
        import onnx

        values = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        return {
            name: onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
            for name, value in values.items()
        }

    def after(self, names: set[str]) -> list[Any]:
        """The nodes that what has these names flows into, in order."""
        known, found = set(names), list[Any]()
        for node in self.nodes:
            if known.intersection(node.input):
                known |= {*node.output}
                found.append(node)
        return found

    def constant(self, node: Any) -> Array:
        """The one constant that a node is given."""
        return next(self.constants[name] for name in node.input if name in self.constants)


def has_trees(path: Path) -> bool:
    """Whether an ONNX model has a node of trees. Nothing is executed."""
    from argosy.engines import onnx_file

    return any(name.startswith("TreeEnsemble") for domain, name in onnx_file.inspect(path).nodes if domain)


def read(path: Path) -> Ensemble:
    """The ensemble. Raises Unsupported for trees that `argosy push` has not converted, or steps before them."""
    graph = Graph(path)
    trees = [node for node in graph.nodes if node.op_type.startswith("TreeEnsemble")]
    if len(trees) != 1 or "argosy" not in trees[0].output[0]:
        raise Unsupported("its trees cannot be read back: push the estimator itself, with --no-convert, not its ONNX")
    node = trees[0]
    scaling = _scaling(graph, node.input[0])
    single = _single(graph, node.input[0], scaling)
    tail = [each for each in graph.after({node.output[0]}) if each.op_type not in PLAIN]
    if not tail or tail[0].op_type != "ReduceSum":
        raise Unsupported(f"{tail[0].op_type if tail else 'nothing'} stands behind its trees where a sum was expected")
    table = graph.constant(next(each for each in graph.after({node.output[0]}) if each.op_type == "Gather"))
    base, divisor, scoring = _tail(graph, tail[1:], table.shape[1])
    own = graph.attributes(node)
    tracks = np.asarray(own["nodes_missing_value_tracks_true"], bool)
    trees_of, ids = np.asarray(own["nodes_treeids"]), np.asarray(own["nodes_nodeids"])
    roots = np.flatnonzero(ids == 0)
    start = roots[trees_of]
    leaf = np.array([mode == b"LEAF" for mode in own["nodes_modes"]])
    values, target, index = spread(table[leaf], trees_of[leaf])
    numbers = np.zeros(len(ids), np.int64)
    numbers[leaf] = index
    features = np.where(leaf, -1, np.asarray(own["nodes_featureids"]))
    limits: Array = np.where(leaf, 0.0, own["nodes_values_as_tensor"])
    if scaling:
        limits[~leaf] = _folded(graph, scaling, features[~leaf], limits[~leaf])
    return Ensemble(
        roots=roots,
        feature=features,
        threshold=limits,
        left=start + np.asarray(own["nodes_truenodeids"]),
        right=start + np.asarray(own["nodes_falsenodeids"]),
        left_gaps=tracks,
        leaf=numbers,
        values=values,
        gaps=("node",) * _width(graph, node.input[0]),
        base=base,
        scoring=scoring,
        single=single and not scaling,
        target=target,
        divisor=divisor,
    )


def spread(table: Array, trees: Array) -> tuple[Array, Array, Array]:
    """Values of leaves, one row for each → the distinct ones, the sum that each tree is added to where that is one of
    several, and the row of each leaf."""
    used = np.zeros((int(trees.max()) + 1, table.shape[1]), bool)
    np.logical_or.at(used, trees, table != 0)
    target = np.empty(0, np.int64)
    if table.shape[1] > 1 and (used.sum(axis=1) <= 1).all():
        target = used.argmax(axis=1)
        table = table[np.arange(len(table)), target[trees]].reshape(-1, 1)
    values, index = distinct(table)
    return values, target, index


def _tail(graph: Graph, tail: list[Any], width: int) -> tuple[Array, float, Scoring]:
    kinds = tuple(sorted(node.op_type for node in tail))
    if kinds not in TAILS:
        odd = Counter(kinds) - Counter(("Add", "Div", "ArgMax"))
        raise Unsupported(f"{', '.join(odd) or ', '.join(kinds)} behind its trees cannot be written in C")
    link, binary = TAILS[kinds]
    by = {node.op_type: node for node in tail}
    base = graph.constant(by["Add"]).reshape(-1) if "Add" in by else np.zeros(width)
    divisor = float(graph.constant(by["Div"]).reshape(-1)[0]) if "Div" in by else 1.0
    steep = float(graph.constant(by["Mul"]).reshape(-1)[0]) if "Mul" in by else 1.0
    labels: tuple[int | str, ...] = ()
    if chosen := by.get("ArgMax") or by.get("Greater") or by.get("GreaterOrEqual"):
        gather = next(node for node in graph.after({*chosen.output}) if node.op_type == "Gather")
        values = graph.constant(gather).reshape(-1).tolist()
        labels = tuple(each.decode() if isinstance(each, bytes) else each for each in values)
    return (
        np.broadcast_to(base, (width,)).astype(np.float64),
        divisor,
        Scoring(link=link, steep=steep, binary=binary, second=">=" if "GreaterOrEqual" in by else ">", labels=labels),
    )


def _before(graph: Graph, name: str) -> list[Any]:
    """The nodes that lead to a tensor, it first."""
    node = graph.of.get(name)
    return [node, *(each for given in node.input for each in _before(graph, given))] if node is not None else []


def _scaling(graph: Graph, name: str) -> list[Any]:
    """The steps that scale all columns before the trees, in their order; none where nothing is scaled."""
    found: list[Any] = []
    while (node := graph.of.get(name)) is not None and node.op_type in (*SCALES, "Cast", "Identity"):
        constants = [each for each in node.input if each in graph.constants]
        if node.op_type in SCALES and [*constants] != [*node.input[1:]]:
            break
        found.insert(0, node)
        name = node.input[0]
    return found if any(node.op_type in SCALES for node in found) else []


def _folded(graph: Graph, steps: list[Any], features: Array, limits: Array) -> Array:
    """Thresholds for columns as they are before they are scaled: the largest float32 that is scaled to no more than
    each. Scaling never changes the order of two numbers, so that no test of a float32 has another outcome."""
    import onnx

    def scaled(values: Array) -> Array:
        found = values if graph.single else values.astype(np.float64)
        for node in steps:
            if node.op_type == "Cast":
                found = found.astype(onnx.helper.tensor_dtype_to_np_dtype(graph.attributes(node)["to"]))
            elif node.op_type in SCALES:
                factor = np.broadcast_to(graph.constant(node).reshape(-1), width)[features]
                if node.op_type in ("Mul", "Div") and not (factor > 0).all():
                    raise Unsupported(f"the step {node.op_type} before its trees, which turns a column around")
                found = SCALES[node.op_type](found, factor)
        return found

    width = _width(graph, "")
    low, high = np.full(len(limits), -0x7F800000, np.int64), np.full(len(limits), 0x7F800000, np.int64)
    with np.errstate(all="ignore"):
        while (low < high).any():
            middle = low + (high - low + 1) // 2
            passes = scaled(_float32(middle)) <= limits
            low, high = np.where(passes, middle, low), np.where(passes, high, middle - 1)
    return _float32(low).astype(np.float64)


def _float32(places: Array) -> Array:
    """The float32 at a place among all in their order, 0 at 0."""
    bits = np.where(places < 0, 0x80000000 - places, places)
    return bits.astype(np.uint32).view(np.float32)


def _single(graph: Graph, name: str, folded: list[Any]) -> bool:
    """Whether rows are rounded to float32 on their way to the trees. Raises Unsupported for another step there than
    those that are folded into thresholds."""
    steps = _before(graph, name)
    kinds = {node.op_type for node in steps if not any(node is each for each in folded)}
    if odd := sorted(kinds - {*PLAIN, "Concat", "Split"} | {"Gather"} & kinds):
        raise Unsupported(f"the step {', '.join(odd)} before its trees cannot be written in C")
    import onnx

    casts = [graph.attributes(node)["to"] for node in steps if node.op_type == "Cast"]
    return onnx.TensorProto.FLOAT in casts or bool(graph.single)


def _width(graph: Graph, name: str) -> int:
    shapes = [value.type.tensor_type.shape.dim for value in graph.model.graph.input]
    return sum(dims[1].dim_value if len(dims) > 1 else 1 for dims in shapes)
