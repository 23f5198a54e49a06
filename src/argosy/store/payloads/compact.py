"""Small segments of hours that are over into few larger ones: each row is there once, before, meanwhile and after.

The hour's folder is made anew beside the log, and the two are swapped in one step; so every reader that lists a folder
sees the old files or the new ones. Who remembers which files he has read (`Memory`) is notified before the swap, while
nobody reads. A crash leaves at most the folder that is not the hour's.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import msgspec

from argosy.store.durable import exchange, storage, sync_file, sync_folder
from argosy.store.payloads import layout, segment, ship
from argosy.store.payloads.encode import arrow, parquet
from argosy.store.payloads.layout import Segment

SMALL = 8 * 1024 * 1024
"""Bytes of a segment that is worth merging."""
LARGE = 64 * 1024 * 1024
"""Bytes that go into one segment at most."""
BATCH = 4096
GROUP_BYTES = 16 * 1024 * 1024


class Memory(Protocol):
    """Somebody who remembers by their keys which segments he has read."""

    def read(self) -> set[str]: ...

    def holds(self, fresh: Sequence[str]) -> None:
        """Segments that he has read are about to become these. Durable when it returns."""
        ...


class Known(msgspec.Struct, frozen=True):
    """What is known of a segment: whether it was read, and whether it was sent to the object store."""

    read: bool
    sent: bool


class MergedSegments(msgspec.Struct, frozen=True):
    segments: tuple[Segment, ...]
    known: Known


def due(found: Iterable[Segment], now: datetime, grace: timedelta) -> list[list[Segment]]:
    """The small segments of each hour of a version that is over for `grace`, where there are several."""
    hours: dict[str, list[Segment]] = {}
    for each in sorted(found):
        if each.size < SMALL and each.end + grace <= now:
            hours.setdefault(os.path.dirname(each.key), []).append(each)
    return [each for each in hours.values() if len(each) > 1]


def parts(found: Sequence[tuple[Segment, Known, bytes]]) -> list[MergedSegments]:
    """What becomes one: segments of one schema of which the same is known, up to `LARGE` bytes. Single ones stay."""
    groups: dict[tuple[Known, bytes], list[list[Segment]]] = {}
    for each, known, schema in found:
        lists = groups.setdefault((known, schema), [[]])
        if lists[-1] and sum(one.size for one in lists[-1]) + each.size > LARGE:
            lists.append([])
        lists[-1].append(each)
    return [
        MergedSegments(tuple(some), known) for (known, _), lists in groups.items() for some in lists if len(some) > 1
    ]


def hour(root: Path, small: Sequence[Segment], memory: Memory | None = None) -> int:
    """Merge segments of one hour and version; how many are gone by that, 0 where it cannot be done now. Raises
    StorageFull, OSError; the log is as it was then."""
    folder = (root / small[0].key).parent
    work = root / layout.MERGING
    fresh = work / "hour"
    shutil.rmtree(work, ignore_errors=True)
    segment.quarantine(root, [each.key for each in small], deep=True)
    names, known = _names(folder), _known(root, [each.key for each in small], memory)
    wanted = parts(
        [
            (each, known[each.key], parquet().read_schema(root / each.key).serialize().to_pybytes())
            for each in small
            if os.path.basename(each.key) in names and each.key in known
        ]
    )
    if not wanted:
        return 0
    try:
        with storage(root):
            fresh.mkdir(parents=True, mode=0o700)
            made = [_merge(root, part, fresh) for part in wanted]
            merged = {os.path.basename(each.key) for part in wanted for each in part.segments}
            for name in names - merged:
                os.link(folder / name, fresh / name)
            sync_folder(fresh)
            return len(merged) - len(made) if _swap(root, fresh, folder, wanted, made, memory) else 0
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _swap(
    root: Path,
    fresh: Path,
    folder: Path,
    wanted: Sequence[MergedSegments],
    made: Sequence[str],
    memory: Memory | None,
) -> bool:
    """Put the new folder in the place of the old one, unless something has changed meanwhile or somebody reads."""
    before = {each.key: part.known for part in wanted for each in part.segments}
    with layout.alone(root) as free:
        rest = _names(fresh) - {os.path.basename(key) for key in made}
        if (
            not free
            or _names(folder) != {os.path.basename(key) for key in before} | rest
            or _known(root, before, memory) != before
        ):
            return False
        read = [key for part, key in zip(wanted, made, strict=True) if part.known.read]
        if memory is not None and read:
            memory.holds(read)
        for part, key in zip(wanted, made, strict=True):
            if part.known.sent:
                ship.mark(root, key)
        exchange(fresh, folder)
    for key in before:
        ship.forget(root, key)
    return True


def _known(root: Path, keys: Iterable[str], memory: Memory | None) -> dict[str, Known]:
    """What is known of segments now; nothing of one that is on its way to the object store."""
    read, sent = memory.read() if memory else set[str](), ship.shipped(root)
    return {key: Known(key in read, key in sent) for key in keys if not ship.under_way(root, key)}


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _merge(root: Path, part: MergedSegments, fresh: Path) -> str:
    """Write one segment of several into a folder; the key that it is going to have."""
    first = part.segments[0]
    made = fresh / segment.name(int(os.path.basename(first.key)[:19]))
    schema = parquet().read_schema(root / first.key)
    with parquet().ParquetWriter(made, schema, **segment.options(schema)) as writer:
        for table in _tables(root, part, schema):
            writer.write_table(table)
    sync_file(made)
    return f"{os.path.dirname(first.key)}/{made.name}"


def _tables(root: Path, part: MergedSegments, schema: Any) -> Iterable[Any]:
    pa, batches = arrow(), list[Any]()
    for each in part.segments:
        with parquet().ParquetFile(root / each.key, page_checksum_verification=True) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                batches.append(batch)
                if sum(one.nbytes for one in batches) >= GROUP_BYTES or sum(map(len, batches)) >= segment.ROW_GROUP:
                    yield pa.Table.from_batches(batches, schema)
                    batches = []
    if batches:
        yield pa.Table.from_batches(batches, schema)
