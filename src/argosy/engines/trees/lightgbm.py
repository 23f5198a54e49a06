"""The ensemble in a text model of LightGBM."""

from typing import Any, cast

import numpy as np

from argosy.engines.trees.build import Tree, ensemble
from argosy.engines.trees.form import ZERO, Ensemble, Gaps, Link, Scoring
from argosy.spec.errors import Unsupported
from argosy.spec.tensor import Array

CATEGORICAL, LEFT = 1, 2
GAPS: tuple[Gaps, ...] = ("zero", "zeros", "node")
"""By the kind of missing values that a node has: none, 0, NaN."""
LINKS: dict[str, Link] = {
    **dict.fromkeys(("binary", "cross_entropy", "multiclassova"), "sigmoid"),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exp"),
    "multiclass": "softmax",
    **dict.fromkeys(
        (
            *("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"),
            *("", "none", "custom"),
        ),
        "none",
    ),
}
"""Objective → link."""


def read(text: str) -> Ensemble:
    """The ensemble of a model that was checked. Raises Unsupported for linear trees and objectives without a rule."""
    blocks = [_values(block) for block in text.split("\nend of trees")[0].split("\nTree=")]
    header, trees = blocks[0], blocks[1:]
    sums, width = int(header["num_tree_per_iteration"]), int(header["max_feature_idx"]) + 1
    gaps: list[Gaps | None] = [None] * width
    found = [_tree(each, gaps) for each in trees]
    name, *parameters = header.get("objective", "").split() or [""]
    said = {key: value for key, _, value in (each.partition(":") for each in parameters)}
    if name not in LINKS or ("sqrt" in said and name != "regression"):
        raise Unsupported(f"LightGBM's objective '{name}' has no rule outside LightGBM")
    return ensemble(
        found,
        gaps=tuple(mode or "node" for mode in gaps),
        base=np.zeros(sums),
        scoring=Scoring(link="square" if "sqrt" in said else LINKS[name], steep=float(said.get("sigmoid", 1))),
        single=False,
        target=np.arange(len(found)) % sums if sums > 1 else np.empty(0, np.int64),
        divisor=float(len(found) // sums) if "average_output" in text.split("\nTree=", 1)[0].split("\n") else 1.0,
        truncates=True,
    )


def _values(block: str) -> dict[str, str]:
    return {key: value for key, _, value in (line.partition("=") for line in block.split("\n"))}


def _numbers(text: str, kind: Any = np.int64) -> Array:
    return np.array(text.split(), dtype=kind)


def _tree(said: dict[str, str], gaps: list[Gaps | None]) -> Tree:
    """A tree, whose nodes are the inner ones, then the leaves. Sets what becomes of missing values of its features."""
    if said.get("is_linear") == "1":
        raise Unsupported("LightGBM's linear trees (linear_tree) have no rule outside LightGBM")
    values = _numbers(said["leaf_value"], np.float64)
    inner = len(values) - 1
    ends = np.full(len(values), -1)
    if not inner:
        zero = np.zeros(1, np.int64)
        return Tree(feature=zero, threshold=zero, left=ends, right=ends, left_gaps=zero, values=values.reshape(-1, 1))
    left, right = (_numbers(said[name]) for name in ("left_child", "right_child"))
    kinds, features = _numbers(said["decision_type"]), _numbers(said["split_feature"])
    thresholds = _numbers(said["threshold"], np.float64)
    thresholds = np.where((thresholds >= -ZERO) & (thresholds < 0), np.nextafter(-ZERO, -1), thresholds)
    thresholds = np.where((thresholds >= 0) & (thresholds < ZERO), ZERO, thresholds)  # as a tiny number counts as 0
    categorical = (kinds & CATEGORICAL).astype(bool)
    sets = {int(node): _set(said, int(thresholds[node])) for node in np.flatnonzero(categorical)}
    for node, (feature, kind) in enumerate(zip(features.tolist(), (kinds >> 2 & 3).tolist(), strict=True)):
        mode = cast("Gaps", "node" if categorical[node] else GAPS[kind])
        if gaps[feature] not in (None, mode):
            raise Unsupported(f"feature {feature} has missing values of two kinds in the LightGBM model")
        gaps[feature] = mode
    pad = np.zeros(len(values))
    return Tree(
        feature=np.concatenate([features, pad]).astype(np.int64),
        threshold=np.concatenate([np.where(categorical, 0.0, thresholds), pad]),
        left=np.concatenate([np.where(left < 0, inner + ~left, left), ends]),
        right=np.concatenate([np.where(right < 0, inner + ~right, right), ends]),
        left_gaps=np.concatenate([(kinds & LEFT).astype(bool) & ~categorical, pad.astype(bool)]),
        values=np.concatenate([np.zeros(inner), values]).reshape(-1, 1),
        sets=sets,
    )


def _set(said: dict[str, str], number: int) -> Array:
    """The categories of a split: bits of words."""
    start, end = _numbers(said["cat_boundaries"])[number : number + 2].tolist()
    words = _numbers(said["cat_threshold"], np.uint32)[start:end]
    return np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))
