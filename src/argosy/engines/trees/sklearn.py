"""The ensemble in a fitted estimator of scikit-learn."""

import json
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from msgspec.structs import replace

from argosy.engines.trees import lightgbm, xgboost
from argosy.engines.trees.build import Tree, ensemble
from argosy.engines.trees.form import Ensemble, Link, Scoring
from argosy.spec.errors import Unsupported
from argosy.spec.tensor import Array

AVERAGED = ("DecisionTree", "ExtraTree", "ExtraTrees", "RandomForest")
MOST = 4096
"""Numbers that stand for categories are below it."""
LINKS: dict[str, Link] = {"IdentityLink": "none", "LogLink": "exp", "LogitLink": "sigmoid", "HalfLogitLink": "sigmoid"}


def recognise(estimator: Any) -> bool:
    """Whether it is one that `read` takes."""
    kind = cast("type[Any]", type(estimator))
    name = kind.__name__.removesuffix("Classifier").removesuffix("Regressor")
    return kind.__module__.startswith("sklearn.") and name in (*AVERAGED, "GradientBoosting", "HistGradientBoosting")


def library(estimator: Any) -> str:
    """The library of boosters that an estimator is of; empty for another."""
    name = cast("type[Any]", type(estimator)).__module__.partition(".")[0]
    return name if name in ("lightgbm", "xgboost") else ""


def has_trees(estimator: Any) -> bool:
    """Whether it is an estimator of trees, of whatever library, or a pipeline that ends with one."""
    last = estimator.steps[-1][1] if getattr(estimator, "steps", ()) else estimator
    return recognise(last) or bool(library(last))


def read(estimator: Any) -> Ensemble:
    """The ensemble. Raises Unsupported for what has no rule."""
    if found := _wrapped(estimator):
        return found
    if not recognise(estimator):
        if steps := [type(step).__name__ for _, step in getattr(estimator, "steps", ())]:
            raise Unsupported(f"the step {steps[0]} of the pipeline ({', '.join(steps)}) cannot be written in C")
        raise Unsupported(f"{type(estimator).__name__} is no estimator of trees that can be written in C")
    if hasattr(estimator, "_predictors"):
        return _histogram(estimator)
    return _boosted(estimator) if hasattr(estimator, "learning_rate") else _averaged(estimator)


def _wrapped(estimator: Any) -> Ensemble | None:
    """The booster in an estimator of LightGBM or XGBoost, with the labels of the estimator."""
    if library(estimator) == "lightgbm":
        form = lightgbm.read(estimator.booster_.model_to_string())
    elif library(estimator):
        model = json.loads(estimator.get_booster().save_raw("json"))
        form = xgboost.read(model, labelled=hasattr(estimator, "classes_"))
    else:
        return None
    labels = _labels(estimator)
    scoring = replace(form.scoring, labels=labels, binary=len(labels) == 2, second="half")
    return replace(form, scoring=scoring) if labels else form


def texts(estimator: Any) -> dict[int, tuple[str, ...]]:
    """Feature → the categories that stand for 0, 1, …, where these are texts."""
    return {
        feature: tuple(str(each) for each in values)
        for feature, values in _categories(estimator).items()
        if any(isinstance(each, str) for each in values)
    }


def _labels(estimator: Any) -> tuple[int | str, ...]:
    known: Any = getattr(estimator, "classes_", None)
    if known is None:
        return ()
    if isinstance(known, list) or known.dtype.kind not in "biuOU":
        raise Unsupported("a classifier of several outputs, or of classes that are neither numbers nor texts")
    return tuple(int(each) if known.dtype.kind in "biu" else str(each) for each in known.tolist())


def _plain(tree: Any, values: Array) -> Tree:
    inner = np.asarray(tree.children_left) >= 0
    return Tree(
        feature=np.asarray(tree.feature),
        threshold=np.asarray(tree.threshold),
        left=np.asarray(tree.children_left),
        right=np.asarray(tree.children_right),
        left_gaps=np.asarray(getattr(tree, "missing_go_to_left", np.zeros(len(inner)))),
        values=values,
    )


def _averaged(model: Any) -> Ensemble:
    """A tree, or the mean of a forest."""
    labels = _labels(model)
    trees = [one.tree_ for one in getattr(model, "estimators_", [model])]
    values = [np.asarray(tree.value[:, 0, :] if tree.n_outputs == 1 else tree.value[:, :, 0]) for tree in trees]
    if labels:
        values = [value[:, : len(labels)] for value in values]
    return ensemble(
        [_plain(tree, value) for tree, value in zip(trees, values, strict=True)],
        gaps=("node",) * int(model.n_features_in_),
        base=np.zeros(values[0].shape[1]),
        scoring=Scoring(labels=labels),
        divisor=float(len(trees)),
    )


def _boosted(model: Any) -> Ensemble:
    if model.init not in (None, "zero"):
        raise Unsupported("gradient boosting that begins with an estimator of its own (init)")
    stages = [[tree.tree_ for tree in stage] for stage in model.estimators_]
    trees = [_plain(tree, model.learning_rate * tree.value[:, :, 0]) for stage in stages for tree in stage]
    base = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))
    steep = 2.0 if getattr(model, "loss", "") == "exponential" else 1.0
    return _summed(model, trees, base, steep=steep, second=">=", single=True, gaps=("node",) * model.n_features_in_)


def _summed(model: Any, trees: Sequence[Tree], base: Any, *, second: Any, steep: float = 1.0, **more: Any) -> Ensemble:
    labels = _labels(model)
    start = np.asarray(base, np.float64).reshape(-1)
    link = type(model._loss.link).__name__ if hasattr(model, "_loss") else "IdentityLink"
    if labels:
        scoring = Scoring(
            link="softmax" if len(start) > 1 else "sigmoid", steep=steep, binary=len(start) == 1, second=second,
            labels=labels,
        )  # fmt: skip
    else:
        if link not in LINKS:
            raise Unsupported(f"a regressor with {link}")
        scoring = Scoring(link=LINKS[link])
    target = np.arange(len(trees)) % len(start) if len(start) > 1 else np.empty(0, np.int64)
    return ensemble(trees, base=start, scoring=scoring, target=target, **more)


def _categories(model: Any) -> dict[int, list[Any]]:
    """Feature → its categories in the order of their codes, but for a missing one."""
    if getattr(model, "_preprocessor", None) is None:
        return {}
    encoder: Any = model._preprocessor.named_transformers_["encoder"]
    places = np.flatnonzero(model.is_categorical_).tolist()
    return {
        place: [each for each in values.tolist() if each == each and each is not None]
        for place, values in zip(places, cast("list[Array]", encoder.categories_), strict=True)
    }


def _histogram(model: Any) -> Ensemble:
    """Histogram boosting. Its categories are encoded first, and stand before the other features; what is unknown goes
    where missing values do."""
    known = _categories(model)
    order = [*known, *(place for place in range(model.n_features_in_) if place not in known)]
    codes = {feature: _codes(feature, values) for feature, values in known.items()}
    trees = [_binned(tree, order, codes) for stage in model._predictors for tree in stage]
    return _summed(
        model, trees, model._baseline_prediction, second=">", single=False, gaps=("node",) * model.n_features_in_,
        known=codes,
    )  # fmt: skip


def _codes(feature: int, values: list[Any]) -> Array:
    """The number that stands for each category: itself, or the place of a text."""
    if all(isinstance(each, str) for each in values):
        return np.arange(len(values))
    if not all(isinstance(each, int | float) and 0 <= each < MOST and each == int(each) for each in values):
        raise Unsupported(f"categories of feature {feature} are neither texts nor whole numbers below {MOST}")
    return np.array([int(each) for each in values])


def _binned(tree: Any, order: list[int], codes: dict[int, Array]) -> Tree:
    nodes: Array = tree.nodes
    leaf, categorical = nodes["is_leaf"] != 0, (nodes["is_categorical"] != 0) & (nodes["is_leaf"] == 0)
    features = np.array(order)[np.where(leaf, 0, nodes["feature_idx"])]
    left, right = (np.where(leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
    sets: dict[int, Array] = {}
    for node in np.flatnonzero(categorical).tolist():
        words: Array = np.asarray(tree.raw_left_cat_bitsets[nodes["bitset_idx"][node]], np.uint32)
        bits = np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))
        sets[node] = np.sort(codes[int(features[node])][bits])
    return Tree(
        feature=features,
        threshold=np.where(categorical | leaf, 0.0, nodes["num_threshold"]),
        left=left,
        right=right,
        left_gaps=nodes["missing_go_to_left"],
        values=nodes["value"].reshape(-1, 1),
        sets=sets,
    )
