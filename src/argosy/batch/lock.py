"""One driver an output: on a disk by a lock of the kernel, in a bucket by a lease that its owner renews."""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil

from argosy.batch.ledger import FOLDER
from argosy.batch.place import Place
from argosy.process import flock
from argosy.spec.errors import ArgosyError, Conflict
from argosy.store.durable import storage

RENEWED = 5.0
TERM = 30.0
"""Seconds between two beats of a lease, and without one after which it counts as given up."""


class Holder(msgspec.Struct, frozen=True):
    """Who drives. `machine` decides whether `pid` means the same process here: names of hosts may be equal."""

    host: str
    pid: int
    machine: str = ""

    def refusal(self, output: Place) -> Conflict:
        """The error of a second driver."""
        return Conflict(
            f"another driver works at {output}: process {self.pid} on {self.host}. Wait for it or end it; then --resume"
        )


@contextmanager
def lock(output: Place, lost: Callable[[], None]) -> Generator[None]:
    """Lock an output for the block. `lost` is called, in another thread, if it is taken away: a lease that was not
    renewed. Raises Conflict naming host and process of who has it."""
    with lease(output, lost) if output.remote else file_lock(output):
        yield


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


@contextmanager
def file_lock(output: Place) -> Generator[None]:
    """An advisory lock on `_argosy/lock`; the kernel gives it back when its owner dies."""
    path = Path(output.url) / FOLDER / "lock"
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            fd = flock.take(path, mode=0o644)
        except BlockingIOError:
            other = Holder("a host that has not said its name", 0)
            with suppress(msgspec.DecodeError):
                other = msgspec.json.decode(flock.holder(path) or b"", type=Holder)
            raise other.refusal(output) from None
    try:
        with storage(path):
            os.ftruncate(fd, 0)
            os.pwrite(fd, msgspec.json.encode(here()), 0)
        yield
    finally:
        os.close(fd)


class Beat(msgspec.Struct, frozen=True):
    """What the owner of a term writes: who it is, how often it has written, and whether it has given up."""

    holder: Holder
    token: str
    count: int = 0
    ended: bool = False


@contextmanager
def lease(output: Place, lost: Callable[[], None], renewed: float = RENEWED, term: float = TERM) -> Generator[None]:
    """Terms in a bucket: `_argosy/lease/N` is created by exactly one driver, and written again every few seconds.

    Another driver reads the highest term; it may create the next one once that has ended, or has not been written for
    `term` seconds of its own clock. No two clocks are compared.
    """
    folder = output.join(f"{FOLDER}/lease")
    highest = max((int(file.name) for file in folder.walk() if file.name.isdecimal()), default=0)
    if highest:
        _await_end(output, _term(folder, highest), renewed, term)
    own, next_one = _term(folder, highest + 1), _term(folder, highest + 2)
    beat = Beat(here(), secrets.token_hex(8))
    if not own.create(msgspec.json.encode(beat)):
        raise _read(own).holder.refusal(output)
    ended = threading.Event()

    def renew() -> None:
        """Write every few seconds; give up where another term has begun, or where the bucket is away for a term."""
        nonlocal beat
        written = time.monotonic()
        while not ended.wait(renewed):
            try:
                if next_one.exists():
                    return lost()
                beat = msgspec.structs.replace(beat, count=beat.count + 1)
                own.put(msgspec.json.encode(beat))
                written = time.monotonic()
            except ArgosyError:
                if time.monotonic() - written > term / 2:
                    return lost()
        return None

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(ArgosyError):  # the next driver waits for a term
            own.put(msgspec.json.encode(msgspec.structs.replace(beat, ended=True)))


def _term(folder: Place, number: int) -> Place:
    return folder.join(f"{number:08d}")


def _read(file: Place) -> Beat:
    return msgspec.json.decode(file.read(), type=Beat)


def _await_end(output: Place, file: Place, renewed: float, term: float) -> None:
    """Return once a term is over. Raises Conflict where its owner lives."""
    first = _read(file)
    of_here = bool(first.holder.machine) and first.holder.machine == _machine()
    if first.ended or (of_here and not psutil.pid_exists(first.holder.pid)):
        return
    limit = time.monotonic() + term
    while time.monotonic() < limit:
        time.sleep(min(renewed, 1.0))
        beat = _read(file)
        if beat.ended:
            return
        if beat.count != first.count:
            raise first.holder.refusal(output)
