"""Records → an Arrow table with the columns of the log."""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from argosy.spec.errors import MissingExtra
from argosy.spec.tensor import NUMPY, Array
from argosy.store.payloads import privacy, stack
from argosy.store.payloads.columns import Column, Side
from argosy.store.payloads.record import REQUEST, Record, Rows
from argosy.store.payloads.stack import Folded

FORMAT = "1"
"""The version of the layout, in the metadata of every file under `argosy.format`."""

PROFILE = ("count", "missing", "infinite", "min", "max", "mean", "std")


def arrow() -> Any:
    """pyarrow. Raises MissingExtra."""
    try:
        import pyarrow
    except ImportError:
        raise MissingExtra.named("monitoring", "the payload log") from None
    return pyarrow


def parquet() -> Any:
    """Its part for Parquet."""
    arrow()
    from pyarrow import parquet

    return parquet


class Encoder(msgspec.Struct, frozen=True, kw_only=True):
    """Encodes the requests of one replica of one version. `secret` is the key of hashed columns. Messages of errors are
    left out without `messages`: they may cite what is to be hidden.
    """

    columns: tuple[Column, ...]
    replica: str
    batched: bool = True
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

    def table(self, records: Sequence[Record]) -> Any:
        """The rows of at least one record, in their order."""
        pa, counts = arrow(), stack.lines(records)
        sides: dict[tuple[Side, str], str] = {(c.side, c.tensor): c.datatype for c in self.columns}
        folded = {
            key: stack.fold(records, counts, key[0], key[1], datatype, self.batched) for key, datatype in sides.items()
        }
        facts = [(r.time, r.latency, r.weight, r.rows, r.code) for r in records]
        made = self._meta(pa, [r.request_id for r in records], np.array(facts, REQUEST), counts)
        return self._table(pa, made, [r.failure for r in records], counts, folded)

    def whole(self, rows: Rows) -> Any:
        """The rows of many requests that came together."""
        counts = np.maximum(1, rows.requests["rows"]).astype(np.int64)
        total = int(counts.sum())
        folded: dict[tuple[Side, str], Folded] = {}
        for column in self.columns:
            array = (rows.inputs if column.side == "input" else rows.outputs).get(column.tensor)
            folded[column.side, column.tensor] = stack.given(array, total, column.datatype)
        pa = arrow()
        return self._table(pa, self._meta(pa, rows.ids, rows.requests, counts), rows.failures, counts, folded)

    def _table(
        self,
        pa: Any,
        meta: list[Any],
        failures: Sequence[tuple[str, str]],
        counts: Array,
        folded: dict[tuple[Side, str], Folded],
    ) -> Any:
        arrays: list[Any] = []
        marks = np.zeros(int(counts.sum()), dtype=np.uint64)
        for column in self.columns:
            made, words = self._column(pa, column, folded[column.side, column.tensor])
            arrays += made
            if column.side == "input":
                marks = _marked(marks, words)
        told = [_told(pa, [one[place] for one in failures], counts) for place in range(1 + self.messages)]
        told += [pa.nulls(len(marks), pa.string())] * (2 - len(told))
        return pa.Table.from_arrays([*meta, pa.array(marks), *told, *arrays], schema=self.schema())

    def _meta(self, pa: Any, names: Sequence[str], facts: Array, counts: Array) -> list[Any]:
        total, starts = int(counts.sum()), np.repeat(np.cumsum(counts) - counts, counts)
        of = np.repeat(np.arange(len(facts)), counts)
        spread = facts[of]
        ids = pa.array(names, pa.string())
        return [
            ids if total == len(facts) else ids.take(pa.array(of)),
            pa.array((np.arange(total) - starts).astype(np.int32)),
            pa.array(np.ascontiguousarray(spread["rows"])),
            pa.array(spread["time"] // 1000).cast(pa.timestamp("us", tz="UTC")),
            pa.array([self.replica], pa.string()).take(pa.array(np.zeros(total, dtype=np.int32))),
            pa.array(np.ascontiguousarray(spread["code"])),
            pa.array(spread["latency"] / 1e9),
            pa.array(np.ascontiguousarray(spread["weight"])),
        ]

    def _column(self, pa: Any, column: Column, folded: Folded) -> tuple[list[Any], Array | None]:
        """The Arrow arrays of a column, and its values as words for the hash of the row's inputs."""
        array, absent = folded.array, folded.absent
        if column.place >= 0:
            array = np.ascontiguousarray(array[:, column.place]) if array.ndim == 2 else _blanks(array, column)
        array = _widened(array, column.datatype)
        if column.hashed:
            texts = privacy.hashes(_keys(array, absent), self.secret)
            return [pa.array(texts, pa.string())], _text_words(texts)
        words = _words(array) if column.side == "input" else None
        if column.form == "value":
            return [self._values(pa, column, array, absent)], words
        if column.form == "profile":
            return [_profiles(pa, array, absent)], words
        if column.form == "fixed":
            return [self._fixed(pa, column, array, absent)], words
        return self._lists(pa, column, array, absent), words

    def _values(self, pa: Any, column: Column, array: Array, absent: Array | None) -> Any:
        if column.datatype == "BYTES":
            texts = [text(value, self.max_text) for value in array.tolist()]
            return pa.array(texts, pa.string(), mask=absent)
        return pa.array(array, mask=absent)

    def _fixed(self, pa: Any, column: Column, array: Array, absent: Array | None) -> Any:
        """Lists of one length; those that are absent are null, not empty."""
        if array.ndim == 1:
            return pa.array([None] * len(array), _types(pa, column)[0][1])
        flat = array.reshape(len(array), -1)
        sizes = np.full(len(flat), flat.shape[1], dtype=np.int64)
        if absent is not None:
            flat, sizes = flat[~absent], np.where(absent, 0, sizes)
        values = self._values(pa, column, np.ascontiguousarray(flat).reshape(-1), None)
        offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))
        return pa.ListArray.from_arrays(offsets, values, mask=None if absent is None else pa.array(absent))

    def _lists(self, pa: Any, column: Column, array: Array, absent: Array | None) -> list[Any]:
        small: list[Any] = []
        shapes: list[Any] = []
        large: list[Any] = []
        for place, row in enumerate(array):
            gone = absent is not None and bool(absent[place])
            part = _widened(np.asarray(row), column.datatype) if not gone else np.zeros(0)
            fits = part.size <= self.max_elements
            shapes.append(None if gone else list(part.shape))
            small.append(self._plain(column, part) if fits and not gone else None)
            large.append(None if fits else profile(part))
        kinds = dict(_types(pa, column)).values()
        return [pa.array(values, kind) for values, kind in zip((small, shapes, large), kinds, strict=True)]

    def _plain(self, column: Column, part: Array) -> Any:
        flat = part.reshape(-1)
        return [text(value, self.max_text) for value in flat.tolist()] if column.datatype == "BYTES" else flat


def _told(pa: Any, texts: Sequence[str], counts: Array) -> Any:
    """A text of each request for each of its rows; null for what is empty."""
    if not any(texts):
        return pa.nulls(int(counts.sum()), pa.string())
    return pa.array([text or None for text in texts], pa.string()).take(pa.array(np.repeat(range(len(counts)), counts)))


def _types(pa: Any, column: Column) -> list[tuple[str, Any]]:
    value = pa.string() if column.datatype == "BYTES" or column.hashed else pa.from_numpy_dtype(_wide(column.datatype))
    summary = pa.struct([(name, pa.int64() if name in PROFILE[:3] else pa.float64()) for name in PROFILE])
    if column.hashed or column.form == "value":
        return [(column.name, value)]
    if column.form == "fixed":
        return [(column.name, pa.list_(value))]
    rest = [(f"{column.name}.profile", summary)]
    if column.form == "profile":
        return rest
    return [(column.name, pa.list_(value)), (f"{column.name}.shape", pa.list_(pa.int64())), *rest]


def _wide(datatype: str) -> Any:
    """Half floats are kept as FP32: not every reader has them, and nothing is lost."""
    return np.dtype("<f4") if datatype in ("FP16", "BF16") else NUMPY[datatype]


def _widened(array: Array, datatype: str) -> Array:
    if array.dtype == object and datatype != "BYTES":
        return array
    if datatype == "BF16":
        return (array.astype("<u4") << 16).view("<f4") if array.dtype == NUMPY["BF16"] else array
    return array.astype("<f4") if datatype == "FP16" else array


def _blanks(array: Array, column: Column) -> Array:
    """A feature of a tensor that no record has."""
    return np.full(len(array), b"", dtype=object) if column.datatype == "BYTES" else np.zeros(len(array), array.dtype)


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
    """What is kept of a large tensor; of texts, of their lengths, the empty ones counted as missing."""
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


def _profiles(pa: Any, array: Array, absent: Array | None) -> Any:
    kinds = pa.struct([(name, pa.int64() if name in PROFILE[:3] else pa.float64()) for name in PROFILE])
    gone = np.zeros(len(array), dtype=bool) if absent is None else absent
    return pa.array([None if gone[place] else profile(row) for place, row in enumerate(array)], kinds)


def _keys(array: Array, absent: Array | None) -> list[Any]:
    if array.ndim == 1 and array.dtype != object:
        values: list[Any] = array.tolist()
    else:
        values = [row if isinstance(row, bytes) else _whole(np.asarray(row)) for row in array]
    return values if absent is None else [None if gone else v for v, gone in zip(values, absent.tolist(), strict=True)]


def _whole(row: Array) -> bytes:
    """A row of a tensor as bytes, none of which can be moved to its neighbour."""
    if row.dtype != object:
        return row.tobytes()
    return msgspec.msgpack.encode([bytes(value) for value in row.reshape(-1).tolist()])


def _words(array: Array) -> Array:
    if array.dtype != object:
        return stack.words(array)
    return np.array([_word(row if isinstance(row, bytes) else _whole(np.asarray(row))) for row in array], dtype="<u8")


def _text_words(texts: Sequence[str | None]) -> Array:
    return np.array([_word((value or "").encode()) for value in texts], dtype="<u8")


def _word(value: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "little")


def _marked(marks: Array, words: Array | None) -> Array:
    for part in () if words is None else words.reshape(len(marks), -1).T:
        marks = stack.mix(marks, part)
    return marks
