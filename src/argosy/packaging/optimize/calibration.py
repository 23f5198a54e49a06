"""The rows an optimization works with: some to calibrate on, others to judge by, and none on both sides."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from argosy.packaging.examine import rows_in, take
from argosy.packaging.rows import read_rows
from argosy.packaging.table import KINDS
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.signature import Signature, check_inputs
from argosy.spec.tensor import Tensor

LEAST = (32, 100)
"""Rows to calibrate on, and to judge by, without which nothing is tried."""
MOST = (256, 1000)
SHARE = 4
"""One row of so many is for the calibration."""


class Split(msgspec.Struct, frozen=True):
    """The two sides."""

    calibration: list[Tensor]
    test: list[Tensor]


def split(signature: Signature, rows: Path, test: Path | None = None) -> Split:
    """Rows of a file, or of the files of a folder, each on one side, by its digest; with `test`, those of two. Raises
    InvalidArgument for too few of them, and for rows of `test` that are among `rows`."""
    found, keys = _distinct(_read(signature, rows))
    if test is None:
        chosen = int(min(MOST[0], len(keys) // SHARE))
        first, rest = np.arange(chosen), np.arange(chosen, min(len(keys), chosen + MOST[1]))
        return _checked(Split(take(found, first.tolist()), take(found, rest.tolist())), rows)
    others, theirs = _distinct(_read(signature, test))
    if both := set(keys) & set(theirs):
        raise InvalidArgument(
            f"{len(both)} of the {len(theirs)} rows of {test.name} are among those of {rows.name}: a model is not "
            "judged by rows it was calibrated on. Leave --test-rows out, and the rows are split without overlap"
        )
    limits = [list(range(min(most, len(each)))) for most, each in zip(MOST, (keys, theirs), strict=True)]
    return _checked(Split(take(found, limits[0]), take(others, limits[1])), test)


def _read(signature: Signature, place: Path) -> list[Tensor]:
    if not place.exists():
        raise NotFound(f"there is no file or folder {place}")
    files = sorted(each for each in place.iterdir() if each.suffix in KINDS) if place.is_dir() else [place]
    if not files:
        raise InvalidArgument(f"{place} holds no rows: it has no {', '.join(KINDS)} file")
    parts = [read_rows(each, signature=signature) for each in files]
    for each in parts:
        check_inputs(signature, each)
    return [
        Tensor(one.name, one.datatype, np.concatenate([part[at].array for part in parts]))
        for at, one in enumerate(parts[0])
    ]


def _distinct(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[bytes]]:
    """Each row once, in the order of its digest: no order of the file can put one kind on one side."""
    rows: dict[bytes, int] = {}
    for row in range(rows_in(tensors)):
        parts = (each.array[row] for each in tensors)
        data = b"\0".join(repr(each.tolist()).encode() if each.dtype == object else each.tobytes() for each in parts)
        rows.setdefault(hashlib.sha256(data).digest(), row)
    order = sorted(rows)
    return take(tensors, [rows[key] for key in order]), order


def _checked(found: Split, place: Path) -> Split:
    counts = rows_in(found.calibration), rows_in(found.test)
    if counts[0] < LEAST[0] or counts[1] < LEAST[1]:
        raise InvalidArgument(
            f"{place.name} leaves {counts[0]} distinct rows to calibrate on and {counts[1]} to judge by; at least "
            f"{LEAST[0]} and {LEAST[1]} are needed: give more with --rows"
        )
    return found
