"""An ensemble of trees as arrays: what every library's model becomes, and what C and ONNX are made of.

A row goes left where `x <= threshold`; how a library rounds its input, tests `<`, or treats what is missing is brought
to that by its reader. `evaluate` is the definition in numpy of what the form answers.
"""

from typing import Literal

import msgspec
import numpy as np

from argosy.spec.errors import Unsupported
from argosy.spec.tensor import Array

Gaps = Literal["node", "zero", "zeros", "refused"]
"""What becomes of a missing value: it goes where the node says; it counts as 0; it goes where the node says and so does
0; the row is refused."""
Link = Literal["none", "sigmoid", "softmax", "exp", "square"]
"""From sums to scores."""
ZERO = float(np.float32(1e-35))
"""LightGBM takes numbers up to here for 0."""


class Scoring(msgspec.Struct, frozen=True, kw_only=True):
    """From the sums over trees to scores and labels.

    `link` of `steep` times the sums gives the scores; of `binary` ones p there are two, 1 - p and p. The label is the
    first of the largest scores; of binary ones the second where the sum is above 0 (or is 0, or where p is above a
    half). `labels` are what the model gives for 0, 1, …; none: it has no labels.
    """

    link: Link = "none"
    steep: float = 1.0
    binary: bool = False
    second: Literal[">", ">=", "half"] = ">"
    labels: tuple[int | str, ...] = ()


class Ensemble(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes of all trees by number; `roots` are those of the trees, and a child comes after its parent.

    `feature` is -1 at a leaf, whose `values` are row `leaf` of the table. `left_gaps`: a missing value goes left.
    `sets`: node → the categories (numbers from 0) that go left, all others going right. `single`: inputs are rounded
    to float32 before they are tested. `target`: of each tree, the sum that its one value is added to; empty where
    leaves have a value for each sum. The sums begin with `base`, go through the trees in order, in float32 if
    `summed` says so, and are divided by `divisor` at the end. `known`: feature → its categories, where all other
    numbers are missing values. `truncates`: a number just below 0 is category 0. `limits`: of each feature, the
    largest magnitude that is not refused; empty where all are answered.
    """

    roots: Array
    feature: Array
    threshold: Array
    left: Array
    right: Array
    left_gaps: Array
    leaf: Array
    values: Array
    gaps: tuple[Gaps, ...]
    base: Array
    scoring: Scoring
    sets: dict[int, Array] = {}
    single: bool = True
    summed: Literal["FP32", "FP64"] = "FP64"
    target: Array = np.empty(0, np.int64)
    divisor: float = 1.0
    known: dict[int, Array] = {}
    truncates: bool = False
    limits: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Features of a row."""
        return len(self.gaps)

    @property
    def sums(self) -> int:
        """Numbers that are summed."""
        return len(self.base)

    @property
    def scores(self) -> int:
        """Scores of a row."""
        return 2 if self.scoring.binary else self.sums

    def depth(self) -> Array:
        """Tests on the longest way of each tree."""
        far = np.zeros(len(self.feature), np.int64)
        for node in range(len(far) - 1, -1, -1):
            if self.feature[node] >= 0:
                far[node] = 1 + max(far[self.left[node]], far[self.right[node]])
        return far[self.roots]


def distinct(values: Array) -> tuple[Array, Array]:
    """The distinct rows of a table, -0 apart from 0; the number of each row's."""
    table = np.ascontiguousarray(values)
    _, first, inverse = np.unique(
        table.view(f"V{table.dtype.itemsize * table.shape[1]}"), return_index=True, return_inverse=True
    )
    return table[first], inverse.reshape(-1)


def leaves(form: Ensemble, rows: Array) -> Array:
    """The row of the table of values that each row comes to in each tree: [rows, trees]. Raises Unsupported for a value
    that the form has no rule for."""
    given = rows.astype(np.float32) if form.single else rows
    given = given.astype(np.float64)
    missing = np.isnan(given)
    gaps = np.array(form.gaps)
    if (missing & (gaps == "refused")).any():
        raise Unsupported("a missing value where the model has no rule for one")
    given = np.where(missing & (gaps == "zero"), 0.0, given)
    missing = (missing & (gaps != "zero")) | ((gaps == "zeros") & (np.abs(given) <= ZERO))
    count, columns = np.arange(len(rows)), len(form.roots)
    at = np.repeat(form.roots.reshape(1, -1), len(rows), axis=0)
    for feature, categories in form.known.items():
        missing[:, feature] |= ~np.isin(given[:, feature], categories)
    sets = {node: {*categories.tolist()} for node, categories in form.sets.items()}
    for tree in range(columns):
        here = at[:, tree]
        while len(open_ := count[form.feature[here] >= 0]):
            nodes = here[open_]
            features = form.feature[nodes]
            values, gone = given[open_, features], missing[open_, features]
            goes = np.where(gone, form.left_gaps[nodes], values <= form.threshold[nodes])
            for place, node in enumerate(nodes.tolist()) if sets else ():
                if node in sets and not gone[place]:
                    value = values[place]
                    whole = value > -1 if form.truncates else value >= 0
                    goes[place] = whole and value < 2**31 and int(value) in sets[node]
            here[open_] = np.where(goes, form.left[nodes], form.right[nodes])
    return form.leaf[at]


def raw(form: Ensemble, rows: Array) -> Array:
    """The sums: [rows, sums]."""
    kind = np.float32 if form.summed == "FP32" else np.float64
    found = np.repeat(form.base.astype(kind).reshape(1, -1), len(rows), axis=0)
    for tree, leaf in enumerate(leaves(form, rows).T):
        if len(form.target):
            found[:, form.target[tree]] += form.values[leaf, 0].astype(kind)
        else:
            found += form.values[leaf].astype(kind)
    return found / kind(form.divisor) if form.divisor != 1 else found


def evaluate(form: Ensemble, rows: Array) -> tuple[Array, Array]:
    """Numbers of the labels, and scores [rows, scores] in FP64."""
    scoring = form.scoring
    with np.errstate(over="ignore", invalid="ignore"):
        sums = raw(form, rows).astype(np.float64)
        scores = linked(scoring, sums * scoring.steep)
    if not scoring.binary:
        return sums.argmax(axis=1), scores
    tests = {">": sums[:, 0] > 0, ">=": sums[:, 0] >= 0, "half": scores[:, 0] > 0.5}
    label = tests[scoring.second]
    return label.astype(np.int64), np.concatenate([1 - scores, scores], axis=1)


def linked(scoring: Scoring, sums: Array) -> Array:
    """The scores of sums."""
    if scoring.link == "softmax":
        grown = np.exp(sums - sums.max(axis=1, keepdims=True))
        return grown / grown.sum(axis=1, keepdims=True)
    if scoring.link == "sigmoid":
        return 1 / (1 + np.exp(-sums))
    if scoring.link == "square":
        return np.sign(sums) * sums * sums
    return np.exp(sums) if scoring.link == "exp" else sums
