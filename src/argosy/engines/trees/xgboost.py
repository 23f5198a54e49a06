"""The ensemble in a model of XGBoost, in JSON or UBJSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from argosy.engines import xgboost_file
from argosy.engines.trees.build import Tree, ensemble
from argosy.engines.trees.form import Ensemble, Link, Scoring
from argosy.spec.errors import Unsupported
from argosy.spec.tensor import Array

LOGISTIC = ("binary:logistic", "reg:logistic")
LOGARITHMIC = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft")
PLAIN = (
    *("reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:quantileerror"),
    *("binary:logitraw", "rank:pairwise", "rank:ndcg", "rank:map", "multi:softmax"),
)
LINKS: dict[str, Link] = {
    **dict.fromkeys(LOGISTIC, "sigmoid"),
    **dict.fromkeys(LOGARITHMIC, "exp"),
    **dict.fromkeys(PLAIN, "none"),
    "multi:softprob": "softmax",
}


def parse(path: Path) -> Any:
    """The model in a file that was checked."""
    data = path.read_bytes()
    found: Any = json.loads(data) if xgboost_file.inspect(path) == "json" else xgboost_file.parse(data)
    return found.get("Model", found)


def read(model: Any, *, labelled: bool) -> Ensemble:
    """The ensemble of a parsed model. `labelled`: it answers with labels, as XGBClassifier does. Raises Unsupported."""
    learner = model["learner"]
    about, booster = learner["learner_model_param"], learner["gradient_booster"]
    objective = learner["objective"]["name"]
    if booster["name"] == "gblinear" or objective not in LINKS:
        what = "linear booster" if booster["name"] == "gblinear" else f"objective '{objective}'"
        raise Unsupported(f"XGBoost's {what} has no rule outside XGBoost")
    inner: Any = booster["gbtree"]["model"] if booster["name"] == "dart" else booster["model"]
    sums = max(int(about["num_class"]), int(about.get("num_target", 1)), 1)
    target = np.asarray(inner["tree_info"], np.int64)
    count = _count(learner.get("attributes", {}), inner, len(target))
    base = _base(about["base_score"], objective, sums)
    trees = [_tree(tree) for tree in inner["trees"][:count]]
    if "weight_drop" in booster:  # dart adds to each tree where the sums begin, and takes it off again
        weights, start = np.asarray(booster["weight_drop"], np.float32), base.astype(np.float32)
        for at, tree in enumerate(trees):
            tree.values = ((tree.values + start[target[at]]) - start[target[at]]) * weights[at]
    scoring = Scoring(
        link=LINKS[objective],
        binary=labelled and sums == 1 and objective in LOGISTIC,
        second="half",
        labels=tuple(range(max(sums, 2))) if labelled else (),
    )
    return ensemble(
        trees,
        gaps=("node",) * int(about["num_feature"]),
        base=base,
        scoring=scoring,
        summed="FP32",
        target=target[:count] if sums > 1 else np.empty(0, np.int64),
    )


def _count(attributes: Any, model: Any, trees: int) -> int:
    """How many trees answer: of those with early stopping, up to the best round."""
    best = int(attributes.get("best_iteration", -1)) + 1 if "scikit_learn" in attributes else 0
    rounds = np.asarray(model.get("iteration_indptr", ()), np.int64)
    return int(rounds[best]) if 0 < best < len(rounds) else trees


def _base(text: str, objective: str, sums: int) -> Array:
    """Where the sums begin: the base score before its link, in float32."""
    scores = np.array([float(each) for each in str(text).strip("[]").split(",")], np.float32)
    if objective in LOGISTIC:
        scores = -np.log((np.float32(1) / scores - np.float32(1)).astype(np.float64))
    elif objective in LOGARITHMIC:
        scores = np.log(scores.astype(np.float64))
    return np.broadcast_to(scores.astype(np.float32), (sums,)).astype(np.float64)


def _tree(said: Any) -> Tree:
    """A tree. XGBoost goes left where `x < t`, and right for the categories of a node: these get their children
    exchanged, so that what is unknown goes the other way."""
    if int(said["tree_param"]["size_leaf_vector"]) > 1:
        raise Unsupported("XGBoost's trees of several targets (multi_output_tree) have no rule outside XGBoost")
    left, right, features = (
        np.asarray(said[name], np.int64) for name in ("left_children", "right_children", "split_indices")
    )
    conditions = np.asarray(said["split_conditions"], np.float32)
    gaps: Array = np.asarray(said["default_left"], np.int64) != 0
    sets: dict[int, Array] = {}
    starts, sizes = (np.asarray(said.get(name, ()), np.int64) for name in ("categories_segments", "categories_sizes"))
    categories = np.asarray(said.get("categories", ()), np.int64)
    for node, start, size in zip(
        np.asarray(said.get("categories_nodes", ()), np.int64).tolist(), starts.tolist(), sizes.tolist(), strict=True
    ):
        sets[node] = categories[start : start + size]
    swapped = np.isin(np.arange(len(left)), list(sets))
    below = np.nextafter(conditions, np.float32(-np.inf))
    return Tree(
        feature=features,
        threshold=np.where(swapped, 0.0, below.astype(np.float64)),
        left=np.where(swapped, right, left),
        right=np.where(swapped, left, right),
        left_gaps=np.where(swapped, ~gaps, gaps),
        values=conditions.reshape(-1, 1),
        sets=sets,
    )
