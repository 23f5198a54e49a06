"""Blobs: files named by the sha256 of their content."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from pathlib import Path

from argosy.process.flock import lock
from argosy.spec.errors import BadPackage
from argosy.store.durable import CHUNK, create_temporary, storage, sync_folder, write_all
from argosy.store.manifest import Descriptor

Sink = Callable[[memoryview], None]


class Blobs:
    """The folder `blobs/sha256` of a layout. A blob appears whole or not at all, and is read-only from then on."""

    def __init__(self, root: Path, lock_file: Path) -> None:
        self.folder = root / "blobs" / "sha256"
        self.temporary = root / ".tmp"
        self.lock_file = lock_file

    def path(self, digest: str) -> Path:
        return self.folder / digest.removeprefix("sha256:")

    def read(self, descriptor: Descriptor, limit: int, what: str) -> bytes:
        """A small blob whole, checked against its descriptor. Raises BadPackage naming `what`."""
        if descriptor.size > limit:
            raise BadPackage(f"{what} is larger than {limit} bytes")
        parts: list[bytes] = []
        self.check(descriptor, what, lambda chunk: parts.append(bytes(chunk)))
        return b"".join(parts)

    def check(self, descriptor: Descriptor, what: str, sink: Sink | None = None) -> None:
        """Re-hash a blob, handing its chunks to `sink`. Raises BadPackage naming `what` unless it is what it was."""
        try:
            check_file(self.path(descriptor.digest), descriptor, what, sink)
        except FileNotFoundError:
            raise BadPackage(f"{what} is missing from the store (blob {descriptor.digest})") from None

    @contextmanager
    def deposit(self, published: Callable[[], Collection[str]]) -> Generator["Deposit"]:
        """Add blobs together: when the block raises, those that it brought and that nobody else took up go again.
        `published` gives the digests in the index; once one of the deposit's is there, everything stays."""
        deposit = Deposit(self)
        try:
            with storage(self.folder):
                yield deposit
        except BaseException:
            deposit.undo(published)
            raise


class Deposit:
    """The blobs that one push adds."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs
        self.touched: set[str] = set()
        self.brought: dict[str, int] = {}

    def file(self, source: Path, size: int, what: str) -> str:
        """Stream a file of `size` bytes into the store. Returns its digest. BadPackage if it changes meanwhile."""
        try:
            reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise BadPackage(f"'{what}' cannot be read: {error.strerror}") from None
        try:
            status = os.fstat(reader)
            if not stat.S_ISREG(status.st_mode) or status.st_size != size:
                raise BadPackage(f"'{what}' changed while it was being read; push again when it is complete")
            return self._add(lambda sink: stream(reader, size, sink), size, what)
        finally:
            os.close(reader)

    def take(self, blob: Descriptor, path: Path | None) -> None:
        """Move a file of this disk into the store, whose content is that of `blob`; one that is there stays."""
        there = self.blobs.path(blob.digest)
        path = path if path and path.exists() else there
        try:
            path.chmod(0o444)
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise BadPackage(f"the blob {blob.digest} was deleted meanwhile: repeat") from None
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        self._publish(path, blob.digest, blob.size)
        if path != there:
            path.unlink(missing_ok=True)

    def data(self, data: bytes) -> str:
        """Add these bytes. Returns their digest."""

        def produce(sink: Sink) -> int:
            sink(memoryview(data))
            return len(data)

        return self._add(produce, len(data), "data")

    def settle(self) -> None:
        """Make what was added durable, before something points at it."""
        sync_folder(self.blobs.folder)

    def undo(self, published: Callable[[], Collection[str]]) -> None:
        """Delete what this deposit brought, unless the index has it or another deposit came upon it since."""
        with lock(self.blobs.lock_file):
            if self.touched.intersection(published()):
                return
            for digest, stamp in self.brought.items():
                path = self.blobs.path(digest)
                if path.exists() and path.stat().st_mtime_ns == stamp:
                    path.unlink()

    def _add(self, produce: Callable[[Sink], int], size: int, what: str) -> str:
        handle, scratch = create_temporary(self.blobs.temporary)
        hasher = hashlib.sha256()

        def sink(chunk: memoryview) -> None:
            hasher.update(chunk)
            write_all(handle, chunk)

        try:
            try:
                if produce(sink) != size:
                    raise BadPackage(f"'{what}' changed while it was being read; push again when it is complete")
                os.fchmod(handle, 0o444)
                os.fsync(handle)
            finally:
                os.close(handle)
            return self._publish(scratch, f"sha256:{hasher.hexdigest()}", size)
        finally:
            scratch.unlink(missing_ok=True)

    def _publish(self, scratch: Path, digest: str, size: int) -> str:
        """Give the blob its name. One that is there and intact stays, marked as in use; an altered one is healed."""
        path = self.blobs.path(digest)
        try:
            check_file(path, Descriptor(media_type="", digest=digest, size=size), "blob")
            intact = True
        except (OSError, BadPackage):
            intact = False
        with lock(self.blobs.lock_file):
            there = path.exists()
            stamp = time.time_ns()
            os.utime(path if there and intact else scratch, ns=(stamp, stamp))
            if not (there and intact):
                os.rename(scratch, path)
            if not there:
                self.brought[digest] = stamp
        self.touched.add(digest)
        return digest


def stream(reader: int, most: int, sink: Sink) -> int:
    """Hand a file to `sink` in chunks of 1 MiB, stopping past `most` bytes. Returns how many there were."""
    buffer = bytearray(min(CHUNK, most + 1))
    view = memoryview(buffer)
    total = 0
    while total <= most and (count := os.readv(reader, [view])):
        sink(view[:count])
        total += count
    return total


def check_file(path: Path, descriptor: Descriptor, what: str, sink: Sink | None = None) -> None:
    """Raise BadPackage naming `what` unless the file has the size and the sha256 of the descriptor."""
    hasher = hashlib.sha256()

    def both(chunk: memoryview) -> None:
        hasher.update(chunk)
        if sink is not None:
            sink(chunk)

    reader = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size = os.fstat(reader).st_size
        if size == descriptor.size:
            size = stream(reader, descriptor.size, both)
    finally:
        os.close(reader)
    if size != descriptor.size:
        raise BadPackage(f"{what} is altered: it has {size} bytes, not the {descriptor.size} it was stored with")
    if f"sha256:{hasher.hexdigest()}" != descriptor.digest:
        raise BadPackage(f"{what} is altered: its content no longer has the digest {descriptor.digest}")
