"""The ensemble in an ONNX model that `argosy push` made of trees: its thresholds and leaves are exact."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy.engines.base import require
from argosy.engines.trees.build import Tree, ensemble
from argosy.engines.trees.form import Ensemble, distinct
from argosy.engines.trees.onnx import ABOUT, MEMBER, About
from argosy.spec.errors import Unsupported
from argosy.spec.tensor import Array

PLAIN = ("Cast", "Identity", "Reshape", "Unsqueeze", "Constant")
"""Operators that change no number here."""
SCALES: dict[str, Any] = {"Sub": np.subtract, "Add": np.add, "Mul": np.multiply, "Div": np.divide}


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

    def user(self, name: str) -> Any:
        """The node that takes a tensor."""
        return next(node for node in self.nodes if name in node.input)

    def constant(self, node: Any) -> Array:
        """The one constant that a node is given."""
        return next(self.constants[name] for name in node.input if name in self.constants)


def has_trees(path: Path) -> bool:
    """Whether an ONNX model has a node of trees. Nothing is executed."""
    from argosy.engines import onnx_file

    return any(name.startswith("TreeEnsemble") for domain, name in onnx_file.inspect(path).nodes if domain)


def read(path: Path) -> tuple[Ensemble, dict[int, tuple[str, ...]]]:
    """The ensemble, and the texts of its categories. Raises Unsupported for trees that `argosy push` has not converted,
    or steps before them."""
    graph = Graph(path)
    trees = [node for node in graph.nodes if node.op_type.startswith("TreeEnsemble")]
    said = {each.key: each.value for each in graph.model.metadata_props}
    if len(trees) != 1 or ABOUT not in said:
        raise Unsupported("its trees cannot be read back: push the estimator itself, with --no-convert, not its ONNX")
    about = msgspec.json.decode(said[ABOUT], type=About)
    own = {name: np.asarray(value) for name, value in graph.attributes(trees[0]).items()}
    more: dict[str, Any] = {
        name: getattr(about, name) for name in ("gaps", "scoring", "summed", "divisor", "truncates")
    }
    more |= {"base": np.array(about.base), "target": np.array(about.target, np.int64)}
    more |= {"known": {feature: np.array(each) for feature, each in about.known.items()}}
    if trees[0].op_type == "TreeEnsemble":
        return ensemble(_trees(own), single=about.single, **more), about.texts
    return _converted(graph, trees[0], own, more), about.texts


def _converted(graph: Graph, node: Any, own: dict[str, Array], more: dict[str, Any]) -> Ensemble:
    """Trees that `packaging.onnx_double` has written: each gives the number of a row of a table."""
    scaling = _scaling(graph, node.input[0])
    single = _single(graph, node.input[0], scaling)
    table = graph.constant(graph.user(graph.user(node.output[0]).output[0]))
    start = np.flatnonzero(own["nodes_nodeids"] == 0)[own["nodes_treeids"]]
    leaf = own["nodes_modes"] == b"LEAF"
    values, target = table[leaf], more["target"]
    if len(target):
        values = values[np.arange(len(values)), target[own["nodes_treeids"][leaf]]].reshape(-1, 1)
    features = np.where(leaf, -1, own["nodes_featureids"])
    limits: Array = np.where(leaf, 0.0, own["nodes_values_as_tensor"])
    if scaling:
        limits[~leaf] = _folded(graph, scaling, features[~leaf], limits[~leaf], len(more["gaps"]))
    numbers = np.zeros(len(leaf), np.int64)
    known, numbers[leaf] = distinct(values)
    return Ensemble(
        roots=np.flatnonzero(own["nodes_nodeids"] == 0),
        feature=features,
        threshold=limits,
        left=start + own["nodes_truenodeids"],
        right=start + own["nodes_falsenodeids"],
        left_gaps=own["nodes_missing_value_tracks_true"].astype(bool),
        leaf=numbers,
        values=known,
        single=single and not scaling,
        **more,
    )


def _trees(own: dict[str, Array]) -> list[Tree]:
    """The inverse of `_attributes`: in each tree the inner nodes, then the leaves, of which there is one more."""
    starts, count = own["tree_roots"], len(own["nodes_featureids"])
    tree = np.searchsorted(starts, np.arange(count), side="right") - 1
    sizes = np.diff([*starts.tolist(), count])
    left, right = (
        own[f"nodes_{side}nodeids"] - starts[tree] + own[f"nodes_{side}leafs"] * (sizes - np.arange(len(sizes)))[tree]
        for side in ("true", "false")
    )
    members = own.get("membership_values", np.empty(0))
    sets = [part[:-1].astype(np.int64) for part in np.split(members, np.flatnonzero(np.isnan(members)) + 1)[:-1]]
    categories = dict(zip(np.flatnonzero(own["nodes_modes"] == MEMBER).tolist(), sets, strict=True))
    found: list[Tree] = []
    for number, (start, size) in enumerate(zip(starts.tolist(), sizes.tolist(), strict=True)):
        inner, pad = slice(start, start + size), np.zeros(size + 1, np.int64)
        weights = own["leaf_weights"][start + number : start + number + size + 1]
        found.append(
            Tree(
                feature=np.concatenate([own["nodes_featureids"][inner], pad]),
                threshold=np.concatenate([own["nodes_splits"][inner].astype(np.float64), pad]),
                left=np.concatenate([left[inner], pad - 1]),
                right=np.concatenate([right[inner], pad - 1]),
                left_gaps=np.concatenate([own["nodes_missing_value_tracks_true"][inner], pad]),
                values=np.concatenate([np.zeros(size), weights]).reshape(-1, 1),
                sets={at - start: each for at, each in categories.items() if start <= at < start + size},
            )
        )
    return found


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


def _folded(graph: Graph, steps: list[Any], features: Array, limits: Array, width: int) -> Array:
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
    if odd := sorted(kinds - {*PLAIN, "Concat", "Split"}):
        raise Unsupported(f"the step {', '.join(odd)} before its trees cannot be written in C")
    import onnx

    casts = [graph.attributes(node)["to"] for node in steps if node.op_type == "Cast"]
    return onnx.TensorProto.FLOAT in casts or bool(graph.single)
