"""A table model, and what it was asked."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from argosy.spec.payload import PayloadLog
from argosy.spec.signature import Signature, TensorSpec
from argosy.store.payloads.columns import columns
from argosy.store.payloads.encode import Encoder
from argosy.store.payloads.record import Record
from argosy.store.payloads.segment import Writer

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
        batched=signature.batched,
        max_elements=log.max_elements,
        max_text=log.max_text,
        secret=secret,
    )


def record(number: int, rows: int = 1, time: int = NOON, code: int = 200, country: bytes = b"FR") -> Record:
    """A request whose age is its number, of as many rows; a failed one has no outputs."""
    inputs = {
        "x": np.array([[number, 1000 + row] for row in range(rows)], dtype="f4"),
        "country": np.array([country] * rows, dtype=object),
    }
    outputs = {"label": np.arange(rows), "probability": np.full((rows, 2), 0.5, dtype="f4")} if code < 400 else {}
    return Record(f"r{number}", time, code, 2_000_000, rows, inputs, outputs)


def writer(root: Path, endpoint: str = "digits", version: str = "1", made: Encoder | None = None) -> Writer:
    return Writer(root, endpoint, version, made or encoder())
