"""skops files, built by skops from its own nodes under the rules for pickles.

skops asks whether types are trusted by name. Here every node is asked for what it would do: names go through `allow`,
states through `states`. Nodes that make methods, partial functions or operators, and those of older protocols, are
refused.
"""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from argosy.engines import calls, states
from argosy.engines.allow import Name, Part, Refused, exact, resolve
from argosy.engines.base import short
from argosy.engines.compressed import most_inside
from argosy.spec.errors import BadPackage

_FIXED: dict[str, tuple[Name, ...]] = {
    "DictNode": (("builtins", "dict"), ("collections", "OrderedDict"), ("sklearn.utils._bunch", "Bunch")),
    "DefaultDictNode": (("collections", "defaultdict"),),
    "JsonNode": (("builtins", "str"),),
    **{
        f"{kind.title()}Node": (("builtins", kind),) for kind in ("list", "tuple", "set", "bytes", "bytearray", "slice")
    },
    "MaskedArrayNode": (("numpy.ma", "MaskedArray"), ("numpy.ma.core", "MaskedArray")),
    "DTypeNode": (("numpy", "dtype"),),
    "RandomStateNode": (("numpy.random.mtrand", "RandomState"),),
    "RandomGeneratorNode": (("numpy.random._generator", "Generator"),),
    "TreeNode": (("sklearn.tree._tree", "Tree"),),
    "SparseMatrixNode": tuple(
        (f"scipy.sparse._{kind}", f"{kind}_{form}") for kind in ("csr", "csc") for form in ("matrix", "array")
    ),
}
"""Nodes of one kind of object → the names it may have."""


KIND = "skops file"


def read(path: Path, names: dict[Name, None], objections: dict[str, None] | None) -> Any:
    """The object in a skops file. `names` gets the names that it uses, `objections` what is refused: without, the first
    refusal is raised. Raises Refused, BadPackage."""
    with zipfile.ZipFile(path) as archive:
        root, nodes = _nodes(path, archive)
        for node in nodes:
            names[str(node.module_name), str(node.class_name)] = None
            try:
                _check(node)
            except Refused as refused:
                if objections is None:
                    raise
                objections[short(refused)] = None
        return None if objections else _construct(root, nodes)


def read_trusted(path: Path) -> Any:
    """The same as skops loads it: it may run code."""
    import skops.io

    _check_size(path)
    skops = cast("Any", skops.io)
    return skops.load(path, trusted=skops.get_untrusted_types(file=path))


def _check_size(path: Path) -> None:
    most = most_inside(path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        inside = sum(entry.file_size for entry in archive.infolist())
        if inside > most:
            raise BadPackage(f"{path.name} unpacks to {inside} bytes")
        for entry in archive.infolist():
            if entry.filename.endswith(".npz"):
                with archive.open(entry) as file, zipfile.ZipFile(cast("Any", file)) as nested:
                    inside += sum(part.file_size for part in nested.infolist())
        if inside > most:
            raise BadPackage(f"{path.name} unpacks to {inside} bytes")


def _nodes(path: Path, archive: zipfile.ZipFile) -> tuple[Any, list[Any]]:
    """skops's own nodes: the root, and all of them. None of them has made anything yet."""
    from skops.io import _audit, _utils  # pyright: ignore[reportPrivateUsage]

    _check_size(path)
    schema, context = cast("Any", _utils).read_schema(archive)
    root = cast("Any", _audit).get_tree(schema, context, trusted=None)
    found: dict[int, Any] = {}
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) not in found:
            found[id(node)] = node
            pending.extend(_within(node))
    return root, list(found.values())


def _within(node: Any) -> Iterator[Any]:
    """The nodes that a node holds, but for the constructor of one that is called by our rules (`_object`)."""
    base = next(kind for kind in type(node).__mro__ if kind.__name__ == "Node")
    inner: dict[str, Any] = {
        key: value for key, value in cast("Any", vars(node)).items() if key not in ("children", "constructor")
    }
    inner["children"] = {key: value for key, value in node.children.items() if key != "constructor"}
    pending: list[Any] = list(inner.values())
    while pending:
        value = pending.pop()
        if isinstance(value, base):
            yield value
        elif isinstance(value, list | tuple):
            pending.extend(cast("list[Any]", value))
        elif isinstance(value, dict):
            pending.extend(cast("dict[Any, Any]", value).values())


def _check(node: Any) -> None:
    kind, name = type(node).__name__, (str(node.module_name), str(node.class_name))
    said = ".".join(name)[:200]
    if not type(node).__module__.startswith("skops.io._"):
        raise Refused(f"{said}, saved by an old skops: load it and dump it again")
    if kind in _FIXED:
        if name not in _FIXED[kind]:
            raise Refused(said)
    elif kind in ("FunctionNode", "TypeNode"):
        found = resolve(*name)
        if exact(found, Part) and found.name != ("collections", "OrderedDict"):
            raise Refused(said)
    elif kind == "NdArrayNode":
        found = resolve(*name)
        target = found.target if exact(found, Part) else found
        if target is not np.ndarray and not (isinstance(target, type) and issubclass(target, np.generic)):
            raise Refused(said)
    elif kind in ("ObjectNode", "LossNode", "ConstructorFromReduceNode"):
        if not exact(resolve(*name), Part):
            raise Refused(said)
    elif kind != "CachedNode":
        raise Refused(f"{said} by {kind}")


def _construct(root: Any, nodes: list[Any]) -> Any:
    """What skops makes of its nodes, with objects and their states made by our rules."""
    made: list[Any] = []
    for node in nodes:
        if type(node).__name__ in ("ObjectNode", "LossNode", "TreeNode", "ConstructorFromReduceNode"):
            node._construct = lambda node=node: _object(node, made)
        elif type(node).__name__ == "SparseMatrixNode":
            node._construct = lambda own=node._construct: _sparse(own(), made)
        elif type(node).__name__ in ("RandomStateNode", "RandomGeneratorNode"):
            node._construct = lambda node=node, own=node._construct: _random(node, own)
    found = root.construct()
    for one in made:
        states.finish(one)
    return found


def _sparse(matrix: Any, made: list[Any]) -> Any:
    if getattr(matrix, "format", None) not in ("csr", "csc"):
        raise Refused("a sparse matrix that is neither csr nor csc")
    made.append(matrix)
    return matrix


def _object(node: Any, made: list[Any]) -> Any:
    part = resolve(str(node.module_name), str(node.class_name))
    if type(node).__name__ == "ObjectNode":
        target = calls.new(part, ())
    else:
        arguments = node.args if hasattr(node, "args") else node.content
        target = calls.call(part, arguments.construct())
    made.append(target)
    attributes = node.attrs.construct() if getattr(node, "attrs", None) is not None else None
    if attributes or (type(node).__name__ == "TreeNode"):
        state = states.check(target, attributes)
        if hasattr(target, "__setstate__"):
            target.__setstate__(state)
        else:
            cast("Any", vars(target)).update(state)
    return target


def _random(node: Any, own: Callable[[], Any]) -> Any:
    content = node.content if hasattr(node, "content") else node.bit_generator_state
    states.check(np.random.RandomState(0), content.construct())
    return own()
