"""Are the indices within their arrays? Trees of scikit-learn and sparse matrices of SciPy are walked by native code
that does not ask: a file with wrong ones would make it read, or write, other memory."""

from collections.abc import Callable, Collection
from typing import Any, cast

import numpy as np

from argosy.engines.allow import Name, Refused, exact
from argosy.engines.calls import is_array_of
from argosy.spec.errors import BadPackage

MAX_DEGREE = 64


def _need(condition: object, what: str) -> None:
    if not condition:
        raise BadPackage(f"it holds {what}")


def tree(target: Any, state: Any) -> Any:
    """The state of a `sklearn.tree._tree.Tree`: nodes whose children come after them and whose features exist."""
    _need(exact(state, dict), "a tree of odd state")
    nodes, values, count = state.get("nodes"), state.get("values"), state.get("node_count")
    _need(exact(state.get("max_depth"), int) and exact(nodes, np.ndarray), "a tree of odd state")
    _need(nodes.ndim == 1 and exact(count, int) and count == len(nodes) > 0, "a tree without its nodes")
    _need(is_array_of(values, "f") and values.ndim == 3 and len(values) == count, "a tree without its values")
    _need({"left_child", "right_child", "feature"} <= set(nodes.dtype.names or ()), "a tree of odd nodes")
    inner = nodes["left_child"] != -1
    _children(np.arange(count)[inner], nodes["left_child"][inner], nodes["right_child"][inner], count)
    features = nodes["feature"][inner]
    _need(not inner.any() or 0 <= features.min() <= features.max() < target.n_features, "a tree of unknown features")
    _need(_depth(nodes) <= state["max_depth"], "a tree deeper than it says")
    return state


def _children(parents: Any, left: Any, right: Any, count: int) -> None:
    for side in (left, right):
        _need(((side > parents) & (side < count)).all(), "a tree whose nodes point nowhere")
    parents_of = np.bincount(np.concatenate([left, right]).astype(np.intp), minlength=1)
    _need(parents_of.max() <= 1, "a tree whose nodes have two parents")


def _depth(nodes: Any) -> int:
    """Of a tree in which every node has one parent, so that this ends."""
    level, depth = np.zeros(1, dtype=int), 0
    while True:
        level = level[nodes["left_child"][level] != -1]
        if not len(level):
            return depth
        level = np.concatenate([nodes["left_child"][level], nodes["right_child"][level]])
        depth += 1


def binary_tree(_: Any, state: Any, waiting: Collection[int]) -> Any:
    """The state of a KDTree or BallTree, which keeps the arrays themselves."""
    _need(exact(state, tuple) and len(state) == 13, "a neighbour tree of odd state")
    data, order, nodes, bounds, leaf, levels, count = state[:7]
    arrays = [array for array in (data, order, nodes, bounds, state[12]) if array is not None]
    _need(all(exact(array, np.ndarray) and id(array) not in waiting for array in arrays), "a tree of odd arrays")
    _need(data.ndim == 2 and order.shape == data.shape[:1] and bounds.ndim == 3, "a neighbour tree of odd arrays")
    _need(nodes.ndim == 1 and bounds.shape[1:] == (len(nodes), data.shape[1]), "a neighbour tree of odd bounds")
    _need(all(exact(number, int) and number >= 0 for number in state[4:11]), "a neighbour tree of odd numbers")
    _need(leaf > 0 and 0 < count == len(nodes) and levels < 64, "a neighbour tree of odd size")
    _need(state[12] is None or state[12].shape == order.shape, "a neighbour tree of odd weights")
    rows, features = data.shape
    _need(is_array_of(order, "i") and 0 <= order.min() <= order.max() < rows, "a neighbour tree of unknown rows")
    _need({"idx_start", "idx_end", "is_leaf"} <= set(nodes.dtype.names or ()), "a neighbour tree of odd nodes")
    first, last = nodes["idx_start"], nodes["idx_end"]
    _need(((first >= 0) & (first <= last) & (last <= rows)).all(), "a neighbour tree whose nodes point nowhere")
    inner = cast("Any", np.arange(count))[nodes["is_leaf"] == 0]
    _need(not len(inner) or 2 * inner.max() + 2 < count, "a neighbour tree whose nodes point nowhere")
    _distance(state[11], features)
    return state


def _distance(metric: Any, features: int) -> None:
    """Distances that weigh features have as many weights."""
    name = type(metric).__name__
    _need(any(base.__name__ == "DistanceMetric" for base in type(metric).__mro__), "a distance of another class")
    _power, vector, matrix = metric.__getstate__()
    if name.startswith(("SEuclidean", "Minkowski")):
        _need(vector.shape in ((features,), (0,)) and (len(vector) or name[0] == "M"), "a distance of other features")
    if name.startswith("Mahalanobis"):
        _need(vector.shape == (features,) and matrix.shape == (features, features), "a distance of other features")


def _sparse(target: Any) -> None:
    shape: Any = getattr(target, "_shape", None)
    _need(exact(shape, tuple) and len(shape) in (1, 2) and all(exact(n, int) for n in shape), "an odd matrix")
    arrays: list[Any] = [getattr(target, name, None) for name in ("data", "indices", "indptr")]
    _need(all(is_array_of(array, "biufc") and array.ndim == 1 for array in arrays), "a sparse matrix of odd arrays")
    try:
        target.check_format(full_check=True)
    except (ValueError, TypeError, IndexError) as error:
        raise BadPackage(f"it holds a broken sparse matrix: {error}") from None


def _spline(target: Any) -> None:
    knots, values, degree = target.t, target.c, target.k
    _need(exact(degree, int) and 0 <= degree <= MAX_DEGREE, "a spline of odd degree")
    _need(is_array_of(knots, "f") and is_array_of(values, "fc") and values.ndim > 0, "a spline of odd arrays")
    _need(knots.ndim == 1 and len(knots) >= len(values) + degree + 1 and len(values) > degree, "a spline without knots")
    _need(np.isfinite(knots).all() and (np.diff(knots) >= 0).all(), "a spline of unsorted knots")


def _predictor(target: Any) -> None:
    nodes, sets = target.nodes, target.raw_left_cat_bitsets
    _need(exact(nodes, np.ndarray) and nodes.ndim == 1 and len(nodes) > 0, "a tree without its nodes")
    _need({"left", "right", "is_leaf", "is_categorical", "bitset_idx"} <= set(nodes.dtype.names or ()), "odd nodes")
    inner = nodes["is_leaf"] == 0
    parents = np.arange(len(nodes))[inner]
    _children(parents, nodes["left"][inner].astype(int), nodes["right"][inner].astype(int), len(nodes))
    for array in (sets, target.binned_left_cat_bitsets):
        _need(is_array_of(array, "u") and array.ndim == 2 and array.shape[1] == 8, "a tree of odd categories")
        used = nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)]
        _need(not len(used) or used.max() < len(array), "a tree of unknown categories")


def _histograms(target: Any) -> None:
    """HistGradientBoosting: its trees ask for features that its rows have."""
    if not hasattr(target, "_predictors"):
        return
    features = target.n_features_in_
    for predictor in _flat(target._predictors):
        _need(type(predictor).__name__ == "TreePredictor", "a tree of another class")
        _predictor(predictor)
        inner = predictor.nodes[predictor.nodes["is_leaf"] == 0]
        asked = inner["feature_idx"]
        _need(not len(asked) or 0 <= asked.min() <= asked.max() < features, "a tree of unknown features")
        mapper = target._bin_mapper
        _need(
            not inner["is_categorical"].any() or len(mapper.is_categorical_) == len(mapper.bin_thresholds_) >= features,
            "a tree of unknown categories",
        )


def _decision_tree(target: Any) -> None:
    if hasattr(target, "tree_"):
        _grown(target, target.n_features_in_)


def _grown(estimator: Any, features: int) -> None:
    inner = getattr(estimator, "tree_", None)
    if type(inner).__module__ != "sklearn.tree._tree":
        raise Refused(f"a {type(estimator).__name__} over something else than a tree")
    _need(cast("Any", inner).node_count > 0, "a tree without its nodes")
    _need(cast("Any", inner).n_features <= features, "a tree of unknown features")


def _forest(target: Any) -> None:
    """Forests hand their rows to their trees unchecked."""
    for estimator in _flat(getattr(target, "estimators_", ())):
        _grown(estimator, target.n_features_in_)


def _boosting(target: Any) -> None:
    """GradientBoosting adds what its trees say to one column for each tree of a stage."""
    if hasattr(target, "estimators_"):
        stages = target.estimators_
        _need(exact(stages, np.ndarray) and stages.ndim == 2, "a gradient boosting of odd stages")
        _need(stages.shape[1] == target.n_trees_per_iteration_, "a gradient boosting of odd stages")
        _forest(target)


def _isolation(target: Any) -> None:
    if hasattr(target, "estimators_"):
        for estimator, features in zip(target.estimators_, target.estimators_features_, strict=True):
            _grown(estimator, len(features))


def _support_vectors(target: Any) -> None:
    """SVMs hand libsvm their arrays with the lengths that it derives from the number of classes."""
    if not hasattr(target, "support_vectors_"):
        return
    counts, vectors = target._n_support, target.support_vectors_.shape[0]
    _need(is_array_of(counts, "i") and counts.ndim == 1 and (counts >= 0).all(), "an SVM of odd classes")
    classes = len(counts) if target._impl in ("c_svc", "nu_svc") else 2
    pairs = classes * (classes - 1) // 2
    _need(target._impl not in ("c_svc", "nu_svc") or counts.sum() == vectors, "an SVM of other vectors")
    _need(target._dual_coef_.shape == (classes - 1, vectors), "an SVM of other coefficients than vectors")
    _need(target._intercept_.shape == (pairs,), "an SVM of other intercepts than classes")
    for name in ("_probA", "_probB"):
        _need(len(getattr(target, name, ())) in (0, pairs), "an SVM of other probabilities than classes")


def _flat(value: Any) -> list[Any]:
    """The items of lists, tuples and arrays within each other, as estimators keep their trees."""
    if isinstance(value, np.ndarray):
        value = cast("Any", value).ravel().tolist()
    if isinstance(value, list | tuple):
        return [item for inner in cast("list[Any]", value) for item in _flat(inner)]
    return [value]


AFTERWARDS: dict[Name, Callable[[Any], None]] = {
    ("scipy.sparse._csr", "_csr_base"): _sparse,
    ("scipy.sparse._csc", "_csc_base"): _sparse,
    ("scipy.interpolate._bsplines", "BSpline"): _spline,
    ("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor"): _predictor,
    ("sklearn.ensemble._hist_gradient_boosting.gradient_boosting", "BaseHistGradientBoosting"): _histograms,
    ("sklearn.tree._classes", "BaseDecisionTree"): _decision_tree,
    ("sklearn.ensemble._forest", "BaseForest"): _forest,
    ("sklearn.ensemble._gb", "BaseGradientBoosting"): _boosting,
    ("sklearn.ensemble._iforest", "IsolationForest"): _isolation,
    ("sklearn.svm._base", "BaseLibSVM"): _support_vectors,
}
"""Class → the check of a whole object."""
