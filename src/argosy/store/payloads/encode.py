"""Requests → an Arrow table with the columns of the log."""

import contextlib
import hashlib
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy.spec.errors import require
from argosy.spec.tensor import NUMPY, Array, bf16_to_fp32
from argosy.store.durable import create_temporary, sync_folder, write_all
from argosy.store.payloads.columns import Column
from argosy.store.payloads.record import Rows

FORMAT = "1"
"""The version of the layout, in the metadata of every file under `argosy.format`."""

KEY_BYTES = 32
HASH_BYTES = 16
PROFILE = ("count", "missing", "infinite", "min", "max", "mean", "std")

_ODD = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def arrow() -> Any:
    """pyarrow. Raises MissingExtra."""
    return require("pyarrow", "monitoring", "the payload log")


def parquet() -> Any:
    """Its part for Parquet."""
    return require("pyarrow.parquet", "monitoring", "the payload log")


class Encoder(msgspec.Struct, frozen=True, kw_only=True):
    """Encodes the requests of one replica of one version. `secret` is the key of hashed columns. Messages of errors are
    left out without `messages`: they may cite what is to be hidden."""

    columns: tuple[Column, ...]
    replica: str
    max_elements: int = 1024
    max_text: int = 4096
    messages: bool = True
    secret: bytes = b""

    def schema(self) -> Any:
        """The Arrow schema, always the same for the same columns."""
        pa = arrow()
        stamp = pa.timestamp("us", tz="UTC")
        kinds = (pa.string(), pa.int32(), pa.int32(), stamp, pa.string(), pa.int32(), pa.float64(), pa.float64())
        names = ("request_id", "row", "rows", "time", "replica", "code", "latency", "weight")
        fields = [pa.field(name, kind) for name, kind in zip(names, kinds, strict=True)]
        fields += [pa.field("features", pa.uint64()), *(pa.field(name, pa.string()) for name in ("error", "message"))]
        for column in self.columns:
            facts = {"argosy.tensor": column.tensor, "argosy.datatype": column.datatype, "argosy.place": column.place}
            metadata = {name: str(value) for name, value in facts.items()}
            fields += [pa.field(name, kind, metadata=metadata) for name, kind in _types(pa, column)]
        return pa.schema(fields, metadata={"argosy.format": FORMAT})

    def table(self, rows: Rows) -> Any:
        """The rows of requests; a request without rows takes one."""
        pa = arrow()
        counts = np.maximum(1, rows.requests["rows"]).astype(np.int64)
        total = int(counts.sum())
        arrays: list[Any] = []
        features = np.zeros(total, dtype=np.uint64)
        for column in self.columns:
            array = (rows.inputs if column.side == "input" else rows.outputs).get(column.tensor)
            if array is None:
                empty = _word(b"") if column.hashed or column.datatype == "BYTES" else 0
                made = [pa.nulls(total, kind) for _, kind in _types(pa, column)]
                words = np.full((total, 1), empty, dtype=np.uint64)
            else:
                made, words = self._column(pa, column, array)
            arrays += made
            if column.side == "input" and words is not None:
                features = _mixed(features, words)
        errors = [
            _of_each(pa, [failure[place] for failure in rows.failures], counts) for place in range(1 + self.messages)
        ]
        errors += [pa.nulls(total, pa.string())] * (2 - len(errors))
        about = self._about(pa, rows, counts)
        return pa.Table.from_arrays([*about, pa.array(features), *errors, *arrays], schema=self.schema())

    def _about(self, pa: Any, rows: Rows, counts: Array) -> list[Any]:
        total, starts = int(counts.sum()), np.repeat(np.cumsum(counts) - counts, counts)
        of = np.repeat(np.arange(len(counts)), counts)
        spread = rows.requests[of]
        ids = pa.array(rows.ids, pa.string())
        return [
            ids if total == len(counts) else ids.take(pa.array(of)),
            pa.array((np.arange(total) - starts).astype(np.int32)),
            pa.array(np.ascontiguousarray(spread["rows"])),
            pa.array(spread["time"] // 1000).cast(pa.timestamp("us", tz="UTC")),
            pa.array([self.replica], pa.string()).take(pa.array(np.zeros(total, dtype=np.int32))),
            pa.array(np.ascontiguousarray(spread["code"])),
            pa.array(spread["latency"] / 1e9),
            pa.array(np.ascontiguousarray(spread["weight"])),
        ]

    def _column(self, pa: Any, column: Column, array: Array) -> tuple[list[Any], Array | None]:
        """The Arrow arrays of a column, and of an input its values as words for the hash of the row's inputs."""
        if column.place >= 0:
            array = np.ascontiguousarray(array[:, column.place])
        array = _widened(array, column.datatype)
        if column.hashed:
            texts = hashes(_keys(array), self.secret)
            return [pa.array(texts, pa.string())], _words(np.array([(text or "").encode() for text in texts], object))
        words = _words(array) if column.side == "input" else None
        if column.form == "value":
            return [self._values(pa, column, array)], words
        fits = math.prod(array.shape[1:]) <= self.max_elements
        kinds = [kind for _, kind in _types(pa, column)]
        lists = self._lists(pa, column, array) if column.form == "fixed" or fits else pa.nulls(len(array), kinds[0])
        if column.form == "fixed":
            return [lists], words
        profiles = [profile(row) for row in array] if column.form == "profile" or not fits else [None] * len(array)
        if column.form == "profile":
            return [pa.array(profiles, kinds[0])], words
        return [lists, pa.array([list(array.shape[1:])] * len(array), kinds[1]), pa.array(profiles, kinds[2])], words

    def _values(self, pa: Any, column: Column, array: Array) -> Any:
        if column.datatype == "BYTES":
            return pa.array([text(value, self.max_text) for value in array.tolist()], pa.string())
        return pa.array(array)

    def _lists(self, pa: Any, column: Column, array: Array) -> Any:
        size = math.prod(array.shape[1:])
        values = self._values(pa, column, np.ascontiguousarray(array).reshape(-1))
        offsets = pa.array((np.arange(len(array) + 1) * size).astype(np.int32))
        return pa.ListArray.from_arrays(offsets, values)


def _of_each(pa: Any, texts: Sequence[str], counts: Array) -> Any:
    """A text of each request for each of its rows; null for what is empty."""
    if not any(texts):
        return pa.nulls(int(counts.sum()), pa.string())
    return pa.array([text or None for text in texts], pa.string()).take(pa.array(np.repeat(range(len(counts)), counts)))


def _types(pa: Any, column: Column) -> list[tuple[str, Any]]:
    """The names and types of the Arrow columns. Half floats are stored as FP32: not every reader has them."""
    dtype = np.dtype("<f4") if column.datatype in ("FP16", "BF16") else NUMPY[column.datatype]
    value = pa.string() if column.datatype == "BYTES" or column.hashed else pa.from_numpy_dtype(dtype)
    if column.hashed or column.form == "value":
        return [(column.name, value)]
    if column.form == "fixed":
        return [(column.name, pa.list_(value))]
    summary = pa.struct([(name, pa.int64() if name in PROFILE[:3] else pa.float64()) for name in PROFILE])
    rest = [(f"{column.name}.profile", summary)]
    if column.form == "profile":
        return rest
    return [(column.name, pa.list_(value)), (f"{column.name}.shape", pa.list_(pa.int64())), *rest]


def _widened(array: Array, datatype: str) -> Array:
    if datatype == "BF16":
        return bf16_to_fp32(array) if array.dtype == NUMPY["BF16"] else array
    return array.astype("<f4") if datatype == "FP16" else array


def text(value: bytes, limit: int) -> str:
    """Bytes as a reader can show them: UTF-8, cut at `limit` bytes; what is none, as its size and SHA-256."""
    end = len(value)
    if end > limit:
        end = limit
        while end > 0 and value[end] & 0xC0 == 0x80:
            end -= 1
    try:
        return value[:end].decode()
    except UnicodeDecodeError:
        return f"<{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()}>"


def profile(values: Array) -> dict[str, float | int | None]:
    """What is stored of a large tensor; of texts, of their lengths, the empty ones counted as missing."""
    if values.dtype == object:
        wide = np.array([len(value) or np.nan for value in values.reshape(-1).tolist()], dtype=float)
    else:
        wide = values.reshape(-1).astype(np.float64)
    gaps = int(np.isnan(wide).sum())
    finite = wide[np.isfinite(wide)]
    found: dict[str, float | int | None] = {"count": wide.size, "missing": gaps}
    found["infinite"] = int(wide.size - finite.size - gaps)
    with np.errstate(over="ignore", invalid="ignore"):
        made = (finite.min(), finite.max(), finite.mean(), finite.std()) if finite.size else (None,) * 4
    return found | {name: None if v is None else float(v) for name, v in zip(PROFILE[3:], made, strict=True)}


def _keys(array: Array) -> list[Any]:
    if array.ndim == 1 and array.dtype != object:
        return array.tolist()
    return [row if isinstance(row, bytes) else _whole(row) for row in array]


def _whole(row: Array) -> bytes:
    """A row of a tensor as bytes, none of which can be moved to its neighbour."""
    if row.dtype != object:
        return row.tobytes()
    return msgspec.msgpack.encode([bytes(value) for value in row.reshape(-1).tolist()])


def _words(array: Array) -> Array:
    """Each row as uint64 words [rows, m]: the bytes of numbers padded with zeros, a hash of texts."""
    if array.dtype == object:
        words = [_word(row if isinstance(row, bytes) else _whole(row)) for row in array]
        return np.array(words, dtype="<u8").reshape(-1, 1)
    raw = np.ascontiguousarray(array.reshape(len(array), -1)).view(np.uint8).reshape(len(array), -1)
    if short := -raw.shape[1] % 8:
        raw = np.concatenate([raw, np.zeros((len(raw), short), np.uint8)], axis=1)
    return np.ascontiguousarray(raw).view("<u8")


def _word(value: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "little")


def _mixed(hashes: Array, words: Array) -> Array:
    """Mix words into running hashes, elementwise (the finaliser of SplitMix64; Steele, Lea, Flood 2014)."""
    for word in words.T:
        hashes = (hashes + np.uint64(_ODD)) ^ word
        hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(_MIX[0])
        hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(_MIX[1])
        hashes = hashes ^ (hashes >> np.uint64(31))
    return hashes


def key(path: Path) -> bytes:
    """The key at `path`, made when it is first asked for, by whoever is first. Without it the hashes mean nothing."""
    if not path.exists():
        handle, scratch = create_temporary(path.parent)
        try:
            write_all(handle, os.urandom(KEY_BYTES))
            os.fsync(handle)
            with contextlib.suppress(FileExistsError):
                os.link(scratch, path)
        finally:
            os.close(handle)
            scratch.unlink(missing_ok=True)
        sync_folder(path.parent)
    return path.read_bytes()


def hashes(values: Iterable[Any], secret: bytes) -> list[str | None]:
    """Keyed BLAKE2b of each value as 32 hexadecimal digits; None stays None. Each distinct value is hashed once."""
    known: dict[Any, str | None] = {None: None}
    found: list[str | None] = []
    for value in values:
        if value not in known:
            data = value if isinstance(value, bytes) else str(value).encode()
            known[value] = hashlib.blake2b(data, digest_size=HASH_BYTES, key=secret).hexdigest()
        found.append(known[value])
    return found
