"""What a package says of itself, as far as a device needs it: engine, weights, signature, domains, tolerance.

Read from the manifest in an update. Unknown keys are passed over: the platform may be newer than the agent.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import msgspec
import numpy as np

from argosy_edge.errors import BadPackage, InvalidArgument
from argosy_edge.tensors import NUMPY, Array, Arrays


class Domain(msgspec.Struct, frozen=True):
    """The values an input takes, where the engine would answer others as well: for each column of the last axis, or one
    entry for all. `gaps`: whether a value may be missing; `limits`: the largest magnitude; `categories`: the only
    strings, if there are any."""

    gaps: tuple[bool, ...] = (True,)
    limits: tuple[float | None, ...] = (None,)
    categories: tuple[str, ...] = ()


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output of a model. `source` is its name in the model's file, where that is another."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    semantic: str = ""
    nullable: bool = False
    optional: bool = False
    source: str = ""
    domain: Domain | None = None

    @property
    def own(self) -> str:
        """Its name in the model's file."""
        return self.source or self.name

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape fits: the same rank, and equal where an axis is not free."""
        return len(shape) == len(self.shape) and all(
            want in (-1, got) for want, got in zip(self.shape, shape, strict=True)
        )

    def check(self, array: Array) -> None:
        """Raise InvalidArgument unless datatype, shape and values are those that the model takes."""
        if array.dtype != NUMPY[self.datatype]:
            raise InvalidArgument(f"input '{self.name}' is of {array.dtype}; the model takes {self.datatype}")
        if not self.accepts(array.shape):
            raise InvalidArgument(
                f"input '{self.name}' has shape {list(array.shape)}; the model takes {list(self.shape)} (-1 is free)"
            )
        if self.domain is not None and (outside := _outside(self, self.domain, array)).any():
            place: tuple[int, ...] = tuple(int(at) for at in np.argwhere(outside)[0])
            row = f", row {place[0]}" if place else ""
            column = f", column '{self.columns[place[-1]]}'" if self.columns and len(place) > 1 else ""
            raise InvalidArgument(f"input '{self.name}'{row}{column}: the model takes no {_value(array[place])}")


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes and gives. `batched`: axis 0 of every input and output counts rows."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    batched: bool = True

    def check(self, arrays: Mapping[str, Array]) -> int:
        """The rows of these inputs; 1 where they are not counted. Raises InvalidArgument unless they fit."""
        known = {port.name: port for port in self.inputs}
        if unknown := [name for name in arrays if name not in known]:
            raise InvalidArgument(f"unknown input '{unknown[0][:80]}'; the model takes {', '.join(known)}")
        if missing := [name for name in known if name not in arrays]:
            port = known[missing[0]]
            raise InvalidArgument(f"input '{port.name}' ({port.datatype} {list(port.shape)}) is missing")
        for name, array in arrays.items():
            known[name].check(array)
        if not self.batched:
            return 1
        rows = {array.shape[0] for array in arrays.values()}
        if len(rows) > 1:
            raise InvalidArgument("the inputs differ in their number of rows (axis 0)")
        return int(rows.pop())

    def chosen(self, names: tuple[str, ...]) -> tuple[Port, ...]:
        """The outputs of these names, in their order; all where there is no name. Raises InvalidArgument."""
        known = {port.name: port for port in self.outputs}
        if unknown := [name for name in names if name not in known]:
            raise InvalidArgument(f"unknown output '{unknown[0][:80]}'; the model gives {', '.join(known)}")
        if len({*names}) < len(names):
            raise InvalidArgument("an output is asked for twice")
        return tuple(known[name] for name in names) or self.outputs


class Tolerance(msgspec.Struct, frozen=True):
    """How close a replayed output must be: |got - want| <= atol + rtol·|want|."""

    atol: float = 1e-5
    rtol: float = 1e-4


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Of `model.yaml`, what matters here."""

    name: str
    engine: str
    weights: str
    signature: Signature
    tolerance: Tolerance = Tolerance()


def manifest_of(value: Mapping[str, Any]) -> Manifest:
    """The manifest in an update. Raises BadPackage."""
    try:
        found = msgspec.convert(value, Manifest)
    except msgspec.ValidationError as error:
        raise BadPackage(f"the manifest is no model's: {error}") from None
    ports = (*found.signature.inputs, *found.signature.outputs)
    for side in (found.signature.inputs, found.signature.outputs):
        if len({port.name for port in side}) < len(side) or not side:
            raise BadPackage(f"the signature of {found.name} has no input or output, or two of one name")
    if odd := [port for port in ports if port.datatype not in NUMPY]:
        raise BadPackage(
            f"'{odd[0].name}' of {found.name} is {odd[0].datatype[:40]}; on a device there are {', '.join(NUMPY)}"
        )
    if found.signature.batched and any(port.shape[:1] != (-1,) for port in found.signature.inputs):
        raise BadPackage(f"the signature of {found.name} counts rows, and an input of it has no free first axis")
    return found


def _outside(port: Port, domain: Domain, array: Array) -> Array:
    if port.datatype == "BYTES":
        known = {text.encode() for text in domain.categories}
        gaps = all(domain.gaps)
        refused = [not gaps if not value else bool(known) and value not in known for value in array.reshape(-1)]
        return np.array(refused, bool).reshape(array.shape)
    if array.dtype.kind != "f":
        return np.zeros(array.shape, bool)
    limits = np.array([math.inf if limit is None else limit for limit in domain.limits])
    return (np.isnan(array) & ~np.array(domain.gaps)) | (np.abs(array) > limits)


def _value(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{value.decode(errors='replace')[:60]!r}" if value else "missing text"
    return "missing value" if value != value else f"number as large as {value:g}"


def fitted(signature: Signature, x: Any) -> Arrays:
    """What a caller in this process has, as the inputs: a dict of arrays by input, one array for the one input, rows as
    dicts by column, or one such dict. Values are cast where the kind stays. Raises InvalidArgument."""
    inputs = signature.inputs
    only = inputs[0] if len(inputs) == 1 else None
    given: Any = x
    if isinstance(x, list) and x and isinstance(x[0], Mapping):
        given = _columns(cast("list[Any]", x))
    if not isinstance(given, Mapping):
        if only is None:
            raise InvalidArgument(f"the model takes {', '.join(port.name for port in inputs)}: give a dict of them")
        given = {only.name: given}
    named = cast("Mapping[str, Any]", given)
    if only is not None and only.columns and only.name not in named:
        if missing := [name for name in only.columns if name not in named]:
            raise InvalidArgument(f"the columns {', '.join(missing[:12])} of input '{only.name}' are missing")
        columns: list[Array] = [np.asarray(named[name]) for name in only.columns]
        named = {only.name: np.stack(np.broadcast_arrays(*columns), axis=-1)}
    known = {port.name: port for port in inputs}
    return {
        name: _cast(known[name], value, signature.batched) if name in known else np.asarray(value)
        for name, value in named.items()
    }


def _columns(rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    if any(row.keys() != rows[0].keys() for row in rows):
        raise InvalidArgument("the rows differ in their columns")
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _cast(port: Port, value: Any, batched: bool) -> Array:
    try:
        array: Array = np.asarray(value)
        if port.datatype == "BYTES":
            texts = [
                each if isinstance(each, bytes) else str(each or "").encode() for each in array.reshape(-1).tolist()
            ]
            out = np.empty(array.shape, object)
            out.reshape(-1)[:] = texts
            array = out
        elif array.dtype == object:
            array = array.astype(NUMPY[port.datatype])
        else:
            array = array.astype(NUMPY[port.datatype], casting="same_kind", copy=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"input '{port.name}' takes {port.datatype}: {error}") from None
    if port.accepts(array.shape):
        return array
    near = [shape for shape in ((1, *array.shape) if batched else (), (*array.shape, 1)) if port.accepts(shape)]
    return array.reshape(near[0]) if len(near) == 1 else array
