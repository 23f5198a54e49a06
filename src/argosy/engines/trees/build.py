"""Trees as a library has them → one ensemble: nodes in an order where children follow, values of leaves once."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from argosy.engines.trees.form import Ensemble, distinct
from argosy.spec.tensor import Array


class Tree(msgspec.Struct, kw_only=True):
    """One tree: its nodes by number, 0 is the root; `left` is below 0 at a leaf. `values`: [nodes, k] of leaves."""

    feature: Array
    threshold: Array
    left: Array
    right: Array
    left_gaps: Array
    values: Array
    sets: Mapping[int, Array] = {}


def ensemble(trees: Sequence[Tree], **more: Any) -> Ensemble:
    """The form of these trees; `more` are its other fields."""
    columns: list[list[Array]] = [[] for _ in range(6)]
    sets: dict[int, Array] = {}
    roots: list[int] = []
    start = 0
    for tree in map(_split, trees):
        order = _order(tree)
        number = np.zeros(len(tree.left), np.int64)
        number[order] = np.arange(len(order)) + start
        inner = tree.left[order] >= 0
        roots.append(start)
        sets |= {int(number[node]): each for node, each in tree.sets.items() if node in {*order.tolist()}}
        taken = (
            np.where(inner, tree.feature[order], -1),
            np.where(inner, tree.threshold[order], 0.0),
            np.where(inner, number[tree.left[order]], 0),
            np.where(inner, number[tree.right[order]], 0),
            inner & tree.left_gaps[order].astype(bool),
            np.where(inner.reshape(-1, 1), 0, tree.values[order]),
        )
        for column, part in zip(columns, taken, strict=True):
            column.append(part)
        start += len(order)
    feature, threshold, left, right, gaps, values = (np.concatenate(each) for each in columns)
    leaf = np.zeros(start, np.int64)
    table, leaf[feature < 0] = distinct(values[feature < 0])
    return Ensemble(
        roots=np.array(roots),
        feature=feature.astype(np.int64),
        threshold=threshold.astype(np.float64),
        left=left,
        right=right,
        left_gaps=gaps,
        leaf=leaf,
        values=table,
        sets=sets,
        **more,
    )


def _split(tree: Tree) -> Tree:
    """The tree; of one that is a leaf, a node whose children are both that leaf."""
    if tree.left[0] >= 0:
        return tree
    return Tree(
        feature=np.zeros(3, np.int64),
        threshold=np.zeros(3),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        left_gaps=np.zeros(3, bool),
        values=np.repeat(tree.values[:1], 3, axis=0),
    )


def _order(tree: Tree) -> Array:
    """The nodes that the root leads to, parents first."""
    found, left, right = [0], tree.left.tolist(), tree.right.tolist()
    for node in found:  # grows as it goes
        if left[node] >= 0:
            found += (left[node], right[node])
    return np.array(found)
