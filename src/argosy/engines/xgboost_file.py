"""Is this a whole XGBoost model, whose trees lead nowhere outside of themselves?

XGBoost crashes, or reads on past the end, on truncated UBJSON. And it believes what a model says: a child, feature or
class that is not there has it read, and write, outside of its own memory.
"""

import mmap
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from argosy.engines.base import check_file
from argosy.spec.errors import BadPackage, InvalidArgument

Buffer = bytes | mmap.mmap

NUMBERS = {"i": "i1", "U": "u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
"""Marker of UBJSON → type of a number, and of what a typed array holds."""
CONSTANTS = {"Z": None, "T": True, "F": False}
MAX_DEPTH = 64

NODES = ("right_children", "split_indices", "split_conditions", "default_left", "parents", "split_type")
"""Arrays of a tree that have an entry for each node, as `left_children` has."""
LEAF = -1


def inspect(path: Path) -> Literal["json", "ubj"]:
    """Which of the formats it is, by content. Raises BadPackage for anything else, and for UBJSON as `inspect_bytes`.
    JSON is left to XGBoost, whose JSON reader checks; what it made of it is to be checked by `inspect_bytes`."""
    size = check_file(path, "an XGBoost model")
    with path.open("rb") as file:
        head = file.read(64)
        if head[:1] != b"{" or size < 16:
            old = " in the binary format XGBoost 3 no longer reads: load it with XGBoost 2 and save it as .ubj"
            raise BadPackage(f"{path.name} is no XGBoost model" + (old if head[:4] in (b"binf", b"CONF") else ""))
        if head[1:].lstrip()[:1] == b'"':
            return "json"
        _whole(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), path.name)
    return "ubj"


def inspect_bytes(data: bytes, name: str) -> Any:
    """What the bytes of a booster hold, in UBJSON; None for JSON, which XGBoost checks. Raises BadPackage unless they
    are whole, and trees and categories hold together."""
    if data[:1] != b"{" or len(data) < 16:
        raise BadPackage(f"{name} is no XGBoost model")
    return _whole(data, name) if data[1:64].lstrip()[:1] != b'"' else None


def categories(model: Any) -> dict[str, list[Any]]:
    """The categories of each column that has some, of a model that was checked: texts, or numbers. Raises
    InvalidArgument for texts beyond ASCII: XGBoost counts their letters, stores their bytes, and so cuts them."""
    learner = model["learner"]
    names, columns = learner.get("feature_names", ()), _trees(learner["gradient_booster"]).get("cats", {})
    found: dict[str, list[Any]] = {}
    for place, each in enumerate(columns.get("enc", ())):
        name = names[place] if names else f"f{place}"
        values = np.asarray(each["values"])
        if "offsets" not in each:
            found |= {name: values.tolist()} if len(values) else {}
            continue
        text = values.astype(np.int8).tobytes()
        if not text.isascii():
            raise InvalidArgument(
                f"XGBoost did not store the categories of column '{name}' whole, as some have letters beyond ASCII: "
                "rename them before training"
            )
        ends = _integers(each["offsets"]).tolist()
        found |= {name: [text[start:end].decode() for start, end in pairwise(ends)]} if ends else {}
    return found


def _whole(data: Buffer, name: str) -> Any:
    try:
        found = parse(data)
    except BadPackage as error:
        raise BadPackage(f"{name} is not a whole XGBoost model: {error}") from None
    try:
        _check_model(found.get("Model", found))
        return found
    except BadPackage as error:
        raise BadPackage(f"{name} is an XGBoost model that cannot be right: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"{type(error).__name__}: {error}"
        raise BadPackage(
            f"{name} is an XGBoost model that cannot be right: its parts are not of the known form ({what})"
        ) from None


def _check_model(model: Any) -> None:
    """A pickled booster has its model beside its configuration."""
    learner = model["learner"]
    about, booster = learner["learner_model_param"], learner["gradient_booster"]
    features = int(about["num_feature"])
    groups = max(int(about["num_class"]), int(about.get("num_target", 1)), 1)
    if booster["name"] == "gblinear":
        weights = booster["model"]["weights"]
        _require(len(weights) in (0, (features + 1) * groups), f"{len(weights)} weights for {features} features")
        return
    _require(booster["name"] in ("gbtree", "dart"), f"a booster '{booster['name']!s:.40}'")
    trees = _trees(booster)
    _check_columns(trees.get("cats", {}), features)
    count = len(trees["trees"])
    _require(int(trees["gbtree_model_param"]["num_trees"]) == count, "another number of trees than it says")
    if booster["name"] == "dart":
        _require(len(booster["weight_drop"]) == count, "another number of weights than of trees")
    if len(rounds := _integers(trees.get("iteration_indptr", ()))):
        good = rounds[0] == 0 and rounds[-1] == count and bool((np.diff(rounds) >= 0).all())
        _require(good, "the rounds that its trees belong to")
    _within(trees["tree_info"], 0, groups, "the class of a tree")
    _require(len(trees["tree_info"]) == count, "another number of classes than of trees")
    _require(sorted(tree["id"] for tree in trees["trees"]) == list(range(count)), "the numbers of its trees")
    for tree in trees["trees"]:
        _check_tree(tree, features, groups)


def _trees(booster: Any) -> Any:
    return booster["gbtree"]["model"] if booster["name"] == "dart" else booster.get("model", {})


def _check_columns(columns: Any, features: int) -> None:
    """The categories of the training data: a list for each feature, or none at all."""
    lists, starts = columns.get("enc", ()), _integers(columns.get("feature_segments", ()))
    if not len(lists):
        _require(not starts.any() and not len(columns.get("sorted_idx", ())), "an order of categories it does not have")
        return
    _require(len(lists) == features, f"categories of {len(lists)} features where there are {features}")
    sizes = [_check_values(each) for each in lists]
    _require(starts.tolist() == [0, *np.cumsum(sizes).tolist()], "where the categories of its features begin")
    order = _integers(columns["sorted_idx"])
    _require(len(order) == sum(sizes), "another order of categories than there are")
    for start, size in zip(starts.tolist(), sizes, strict=False):
        _require(sorted(order[start : start + size].tolist()) == list(range(size)), "the order of its categories")


def _check_values(column: Any) -> int:
    """How many categories a feature has."""
    if "offsets" not in column:
        return len(_integers_or_floats(column["values"]))
    ends, length = _integers(column["offsets"]), len(column["values"])
    if not len(ends):
        return 0
    _within(column["values"], -128, 256, "a letter of a category")
    rising = ends[0] == 0 and ends[-1] == length and bool((np.diff(ends) >= 0).all())
    _require(rising, "where its categories begin")
    return len(ends) - 1


def _check_tree(tree: Any, features: int, groups: int) -> None:
    """Each node is the child of one other at the most, the root of none: so no way down comes to a node again."""
    left, right = _integers(tree["left_children"]), _integers(tree["right_children"])
    nodes = len(left)
    _require(nodes > 0 and int(tree["tree_param"]["num_nodes"]) == nodes, "another number of nodes than it says")
    for name in NODES:
        _require(name not in tree or len(tree[name]) == nodes, f"{name} of another number than the nodes")
    inner = left != LEAF
    _check_leaves(tree, right[~inner], nodes, groups)
    children = np.concatenate((left[inner], right[inner]))
    _within(children, 1, nodes, "a child")
    _require(len(np.unique(children)) == len(children), "a node that is the child of two")
    _within(_integers(tree["split_indices"])[inner], 0, features, "the feature of a split")
    _check_categories(tree, nodes)


def _check_leaves(tree: Any, ends: Any, nodes: int, groups: int) -> None:
    """A leaf has no right child. One that answers a vector may say there where this stands among all of them."""
    size = int(tree["tree_param"]["size_leaf_vector"])
    _require(size in (0, 1) or size == groups, f"leaves of {size} values for {groups} targets")
    _require(len(tree["base_weights"]) == nodes * max(size, 1), "base_weights of another number than the nodes")
    if size > 1 and len(vectors := tree.get("leaf_weights", ())):
        _within(ends, 0, len(vectors) // size, "the answer of a leaf")
    else:
        _require(bool((ends == LEAF).all()), "a node with one child")


def _check_categories(tree: Any, nodes: int) -> None:
    if "categories" not in tree:
        return
    begins, sizes = _integers(tree["categories_segments"]), _integers(tree["categories_sizes"])
    total = len(tree["categories"])
    _within(tree["categories_nodes"], 0, nodes, "the node of a categorical split")
    _require(len(begins) == len(sizes) == len(tree["categories_nodes"]), "categorical splits of different numbers")
    _within(begins, 0, total + 1, "where categories begin")
    _within(sizes, 0, total + 1, "a number of categories")
    _require(bool((begins + sizes <= total).all()), "categories past the last")
    _within(tree["categories"], 0, 2**24, "a category")


def _integers_or_floats(values: Any) -> Any:
    found = np.asarray(values)
    _require(found.ndim == 1 and (found.dtype.kind in "iuf" or not found.size), "categories that are no numbers")
    return found


def _integers(values: Any) -> Any:
    found = np.asarray(values)
    _require(found.ndim == 1 and (found.dtype.kind in "iu" or not found.size), "numbers that are no integers")
    return found.astype(np.int64)


def _within(values: Any, low: int, high: int, what: str) -> None:
    found = _integers(values)
    _require(bool(((found >= low) & (found < high)).all()), f"{what} is not within {low} to {high - 1}")


def _require(good: bool, what: str) -> None:
    if not good:
        raise BadPackage(what)


def parse(data: Buffer) -> Any:
    """The one value of Universal Binary JSON that these bytes are; typed arrays are views of the data.

    Raises BadPackage for a marker or form that XGBoost does not read, a length beyond the data, a name that a table has
    twice, containers nested too deep, and bytes after the end.
    """
    reader = _Reader(data)
    found = reader.value(0)
    if reader.at != reader.size:
        raise BadPackage(f"{reader.size - reader.at} bytes come after its end")
    return found


class _Reader:
    """`at` is the next byte."""

    def __init__(self, data: Buffer) -> None:
        self.data, self.size, self.at = data, len(data), 0

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise BadPackage(f"nested more than {MAX_DEPTH} deep")
        marker = self._marker()
        if marker == "{":
            return self._table(depth + 1)
        if marker == "[":
            return self._array(depth + 1)
        if marker == "S":
            return self._text()
        if marker == "C":
            return self.data[self._take(1)]
        if marker in CONSTANTS:
            return CONSTANTS[marker]
        if marker not in NUMBERS:
            raise BadPackage(f"unknown marker {marker!r} at byte {self.at - 1}")
        return self._numbers(marker, 1)[0].item()

    def _table(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self._ended("}"):
            name = self._text()
            if name in found:
                raise BadPackage(f"'{name[:40]}' is there twice at byte {self.at}")
            found[name] = self.value(depth)
        return found

    def _array(self, depth: int) -> Any:
        if self._next("$"):
            if (kind := self._marker()) not in NUMBERS or not self._next("#"):
                raise BadPackage(f"an array of an unknown type at byte {self.at}")
            return self._numbers(kind, self._length())
        if not self._next("#"):
            found: list[Any] = []
            while not self._ended("]"):
                found.append(self.value(depth))
            return found
        if (count := self._length()) > self.size - self.at:
            raise BadPackage(f"truncated: {count} values cannot follow byte {self.at}")
        return [self.value(depth) for _ in range(count)]

    def _numbers(self, kind: str, count: int) -> Any:
        dtype = np.dtype(NUMBERS[kind])
        return (
            np.frombuffer(self.data, dtype, count, self._take(count * dtype.itemsize)) if count else np.empty(0, dtype)
        )

    def _text(self) -> str:
        length = self._length()
        start = self._take(length)
        try:
            return self.data[start : start + length].decode()
        except UnicodeDecodeError:
            raise BadPackage(f"a text at byte {start} is no UTF-8") from None

    def _length(self) -> int:
        if not self._next("L"):
            raise BadPackage(f"no length at byte {self.at}")
        start = self._take(8)
        length: int = struct.unpack(">q", self.data[start : start + 8])[0]
        if length < 0:
            raise BadPackage(f"a negative length at byte {start}")
        return length

    def _marker(self) -> str:
        return chr(self.data[self._take(1)])

    def _next(self, marker: str) -> bool:
        """Whether this marker comes next; then it is passed."""
        found = self.at < self.size and self.data[self.at] == ord(marker)
        self.at += found
        return found

    def _ended(self, bracket: str) -> bool:
        if self.at >= self.size:
            raise BadPackage(f"truncated: a container goes on past byte {self.at}")
        return self._next(bracket)

    def _take(self, count: int) -> int:
        """Go on by so many bytes; where they begin."""
        start = self.at
        if count > self.size - start:
            raise BadPackage(f"truncated: {count} bytes are needed from byte {start}, {self.size - start} are there")
        self.at += count
        return start
