"""NumPy files: .npy is one column, named `array`, cut by rows; .npz has a column for each of its arrays."""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np

from argosy.batch.fragment import File, Fragment
from argosy.batch.place import Place
from argosy.batch.source.shape import MATRIX, arrow, check_content, conformed, ends, reading
from argosy.spec.errors import InvalidArgument, Unsupported
from argosy.spec.tensor import Array

NAME = "array"
_HEAD = 64 * 1024
_LOCAL = struct.Struct("<4s22xHH")
"""The header before a member of an archive: a mark, then the lengths of its name and of more."""


_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, TypeError, OverflowError, SyntaxError, KeyError)
"""What numpy and zipfile raise for a broken file, beside the errors that Arrow raises."""


class _Array(NamedTuple):
    """An array in a file. `offset` is where its values begin, -1 where they are compressed."""

    name: str
    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"
    offset: int

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize


def schema(file: File) -> Any:
    pa = arrow()
    with Place(file.url).open() as handle:
        arrays = _arrays(file, handle)
    text, fields = {"U": pa.string(), "S": pa.binary()}, list[Any]()
    for one in arrays:
        kind = text.get(one.dtype.kind) or pa.from_numpy_dtype(one.dtype.newbyteorder("="))
        for axis in one.shape[:0:-1]:
            kind = pa.list_(kind, axis)
        fields.append(pa.field(one.name, kind))
    return pa.schema(fields, metadata={} if _is_archive(file) else {MATRIX: b"1"})


def plan(file: File, rows: int) -> list[Fragment]:
    """See `Source`. A position is the first row and the one after the last; what is compressed is one piece."""
    with Place(file.url).open() as handle:
        arrays = _arrays(file, handle)
    total, content = arrays[0].shape[0], ends(file)
    step = max(1, total) if any(one.offset < 0 for one in arrays) else rows
    return [
        Fragment(file=file, index=index, position=(start, end), first=start, rows=end - start, content=content)
        for index, start in enumerate(range(0, total, step))
        for end in (min(total, start + step),)
    ]


def read(fragment: Fragment, skip: int, batch_rows: int, schema: Any) -> Iterator[Any]:
    """See `Source`. On a disk the rows are handed on as they lie in the file."""
    pa, file = arrow(), fragment.file
    check_content(fragment, ends(file))
    start, end = fragment.position
    with Place(file.url).open(mapped=True) as handle, ExitStack() as stack:
        found = {one.name: one for one in _arrays(file, handle)}
        wanted = [found[name] for name in schema.names if name in found]
        readers = [stack.enter_context(_rows(file, handle, one, start + skip)) for one in wanted]
        for first in range(start + skip, end, batch_rows):
            rows = min(batch_rows, end - first)
            with reading(file.url, "NumPy", *_BROKEN):
                columns = [
                    _column(one, reader(rows * one.row_bytes), rows)
                    for one, reader in zip(wanted, readers, strict=True)
                ]
            batch = pa.RecordBatch.from_arrays(columns, names=[one.name for one in wanted])
            yield conformed(batch, schema, fragment)


@contextmanager
def _rows(file: File, handle: Any, one: _Array, first: int) -> Generator[Any]:
    """What gives the next so many bytes of an array, from a row on."""
    if one.offset >= 0:
        begin = one.offset + first * one.row_bytes
        stream = handle.get_stream(begin, max(0, file.size - begin))
        yield stream.read_buffer
        return
    with zipfile.ZipFile(handle) as archive, archive.open(f"{one.name}.npy") as member:
        _header(member, file, one.name)
        for _ in range(first):
            member.read(one.row_bytes)
        yield member.read


def _column(one: _Array, data: Any, rows: int) -> Any:
    """Rows of an array as a column of Arrow, in lists of fixed lengths."""
    pa = arrow()
    if len(data) < rows * one.row_bytes:
        raise EOFError("it ends before its last row")
    flat: Array = np.frombuffer(data, one.dtype)
    if not one.dtype.isnative:
        flat = flat.astype(one.dtype.newbyteorder("="))
    values = pa.array(flat.tolist() if one.dtype.kind in "US" else flat)
    for axis in one.shape[:0:-1]:
        values = pa.FixedSizeListArray.from_arrays(values, axis)
    return values


def _is_archive(file: File) -> bool:
    return file.url.lower().endswith(".npz")


def _arrays(file: File, handle: Any) -> list[_Array]:
    """The arrays of a file. Raises InvalidArgument, Unsupported."""
    if not _is_archive(file):
        with reading(file.url, "NumPy", *_BROKEN):
            shape, dtype, offset = _header(io.BytesIO(handle.read_at(min(file.size, _HEAD), 0)), file, NAME)
        found = [_Array(NAME, shape, dtype, offset)]
        if file.size < offset + shape[0] * found[0].row_bytes:
            raise InvalidArgument(f"{file.url} cannot be read as NumPy: it ends before its last row")
        return found
    with reading(file.url, "NumPy", *_BROKEN):
        found = list(_members(file, handle))
    lengths = {one.name: one.shape[0] for one in found}
    if len(set(lengths.values())) != 1:
        raise InvalidArgument(f"{file.url}: its arrays need one number of rows; they have {lengths or 'none'}")
    return found


def _members(file: File, handle: Any) -> Iterator[_Array]:
    with zipfile.ZipFile(handle) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            with archive.open(info) as member:
                shape, dtype, size = _header(member, file, name)
            offset = -1
            if info.compress_type == zipfile.ZIP_STORED:
                head = handle.read_at(_LOCAL.size, info.header_offset)
                _, length, extra = _LOCAL.unpack(head)
                offset = info.header_offset + _LOCAL.size + length + extra + size
            yield _Array(name, shape, dtype, offset)


def _header(stream: Any, file: File, name: str) -> tuple[tuple[int, ...], "np.dtype[Any]", int]:
    """Shape, dtype and the length of the header of an array."""
    form: Any = np.lib.format
    version = form.read_magic(stream)
    readers = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}
    if version not in readers:
        raise Unsupported(f"{file.url}, '{name}': version {version} of the format is for records, which no model takes")
    shape, by_columns, dtype = readers[version](stream)
    if dtype.hasobject or dtype.kind not in "biufUS":
        raise Unsupported(f"{file.url}, '{name}' contains {dtype}, which no model takes")
    if not shape:
        raise InvalidArgument(f"{file.url}, '{name}' is one number; rows need an axis")
    if by_columns and len(shape) > 1:
        raise Unsupported(f"{file.url}, '{name}' lies in columns: save it with numpy.ascontiguousarray")
    if min(shape) < 0:
        raise InvalidArgument(f"{file.url}, '{name}' has the shape {shape}")
    return tuple(int(axis) for axis in shape), dtype, int(stream.tell())
