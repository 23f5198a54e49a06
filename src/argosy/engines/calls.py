"""The calls a pickle or skops file may make: which arguments each function and class of `engines.allow` takes.

Every check is of the arguments alone; nothing of the file has been called when it refuses. Arrays of objects are
never made from bytes: those would be read as addresses.
"""

import datetime
import math
import re
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from argosy.engines.allow import Name, Part, Refused, exact, listed

Call = Callable[[Any, tuple[Any, ...]], Any]
"""Target, arguments → what the call gives."""

_DTYPE = re.compile(r"[?bBhHiIlLqQefdgFDGO]|[biu](1|2|4|8)|f(2|4|8|16)|c(8|16|32)|[mM]8|O8|[SUV]\d{1,9}")
_MOST, _AXES, _MAX_KEY = 1 << 46, 64, 1000
_KEYS = (
    *(str, bytes, int, float, complex, bool, type(None)),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
)
_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


def call(part: Any, arguments: Any) -> Any:
    """Make a call that the file asks for. Raises Refused for one that nobody vouches for."""
    if not exact(arguments, tuple):
        raise Refused("a call with something else than a tuple of arguments")
    given = cast("tuple[Any, ...]", arguments)
    if exact(part, type) and part in _BUILTINS:
        return _BUILTINS[part](part, given)
    if not exact(part, Part):
        raise Refused(f"a call of {said(part)}")
    bases = {base.__name__ for base in getattr(part.target, "__mro__", ())}
    loss = bool(bases & {"CyLossFunction", "CyHalfMultinomialLoss"})  # classes of Cython, made of numbers
    check = _CALLS.get(part.name) or (_numbers if loss else None)
    if check is None:
        raise Refused(f"a call of {said(part)} with arguments of the file's choice")
    return check(part.target, given)


def new(part: Any, arguments: Any) -> Any:
    """Make an empty object, without a constructor, of a class of Python or one that `newObj` makes. Raises Refused."""
    kind: Any = part.target if exact(part, Part) else None
    need(isinstance(kind, type), f"an empty object of {said(part)}")
    known = {base.__name__ for base in kind.__mro__} & {"BinaryTree64", "BinaryTree32", "DistanceMetric"}
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    need(known or (file.endswith(".py") and kind not in _NOT_EMPTY), f"an empty object of {said(part)}")
    if not exact(arguments, tuple) or len(arguments):
        raise Refused(f"an object of {said(part)} with arguments of the file's choice")
    return kind.__new__(kind)


class PendingTree:
    """A native tree on its way to the estimator that checks its rows: nothing else can be done with it."""

    __slots__ = ("claimed", "tree")

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self.claimed = False

    def __setstate__(self, state: Any) -> None:
        self.tree.__setstate__(state)


def hashable(key: Any) -> Any:
    """The key, if it is plain and hashing it ends soon: nested tuples are as large as 2 to the power of their depth."""
    pending: list[Any] = [key]
    for _ in range(_MAX_KEY):
        if not pending:
            return key
        item = pending.pop()
        if type(item) in (tuple, frozenset):
            pending.extend(item)
        elif type(item) not in _KEYS and not isinstance(item, np.generic | type):
            raise Refused(f"{said(item)} as a key")
    raise Refused("a key of too many parts")


def said(value: Any) -> str:
    """The value in a message: its name, or its type."""
    return ".".join(value.name) if exact(value, Part) else f"an object of {type(value).__name__}"


def is_array_of(value: Any, kinds: str) -> bool:
    """Whether it is a plain array with numbers of one of these kinds."""
    return exact(value, np.ndarray) and value.dtype.kind in kinds


def shape_of(value: Any) -> tuple[int, ...]:
    """The value, if it is a shape that can be. Raises Refused."""
    if exact(value, tuple) and len(cast("tuple[Any, ...]", value)) <= _AXES:
        axes = cast("tuple[Any, ...]", value)
        if all(exact(axis, int) and axis >= 0 for axis in axes) and math.prod(axes) <= _MOST:
            return axes
    raise Refused("an array of impossible shape")


def plain_dtype(value: Any) -> "np.dtype[Any]":
    """The value, if it is a dtype without objects. Raises Refused."""
    if isinstance(value, np.dtype) and not cast("np.dtype[Any]", value).hasobject:
        return cast("np.dtype[Any]", value)
    raise Refused("an array of objects made from bytes")


def need(condition: object, what: str) -> None:
    """Raise Refused, naming `what`, unless the condition holds."""
    if not condition:
        raise Refused(what)


def _typed(*kinds: Any) -> Call:
    """A call with arguments of exactly these types, or with exactly these values; a tuple has alternatives."""

    def check(target: Any, arguments: tuple[Any, ...]) -> Any:
        fitting = len(arguments) == len(kinds) and all(map(_fits, arguments, kinds))
        need(fitting, f"a call of {target.__module__}.{target.__name__} with other arguments than its own")
        return target(*arguments)

    return check


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, tuple):
        return any(_fits(value, one) for one in cast("tuple[Any, ...]", kind))
    return exact(value, kind) if isinstance(kind, type) else type(value) is type(kind) and value == kind


def _numbers(target: Any, arguments: tuple[Any, ...]) -> Any:
    need(len(arguments) <= 4 and all(type(value) in (int, float) for value in arguments), f"a call of {target}")
    return target(*arguments)


def _reconstructor(_: Any, arguments: tuple[Any, ...]) -> Any:
    part, base, state = arguments
    need(base is object and state is None, "copyreg._reconstructor with another base than object")
    return new(part, ())


def _dtype(_: Any, arguments: tuple[Any, ...]) -> Any:
    text = arguments[0]
    need(exact(text, str) and _DTYPE.fullmatch(text), "numpy.dtype of something else than a type of numbers or text")
    need(len(arguments) == 3 and arguments[1:] == (False, True), "numpy.dtype with other arguments than its own")
    return np.dtype(text, False, True)


def _empty(*classes: type) -> Call:
    """An array of numpy's own classes, which gets its elements as its state."""

    def check(target: Any, arguments: tuple[Any, ...]) -> Any:
        *parts, shape, kind = arguments
        need(len(parts) == len(classes), "an array with other arguments than its own")
        own = all(exact(part, Part) and part.target is known for part, known in zip(parts, classes, strict=True))
        need(own, "an array of another class than numpy's")
        need(shape == (0,) and kind in (b"b", "b"), "an array with other arguments than its own")
        return target(*classes, (0,), "b")

    return check


def _scalar(target: Any, arguments: tuple[Any, ...]) -> Any:
    kind, data = arguments
    need(exact(data, bytes) and len(data) == plain_dtype(kind).itemsize, "a numpy scalar of another length")
    return target(kind, data)


def _frombuffer(target: Any, arguments: tuple[Any, ...]) -> Any:
    buffer, kind, shape, order = arguments
    need(type(buffer) in (bytes, bytearray), "an array over something else than bytes")
    need(order in ("C", "F"), "an array of unknown order")
    wanted = math.prod(shape_of(shape)) * plain_dtype(kind).itemsize
    need(wanted == len(buffer), "an array of another length than its bytes")
    return target(buffer, kind, shape, order)


def _bit_generator(target: Any, arguments: tuple[Any, ...]) -> Any:
    (which,) = arguments
    which = which.name[1] if exact(which, Part) else which
    name = which if exact(which, str) else type(which).__name__
    own = exact(which, str) or type(which).__module__.startswith("numpy.random.")
    need(own and name in _GENERATORS, "an unknown bit generator")
    return target(which)


def _seed(target: Any, arguments: tuple[Any, ...]) -> Any:
    part, checksum, state = arguments
    need(exact(part, Part) and part.name[1] == "SeedSequence", "a seed sequence of another class")
    need(exact(checksum, int) and state is None, "a seed sequence with a state in its call")
    return target(part.target, checksum, None)


def _own(*names: str) -> Call:
    """`newObj` of a Cython module, for classes of that module."""

    def check(target: Any, arguments: tuple[Any, ...]) -> Any:
        (part,) = arguments
        own = exact(part, Part) and part.name[0] == target.__module__
        need(own and any(part.name[1].startswith(name) or name == "*" for name in names), "newObj of another class")
        return target(part.target)

    return check


def _tree(target: Any, arguments: tuple[Any, ...]) -> Any:
    features, classes, outputs = arguments
    need(exact(features, int) and features >= 0 and exact(outputs, int) and 0 < outputs < 1 << 20, "an odd tree")
    fitting = is_array_of(classes, "i") and classes.shape == (outputs,) and classes.min() > 0
    need(fitting and classes.max() < 1 << 24, "a tree with other classes than outputs")
    return PendingTree(target(features, np.ascontiguousarray(classes, dtype=np.intp), outputs))


def _factory(_: Any, arguments: tuple[Any, ...]) -> Any:
    (made,) = arguments
    made = made.target if exact(made, Part) else made
    known = any(made is one for one in (None, int, float, str, list, dict, set, OrderedDict))
    need(known, "a defaultdict of another factory")
    return cast("Any", defaultdict)(made)


def _set(target: Any, arguments: tuple[Any, ...]) -> Any:
    need(len(arguments) <= 1 and all(exact(items, list) for items in arguments), f"a {target.__name__} of no list")
    return target(hashable(item) for items in arguments for item in items)


_CALLS: dict[Name, Call] = {
    ("_codecs", "encode"): _typed(str, "latin1"),
    ("copyreg", "_reconstructor"): _reconstructor,
    ("numpy", "dtype"): _dtype,
    ("numpy._core.multiarray", "_reconstruct"): _empty(np.ndarray),
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("numpy.ma.core", "_mareconstruct"): _empty(np.ma.MaskedArray, np.ndarray),
    ("numpy.random._pickle", "__bit_generator_ctor"): _bit_generator,
    ("numpy.random._pickle", "__generator_ctor"): _bit_generator,
    ("numpy.random._pickle", "__randomstate_ctor"): _bit_generator,
    ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"): _seed,
    ("sklearn.metrics._dist_metrics", "newObj"): _own("*"),
    ("sklearn.neighbors._ball_tree", "newObj"): _own("BallTree"),
    ("sklearn.neighbors._kd_tree", "newObj"): _own("KDTree"),
    ("sklearn.tree._tree", "Tree"): _tree,
    ("collections", "OrderedDict"): _typed(),
    ("collections", "defaultdict"): _factory,
    ("datetime", "date"): _typed(bytes),
    ("datetime", "datetime"): _typed(bytes),
    ("datetime", "time"): _typed(bytes),
    ("datetime", "timedelta"): _typed(int, int, int),
}

_INDEX = (int, type(None))
_BUILTINS: dict[type, Call] = {
    set: _set,
    frozenset: _set,
    bytes: _typed(),
    bytearray: lambda target, given: (_typed(bytes) if len(given) < 2 else _typed(str, str))(target, given),
    slice: _typed(_INDEX, _INDEX, _INDEX),
    range: _typed(int, int, int),
    complex: _typed(float, float),
}

BUILT = listed("built")
"""Calls whose result is given its state afterwards. That of any other call is whole, and its memory may be shared."""

_NOT_EMPTY: tuple[type, ...] = (
    *(np.ndarray, np.memmap, np.dtype, np.ma.MaskedArray, OrderedDict, defaultdict),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
)
"""Classes in Python files whose objects are made by a call alone."""
