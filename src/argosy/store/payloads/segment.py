"""Writing and reading one segment: whole or not there, never changed afterwards, put aside when it is broken."""

import contextlib
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy.store.durable import replace, storage, sweep, sync_folder
from argosy.store.payloads import layout
from argosy.store.payloads.encode import arrow, parquet

LEFT_OVER_SECONDS = 3600.0
ROW_GROUP = 64 * 1024
UNLIKE = ("request_id", "time", "features")
"""Columns whose values hardly ever repeat."""
HOUR = 3600 * 10**9


class Broken(msgspec.Struct, frozen=True):
    """A file that was put aside: its path below the root, and what is wrong with it."""

    key: str
    reason: str


def write(root: Path, endpoint: str, version: str, tables: Sequence[Any]) -> list[Path]:
    """Put tables of one version on disk, a segment for each hour they are of. When this returns, they outlive a crash.
    Raises StorageFull, having written none or some of the segments; OSError; MissingExtra."""
    table = arrow().concat_tables(tables)
    times = table.column("time").cast("int64").to_numpy() * 1000
    hours, first = np.unique(times // HOUR, return_index=True)
    temporary, made = root / layout.TEMPORARY, list[Path]()
    with storage(root):
        for hour, time in zip(hours.tolist(), times[first].tolist(), strict=True):
            folder = root / layout.partition(endpoint, version, layout.hour_of(time))
            make_folder(folder, root)
            temporary.mkdir(exist_ok=True, mode=0o700)
            data = encoded(table if len(hours) == 1 else table.filter(times // HOUR == hour))
            made.append(folder / name(time))
            with layout.shared(root):
                replace(made[-1], data, temporary, mode=0o600)
    return made


def name(time: int) -> str:
    """Of a file whose first row is of a time in ns since 1970; no two are alike."""
    return f"{time:019d}-{secrets.token_hex(6)}.parquet"


def encoded(table: Any) -> memoryview:
    """A table as the bytes of a Parquet file, every page with its checksum.

    Floats are split into streams of their bytes, which takes half the time of a dictionary and compresses better; what
    differs in every row gets no dictionary, either.
    """
    sink = arrow().BufferOutputStream()
    parquet().write_table(table, sink, row_group_size=ROW_GROUP, **options(table.schema))
    return memoryview(sink.getvalue())


def options(schema: Any) -> dict[str, Any]:
    """How tables of a schema are written."""
    leaves = [leaf for field in schema for leaf in _leaves(field)]
    floats = {path: "BYTE_STREAM_SPLIT" for path, kind in leaves if kind in ("float", "double")}
    return {
        "compression": "zstd",
        "write_page_checksum": True,
        "use_dictionary": [path for path, _ in leaves if path not in floats and path not in UNLIKE],
        "column_encoding": floats,
    }


def _leaves(field: Any) -> list[tuple[str, str]]:
    kind = field.type
    if str(kind).startswith("list<"):
        return [(f"{field.name}.list.element", str(kind.value_type))]
    if str(kind).startswith("struct<"):
        return [
            (f"{field.name}.{kind.field(place).name}", str(kind.field(place).type)) for place in range(kind.num_fields)
        ]
    return [(field.name, str(kind))]


def make_folder(folder: Path, root: Path) -> None:
    """Make a folder below `root` and its parents, durably."""
    if folder.is_dir():
        return
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.parent != root:
        make_folder(folder.parent, root)
    folder.mkdir(exist_ok=True, mode=0o700)
    sync_folder(folder.parent)


def fault(path: Path, *, deep: bool = False) -> str:
    """What is wrong with a file; empty for nothing. `deep` reads every page and compares its checksum."""
    pa = arrow()
    try:
        with parquet().ParquetFile(path, page_checksum_verification=deep) as file:
            if deep:
                for group in range(file.num_row_groups):
                    file.read_row_group(group)
    except FileNotFoundError:
        return ""
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else 'unreadable'}"
    return ""


def quarantine(root: Path, keys: Iterable[str], *, deep: bool = False) -> list[Broken]:
    """Put aside those of the files that are broken, into `.quarantine`, where nobody reads them."""
    found: list[Broken] = []
    for key in keys:
        if reason := fault(root / key, deep=deep):
            aside = root / layout.QUARANTINE / key
            make_folder(aside.parent, root)
            with contextlib.suppress(FileNotFoundError):
                os.rename(root / key, aside)
                found.append(Broken(key, reason))
    return found


def clean(root: Path, now: float | None = None) -> int:
    """Remove what writers that died have left over; how many files. A living writer's are younger."""
    return sweep((root / layout.TEMPORARY).glob("*"), LEFT_OVER_SECONDS, now)
