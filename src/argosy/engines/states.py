"""The states a pickle or skops file may give to its objects, checked before they are given.

`check` is given one state, `finish` a whole object once its file is read, where parts of it may come later. Native
code trusts the indices of trees and sparse matrices: they are checked here, so that a file cannot make it read or write
beyond its arrays.
"""

import math
from collections.abc import Callable, Collection
from typing import Any, cast

import numpy as np

from argosy.engines import lightgbm_file, xgboost_file
from argosy.engines.allow import Name, Part, Refused, exact
from argosy.engines.calls import PendingTree, is_array_of, need, plain_dtype, said, shape_of
from argosy.engines.indices import AFTERWARDS, binary_tree, tree
from argosy.spec.errors import BadPackage

Check = Callable[[Any, Any, Collection[int]], Any]
"""Object, state, ids of the objects that still wait for theirs → the state to give."""


def check(target: Any, state: Any, waiting: Collection[int] = ()) -> Any:
    """The state to give to the object. Raises Refused for one that nobody vouches for."""
    for kind in type(target).__mro__:
        if rule := _RULES.get((kind.__module__, kind.__qualname__)):
            return rule(target, state, waiting)
    return _attributes(target, state, waiting)


def finish(target: Any, *, made: bool = True) -> None:
    """Check an object of a file that is read to its end; `made`: it got a state. Raises Refused, BadPackage."""
    if exact(target, PendingTree) and not (made and target.claimed):
        raise Refused("a tree without its nodes, or without its estimator")
    for kind in type(target).__mro__:
        if rule := AFTERWARDS.get((kind.__module__, kind.__qualname__)):
            rule(target)


def _attributes(target: Any, state: Any, _: Collection[int]) -> dict[str, Any]:
    """Attributes by name. None takes the place of a method, and none names a file that is read or a cache."""
    bases: tuple[type, ...] = type(target).__mro__
    kind = f"{bases[0].__module__}.{bases[0].__qualname__}"
    need(exact(state, dict), f"a state of {kind} that is no dict")
    attributes = cast("dict[Any, Any]", state)
    if exact(attributes.get("tree_"), PendingTree) and any(base.__qualname__ == "BaseDecisionTree" for base in bases):
        pending = attributes["tree_"]
        pending.claimed = True
        attributes = {**attributes, "tree_": pending.tree}
    for key, value in attributes.items():
        need(not exact(value, Part) and not exact(value, PendingTree), f"{said(value)} as an attribute")
        need(exact(key, str) and not (key.startswith("__") and key.endswith("__")), f"{kind}.{str(key)[:80]}")
        need(not _is_method(bases, key), f"something else in the place of the method {kind}.{key}")
    if attributes.get("memory") is not None:
        raise Refused(f"{kind}(memory=…), a folder of cached pickles")
    given = attributes.get("input", "content")
    content = exact(given, str) and given == "content"
    if not content and any(base.__qualname__ == "_VectorizerMixin" for base in bases):
        raise Refused(f"{kind}(input=…), which reads the files that a request names")
    return attributes


def _is_method(bases: tuple[type, ...], key: str) -> bool:
    for base in bases:
        if key in vars(base):
            kind: Any = cast("Any", type)(vars(base)[key])
            return hasattr(kind, "__get__") and not hasattr(kind, "__set__")
    return False


def _dtype(target: Any, state: Any, _: Collection[int]) -> Any:
    """The state must be the one numpy itself gives to the dtype it describes."""
    need(exact(state, tuple) and len(state) in (8, 9), "a dtype of odd state")
    _version, order, sub, names, fields, itemsize, _alignment, _flags = state[:8]
    need(order in ("<", ">", "=", "|"), "a dtype of odd byte order")
    if names is not None:
        wanted = [_structured(names, fields, itemsize, align) for align in (False, True)]
    elif sub is not None:
        base, shape = sub
        wanted = [np.dtype((plain_dtype(base), shape_of(shape)))]
    else:
        kind = _time(target, state) if target.kind in "mM" else target
        wanted = [kind if order == "|" else kind.newbyteorder(order)]
    fitting = [one for one in wanted if _same(cast("Any", one).__reduce__()[2], state)]
    need(fitting, "a dtype that contradicts itself")
    return state


def _structured(names: Any, fields: Any, itemsize: Any, align: bool) -> Any:
    need(exact(names, tuple) and exact(fields, dict) and set(fields) == set(names), "a dtype of odd fields")
    need(exact(itemsize, int) and 0 <= itemsize < 1 << 31, "a dtype of odd size")
    about = [fields[name] for name in names]
    need(all(exact(one, tuple) and len(one) == 2 for one in about), "a dtype of odd fields")
    formats = [plain_dtype(kind) for kind, _ in about]
    described = {"names": list(names), "formats": formats, "offsets": [at for _, at in about], "itemsize": itemsize}
    try:
        return np.dtype(cast("Any", described), align=align)
    except (TypeError, ValueError):
        if align:
            return np.dtype("f8")
        raise Refused("a dtype of odd fields") from None


def _time(target: Any, state: Any) -> Any:
    need(len(state) == 9, "a time without unit")
    unit, number, denominator, _event = state[8][1]
    need(exact(unit, bytes) and unit.isalpha() and exact(number, int) and denominator == 1, "a time of odd unit")
    return np.dtype(f"{target.kind}8" if unit == b"generic" else f"{target.kind}8[{number}{unit.decode('ascii')}]")


def _same(own: tuple[Any, ...], state: tuple[Any, ...]) -> bool:
    fields = (own[4] and dict(own[4])) == state[4]
    return fields and own[1:4] == state[1:4] and own[5:8] == state[5:8] and own[8:] == state[8:]


def _array(_: Any, state: Any, __: Collection[int]) -> Any:
    need(exact(state, tuple) and len(state) == 5, "an array of odd state")
    version, shape, kind, fortran, data = state
    need(exact(version, int) and type(fortran) in (bool, int), "an array of odd state")
    _contents(shape, kind, data)
    return state


def _contents(shape: Any, kind: Any, data: Any) -> None:
    count = math.prod(shape_of(shape))
    if isinstance(kind, np.dtype) and kind == np.dtype(object):
        need(exact(data, list) and len(data) == count, "an array of objects that are not there")
    else:
        wanted = count * plain_dtype(kind).itemsize
        need(exact(data, bytes) and len(data) == wanted, "an array of another length than its bytes")


def _masked(_: Any, state: Any, __: Collection[int]) -> Any:
    need(exact(state, tuple) and len(state) == 7, "a masked array of odd state")
    _version, shape, kind, _fortran, data, mask, fill = state
    _contents(shape, kind, data)
    need(kind.names is None and kind.subdtype is None, "a masked array of fields")
    need(exact(mask, bytes) and len(mask) == math.prod(shape), "a masked array of another length than its mask")
    need(fill is None or isinstance(fill, np.generic | np.ndarray | str | bytes | int | float), "an odd fill value")
    return state


def _seed(_: Any, state: Any, __: Collection[int]) -> Any:
    _entropy, children, pool, size, _key = state
    need(exact(children, int) and exact(size, int) and is_array_of(pool, "u"), "a seed sequence of odd state")
    need(pool.dtype == np.uint32 and pool.shape == (size,) and size >= 4, "a seed sequence of odd state")
    return state


def _generator(_: Any, state: Any, __: Collection[int]) -> Any:
    """A bit generator (a dict, and a seed sequence beside it), RandomState, Generator: positions within their keys."""
    about = state[0] if exact(state, tuple) and len(state) == 2 else state
    need(exact(about, dict) and exact(about.get("state"), dict), "a random generator of odd state")
    inner = about["state"]
    need(about.get("buffer_pos", 0) in range(5), "a random generator of odd position")
    for name, length, kind in (("key", 624, np.uint32), ("state", 4, np.uint64)):
        array: Any = inner.get(name)
        if hasattr(array, "shape") and about.get("bit_generator") in ("MT19937", "SFC64"):
            need(is_array_of(array, "u") and array.shape == (length,) and array.dtype == kind, "an odd random state")
    if "pos" in inner:
        need(exact(inner["pos"], int) and 0 <= inner["pos"] <= 624, "a random generator of odd position")
    return state


def _xgboost(target: Any, state: Any, waiting: Collection[int]) -> Any:
    """The model is read as a file of that format is, before XGBoost's own reader gets it."""
    attributes = dict(_attributes(target, state, waiting))
    data = attributes.get("handle")
    if data is not None:
        need(exact(data, bytearray), "a booster whose model is no bytearray")
        _readable("XGBoost", lambda: xgboost_file.inspect_bytes(bytes(data), "the booster"))
    return attributes


def _lightgbm(target: Any, state: Any, waiting: Collection[int]) -> Any:
    attributes = dict(_attributes(target, state, waiting))
    for key in ("_handle", "handle"):
        text = attributes.get(key)
        if text is not None:
            need(exact(text, str), "a booster whose model is no text")
            _readable("LightGBM", lambda text=text: lightgbm_file.inspect_text(text, "the booster"))
    need(not attributes.get("_network") and not attributes.get("network"), "a booster in a network")
    return attributes


def _readable(format: str, read: Callable[[], object]) -> None:
    try:
        read()
    except BadPackage as error:
        raise BadPackage(f"it holds a broken {format} model: {error.message}") from None


def _metric(_: Any, state: Any, __: Collection[int]) -> Any:
    power, vector, matrix = state
    need(exact(power, float) and is_array_of(vector, "f") and is_array_of(matrix, "f"), "a distance of odd state")
    need(vector.ndim == 1 and matrix.ndim == 2, "a distance of odd state")
    return state


def _held(target: Any, state: Any, _: Collection[int]) -> Any:
    return tree(target.tree, state)


_RULES: dict[Name, Check] = {
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): _array,
    ("numpy.ma", "MaskedArray"): _masked,
    ("numpy.ma.core", "MaskedArray"): _masked,
    ("numpy.random.bit_generator", "SeedSequence"): _seed,
    ("numpy.random.bit_generator", "BitGenerator"): _generator,
    ("numpy.random.mtrand", "RandomState"): _generator,
    ("numpy.random._generator", "Generator"): _generator,
    ("argosy.engines.calls", "PendingTree"): _held,
    ("sklearn.neighbors._kd_tree", "BinaryTree64"): binary_tree,
    ("sklearn.neighbors._kd_tree", "BinaryTree32"): binary_tree,
    ("sklearn.neighbors._ball_tree", "BinaryTree64"): binary_tree,
    ("sklearn.neighbors._ball_tree", "BinaryTree32"): binary_tree,
    ("sklearn.metrics._dist_metrics", "DistanceMetric"): _metric,
    ("xgboost.core", "Booster"): _xgboost,
    ("lightgbm.basic", "Booster"): _lightgbm,
}
