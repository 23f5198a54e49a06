"""Converters of ours, which skl2onnx calls: trees, linear classifiers, K-means, votes and imputers that calculate as
scikit-learn does.

Those of skl2onnx for trees lose missing values, round thresholds and sum in FP32. Here each tree gives the number of
the leaf that a row comes to, and the values of the leaves are summed in FP64, in the order of scikit-learn.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from argosy.spec.tensor import Array

MOST_LEAVES = 1 << 24
"""FP32, in which a tree of ONNX answers, has all integers up to here."""


class Graph:
    """Adds nodes to the container of skl2onnx. Tensors go by name."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope, self._container = scope, container

    def node(self, kind: str, inputs: Sequence[str], output: str = "", domain: str = "", **attributes: Any) -> str:
        """A node with one output, which is named anew or as told."""
        output = output or self._scope.get_unique_variable_name(f"argosy_{kind.lower()}")
        version = {"op_version": 3} if domain else {}
        name = self._scope.get_unique_operator_name(kind)
        self._container.add_node(kind, list(inputs), [output], op_domain=domain, name=name, **version, **attributes)
        return output

    def constant(self, array: Array) -> str:
        from onnx import TensorProto

        kinds = {"f": TensorProto.DOUBLE, "i": TensorProto.INT64, "U": TensorProto.STRING, "O": TensorProto.STRING}
        name = self._scope.get_unique_variable_name("argosy_constant")
        values = [v.encode() for v in array.ravel().tolist()] if array.dtype.kind in "UO" else array.ravel().tolist()
        self._container.add_initializer(name, kinds[array.dtype.kind], list(array.shape), values)
        return name

    def cast(self, tensor: str, kind: str, output: str = "") -> str:
        """The tensor as this element type of ONNX."""
        from onnx import TensorProto

        return self.node("Cast", [tensor], output, to=getattr(TensorProto, kind))

    def shaped(self, tensor: str, shape: Sequence[int], output: str = "") -> str:
        return self.node("Reshape", [tensor, self.constant(np.array(shape, np.int64))], output)


@functools.cache
def register() -> None:
    """Have skl2onnx call these converters."""
    from skl2onnx import common
    from sklearn import cluster, ensemble, impute, linear_model, svm, tree

    pool: Any = cast("Any", common)._registration
    converters: dict[Callable[..., None], tuple[Any, ...]] = {
        _averaged: (
            *(
                tree.DecisionTreeClassifier,
                tree.DecisionTreeRegressor,
                tree.ExtraTreeClassifier,
                tree.ExtraTreeRegressor,
            ),
            *(ensemble.RandomForestClassifier, ensemble.RandomForestRegressor),
            *(ensemble.ExtraTreesClassifier, ensemble.ExtraTreesRegressor),
        ),
        _boosted: (
            *(ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor),
            *(ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor),
        ),
        _linear: (
            *(svm.LinearSVC, linear_model.RidgeClassifier, linear_model.RidgeClassifierCV),
            *(linear_model.Perceptron, linear_model.SGDClassifier),
        ),
        _imputed: (impute.SimpleImputer,),
        _clustered: (cluster.KMeans, cluster.MiniBatchKMeans),
        _voted: (ensemble.VotingClassifier,),
    }
    for convert, kinds in converters.items():
        for alias in dict.fromkeys(map(_alias, kinds)):
            theirs = pool.get_converter(alias)
            options = theirs.get_allowed_options()
            pool.register_converter(alias, _bound(convert, theirs), overwrite=True, options=options)


def _alias(kind: type[Any]) -> str:
    """What skl2onnx calls a class of scikit-learn."""
    import skl2onnx

    return cast("Any", skl2onnx)._supported_operators._get_sklearn_operator_name(kind)


def _bound(convert: Callable[..., None], theirs: Any) -> Callable[[Any, Any, Any], None]:
    def own(scope: Any, operator: Any, container: Any) -> None:
        convert(theirs, scope, operator, container)

    return own


def _input(graph: Graph, operator: Any, *, single: bool) -> str:
    """The rows as FP64; as FP32 first where scikit-learn does that."""
    names = [variable.full_name for variable in operator.inputs]
    columns = [graph.cast(name, "FLOAT") if single else name for name in names]
    wide = [graph.cast(name, "DOUBLE") for name in columns]
    return wide[0] if len(wide) == 1 else graph.node("Concat", wide, axis=1)


def _answer(graph: Graph, operator: Any, scores: str, labels: Callable[[str], str] | None, classes: Any) -> None:
    """Write the scores, and of a classifier the class at the position that `labels` gives."""
    outputs = [variable.full_name for variable in operator.outputs]
    if classes is None:
        _write(graph, scores, operator.outputs[0], operator)
        return
    assert labels is not None
    known = np.asarray(classes)
    table = graph.constant(known.astype(np.int64) if known.dtype.kind in "biu" else known.astype(str))
    if known.dtype.kind not in "biuOU":
        raise NotImplementedError(f"classes of dtype {known.dtype}")
    graph.node("Gather", [table, labels(scores)], outputs[0], axis=0)
    if len(outputs) > 1:
        _write(graph, scores, operator.outputs[1], operator)


def _write(graph: Graph, tensor: str, variable: Any, operator: Any) -> None:
    """The FP64 tensor as an output: FP64 where the inputs are, whatever skl2onnx declares of forests."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    wide = all(isinstance(one.type, DoubleTensorType) for one in operator.inputs)
    variable.set_type((DoubleTensorType if wide else FloatTensorType)(variable.type.shape))
    graph.cast(tensor, "DOUBLE" if wide else "FLOAT", variable.full_name)


def _argmax(graph: Graph) -> Callable[[str], str]:
    return lambda scores: graph.node("ArgMax", [scores], axis=1, keepdims=0)


def _averaged(_theirs: Any, scope: Any, operator: Any, container: Any) -> None:
    """A tree, or the mean of a forest."""
    model, graph = operator.raw_operator, Graph(scope, container)
    if model.n_outputs_ > 1 and hasattr(model, "classes_"):
        raise NotImplementedError("a classifier of several outputs")
    trees = [one.tree_ for one in getattr(model, "estimators_", [model])]
    values = [tree.value[:, 0, :] if tree.n_outputs == 1 else tree.value[:, :, 0] for tree in trees]
    if hasattr(model, "classes_"):
        values = [value[:, : model.n_classes_] for value in values]
    summed = _sum(graph, _input(graph, operator, single=True), [_nodes(tree) for tree in trees], values)
    mean = graph.node("Div", [summed, graph.constant(np.array([float(len(trees))]))]) if len(trees) > 1 else summed
    _answer(graph, operator, mean, _argmax(graph), getattr(model, "classes_", None))


def _boosted(_theirs: Any, scope: Any, operator: Any, container: Any) -> None:
    """Gradient boosting, and the kind that works on histograms."""
    model, graph = operator.raw_operator, Graph(scope, container)
    histogram = hasattr(model, "_predictors")
    if histogram:
        if getattr(model, "_preprocessor", None) is not None:
            raise NotImplementedError("categorical features")
        stages = [[tree.nodes for tree in stage] for stage in model._predictors]
        start = np.asarray(model._baseline_prediction, np.float64).reshape(-1)
    else:
        stages = [[tree.tree_ for tree in stage] for stage in model.estimators_]
        if model.init not in (None, "zero"):
            raise NotImplementedError("a first estimate by an estimator")
        start = np.asarray(
            model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32)), np.float64
        ).reshape(-1)
    rows = _input(graph, operator, single=not histogram)
    width = len(stages[0])
    trees: list[dict[str, Array]] = []
    values: list[Array] = []
    for stage in stages:
        for place, tree in enumerate(stage):
            own = tree["value"] if histogram else model.learning_rate * tree.value[:, 0, 0]
            spread = np.zeros((len(own), width))
            spread[:, place] = own
            trees.append(_nodes(tree))
            values.append(spread)
    raw = graph.node("Add", [_sum(graph, rows, trees, values), graph.constant(start.reshape(1, -1))])
    _through_link(graph, operator, raw, width, strict=histogram)


def _through_link(graph: Graph, operator: Any, raw: str, width: int, *, strict: bool) -> None:
    """Sums of trees as what the model gives: through the inverse of its link."""
    model = operator.raw_operator
    classes = getattr(model, "classes_", None)
    if classes is None:
        link = type(model._loss.link).__name__ if hasattr(model, "_loss") else "IdentityLink"
        if link not in ("IdentityLink", "LogLink"):
            raise NotImplementedError(f"a regressor with {link}")
        _answer(graph, operator, graph.node("Exp", [raw]) if link == "LogLink" else raw, None, None)
        return
    if width > 1:
        shares = graph.node("Softmax", [raw], axis=1)
        _answer(graph, operator, shares, lambda _: _argmax(graph)(raw), classes)
        return
    twice = graph.constant(np.array([2.0 if getattr(model, "loss", "") == "exponential" else 1.0]))
    second = graph.node("Sigmoid", [graph.node("Mul", [raw, twice])])
    first = graph.node("Sub", [graph.constant(np.array([1.0])), second])
    shares = graph.node("Concat", [first, second], axis=1)
    flat = graph.shaped(raw, [-1])
    zero = graph.constant(np.array([0.0]))
    positive = graph.node("Greater" if strict else "GreaterOrEqual", [flat, zero])
    _answer(graph, operator, shares, lambda _: graph.cast(positive, "INT64"), classes)


def _nodes(tree: Any) -> dict[str, Array]:
    """A tree as arrays: feature, threshold, left, right (-1: a leaf), and whether a missing value goes left."""
    if isinstance(tree, np.ndarray):
        tree = cast("Array", tree)
        if tree["is_categorical"].any():
            raise NotImplementedError("categorical features")
        leaf = tree["is_leaf"].astype(bool)
        left, right = (np.where(leaf, -1, tree[side].astype(np.int64)) for side in ("left", "right"))
        gaps = tree["missing_go_to_left"]
        return _columns(tree["feature_idx"], tree["num_threshold"], left, right, gaps)
    gaps = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count))
    return _columns(tree.feature, tree.threshold, tree.children_left, tree.children_right, gaps)


def _columns(feature: Array, threshold: Array, left: Array, right: Array, gaps: Array) -> dict[str, Array]:
    leaf = np.asarray(left) < 0
    clean = {
        "feature": np.where(leaf, 0, feature),
        "threshold": np.where(leaf, 0.0, threshold),
        "left": np.where(leaf, 0, left),
        "right": np.where(leaf, 0, right),
        "gaps": np.where(leaf, 0, gaps),
    }
    return {"leaf": leaf, **{name: np.asarray(values) for name, values in clean.items()}}


def _sum(graph: Graph, rows: str, trees: Sequence[dict[str, Array]], values: Sequence[Array]) -> str:
    """The values [leaves, k] that each row comes to, summed over the trees: [rows, k]."""
    table = np.concatenate(values).astype(np.float64)
    if len(table) >= MOST_LEAVES:
        raise NotImplementedError(f"trees of {len(table)} nodes")
    leaves = graph.node("TreeEnsembleRegressor", [rows], domain="ai.onnx.ml", **_attributes(trees))
    found = graph.node("Gather", [graph.constant(table), graph.cast(leaves, "INT64")], axis=0)
    return graph.node("ReduceSum", [found, graph.constant(np.array([1], np.int64))], keepdims=0)


def _attributes(trees: Sequence[dict[str, Array]]) -> dict[str, Any]:
    """An ensemble with one target for each tree: the number of the node at which a row ends, counted through all."""
    from onnx import numpy_helper

    sizes = [len(tree["leaf"]) for tree in trees]
    starts = np.cumsum([0, *sizes[:-1]])
    ids = np.repeat(np.arange(len(trees)), sizes)
    own = np.concatenate([np.arange(size) for size in sizes])
    all_ = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0]}
    leaf = all_["leaf"]
    numbers = (np.repeat(starts, sizes) + own)[leaf]

    def doubles(name: str, array: Array) -> Any:
        return numpy_helper.from_array(array.astype(np.float64), name)

    return {
        "n_targets": len(trees),
        "nodes_treeids": ids.tolist(),
        "nodes_nodeids": own.tolist(),
        "nodes_featureids": all_["feature"].tolist(),
        "nodes_modes": ["LEAF" if one else "BRANCH_LEQ" for one in leaf.tolist()],
        "nodes_values_as_tensor": doubles("thresholds", all_["threshold"]),
        "nodes_truenodeids": all_["left"].tolist(),
        "nodes_falsenodeids": all_["right"].tolist(),
        "nodes_missing_value_tracks_true": all_["gaps"].astype(int).tolist(),
        "target_treeids": ids[leaf].tolist(),
        "target_nodeids": own[leaf].tolist(),
        "target_ids": ids[leaf].tolist(),
        "target_weights_as_tensor": doubles("leaves", numbers),
    }


def _linear(theirs: Any, scope: Any, operator: Any, container: Any) -> None:
    """A linear classifier that has scores, and no probabilities; others are left to skl2onnx."""
    model, graph = operator.raw_operator, Graph(scope, container)
    if hasattr(model, "predict_proba"):
        theirs(scope, operator, container)
        return
    rows = _input(graph, operator, single=False)
    weights = np.atleast_2d(np.asarray(model.coef_, np.float64))
    product = graph.node("MatMul", [rows, graph.constant(weights.T)])
    start = np.zeros(len(weights)) + np.asarray(model.intercept_, np.float64)
    scores = graph.node("Add", [product, graph.constant(start.reshape(1, -1))])
    if len(start) > 1:
        _answer(graph, operator, scores, _argmax(graph), model.classes_)
        return
    positive = graph.node("Greater", [graph.shaped(scores, [-1]), graph.constant(np.array([0.0]))])
    _answer(graph, operator, scores, lambda _: graph.cast(positive, "INT64"), model.classes_)


def _imputed(theirs: Any, scope: Any, operator: Any, container: Any) -> None:
    """Numbers in place of missing ones. Strings are left to skl2onnx."""
    model, graph = operator.raw_operator, Graph(scope, container)
    kinds = {type(variable.type).__name__ for variable in operator.inputs}
    if not kinds <= {"DoubleTensorType", "FloatTensorType"}:
        theirs(scope, operator, container)
        return
    statistics = np.asarray(model.statistics_, np.float64)
    if model.missing_values == model.missing_values or np.isnan(statistics).any() or model.add_indicator:
        raise NotImplementedError(
            "an imputer of other values than NaN, of columns without values, or with an indicator"
        )
    rows = _input(graph, operator, single=False)
    filled = graph.node("Where", [graph.node("IsNaN", [rows]), graph.constant(statistics.reshape(1, -1)), rows])
    _write(graph, filled, operator.outputs[0], operator)


def _clustered(_theirs: Any, scope: Any, operator: Any, container: Any) -> None:
    """The nearest centre, found without the square of the row, beside which that of a centre is lost; and distances."""
    model, graph = operator.raw_operator, Graph(scope, container)
    centres = np.asarray(model.cluster_centers_, np.float64)
    rows = _input(graph, operator, single=False)
    product = graph.node("MatMul", [rows, graph.constant(-2.0 * centres.T)])
    near = graph.node("Add", [product, graph.constant((centres**2).sum(axis=1).reshape(1, -1))])
    graph.node("ArgMin", [near], operator.outputs[0].full_name, axis=1, keepdims=0)
    squares = graph.node("ReduceSum", [graph.node("Mul", [rows, rows]), graph.constant(np.array([1], np.int64))])
    whole = graph.node("Max", [graph.node("Add", [near, squares]), graph.constant(np.array([0.0]))])
    _write(graph, graph.node("Sqrt", [whole]), operator.outputs[1], operator)


def _voted(_theirs: Any, scope: Any, operator: Any, container: Any) -> None:
    """The mean of what the members say: of their probabilities, or of one vote for a class each."""
    from skl2onnx.common.data_types import DoubleTensorType, Int64TensorType

    model, graph = operator.raw_operator, Graph(scope, container)
    members: list[Any] = model.estimators_
    weights: list[float] = model._weights_not_none or [1.0] * len(members)
    parts: list[str] = []
    for member, weight in zip(members, weights, strict=True):
        inner = scope.declare_local_operator(_alias(cast("type[Any]", type(member))), member)
        inner.inputs = operator.inputs
        label = scope.declare_local_variable("argosy_label", Int64TensorType())
        scores = scope.declare_local_variable("argosy_scores", DoubleTensorType())
        inner.outputs.extend([label, scores])
        said = graph.cast(scores.full_name, "DOUBLE")
        if model.voting == "hard":
            numbers = graph.constant(np.arange(len(model.classes_)).reshape(1, -1))
            said = graph.cast(graph.node("Equal", [graph.shaped(label.full_name, [-1, 1]), numbers]), "DOUBLE")
        parts.append(graph.node("Mul", [said, graph.constant(np.array([float(weight)]))]))
    mean = graph.node("Div", [graph.node("Sum", parts), graph.constant(np.array([float(sum(weights))]))])
    _answer(graph, operator, mean, _argmax(graph), model.classes_)
