"""Gets the files of an update: by the way of the fewest bytes, over a network that breaks.

What is on its way lies in a file that grows, named by its content. After a kill or a power cut its pieces are hashed:
those that are what they have to be stay, so nothing else has to be written down, and nothing is believed.
"""

import errno
import hashlib
import http.client
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Protocol, Self

import msgspec

from .assemble import ChunkPlace, apply, chunks_of, pieces_of, spans
from .durable import sync_folder
from .errors import BadPackage, StorageFull, Unavailable
from .transfer import LEAST, Piece, hashed
from .wire import Transfer, TransferPlan, UpdateFile, WireError

READ = 64 * 1024
RESERVE = 8 * 1024 * 1024
"""Bytes of the disk that an update leaves free."""
SYNC = 1.0
"""Seconds of a transfer that a power cut may cost."""
FLOOR, WINDOW = 50, 60.0
"""Bytes a second, over so many seconds, below which a connection is given up for a new one."""
TRIES = 5
"""Attempts in a row that bring less than `FRUIT` bytes, before somebody else decides when to go on."""
FRUIT = 4096
MORE = 4096
"""Bytes by which a blob may be larger than its file, and 2 % of that: of what a wrong plan may cost."""
WRONG = 3
"""Times that a piece may be other than it has to be, before its way is given up."""


_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


class Interrupted(Unavailable):
    """The network is gone, or the platform asks to wait: what came stays. `after`: seconds to wait for at least."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class Stale(Unavailable):
    """The platform has a blob no longer: a new plan is needed."""


class Answer(Protocol):
    """Of a platform, as `http.client.HTTPResponse` has it."""

    status: int

    def getheader(self, name: str, default: str = "", /) -> str | None: ...
    def read1(self, n: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class Source(Protocol):
    """Where blobs come from. `get` begins a request for the bytes from `start` to before `end`; it raises OSError, as
    `read1` of its answer does, where the network breaks or nothing comes for a while."""

    def get(self, path: str, start: int, end: int) -> Answer: ...


class Counts(msgspec.Struct):
    """Bytes that were received, and those of them that had been received before."""

    sent: int = 0
    again: int = 0


class Fetcher:
    """Transfers of one device. `folder` is its own, where they grow; `stop` says that there is to be no more."""

    def __init__(
        self,
        source: Source,
        folder: Path,
        *,
        stop: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source, self.folder, self.stop, self.sleep, self.clock = source, folder, stop, sleep, clock
        folder.mkdir(parents=True, exist_ok=True)
        self._saved = folder / "counts.json"
        self.counts = Counts()
        with suppress(OSError, msgspec.MsgspecError):
            self.counts = msgspec.json.decode(self._saved.read_bytes(), type=Counts)

    def fetch(self, files: Sequence[UpdateFile], plan: TransferPlan, have: Mapping[str, Path] = {}) -> None:
        """Have these files, each checked and on the disk, for `assemble`; `have`: files of the device by their sha256.
        What is there already stays: call it again to go on.

        Raises Interrupted; Stale; StorageFull before it begins; OSError; BadPackage where no way leads to what was
        signed."""
        missing = {each.sha256: each for each in files if not (self._made(each) or _right(have.get(each.sha256), each))}
        self._room([*missing.values()], plan)
        for file in missing.values():
            fresh = self.folder / f"{file.sha256}.new"
            self._make(file, plan.files.get(file.sha256, ()), fresh, have)
            os.replace(fresh, self._place(file))
            sync_folder(self.folder)
        self.save()

    def assemble(self, files: Sequence[UpdateFile], into: Path, have: Mapping[str, Path] = {}) -> None:
        """Write the files of a package into a folder: of those that were fetched, else of those that the device has.
        Raises BadPackage where one is missing, or leads out of the folder; OSError."""
        for file in files:
            target = into / safe(file.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            source = self._place(file) if self._place(file).exists() else have.get(file.sha256)
            if source is None or not source.is_file():
                raise BadPackage(f"{file.path} was not fetched")
            target.unlink(missing_ok=True)
            with suppress(OSError):
                if source == self._place(file):  # Written once, and never again: a disk needs no second copy of it.
                    os.link(source, target)
                    continue
            shutil.copyfile(source, target)
            with target.open("rb+") as written:
                os.fsync(written.fileno())

    def _place(self, file: UpdateFile) -> Path:
        return self.folder / f"{file.sha256}.file"

    def _made(self, file: UpdateFile) -> bool:
        """Whether a file was made before, and is intact."""
        if not (made := _right(self._place(file), file)):
            self._place(file).unlink(missing_ok=True)
        return made

    def forget(self) -> None:
        """Throw away what is on its way, and the counts: the update is done, or not wanted any more."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.counts = Counts()

    def save(self) -> None:
        """Write the counts down."""
        fresh = self._saved.with_suffix(".tmp")
        fresh.write_bytes(msgspec.json.encode(self.counts))
        os.replace(fresh, self._saved)

    def _room(self, missing: Sequence[UpdateFile], plan: TransferPlan) -> None:
        """Raise StorageFull where the files, and the largest of what they are made from, have no space."""
        blobs = [way.size for file in missing for way in plan.files.get(file.sha256, ())[:1]]
        there = sum(each.stat().st_blocks * 512 for each in self.folder.iterdir() if each.suffix != ".file")
        needed = sum(file.size for file in missing) + max(blobs, default=0) - there + RESERVE
        status = os.statvfs(self.folder)
        if missing and needed > (free := status.f_bavail * status.f_frsize):
            raise StorageFull(f"the update needs {needed:,} bytes on the disk of {self.folder}, {free:,} are free")

    def _make(self, file: UpdateFile, ways: Sequence[Transfer], fresh: Path, have: Mapping[str, Path]) -> None:
        """A file, by the first way that leads to it."""
        wrong: list[str] = []
        left = [way for way in ways if not way.base or way.base in have]
        while left:
            way = left.pop(0)
            blob = self.folder / way.blob
            try:
                if way.size > file.size + file.size // 50 + MORE:
                    raise WireError(f"the plan has a blob of {way.size} bytes for a file of {file.size}")
                self._grow(blob, way.blob, pieces_of(way))
                if self._applied(way, blob, file, fresh, have, left):
                    return
            except WireError as error:
                wrong.append(f"{way.kind}: {error}")
        raise BadPackage(f"no way leads to {file.path}: {'; '.join(wrong) or 'the plan has none for this device'}")

    def _applied(
        self, way: Transfer, blob: Path, file: UpdateFile, fresh: Path, have: Mapping[str, Path], left: list[Transfer]
    ) -> bool:
        """Make the file of a whole blob. A list of chunks of which too few are here goes to the end of `left`."""
        try:
            if way.kind != "chunks":
                apply(way, blob, fresh, file, have[way.base] if way.base else None)
            else:
                pieces, known = chunks_of(blob.read_bytes(), file), spans(_chunky(have.values()))
                lacking = sum(piece.size for piece in pieces if piece.sha256 not in known)
                if any(other.bytes < lacking for other in left):
                    left.append(msgspec.structs.replace(way, bytes=lacking))
                    return False
                self._chunks(pieces, known, file, fresh)
        except WireError:
            blob.unlink(missing_ok=True)
            raise
        blob.unlink()
        return True

    def _chunks(self, pieces: list[Piece], known: Mapping[str, ChunkPlace], file: UpdateFile, fresh: Path) -> None:
        """A file out of chunks, of which the missing ones are read out of the file on the platform."""
        self._grow(fresh, file.sha256, pieces, known)
        if hashed(fresh) != file.sha256:
            fresh.unlink()
            raise WireError(f"the chunks of {file.path} make another file")

    def _grow(self, path: Path, name: str, pieces: Sequence[Piece], known: Mapping[str, ChunkPlace] = {}) -> None:
        """Have all pieces of a blob in a file, those that are `known` copied, the others fetched."""
        with Growing(path, pieces) as growing:
            for at in [at for at in growing.missing if pieces[at].sha256 in known]:
                span = known[pieces[at].sha256]
                growing.begin(at)
                with span.path.open("rb") as local:
                    local.seek(span.start)
                    growing.add(local.read(pieces[at].size))
            barren = 0
            while growing.missing:
                before = self.counts.sent
                try:
                    self._run(growing, name)
                    problem, after = "", 0.0
                except OSError as error:
                    if error.errno == errno.ENOSPC:
                        raise
                    problem, after = f"{type(error).__name__}: {error}", 0.0
                except http.client.HTTPException as error:
                    problem, after = repr(error), 0.0
                except Unavailable as error:
                    if isinstance(error, Stale):
                        raise
                    problem, after = error.message, getattr(error, "after", 0.0)
                growing.sync()
                self.save()
                barren = barren + 1 if self.counts.sent - before < FRUIT and problem else 0
                if growing.missing and (self.stop() or barren >= TRIES):
                    raise Interrupted(problem or "it was asked to stop", after)
                if problem:
                    self.sleep(max(min(after, 60.0), 0.5 * barren))

    def _run(self, growing: "Growing", name: str) -> None:
        """Fetch the first missing pieces that lie beside each other, in one request."""
        at, until = growing.run()
        start, end = growing.offsets[at] + growing.begin(at), growing.offsets[until]
        try:
            answer = self.source.get(f"blobs/{name}", start, end)
        except WireError as error:  # of a session; of this blob nothing has come
            raise Interrupted(str(error)) from None
        try:
            skip = _checked(answer, name, start, end, growing.offsets[-1])
            left, synced, (since, came) = end - start, self.clock(), (self.clock(), 0)
            while left and not self.stop():
                data = answer.read1(min(READ, left + skip))
                now = self.clock()
                if not data:
                    raise Interrupted("the connection ended early")
                self.counts.sent += len(data)
                came += len(data)
                if skip:
                    dropped = min(skip, len(data))
                    skip, data = skip - dropped, data[dropped:]
                    self.counts.again += dropped
                left -= len(data)
                self.counts.again += growing.add(data)
                if now - since > WINDOW:
                    if came < FLOOR * (now - since):
                        raise Interrupted(f"only {came} bytes came in {now - since:.0f} s")
                    since, came = now, 0
                if now - synced > SYNC:
                    growing.sync()
                    self.save()
                    synced = now
        finally:
            answer.close()


class Growing:
    """A file of which pieces are there. What lies in it from before is hashed, and stays where it is right; of the last
    piece a part may be there."""

    def __init__(self, path: Path, pieces: Sequence[Piece]) -> None:
        self.path, self.pieces = path, pieces
        self.offsets = [0]
        for piece in pieces:
            self.offsets.append(self.offsets[-1] + piece.size)
        self._wrong: dict[int, int] = {}
        self._parts: dict[int, int] = {}
        self._at = self._filled = 0
        self.missing: dict[int, None] = {}
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.truncate(self._handle, min(size := os.fstat(self._handle).st_size, self.offsets[-1]))
        for at, piece in enumerate(pieces):
            there = min(max(size - self.offsets[at], 0), piece.size)
            if there < piece.size or not self._right(at):
                self.missing[at] = None
                self._parts[at] = there if there < piece.size else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sync()
        os.close(self._handle)

    def run(self) -> tuple[int, int]:
        """The first missing piece, and the end of those that are missing behind it; one that was wrong comes alone."""
        until = (at := next(iter(self.missing))) + 1
        while at not in self._wrong and until in self.missing and until not in self._wrong:
            until += 1
        return at, until

    def begin(self, at: int) -> int:
        """What is added from now on begins in this piece. How many bytes of it are there."""
        self._at, self._filled = at, self._parts.get(at, 0)
        return self._filled

    def add(self, data: bytes) -> int:
        """Write what came, over as many pieces as it fills. How many bytes have to come again. Raises WireError for a
        piece that was wrong too often."""
        lost, rest = 0, memoryview(data)
        while rest:
            at, size = self._at, self.pieces[self._at].size
            part = rest[: size - self._filled]
            written = os.pwrite(self._handle, part, self.offsets[at] + self._filled)
            rest = rest[written:]
            self._filled += written
            self._parts[at] = self._filled
            if self._filled < size:
                continue
            self._parts[at] = 0
            if self._right(at):
                del self.missing[at]
            else:
                lost += size
                self._wrong[at] = self._wrong.get(at, 0) + 1
                if self._wrong[at] >= WRONG:
                    raise WireError(f"piece {at} of what was sent was {WRONG} times other than the plan says")
            self._at, self._filled = at + 1, 0
        return lost

    def sync(self) -> None:
        """Have it on the disk."""
        os.fdatasync(self._handle)

    def _right(self, at: int) -> bool:
        piece = self.pieces[at]
        return hashlib.sha256(os.pread(self._handle, piece.size, self.offsets[at])).hexdigest() == piece.sha256


def _checked(answer: Answer, name: str, start: int, end: int, total: int) -> int:
    """How many bytes of an answer are to be passed over. Raises Interrupted for one that is not what was asked."""
    status, given = answer.status, answer.getheader("Content-Range", "") or ""
    if status == 206:
        match = _RANGE.fullmatch(given)
        if match and int(match[1]) == start and int(match[2]) < end and match[3] in ("*", str(total)):
            return 0
        raise Interrupted(
            f"the platform answers '{given[:80]}' for the bytes {start} to {end - 1} of {total} of {name}"
        )
    if status == 200:
        if (length := answer.getheader("Content-Length", "") or "an unknown number of") == str(total):
            return start
        raise Interrupted(f"the platform says that {name} has {length[:20]} bytes; the plan says {total}")
    if status in (404, 410, 416):
        raise Stale(f"the platform has no blob {name} of {total} bytes any longer: it answers {status}")
    after = answer.getheader("Retry-After", "") or ""
    raise Interrupted(f"the platform answers {status} for {name}", float(after) if after[:6].isdecimal() else 0.0)


def safe(path: str) -> str:
    """Raise BadPackage for a path that leads out of the folder of its package."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or "\0" in path or {"..", "."} & {*path.split("/")}:
        raise BadPackage(f"'{path[:80]}' is no path within a package")
    return path


def _right(path: Path | None, file: UpdateFile) -> bool:
    """Whether a file is there, as it was signed."""
    return path is not None and path.is_file() and path.stat().st_size == file.size and hashed(path) == file.sha256


def _chunky(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.is_file() and path.stat().st_size >= LEAST]
