"""Converters of ours, which skl2onnx calls: trees, linear classifiers, K-means, votes and imputers that calculate as
scikit-learn does.

Those of skl2onnx for trees lose missing values, round thresholds and sum in FP32. Here each tree gives the number of
the leaf that a row comes to, and the values of the leaves are summed in FP64, in the order of scikit-learn.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from argosy.engines.trees import sklearn
from argosy.engines.trees.form import Ensemble
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
        _trees: (
            *(
                tree.DecisionTreeClassifier,
                tree.DecisionTreeRegressor,
                tree.ExtraTreeClassifier,
                tree.ExtraTreeRegressor,
            ),
            *(ensemble.RandomForestClassifier, ensemble.RandomForestRegressor),
            *(ensemble.ExtraTreesClassifier, ensemble.ExtraTreesRegressor),
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


def _trees(_theirs: Any, scope: Any, operator: Any, container: Any) -> None:
    """A tree, the mean of a forest, or gradient boosting of both kinds, by the form of its trees."""
    model, graph = operator.raw_operator, Graph(scope, container)
    form = sklearn.read(model)
    if form.known:
        raise NotImplementedError("categorical features")
    scoring, classes = form.scoring, getattr(model, "classes_", None)
    raw = _sum(graph, _input(graph, operator, single=form.single), form)
    if form.divisor != 1:
        raw = graph.node("Div", [raw, graph.constant(np.array([form.divisor]))])
    if hasattr(model, "learning_rate"):
        raw = graph.node("Add", [raw, graph.constant(form.base.reshape(1, -1))])
    if not scoring.binary:
        kind = {"softmax": "Softmax", "exp": "Exp", "sigmoid": "Sigmoid"}.get(scoring.link)
        _answer(graph, operator, graph.node(kind, [raw]) if kind else raw, lambda _: _argmax(graph)(raw), classes)
        return
    second = graph.node("Sigmoid", [graph.node("Mul", [raw, graph.constant(np.array([scoring.steep]))])])
    first = graph.node("Sub", [graph.constant(np.array([1.0])), second])
    shares = graph.node("Concat", [first, second], axis=1)
    kind = "Greater" if scoring.second == ">" else "GreaterOrEqual"
    positive = graph.node(kind, [graph.shaped(raw, [-1]), graph.constant(np.array([0.0]))])
    _answer(graph, operator, shares, lambda _: graph.cast(positive, "INT64"), classes)


def _sum(graph: Graph, rows: str, form: Ensemble) -> str:
    """The values of the leaves that each row comes to, summed over the trees: [rows, sums]. Each tree has a target of
    its own, which gets the number of the node at which a row ends, counted through all."""
    from onnx import numpy_helper

    count = len(form.feature)
    if count >= MOST_LEAVES:
        raise NotImplementedError(f"trees of {count} nodes")
    tree = np.searchsorted(form.roots, np.arange(count), side="right") - 1
    own, leaf = np.arange(count) - form.roots[tree], form.feature < 0
    table = np.zeros((count, form.sums))
    if len(form.target):
        table[leaf, form.target[tree[leaf]]] = form.values[form.leaf[leaf], 0]
    else:
        table[leaf] = form.values[form.leaf[leaf]]
    children = {side: np.where(leaf, 0, getattr(form, side) - form.roots[tree]) for side in ("left", "right")}

    def doubles(name: str, array: Array) -> Any:
        return numpy_helper.from_array(array.astype(np.float64), name)

    leaves = graph.node(
        "TreeEnsembleRegressor",
        [rows],
        domain="ai.onnx.ml",
        n_targets=len(form.roots),
        nodes_treeids=tree.tolist(),
        nodes_nodeids=own.tolist(),
        nodes_featureids=np.where(leaf, 0, form.feature).tolist(),
        nodes_modes=["LEAF" if one else "BRANCH_LEQ" for one in leaf.tolist()],
        nodes_values_as_tensor=doubles("thresholds", form.threshold),
        nodes_truenodeids=children["left"].tolist(),
        nodes_falsenodeids=children["right"].tolist(),
        nodes_missing_value_tracks_true=form.left_gaps.astype(int).tolist(),
        target_treeids=tree[leaf].tolist(),
        target_nodeids=own[leaf].tolist(),
        target_ids=tree[leaf].tolist(),
        target_weights_as_tensor=doubles("leaves", np.flatnonzero(leaf)),
    )
    found = graph.node("Gather", [graph.constant(table), graph.cast(leaves, "INT64")], axis=0)
    return graph.node("ReduceSum", [found, graph.constant(np.array([1], np.int64))], keepdims=0)


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
