"""Ways for a device to get the files of a package: each made once, in a child process, and kept beside the store.

Of every file: whole, compressed; as a patch of the file that the device has at the same path; and as a list of chunks,
of which those that the device lacks are read out of the file in the store. A device takes the way of the fewest bytes.
"""

import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np

from argosy.edge import transfer
from argosy.edge.transfer import ENTRY, HEAD, MARGIN, PLANES, SEGMENT, WINDOW, Piece
from argosy.edge.wire import PIECE, Transfer, TransferPlan
from argosy.process.child import Child
from argosy.spec.errors import ArgosyError, BadPackage, MissingExtra, NotFound, Unavailable
from argosy.store.durable import create_temporary, say, storage, sync_folder, write_all
from argosy.store.layout import Layout
from argosy.store.manifest import Descriptor

LOG = logging.getLogger(__name__)
KEPT = 4 * 1024**3
"""Bytes of ways that are kept, at most; those go first that were not asked for the longest."""
PENDING = 256
WAIT = 10.0
"""Seconds that a device waits for ways that are being made, before it is told to come again."""
TIMEOUT = 3600.0
AGAIN = 60.0
"""Seconds until a way that could not be made is tried again."""
LEVEL, FAST = 19, 9
LARGE = 64 * 1024 * 1024
"""Bytes from which a file is compressed faster and less: of weights little is won."""
WORTH = 64 * 1024
"""Bytes of a file below which a list of chunks is not worth it."""
PLANS = 256
"""Plans, packages and failures that are remembered."""
K = TypeVar("K")
V = TypeVar("V")


class Making(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to be made of the file `new`, into the folder `into`; of a patch, from the file `old`, whose SHA-256 is
    `base`."""

    kind: Literal["full", "patch", "chunks"]
    new: str
    sha256: str
    into: str
    old: str = ""
    base: str = ""

    @property
    def record(self) -> Path:
        """Where it says what was made."""
        return Path(self.into) / f"{self.base or self.kind}.json"


def make(job: Making) -> Transfer:
    """Make one way: its blob, then its record. Raises BadPackage for a file that is not what its name says."""
    path = Path(job.new)
    for name, wanted in ((path, job.sha256), *([(Path(job.old), job.base)] if job.base else [])):
        if transfer.hashed(name) != wanted:
            raise BadPackage(f"the file {name} of the store is altered: push its package again")
    into = Path(job.into)
    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    with storage(into):
        new = transfer.mapped(path)
        handle, scratch = create_temporary(into)
        try:
            with open(handle, "wb", buffering=0) as output:
                if job.kind == "full":
                    _whole(new, output)
                elif job.kind == "chunks":
                    write_all(handle, transfer.listed([piece for _, piece in transfer.chunked(new)]))
                else:
                    _patched(transfer.mapped(Path(job.old)), new, output)
            way = described(scratch, job)
            scratch.replace(into / way.blob)
        finally:
            scratch.unlink(missing_ok=True)
        say(job.record, msgspec.json.encode(way))
        sync_folder(into)
    return way


def described(blob: Path, job: Making) -> Transfer:
    """What a device is told of a blob."""
    pieces: list[str] = []
    with blob.open("rb") as file:
        while piece := file.read(PIECE):
            pieces.append(hashlib.sha256(piece).hexdigest())
    size = blob.stat().st_size
    name = transfer.hashed(blob)
    return Transfer(kind=job.kind, bytes=size, blob=name, size=size, pieces=tuple(pieces), base=job.base or None)


def compression() -> Any:
    """The package that makes ways. Raises MissingExtra."""
    try:
        import zstandard
    except ImportError:
        raise MissingExtra.named("edge", "Sending models to devices") from None
    return zstandard


def _compressed(data: memoryview | bytes, level: int, prefix: memoryview | None = None) -> bytes:
    zstd = compression()
    options = {"source_size": len(data), "window_log": WINDOW}
    if prefix:
        options |= {"dict_size": len(prefix), "window_log": WINDOW + 1, "enable_ldm": True}
    given = zstd.ZstdCompressionParameters.from_level(level, **options)
    dictionary = transfer.raw(prefix) if prefix else None
    return zstd.ZstdCompressor(dict_data=dictionary, compression_params=given).compress(data)


def _whole(new: memoryview, output: Any) -> None:
    zstd = compression()
    level = LEVEL if len(new) < LARGE else FAST
    given = zstd.ZstdCompressionParameters.from_level(level, source_size=len(new), window_log=WINDOW)
    with zstd.ZstdCompressor(compression_params=given).stream_writer(output, size=len(new), closefd=False) as writer:
        for start in range(0, len(new), PIECE):
            writer.write(new[start : start + PIECE])


def _patched(old: memoryview, new: memoryview, output: Any) -> None:
    """Of each segment the smallest frame."""
    level = LEVEL if len(new) < LARGE else FAST
    output.write(transfer.PATCH)
    shifts = sorted({0, len(old) - len(new)}, key=abs)
    for start in range(0, len(new), SEGMENT):
        part = new[start : start + SEGMENT]
        frame = _compressed(part, level, transfer.around(old, start, len(part)))
        best, fresh = HEAD.pack(0, 0, len(frame)) + frame, np.frombuffer(part, "u1")
        for shift in shifts if abs(shifts[-1]) <= MARGIN else (0,):
            mixed = np.bitwise_xor(fresh, transfer.beside(old, start + shift, len(part)))
            for planes in PLANES:
                # A fast try says whether it can win before a thorough one is made.
                data = transfer.split(mixed, planes)
                if len(_compressed(data, 3)) * 0.9 < len(best) and (frame := _compressed(data, level)):
                    best = min(best, HEAD.pack(planes, shift, len(frame)) + frame, key=len)
        output.write(best)


class Ways:
    """The ways that were made, in the folder `folder`: below each file's SHA-256 their blobs and records."""

    def __init__(self, layout: Layout, folder: Path, kept: int = KEPT) -> None:
        self.layout, self.folder, self.kept = layout, folder, kept
        self._lock = threading.Lock()
        self._pending: dict[Making, Future[None]] = {}
        self._failed: dict[Making, tuple[float, str]] = {}
        self._plans: dict[tuple[str, tuple[str, ...]], TransferPlan] = {}
        self._known: dict[str, dict[str, Descriptor]] = {}
        self._maker = ThreadPoolExecutor(1, "ways")
        self._child: Child | None = None

    def plan(self, package: str, have: Sequence[str] = (), seconds: float = WAIT) -> TransferPlan:
        """How a device that has the packages `have` gets `package`. Of packages that the store does not know a device
        may have chunks. Raises NotFound; Unavailable while ways are being made."""
        key = package, tuple(sorted(set(have)))
        plan = self._plans.get(key)
        if plan is None or not all(self._there(name, way) for name, ways in plan.files.items() for way in ways):
            plan = self._planned(package, key[1], seconds)
            self._remember(self._plans, key, plan)
        return plan

    def blob(self, packages: Collection[str], sha256: str) -> Path:
        """Where a blob lies: a file of one of these packages, or of a way to one. Raises NotFound."""
        for package in packages:
            for file in self._files(package).values():
                name = hexed(file)
                path = self.layout.blobs.path(file.digest) if name == sha256 else self.folder / name / sha256
                if path.is_file():
                    return path
        raise NotFound(f"no way to a package of this device has the blob {sha256}: ask for a plan anew")

    def close(self) -> None:
        """End what is being made."""
        child = self._child
        self._maker.shutdown(wait=False, cancel_futures=True)
        if child is not None:
            child.cancel()

    def _planned(self, package: str, have: tuple[str, ...], seconds: float) -> TransferPlan:
        known: list[dict[str, Descriptor]] = []
        for each in have:
            with suppress(NotFound, BadPackage):
                known.append(self._files(each))
        there = {hexed(file) for held in known for file in held.values()}
        lacking = {path: file for path, file in self._files(package).items() if hexed(file) not in there}
        bases = {path: {hexed(held[path]): held[path] for held in known if path in held} for path in lacking}
        jobs = [job for path, file in lacking.items() for job in self._jobs(file, [*bases[path].values()])]
        made = self._made(dict.fromkeys(jobs), seconds)
        unknown = len(known) < len(have)
        return TransferPlan(
            files={hexed(file): self._ordered(file, bases[path], made, unknown) for path, file in lacking.items()}
        )

    def _files(self, package: str) -> dict[str, Descriptor]:
        """See `Layout.files`: many devices ask for one package, which never changes."""
        if (found := self._known.get(package)) is None:
            self._remember(self._known, package, found := self.layout.files(package))
        return found

    def _remember(self, known: dict[K, V], key: K, value: V) -> None:
        with self._lock:
            while len(known) >= PLANS:
                del known[next(iter(known))]
            known[key] = value

    def _jobs(self, file: Descriptor, bases: Sequence[Descriptor]) -> list[Making]:
        def job(kind: Literal["full", "patch", "chunks"], of: Descriptor, base: Descriptor | None = None) -> Making:
            return Making(
                kind=kind,
                new=str(self.layout.blobs.path(of.digest)),
                sha256=hexed(of),
                into=str(self.folder / hexed(of)),
                old=str(self.layout.blobs.path(base.digest)) if base else "",
                base=hexed(base) if base else "",
            )

        listed = [file, *bases] if file.size > WORTH else []
        return [job("full", file), *(job("patch", file, base) for base in bases), *(job("chunks", of) for of in listed)]

    def _ordered(
        self, file: Descriptor, bases: Collection[str], made: dict[Making, Transfer], unknown: bool
    ) -> tuple[Transfer, ...]:
        """The ways to a file, the fewest bytes first. Where the device has what is not known here, it may have chunks
        of it: then these are tried first."""
        own = [way for job, way in made.items() if job.sha256 == hexed(file) and (not job.base or job.base in bases)]
        full = next(way for way in own if way.kind == "full")
        ways = [full, *(way for way in own if way.kind == "patch" and way.bytes < full.bytes)]
        lists = {job.sha256: way for job, way in made.items() if job.kind == "chunks"}
        if (mine := lists.get(hexed(file))) and (bases or unknown):
            held = {piece.sha256 for base in bases if base in lists for piece in self._pieces(base, lists[base])}
            sent = mine.size + sum(each.size for each in self._pieces(hexed(file), mine) if each.sha256 not in held)
            if unknown or sent < full.bytes:
                ways.append(msgspec.structs.replace(mine, bytes=sent))
        return tuple(sorted(ways, key=lambda way: (unknown and way.kind != "chunks", way.bytes)))

    def _pieces(self, name: str, way: Transfer) -> list[Piece]:
        data = (self.folder / name / way.blob).read_bytes()
        return [Piece(digest.hex(), size) for digest, size in ENTRY.iter_unpack(data)]

    def _made(self, jobs: Collection[Making], seconds: float) -> dict[Making, Transfer]:
        """What the jobs make. Raises what a file's full way raises, Unavailable while they are not done."""
        made = {job: way for job in jobs if (way := self._recorded(job))}
        waiting = [self._begin(job) for job in jobs if job not in made and not self._why(job)]
        if wait(waiting, seconds).not_done:
            raise Unavailable("the ways to this package are being made: come again", retry_after=2)
        made |= {job: way for job in jobs if job not in made and (way := self._recorded(job))}
        if lost := [job for job in jobs if job.kind == "full" and job not in made]:
            raise Unavailable(f"there is no way to a file of this package: {self._why(lost[0])}", retry_after=AGAIN)
        return made

    def _recorded(self, job: Making) -> Transfer | None:
        with suppress(OSError, msgspec.MsgspecError):
            way = msgspec.json.decode(job.record.read_bytes(), type=Transfer)
            return way if self._there(job.sha256, way) else None
        return None

    def _there(self, name: str, way: Transfer) -> bool:
        """Whether a blob is there, which is then in use."""
        with suppress(FileNotFoundError):
            os.utime(self.folder / name / way.blob)
            return True
        return False

    def _why(self, job: Making) -> str:
        """Why a way could not be made a moment ago; empty where it may be tried."""
        at, why = self._failed.get(job, (0.0, ""))
        return why if time.monotonic() - at < AGAIN else ""

    def _begin(self, job: Making) -> Future[None]:
        with self._lock:
            if job not in self._pending:
                if len(self._pending) >= PENDING:
                    raise Unavailable(f"{PENDING} ways are being made already: come again", retry_after=30)
                self._pending[job] = self._maker.submit(self._run, job)
            return self._pending[job]

    def _run(self, job: Making) -> None:
        child = self._child = self._child or Child("a way to a device", timeout=TIMEOUT, nice=10)
        try:
            if not self._recorded(job):
                child.run("argosy.edge.delta:make", job, Transfer)
                self._tidy(Path(job.into))
        except ArgosyError as error:
            LOG.warning("no way '%s' to the file %s: %s", job.kind, job.sha256, error.message)
            self._remember(self._failed, job, (time.monotonic(), error.message))
        finally:
            with self._lock:
                del self._pending[job]
                if not self._pending:
                    child.close()

    def _tidy(self, fresh: Path) -> None:
        """Delete the ways that were not asked for the longest, until the others fit."""
        folders: list[tuple[float, int, Path]] = []
        for folder in self.folder.iterdir():
            found = [each.stat() for each in folder.iterdir()]
            folders.append((max((each.st_mtime for each in found), default=0.0), sum(e.st_size for e in found), folder))
        total = sum(size for _, size, _ in folders)
        for _, size, folder in sorted(folders):
            if total <= self.kept:
                return
            if folder != fresh:
                shutil.rmtree(folder, ignore_errors=True)
                total -= size


def hexed(file: Descriptor) -> str:
    """The SHA-256 of a file, as devices name it."""
    return file.digest.removeprefix("sha256:")
