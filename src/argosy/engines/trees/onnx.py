"""An ensemble as an ONNX model: one node of trees (ai.onnx.ml 5), which sums in the library's type, and its link."""

from typing import Any

import numpy as np

from argosy.engines.trees.form import ZERO, Ensemble
from argosy.spec.errors import Unsupported
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array

LEQ, MEMBER = 0, 6
"""Modes of nodes."""
TYPES = {"FP32": "FLOAT", "FP64": "DOUBLE", "INT64": "INT64"}


class Steps:
    """Nodes and constants, of the type that the trees work in."""

    def __init__(self, kind: Any) -> None:
        self.kind, self.nodes, self.constants = kind, list[Any](), list[Any]()

    def node(self, operator: str, *inputs: str, to: str = "", domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, whose name is `to` or a new one."""
        from onnx import helper

        output = to or f"step_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], domain=domain, **attributes))
        return output

    def constant(self, values: Any, kind: Any = None) -> str:
        """An initializer."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind or self.kind), name))
        return name


def model(form: Ensemble, signature: Signature) -> bytes:
    """The ONNX file, with the inputs and outputs of the signature: one matrix. Raises Unsupported."""
    from onnx import TensorProto, helper

    if len(signature.inputs) != 1 or any(spec.datatype not in TYPES for spec in signature.outputs):
        raise Unsupported("inputs by column, and labels that are texts, are left to the library")
    single = form.single and form.summed == "FP32"
    graph = Steps(np.float32 if single else np.float64)
    types = {name: getattr(TensorProto, kind) for name, kind in TYPES.items()}
    given = signature.inputs[0]
    rows = _cast(graph, given.name, TensorProto.FLOAT) if form.single else given.name
    rows = rows if single else _cast(graph, rows, TensorProto.DOUBLE)
    sums = graph.node(
        "TreeEnsemble", _prepared(graph, form, rows), domain="ai.onnx.ml", **_attributes(form, graph.kind)
    )
    if form.base.any():
        sums = graph.node("Add", sums, graph.constant(form.base.reshape(1, -1)))
    if form.divisor != 1:
        sums = graph.node("Div", sums, graph.constant([form.divisor]))
    scores = _scores(graph, form, sums)
    for spec in signature.outputs:
        found = _label(graph, form, sums, scores) if spec.datatype == "INT64" else scores
        shaped = graph.node("Reshape", found, graph.constant(spec.shape, np.int64))
        _cast(graph, shaped, types[spec.datatype], spec.name)
    made = helper.make_graph(
        graph.nodes,
        "argosy",
        [_value(given, types)],
        [_value(spec, types) for spec in signature.outputs],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString(deterministic=True)


def _value(spec: TensorSpec, types: dict[str, Any]) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(spec.name, types[spec.datatype], [None if a < 0 else a for a in spec.shape])


def _cast(graph: Steps, name: str, kind: Any, to: str = "") -> str:
    from onnx import helper

    output = to or f"cast_{len(graph.nodes)}"
    graph.nodes.append(helper.make_node("Cast", [name], [output], to=kind))
    return output


def _prepared(graph: Steps, form: Ensemble, rows: str) -> str:
    """The rows with missing values as their nodes take them, and categories whole."""
    gaps = np.array(form.gaps)
    if (gaps == "zeros").any():
        near = graph.node("LessOrEqual", graph.node("Abs", rows), graph.constant([ZERO]))
        mask = graph.node("And", near, graph.constant(gaps.reshape(1, -1) == "zeros", np.bool_))
        rows = graph.node("Where", mask, graph.constant([np.nan]), rows)
    if (gaps == "zero").any():
        mask = graph.node("And", graph.node("IsNaN", rows), graph.constant(gaps.reshape(1, -1) == "zero", np.bool_))
        rows = graph.node("Where", mask, graph.constant([0]), rows)
    for feature, categories in form.known.items():
        column = np.arange(form.width).reshape(1, -1) == feature
        same = [graph.node("Equal", rows, graph.constant([value])) for value in categories.tolist()]
        while len(same) > 1:
            same = [graph.node("Or", *same[:2]), *same[2:]]
        lost = graph.node("And", graph.node("Not", same[0]), graph.constant(column, np.bool_))
        rows = graph.node("Where", lost, graph.constant([np.nan]), rows)
    if form.sets and not form.known:
        columns = np.zeros((1, form.width), np.bool_)
        columns[0, form.feature[list(form.sets)]] = True
        whole = graph.node("Mul", graph.node("Sign", rows), graph.node("Floor", graph.node("Abs", rows)))
        whole = whole if form.truncates else graph.node("Floor", rows)
        rows = graph.node("Where", graph.constant(columns, np.bool_), whole, rows)
    return rows


def _attributes(form: Ensemble, kind: Any) -> dict[str, Any]:
    from onnx import numpy_helper

    inner, ends = form.feature >= 0, form.feature < 0
    place = np.cumsum(inner) - 1
    tree = np.searchsorted(form.roots, np.arange(len(inner)), side="right") - 1
    nodes = np.flatnonzero(inner)
    modes = np.full(len(nodes), LEQ, np.uint8)
    modes[place[list(form.sets)]] = MEMBER
    members = [value for node in nodes.tolist() if node in form.sets for value in (*form.sets[node].tolist(), np.nan)]
    width = form.values.shape[1]
    if width > 1 or ends[form.roots].any():
        raise Unsupported("leaves of several values, or trees that are one leaf, are left to the library")
    leaf = np.cumsum(ends) - 1
    target = form.target[tree] if len(form.target) else np.zeros(len(inner), np.int64)

    def tensor(array: Array) -> Any:
        return numpy_helper.from_array(np.asarray(array))

    return {
        "n_targets": form.sums,
        "aggregate_function": 1,
        "post_transform": 0,
        "tree_roots": place[form.roots].tolist(),
        "nodes_modes": tensor(modes),
        "nodes_featureids": form.feature[inner].tolist(),
        "nodes_splits": tensor(form.threshold[inner].astype(kind)),
        "nodes_missing_value_tracks_true": form.left_gaps[inner].astype(int).tolist(),
        "nodes_truenodeids": np.where(ends, leaf, place)[form.left[inner]].tolist(),
        "nodes_trueleafs": ends[form.left[inner]].astype(int).tolist(),
        "nodes_falsenodeids": np.where(ends, leaf, place)[form.right[inner]].tolist(),
        "nodes_falseleafs": ends[form.right[inner]].astype(int).tolist(),
        "leaf_targetids": target[ends].tolist(),
        "leaf_weights": tensor(form.values[form.leaf[ends], 0].astype(kind)),
        **({"membership_values": tensor(np.array(members, kind))} if members else {}),
    }


def _scores(graph: Steps, form: Ensemble, sums: str) -> str:
    scoring = form.scoring
    grown = graph.node("Mul", sums, graph.constant([scoring.steep])) if scoring.steep != 1 else sums
    if scoring.link == "square":
        return graph.node("Mul", graph.node("Mul", sums, sums), graph.node("Sign", sums))
    operator = {"softmax": "Softmax", "sigmoid": "Sigmoid", "exp": "Exp", "none": "Identity"}[scoring.link]
    found = graph.node(operator, grown)
    if scoring.binary:
        return graph.node("Concat", graph.node("Sub", graph.constant([1]), found), found, axis=1)
    return found


def _label(graph: Steps, form: Ensemble, sums: str, scores: str) -> str:
    from onnx import TensorProto

    scoring = form.scoring
    if not scoring.binary:
        number = graph.node("ArgMax", scores if form.summed == "FP32" else sums, axis=1, keepdims=0)
    elif scoring.second == "half":
        column = graph.node("Gather", scores, graph.constant([1], np.int64), axis=1)
        number = _cast(graph, graph.node("Greater", column, graph.constant([0.5])), TensorProto.INT64)
    else:
        operator = "Greater" if scoring.second == ">" else "GreaterOrEqual"
        number = _cast(graph, graph.node(operator, sums, graph.constant([0])), TensorProto.INT64)
    return graph.node("Gather", graph.constant(scoring.labels, np.int64), number, axis=0)
