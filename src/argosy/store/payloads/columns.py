"""The columns of a payload log, from a signature. Needs no Arrow.

A row of the log is a row of a request: `row` counts from 0 within the request, `rows` says how many it had. Features
of a table have a column each, other tensors one for the whole (a list, row-major); above a cap they are stored as their
profile alone.
"""

import math
from collections.abc import Iterator
from typing import Literal

import msgspec

from argosy.spec.errors import InvalidArgument
from argosy.spec.foreign import printable
from argosy.spec.language import RECORDED
from argosy.spec.payload import PayloadLog
from argosy.spec.signature import Signature, TensorSpec

Side = Literal["input", "output"]
Form = Literal["value", "fixed", "list", "profile"]
MAX_FEATURES = 4096

META = ("request_id", "row", "rows", "time", "replica", "code", "latency", "weight", "features", "error", "message")
"""The columns every log has, before those of the signature. `time` is UTC, `latency` in seconds, `weight` 1 / the
chance of having been recorded, `features` a hash of the row's inputs; `error` and `message` tell of what failed."""

PARTITIONS = ("endpoint", "version", "hour")


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column: where its values come from and how they are stored.

    `place` is the feature's index on the last axis (-1: the whole tensor). `form`: a `value` for each row; `fixed`, a
    list of always the same shape; `list`, one of any shape, with a `.shape` and, above the cap, a `.profile` beside
    it; `profile`, always above the cap. `hashed`: stored as a keyed hash of the value.
    """

    name: str
    side: Side
    tensor: str
    datatype: str
    form: Form
    place: int = -1
    hashed: bool = False


def columns(signature: Signature, log: PayloadLog = PayloadLog()) -> tuple[Column, ...]:  # noqa: B008
    """The columns of a signature: inputs before outputs, redacted ones left out.

    Names that would be the same to a reader that does not mind case get `~2`, `~3`, so that every column can be asked
    for. Raises InvalidArgument where a column to hide does not exist. Paths of fields are of language models alone.
    """
    taken = {name.lower() for name in META + PARTITIONS}
    found: list[Column] = []
    unseen = {name for name in (*log.redact, *log.hash) if not (signature is RECORDED and name.startswith("$"))}
    for column, known_as in _all(signature, log.max_elements):
        unseen -= known_as
        unique = _unique(column.name, taken)
        if known_as & set(log.redact):
            continue
        found.append(msgspec.structs.replace(column, name=unique, hashed=bool(known_as & set(log.hash))))
    if unseen:
        raise InvalidArgument(f"payload: '{min(unseen)}' is to be hidden, and is no column of the model")
    return tuple(found)


def _all(signature: Signature, cap: int) -> Iterator[tuple[Column, set[str]]]:
    sides: tuple[tuple[Side, tuple[TensorSpec, ...]], ...] = (
        ("input", signature.inputs),
        ("output", signature.outputs),
    )
    for side, specs in sides:
        for spec in specs:
            inner = spec.shape[1:] if signature.batched else spec.shape
            if spec.columns and len(inner) == 1 and len(spec.columns) <= MAX_FEATURES:
                for place, feature in enumerate(spec.columns):
                    yield _column(side, spec, feature, "value", place)
            elif not inner:
                yield _column(side, spec, spec.name, "value")
            elif -1 in inner:
                yield _column(side, spec, spec.name, "list")
            else:
                yield _column(side, spec, spec.name, "fixed" if math.prod(inner) <= cap else "profile")


def _column(side: Side, spec: TensorSpec, label: str, form: Form, place: int = -1) -> tuple[Column, set[str]]:
    name = f"{side}.{printable(label, '?')}"  # some readers' queries end at what is not
    column = Column(name=name, side=side, tensor=spec.name, datatype=spec.datatype, form=form, place=place)
    return column, {name, label, spec.name}


def _unique(name: str, taken: set[str]) -> str:
    unique, number = name, 1
    while any(f"{unique}{end}".lower() in taken for end in ("", ".shape", ".profile")):
        number += 1
        unique = f"{name}~{number}"
    taken |= {f"{unique}{end}".lower() for end in ("", ".shape", ".profile")}
    return unique
