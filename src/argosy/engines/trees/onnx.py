"""An ensemble as an ONNX model: one node of trees (ai.onnx.ml 5), which sums in the library's type, and its link. What
no node says stands in the metadata of the file, so that C is made of it, too (`graph.read`)."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from argosy.engines.trees.form import ZERO, Ensemble, Gaps, Scoring, distinct
from argosy.spec.errors import Unsupported
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array

LEQ, MEMBER = 0, 6
"""Modes of nodes."""
TYPES = {"FP32": "FLOAT", "FP64": "DOUBLE", "INT64": "INT64", "BYTES": "STRING"}
Texts = Mapping[int, tuple[str, ...]]
"""Feature → the categories that stand for 0, 1, …"""
ABOUT = "argosy.trees"
"""What the metadata call it."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an ensemble that are not its trees, and the texts of its categories by feature."""

    gaps: tuple[Gaps, ...]
    base: tuple[float, ...]
    target: tuple[int, ...]
    scoring: Scoring
    single: bool
    summed: str
    divisor: float
    known: dict[int, tuple[int, ...]]
    truncates: bool
    texts: dict[int, tuple[str, ...]]


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


def check(form: Ensemble, signature: Signature, texts: Texts) -> None:
    """Raise Unsupported for what has no nodes here."""
    if form.values.shape[1] > 1 or (form.feature[form.roots] < 0).any():
        raise Unsupported("leaves of several values, or trees that are one leaf, are left to the library")
    for place, spec in enumerate(signature.inputs):
        if (spec.datatype == "BYTES") != (place in texts) or spec.datatype not in TYPES:
            raise Unsupported(f"column '{spec.name}', categories or values of {spec.datatype}, is left to the library")


def model(form: Ensemble, signature: Signature, texts: Texts | None = None) -> bytes:
    """The ONNX file, with the inputs and outputs of the signature: one matrix, or a column each, of texts where
    `texts` has the categories of the feature. Raises Unsupported."""
    from onnx import TensorProto, helper

    check(form, signature, texts or {})
    single = form.single and form.summed == "FP32"
    form = _based(form) if single else form
    graph = Steps(np.float32 if single else np.float64)
    types = {name: getattr(TensorProto, kind) for name, kind in TYPES.items()}
    rows = _rows(graph, form, signature, texts or {}, types)
    sums = graph.node(
        "TreeEnsemble", _prepared(graph, form, rows), domain="ai.onnx.ml", **_attributes(form, graph.kind)
    )
    if form.base.any():
        sums = graph.node("Add", sums, graph.constant(form.base.reshape(1, -1)))
    if form.divisor != 1:
        sums = graph.node("Div", sums, graph.constant([form.divisor]))
    scores = _scores(graph, form, sums)
    for spec in signature.outputs:
        if spec.datatype == "BYTES":
            found = _label(graph, form, sums, scores)
            graph.node("Reshape", found, graph.constant(spec.shape, np.int64), to=spec.name)
            continue
        found = _label(graph, form, sums, scores) if spec.datatype == "INT64" else scores
        shaped = graph.node("Reshape", found, graph.constant(spec.shape, np.int64))
        _cast(graph, shaped, types[spec.datatype], spec.name)
    made = helper.make_graph(
        graph.nodes,
        "argosy",
        [_value(spec, types) for spec in signature.inputs],
        [_value(spec, types) for spec in signature.outputs],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    found = helper.make_model(made, opset_imports=opsets, ir_version=9)
    tell(found, form, texts or {})
    return found.SerializeToString(deterministic=True)


def tell(model: Any, form: Ensemble, texts: Texts) -> None:
    """Write in the metadata of an ONNX model what `graph.read` needs beside its node of trees."""
    from onnx import helper

    plain = {name: getattr(form, name) for name in About.__struct_fields__ if name != "texts"}
    plain |= {"base": form.base.tolist(), "target": form.target.tolist(), "texts": texts}
    plain |= {"known": {feature: each.tolist() for feature, each in form.known.items()}}
    about = msgspec.convert(plain, About, from_attributes=True)
    helper.set_model_props(model, {ABOUT: msgspec.json.encode(about).decode()})


def _based(form: Ensemble) -> Ensemble:
    """The form whose sums begin at 0, and with the leaves of their first tree, so that float32 rounds as before."""
    tree = np.searchsorted(form.roots, np.arange(len(form.feature)), side="right") - 1
    target = form.target if len(form.target) else np.zeros(len(form.roots), np.int64)
    _, first = np.unique(target, return_index=True)
    values = form.values[form.leaf].astype(np.float32)
    added = np.isin(tree, first)
    values[added, 0] += form.base[target[tree[added]]].astype(np.float32)
    table, leaf = distinct(values)
    return msgspec.structs.replace(form, base=np.zeros_like(form.base), leaf=leaf, values=table.astype(np.float64))


def _rows(graph: Steps, form: Ensemble, signature: Signature, texts: Texts, types: dict[str, Any]) -> str:
    """The matrix of all features, in the type that the trees work in."""
    inputs = signature.inputs
    kind = types["FP32" if graph.kind is np.float32 else "FP64"]
    columns: list[str] = []
    for place, spec in enumerate(inputs):
        name, given = spec.name, types[spec.datatype]
        if spec.datatype == "BYTES":
            from onnx import numpy_helper

            codes = np.arange(len(texts[place]))
            words = np.array([text.encode() for text in texts[place]], object)
            name = graph.node(
                "LabelEncoder",
                name,
                domain="ai.onnx.ml",
                keys_tensor=numpy_helper.from_array(words, "keys"),
                values_tensor=numpy_helper.from_array(codes.astype(graph.kind), "values"),
                default_tensor=numpy_helper.from_array(np.array([np.nan], graph.kind), "default"),
            )
        else:
            for wanted in (types["FP32"], kind) if form.single else (kind,):
                given, name = (given, name) if given == wanted else (wanted, _cast(graph, name, wanted))
        if len(inputs) > 1 or len(spec.shape) == 1:
            name = graph.node("Unsqueeze", name, graph.constant([1], np.int64))
        columns.append(name)
    return graph.node("Concat", *columns, axis=1) if len(columns) > 1 else columns[0]


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
    from onnx import TensorProto

    scoring = form.scoring
    grown = graph.node("Mul", sums, graph.constant([scoring.steep])) if scoring.steep != 1 else sums
    if scoring.link == "square":
        return graph.node("Mul", graph.node("Mul", sums, sums), graph.node("Sign", sums))
    operator = {"softmax": "Softmax", "sigmoid": "Sigmoid", "exp": "Exp", "none": "Identity"}[scoring.link]
    if graph.kind is np.float64 or scoring.link == "none":
        found = graph.node(operator, grown)
    elif scoring.link == "sigmoid":  # onnxruntime's own is off by percents where probabilities are small
        power = _cast(graph, graph.node("Neg", grown), TensorProto.DOUBLE)
        power = _cast(graph, graph.node("Exp", power), TensorProto.FLOAT)
        found = graph.node("Reciprocal", graph.node("Add", power, graph.constant([1])))
    else:
        found = graph.node(operator, _cast(graph, grown, TensorProto.DOUBLE))
        found = _cast(graph, found, TensorProto.FLOAT)
    if scoring.binary:
        return graph.node("Concat", graph.node("Sub", graph.constant([1]), found), found, axis=1)
    return found


def _label(graph: Steps, form: Ensemble, sums: str, scores: str) -> str:
    from onnx import TensorProto

    scoring = form.scoring
    if not scoring.binary:
        number = graph.node("ArgMax", scores if form.summed == "FP32" else sums, axis=1, keepdims=0)
        if not scoring.labels:
            return number
    elif scoring.second == "half":
        column = graph.node("Gather", scores, graph.constant([1], np.int64), axis=1)
        number = _cast(graph, graph.node("Greater", column, graph.constant([0.5])), TensorProto.INT64)
    else:
        operator = "Greater" if scoring.second == ">" else "GreaterOrEqual"
        number = _cast(graph, graph.node(operator, sums, graph.constant([0])), TensorProto.INT64)
    labels = [each.encode() if isinstance(each, str) else each for each in scoring.labels]
    kind = object if isinstance(labels[0], bytes) else np.int64
    return graph.node("Gather", graph.constant(labels, kind), number, axis=0)
