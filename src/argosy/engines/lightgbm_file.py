"""Is this a whole LightGBM text model? LightGBM trusts the sizes and indices in it, and crashes on wrong ones."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from argosy.engines.base import check_file
from argosy.spec.errors import BadPackage

MAX_LINE = 1 << 28
"""Bytes of one line: the widest models have a few hundred thousand feature names."""


def inspect(path: Path) -> dict[str, str]:
    """Read the file once, line by line; give its header. Raises BadPackage unless it is a whole model of sound trees.

    Checked: the header, that each tree begins at the byte `tree_sizes` says, the lengths of its arrays, that children
    come after their parents (so that no walk runs in circles), that features exist, and both end markers.
    """
    check_file(path, "a LightGBM model")
    with path.open("rb") as file:
        return _whole(file, path.name)


def inspect_text(text: str, name: str) -> None:
    """`inspect`, for the text of a booster in a pickle."""
    _whole(io.BytesIO(text.encode()), name)


def _whole(file: IO[bytes], name: str) -> dict[str, str]:
    try:
        return _check(_lines(file))
    except BadPackage as error:
        raise BadPackage(f"{name} is not a whole LightGBM model: {error.message}") from None
    except (ValueError, UnicodeError, StopIteration):
        raise BadPackage(f"{name} is not a whole LightGBM model: a value in it is no number") from None


def _check(lines: Iterator[tuple[int, str]]) -> dict[str, str]:
    if next(lines)[1].strip() != "tree":
        raise BadPackage("it does not begin with 'tree'")
    header = _block(lines)
    for key in ("version", "num_class", "num_tree_per_iteration", "max_feature_idx", "feature_names"):
        if key not in header:
            raise BadPackage(f"its header has no '{key}'")
    sizes = [int(size) for size in header.get("tree_sizes", "").split()]
    features, named = int(header["max_feature_idx"]) + 1, len(header["feature_names"].split(" "))
    if named != features:
        raise BadPackage(f"it names {named} features and says {features}")
    position, line = _next(lines)
    for number, size in enumerate(sizes):
        if line != f"Tree={number}":
            raise BadPackage(f"tree {number} of {len(sizes)} is missing")
        _check_tree(number, _block(lines), features)
        start = position
        position, line = _next(lines)
        if position - start != size:
            raise BadPackage(f"tree {number} takes {position - start} bytes where the header says {size}")
    if line != "end of trees":
        raise BadPackage("the mark 'end of trees' is missing after the last tree")
    inside = False
    for _, line in lines:
        inside = line == "parameters:" or (inside and line != "end of parameters")
    if inside:
        raise BadPackage("the mark 'end of parameters' is missing")
    return header


def _check_tree(number: int, tree: dict[str, str], features: int) -> None:
    leaves = int(tree.get("num_leaves", "0"))
    if leaves < 1:
        raise BadPackage(f"tree {number} has no leaves")
    if leaves == 1:
        return
    inner = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
    for key, count in {**dict.fromkeys(inner, leaves - 1), "leaf_value": leaves}.items():
        if len(tree.get(key, "").split()) != count:
            raise BadPackage(f"tree {number}: '{key}' has not {count} values")
    if any(not 0 <= int(feature) < features for feature in tree["split_feature"].split()):
        raise BadPackage(f"tree {number} splits on a feature that does not exist")
    for key in ("left_child", "right_child"):
        for parent, child in enumerate(map(int, tree[key].split())):
            if not (parent < child < leaves - 1 if child >= 0 else ~child < leaves):
                raise BadPackage(f"tree {number}: '{key}' points to nodes that do not exist")


def _lines(file: IO[bytes]) -> Iterator[tuple[int, str]]:
    """Position and text of each line."""
    position = 0
    while line := file.readline(MAX_LINE):
        yield position, line.decode().rstrip("\r\n")
        position += len(line)


def _block(lines: Iterator[tuple[int, str]]) -> dict[str, str]:
    """`key=value` lines up to an empty one."""
    found: dict[str, str] = {}
    for _, line in lines:
        if not line:
            return found
        key, _, value = line.partition("=")
        found[key] = value
    raise BadPackage("the file ends in the middle of a block: it is truncated")


def _next(lines: Iterator[tuple[int, str]]) -> tuple[int, str]:
    for position, line in lines:
        if line:
            return position, line
    raise BadPackage("the file ends before 'end of trees': it is truncated")
