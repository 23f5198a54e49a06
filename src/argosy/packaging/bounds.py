"""What a fitted scikit-learn estimator, or an ensemble of trees of another library, says of its inputs: thresholds of
trees, statistics, categories, training rows.

Without a sample, rows are made of these; with one, thresholds are where a converted model is tried.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np

from argosy.engines.trees.form import Ensemble
from argosy.spec.tensor import Array

Points = dict[int, list[Array]]
"""Input feature → values around which the model was fitted."""

_NESTED = ("estimators_", "calibrated_classifiers_", "estimator_", "best_estimator_", "regressor_", "classifiers_")
_CENTRES = ("mean_", "center_", "theta_", "means_", "xmeans_", "cluster_centers_", "_fit_X", "support_vectors_")
_WIDTHS = ("scale_", "var_", "std_", "var_smoothing_")
_EDGES = ("data_min_", "data_max_", "statistics_", "quantiles_", "X_train_", "max_abs_")
_IMPUTERS = ("SimpleImputer",)
MOST = 4096
"""Values of one feature, at most."""


def thresholds(estimator: Any) -> list[tuple[int, float]]:
    """(feature, threshold) of each split of each tree that is given the inputs as they come."""
    found = [pair for tree, columns in _trees(estimator) for pair in _splits(tree, columns)]
    return sorted(set(found))


def has_trees(estimator: Any, depth: int = 0) -> bool:
    """Whether a tree is anywhere in the estimator, behind whatever other step."""
    if _has_tree(estimator) or hasattr(estimator, "_predictors"):
        return True
    if depth > 6 or not hasattr(estimator, "__dict__"):
        return False
    return any(has_trees(one, depth + 1) for one in _parts(cast("Any", vars(estimator)).values()))


def _parts(values: Any) -> Iterator[Any]:
    """The estimators among these values, and in lists, tuples and arrays of them."""
    for value in values:
        if hasattr(value, "get_params") or type(value).__name__ == "_CalibratedClassifier":
            yield value
        elif isinstance(value, list | tuple):
            yield from _parts(value)
        elif isinstance(value, np.ndarray) and cast("Array", value).dtype.kind == "O":
            yield from _parts(cast("Array", value).ravel().tolist())


def points(estimator: Any, width: int) -> list[Array] | None:
    """For each of `width` features, sorted values around which inputs lie. None where the model says nothing of the
    scale of one that it uses."""
    found: Points = {}
    complete = _gather(estimator, range(width), found)
    if not found or not complete:
        return None
    none = np.zeros(1)
    return [_thinned(np.concatenate(found[place])) if place in found else none for place in range(width)]


def rows(points: Sequence[Array], count: int) -> Array:
    """Rows of values at these points, between them and somewhat outside; the same every time."""
    random = np.random.default_rng(1)
    made = np.empty((count, len(points)))
    for place, values in enumerate(points):
        ends = np.concatenate([values[:1] - np.ptp(values) / 2, values, values[-1:] + np.ptp(values) / 2])
        chosen = random.integers(0, len(ends) - 1, count)
        between = ends[chosen] + random.random(count) * (ends[chosen + 1] - ends[chosen])
        made[:, place] = np.where(random.random(count) < 0.25, values[random.integers(0, len(values), count)], between)
    return made


def texts(estimator: Any, depth: int = 0) -> list[str]:
    """The categories that are strings, of whatever step."""
    found: Any = getattr(estimator, "categories_", ())
    own = [str(one) for values in found for one in np.asarray(values, dtype=object).tolist() if isinstance(one, str)]
    if depth <= 6 and hasattr(estimator, "__dict__"):
        for part in _parts(cast("Any", vars(estimator)).values()):
            own += texts(part, depth + 1)
    return own


def _thinned(values: Array) -> Array:
    values = np.unique(values[np.isfinite(values)])
    if len(values) > MOST:
        values = values[np.linspace(0, len(values) - 1, MOST, dtype=int)]
    return values if len(values) else np.zeros(1)


def _gather(estimator: Any, columns: Sequence[int], found: Points) -> bool:
    """Add what the estimator says of these columns of the input. False where it leaves the scale of one open."""
    if hasattr(estimator, "transformers_"):
        told = [_gather(step, picked, found) for step, picked in _branches(estimator, columns)]
        return all(told)
    if hasattr(estimator, "steps"):
        for _, step in estimator.steps:
            if step in (None, "passthrough") or type(step).__name__ in _IMPUTERS:
                continue
            return _gather(step, columns, found)
        return False
    if (trees := list(_trees(estimator, columns))) and not _others(estimator):
        for tree, places in trees:
            for feature, value in _splits(tree, places):
                found.setdefault(feature, []).append(np.array([value, value - 1 - abs(value), value + 1 + abs(value)]))
        return True
    if own := _statistics(estimator, len(columns)):
        for values in own:
            for place, value in zip(columns, values.T, strict=True):
                found.setdefault(place, []).append(value)
        return True
    told = [_gather(part, inner, found) for part, inner in _nested(estimator, columns)]
    return any(told)


def _others(estimator: Any) -> bool:
    """Whether an ensemble has members without trees: their scale is another matter."""
    parts = [part for part, _ in _nested(estimator, ())]
    return any(not has_trees(part) for part in parts)


def _branches(estimator: Any, columns: Sequence[int]) -> Iterator[tuple[Any, list[int]]]:
    names = {str(name): place for place, name in enumerate(getattr(estimator, "feature_names_in_", ()))}
    for _, step, picked in estimator.transformers_:
        if step == "drop":
            continue
        places = np.arange(len(columns))[picked] if isinstance(picked, slice) else np.atleast_1d(np.asarray(picked))
        if places.dtype == bool:
            places = np.flatnonzero(places)
        kept = [names[str(one)] if places.dtype.kind in "OUS" else int(one) for one in places.tolist()]
        yield step, [columns[one] for one in kept]


def _statistics(estimator: Any, width: int) -> list[Array]:
    """Rows of values, each of this width: centres, and one and three widths to both sides of them."""

    def rows(name: str) -> Array | None:
        value = getattr(estimator, name, None)
        if value is None or isinstance(value, list | property) or hasattr(value, "toarray"):
            return None
        array = np.asarray(value)
        if array.dtype.kind not in "if" or array.ndim not in (1, 2) or array.shape[-1] != width:
            return None
        return np.atleast_2d(array.astype(np.float64))[:MOST]

    categories: Any = getattr(estimator, "categories_", None)
    if (
        categories is not None
        and len(categories) == width
        and all(np.asarray(c).dtype.kind in "if" for c in categories)
    ):
        longest = max(len(values) for values in categories)
        return [np.stack([np.resize(np.asarray(values, np.float64), longest) for values in categories], axis=1)]
    found = [values for name in (*_CENTRES, *_EDGES) if (values := rows(name)) is not None]
    wide = [values for name in _WIDTHS if (values := rows(name)) is not None]
    many = any(len(values) > 1 for values in found) or len(found) > 1
    if not found or not (wide or many):
        return [] if not wide else [wide[0] * step for step in (-3, -1, 1, 3)]
    spread = wide[0].mean(axis=0) if wide else np.std(np.concatenate(found), axis=0)
    return [values + step * spread for values in found for step in (-3, -1, 0, 1, 3)]


def _nested(estimator: Any, columns: Sequence[int]) -> Iterator[tuple[Any, Sequence[int]]]:
    """The estimators inside, with the columns of the input that each is given."""
    picked: Any = getattr(estimator, "estimators_features_", None)
    if picked is not None and columns:
        for part, places in zip(_parts(estimator.estimators_), picked, strict=True):
            yield part, [columns[int(one)] for one in places]
        return
    names = _NESTED if hasattr(estimator, "get_params") else ("estimator",)
    for part in _parts([getattr(estimator, name, None) for name in names]):
        yield part, columns


def _has_tree(estimator: Any) -> bool:
    """Whether its `tree_` is one of decisions, not one of neighbours."""
    return isinstance(estimator, Ensemble) or hasattr(getattr(estimator, "tree_", None), "children_left")


def _trees(estimator: Any, columns: Sequence[int] = ()) -> Iterator[tuple[Any, Sequence[int]]]:
    """Trees of scikit-learn, and nodes of histogram boosting, that see these columns of the input (none: all)."""
    if hasattr(estimator, "steps") or hasattr(estimator, "transformers_"):
        return
    if isinstance(estimator, Ensemble):
        yield estimator, columns
    elif _has_tree(estimator):
        yield estimator.tree_, columns
    elif hasattr(estimator, "_predictors"):
        if getattr(estimator, "_preprocessor", None) is None:
            for predictor in np.ravel(np.array(estimator._predictors, dtype=object)):
                yield predictor.nodes, columns
    else:
        for part, inner in _nested(estimator, columns):
            yield from _trees(part, inner)


def _splits(tree: Any, columns: Sequence[int]) -> Iterator[tuple[int, float]]:
    if isinstance(tree, np.ndarray):
        tree = cast("Any", tree)
        split = tree[tree["is_leaf"] == 0]
        features, values = split["feature_idx"], split["num_threshold"]
    elif isinstance(tree, Ensemble):
        split = tree.feature >= 0
        split[[*tree.sets]] = False
        features, values = tree.feature[split], tree.threshold[split]
        yield from {(int(tree.feature[node]), float(one)) for node, known in tree.sets.items() for one in known}
    else:
        split = np.asarray(tree.children_left) != -1
        features, values = np.asarray(tree.feature)[split], np.asarray(tree.threshold)[split]
    for feature, value in zip(features.tolist(), values.tolist(), strict=True):
        yield (columns[feature] if columns else int(feature)), float(value)
