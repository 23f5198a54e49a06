"""One driver an output: on a disk by a lock of the kernel, in a bucket by a lease that its holder keeps renewing."""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

import msgspec

from argosy.batch.ledger import FOLDER
from argosy.batch.place import Place
from argosy.process import flock
from argosy.spec.errors import ArgosyError, Conflict
from argosy.store.durable import storage

RENEWED = 5.0
TERM = 30.0
"""Seconds between two beats of a lease, and without one after which it counts as given up."""


class Holder(msgspec.Struct, frozen=True):
    """Who drives. `machine` tells whether `pid` means the same process here: names of hosts may be equal."""

    host: str
    pid: int
    machine: str = ""

    def refusal(self, output: Place) -> Conflict:
        """What the second one is told."""
        return Conflict(
            f"another driver works at {output}: process {self.pid} on {self.host}. Wait for it or end it; then --resume"
        )


class Lock(Protocol):
    """Held from `with` to its end. Raises Conflict naming host and process of who holds it."""

    def __enter__(self) -> "Lock": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def lock(output: Place, lost: Callable[[], None]) -> Lock:
    """The lock of an output. `lost` is called, in another thread, if it is taken away: a lease that was not renewed."""
    return Lease(output, lost) if output.remote else FileLock(output)


def here() -> Holder:
    """This process."""
    return Holder(socket.gethostname(), os.getpid(), _machine())


def _machine() -> str:
    """This boot of this machine and this space of process numbers; empty where the system does not say."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {space}"
    except OSError:
        return ""


class FileLock:
    """An advisory lock on `_argosy/lock`; the kernel gives it back when its holder dies."""

    def __init__(self, output: Place) -> None:
        self.output = output
        self.path = Path(output.url) / FOLDER / "lock"
        self._fd = -1

    def __enter__(self) -> "FileLock":
        with storage(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._fd = flock.take(self.path, mode=0o644)
            except BlockingIOError:
                raise self._holder().refusal(self.output) from None
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, msgspec.json.encode(here()), 0)
        return self

    def _holder(self) -> Holder:
        try:
            return msgspec.json.decode(flock.holder(self.path) or b"", type=Holder)
        except msgspec.DecodeError:
            return Holder("a host that has not said its name", 0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


class Beat(msgspec.Struct, frozen=True):
    """What the holder of a term writes: who it is, how often it has written, and whether it has given up."""

    holder: Holder
    token: str
    count: int = 0
    ended: bool = False


class Lease:
    """Terms in a bucket: `_argosy/lease/N` is created by exactly one driver, and written again every few seconds.

    Whoever comes looks at the highest term; it may create the next one once that has ended, or has not been written
    for TERM seconds of its own clock. No two clocks are compared.
    """

    def __init__(self, output: Place, lost: Callable[[], None], renewed: float = RENEWED, term: float = TERM) -> None:
        self.output = output
        self.folder = output.join(f"{FOLDER}/lease")
        self._lost, self._renewed, self._patience = lost, renewed, term
        self._beat = Beat(here(), secrets.token_hex(8))
        self._number = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        number = self._highest()
        if number:
            self._await_end(number)
        if not self._file(number + 1).create(msgspec.json.encode(self._beat)):
            raise self._read(number + 1).holder.refusal(self.output)
        self._number = number + 1
        self._thread.start()
        return self

    def _file(self, number: int) -> Place:
        return self.folder.join(f"{number:08d}")

    def _highest(self) -> int:
        return max((int(file.name) for file in self.folder.walk() if file.name.isdecimal()), default=0)

    def _read(self, number: int) -> Beat:
        return msgspec.json.decode(self._file(number).read(), type=Beat)

    def _await_end(self, number: int) -> None:
        """Return once a term is over. Raises Conflict where its holder lives."""
        first = self._read(number)
        if first.ended or _dead(first.holder):
            return
        limit = time.monotonic() + self._patience
        while time.monotonic() < limit:
            time.sleep(min(self._renewed, 1.0))
            beat = self._read(number)
            if beat.ended:
                return
            if beat.count != first.count:
                raise first.holder.refusal(self.output)

    def _renew(self) -> None:
        """Write every few seconds; give up where another term has begun, or where the bucket is away for a term."""
        written = time.monotonic()
        while not self._ended.wait(self._renewed):
            try:
                if self._file(self._number + 1).exists():
                    break
                self._beat = msgspec.structs.replace(self._beat, count=self._beat.count + 1)
                self._file(self._number).put(msgspec.json.encode(self._beat))
                written = time.monotonic()
            except ArgosyError:
                if time.monotonic() - written > self._patience / 2:
                    break
        else:
            return
        self._lost()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        try:
            self._file(self._number).put(msgspec.json.encode(msgspec.structs.replace(self._beat, ended=True)))
        except ArgosyError:
            return  # the next driver waits for a term


def _dead(holder: Holder) -> bool:
    """Whether the holder was a process of this machine that is gone."""
    if not holder.machine or holder.machine != _machine():
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
