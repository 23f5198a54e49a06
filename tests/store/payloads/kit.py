"""A table model, and what it was asked."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from argosy.spec.payload import PayloadLog
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array
from argosy.store.payloads import segment
from argosy.store.payloads.columns import columns
from argosy.store.payloads.encode import Encoder
from argosy.store.payloads.record import REQUEST, Rows

NOON = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()) * 10**9
HOUR = 3600 * 10**9

TABLE = Signature(
    inputs=(
        TensorSpec(name="x", datatype="FP32", shape=(-1, 2), columns=("age", "income")),
        TensorSpec(name="country", datatype="BYTES", shape=(-1,), semantic="categorical"),
    ),
    outputs=(
        TensorSpec(name="label", datatype="INT64", shape=(-1,), semantic="label"),
        TensorSpec(name="probability", datatype="FP32", shape=(-1, 2), semantic="probability"),
    ),
)


def encoder(signature: Signature = TABLE, log: PayloadLog = PayloadLog(), secret: bytes = b"k" * 32) -> Encoder:  # noqa: B008
    return Encoder(
        columns=columns(signature, log),
        replica="digits-0f0f0f-0",
        max_elements=log.max_elements,
        max_text=log.max_text,
        secret=secret,
    )


def request(
    name: str,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array] | None = None,
    *,
    rows: int = 1,
    time: int = NOON,
    code: int = 200,
    failure: tuple[str, str] = ("", ""),
) -> Rows:
    """One request, answered in 2 ms."""
    about = np.array([(time, 2_000_000, 1.0, rows, code)], REQUEST)
    return Rows(requests=about, ids=[name], inputs=inputs, outputs=outputs or {}, failures=[failure])


def table(requests: Sequence[Rows], made: Encoder | None = None) -> Any:
    """The rows of requests in their order, whatever their shapes."""
    return pa.concat_tables([(made or encoder()).table(one) for one in requests])


def record(number: int, rows: int = 1, time: int = NOON, code: int = 200, country: bytes = b"FR") -> Rows:
    """A request whose age is its number, of as many rows; a failed one has no outputs."""
    inputs = {
        "x": np.array([[number, 1000 + row] for row in range(rows)], dtype="f4"),
        "country": np.array([country] * rows, dtype=object),
    }
    outputs = {"label": np.arange(rows), "probability": np.full((rows, 2), 0.5, dtype="f4")} if code < 400 else {}
    return request(f"r{number}", inputs, outputs, rows=rows, time=time, code=code)


class Writer:
    """Writes requests of one version of an endpoint into a log."""

    def __init__(self, root: Path, endpoint: str, version: str, made: Encoder) -> None:
        self.root, self.endpoint, self.version, self.made = root, endpoint, version, made

    def write(self, requests: Sequence[Rows]) -> list[Path]:
        return segment.write(self.root, self.endpoint, self.version, [table(requests, self.made)])


def writer(root: Path, endpoint: str = "digits", version: str = "1", made: Encoder | None = None) -> Writer:
    return Writer(root, endpoint, version, made or encoder())
