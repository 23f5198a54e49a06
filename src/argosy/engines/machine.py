"""The unpickler for files nobody vouches for: joblib's own, asked before it does anything.

`joblib.numpy_pickle.NumpyUnpickler` is `pickle._Unpickler` with arrays between the opcodes. Its opcodes run as they
are, but for those that import, call, make or change an object: names go through `allow`, calls through `calls`, states
through `states`. An object gets its state once, from the file that made it; only lists, dicts and sets are added to.
Opcodes that no library writes for Python 3 (classes of Python 2, extension codes, persistent ids, buffers beside the
file) and those that are not known are refused.
"""

import _compat_pickle
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import joblib
import numpy as np
from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler

from argosy.engines import calls, states
from argosy.engines.allow import Name, Part, Refused, exact, resolve
from argosy.engines.calls import hashable, said
from argosy.engines.compressed import Plain, open_plain
from argosy.spec.errors import BadPackage

KIND = "pickle"
WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
CONTAINERS = (
    ("builtins", "dict"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("sklearn.utils._bunch", "Bunch"),
)
MAX_NAMES, MAX_OBJECTIONS = 10_000, 1000

_Base: Any = NumpyUnpickler
_Wrapper: Any = NumpyArrayWrapper


def read(path: Path, names: dict[Name, None], objections: dict[str, None] | None) -> Any:
    """The object in a pickle or joblib file, perhaps compressed. `names` gets the names that it uses, `objections` what
    is refused: without, the first refusal is raised. Raises Refused, BadPackage."""
    try:
        with open_plain(path) as file:
            return Machine(file, path.name, names, objections).whole()
    except EOFError:
        raise BadPackage(f"{path.name} is a pickle that is cut off") from None


def read_trusted(path: Path) -> Any:
    """The same as joblib loads it: it may run code."""
    return cast("Any", joblib).load(path)


class Inert:
    """Stands, while objections are collected, for what was refused. Nothing can be done with it."""


class ArrayWrapper(_Wrapper):
    """An array in a joblib file: objects as a pickle of their own under the same rules, numbers as bytes."""

    def read_array(self, unpickler: Any, ensure_native_byte_order: bool) -> Any:
        """See joblib's; the bytes are known to be there."""
        count = int(np.prod(calls.shape_of(self.shape), dtype=object))
        if self.dtype == np.dtype(object):
            found = unpickler.nested()
            if type(found) not in (np.ndarray, Inert) or found.dtype != self.dtype:
                raise BadPackage("it holds something else than an array in the place of one")
            return found
        size = count * calls.plain_dtype(self.dtype).itemsize
        if not unpickler.file_handle.fits(size) or self.dtype.itemsize == 0 < count:
            raise BadPackage("it holds an array that is longer than the file")
        return _Wrapper.read_array(self, unpickler, ensure_native_byte_order)


class Opcodes(dict[int, Any]):
    """Opcode → what it does."""

    def __missing__(self, code: int) -> Any:
        raise BadPackage(f"it has the unknown opcode {code:#04x}")


class Machine(_Base):
    """Loads one file; see `read`."""

    dispatch: ClassVar[dict[int, Any]] = Opcodes()

    def __init__(self, file: Plain, name: str, names: dict[Name, None], objections: dict[str, None] | None) -> None:
        _Base.__init__(self, name, file, True)
        self._plain = file
        self._said = name
        self._names = names
        self._objections = objections
        self._waiting: dict[int, Any] = {}
        self._made: list[Any] = []
        self._outer: Machine | None = None

    def whole(self) -> Any:
        """The object, once the file is read to its end and every part of it checked."""
        found = self.load()
        if not self._plain.at_end():
            raise BadPackage(f"{self._said} goes on after its end")
        if any(exact(one, ArrayWrapper) for one in self._waiting.values()):
            raise BadPackage("it holds an array wrapper without an array")
        for made in self._made:
            if not self._objections:
                states.finish(made, made=id(made) not in self._waiting)
        return found

    def load(self) -> Any:
        """See pickle's; nothing may be left of the last frame."""
        found = _Base.load(self)
        frame = self._unframer.current_frame
        if frame is not None and frame.read(1):
            raise BadPackage(f"{self._said} goes on after its end")
        return found

    def nested(self) -> Any:
        """The object of a pickle within this one."""
        inner = Machine(self._plain, self._said, self._names, self._objections)
        inner._made, inner._outer = self._made, self
        found = inner.load()
        self._waiting |= inner._waiting
        return found

    def find_class(self, module: str, name: str) -> Any:
        """See pickle's."""
        if self.proto < 3:
            mapped = _compat_pickle.NAME_MAPPING.get((module, name))
            module, name = mapped or (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
        self._names[module, name] = None
        if len(self._names) > MAX_NAMES:
            raise BadPackage(f"it uses more than {MAX_NAMES} names")
        if (module, name) == WRAPPER and self._outer is None:
            return Part(WRAPPER, ArrayWrapper)
        return self._ask(resolve, module, name)

    def _ask(self, question: Any, *arguments: Any) -> Any:
        """The answer to a question, or `Inert` where it is refused and objections are collected."""
        if self._objections and any(_depends(one) for one in arguments):
            return Inert()
        try:
            return question(*arguments)
        except Refused as refused:
            if self._objections is None:
                raise
            self._objections[str(refused)] = None
            if len(self._objections) > MAX_OBJECTIONS:
                raise
            return Inert()

    def _keep(self, made: Any, waits: bool) -> Any:
        """Note an object that is to get a state, or to be checked at the end."""
        if waits:
            self._waiting[id(made)] = made
        self._made.append(made)
        return made

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        part = self.stack[-1]
        made = self._ask(calls.call, part, arguments)
        self.stack[-1] = self._keep(made, exact(part, Part) and part.name in calls.BUILT)

    def _newobj(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._keep(self._ask(calls.new, self.stack[-1], arguments), True)

    def _build(self) -> None:
        state, target = self.stack[-1], self.stack[-2]
        if self._objections and (_depends(target) or _depends(state)):
            self.stack.pop()
            return
        if self._waiting.pop(id(target), None) is None:
            raise Refused(f"a state for {said(target)}, which has one or takes none")
        if exact(target, ArrayWrapper):
            self.stack[-1] = _wrapper_state(state)
        else:
            self.stack[-1] = self._ask(states.check, target, state, self._waiting)
            if exact(self.stack[-1], Inert):
                self.stack.pop()
                return
        _Base.load_build(self)

    def _append(self) -> None:
        value = self.stack.pop()
        self._extend([value])

    def _appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if exact(target, list):
            target.extend(items)
        elif not exact(target, Inert):
            raise Refused(f"something appended to {said(target)}")

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _setitems(self) -> None:
        self._set(self.pop_mark())

    def _dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._set(items)

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if exact(target, Inert):
            return
        kind = cast("Any", type(target))
        if (kind.__module__, kind.__qualname__) not in CONTAINERS:
            raise Refused(f"items set in {said(target)}")
        for at in range(0, len(items), 2):
            target[hashable(items[at])] = items[at + 1]

    def _additems(self) -> None:
        items = self.pop_mark()
        if not exact(self.stack[-1], set):
            raise Refused(f"items added to {said(self.stack[-1])}")
        self.stack[-1].update(hashable(item) for item in items)

    def _frozenset(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(hashable(item) for item in items))

    def _bytearray8(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))

    def _refused(self) -> None:
        raise Refused("an opcode for extension codes, persistent ids, classes of Python 2 or buffers beside the file")


def _depends(value: Any) -> bool:
    """Whether the value is, or plainly holds, something that was refused."""
    if exact(value, tuple):
        return any(exact(item, Inert) for item in cast("tuple[Any, ...]", value))
    if exact(value, dict):
        return any(exact(item, Inert) for item in cast("dict[Any, Any]", value).values())
    return exact(value, Inert)


def _wrapper_state(state: Any) -> Any:
    """What joblib writes of an array. The class of the array is numpy's own."""
    known = {"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"}
    part: Any = state["subclass"] if exact(state, dict) and set(state) <= known else None
    if not exact(part, Part) or part.target not in (np.ndarray, np.memmap):
        raise Refused("an array of another class than numpy.ndarray")
    calls.shape_of(state["shape"])
    if state["order"] not in ("C", "F") or not isinstance(state["dtype"], np.dtype):
        raise Refused("an array of odd order or dtype")
    if state.get("numpy_array_alignment_bytes") not in (None, *range(256)):
        raise Refused("an array of odd alignment")
    return {**state, "subclass": np.ndarray, "allow_mmap": False}


_PLAIN = (
    *("MARK", "STOP", "POP", "POP_MARK", "DUP", "PROTO", "FRAME", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT"),
    *("BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST", "EMPTY_DICT"),
    *("EMPTY_SET", "GLOBAL", "STACK_GLOBAL", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
)
"""Opcodes that run as they are: values, containers, the memo; names, by way of find_class."""

_GUARDED = (
    *("REDUCE", "NEWOBJ", "BUILD", "BYTEARRAY8", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "DICT", "ADDITEMS"),
    "FROZENSET",
)
"""Opcodes that import nothing, and call, make or change an object: each has a method of `Machine`."""

_REFUSED = ("INST", "OBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER")
"""Opcodes that no library writes for Python 3."""


def _opcodes() -> Iterator[tuple[int, Any]]:
    for name in _PLAIN:
        yield getattr(pickle, name)[0], _Base.dispatch[getattr(pickle, name)[0]]
    for name in _GUARDED:
        yield getattr(pickle, name)[0], getattr(Machine, f"_{name.lower()}")
    for name in _REFUSED:
        yield getattr(pickle, name)[0], Machine._refused  # pyright: ignore[reportPrivateUsage]


Machine.dispatch.update(_opcodes())
