"""The workers of a driver: what a pool of them offers, and the pool of processes on this machine."""

import os
import re
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple, Protocol, Self, cast

import psutil

from argosy.batch.wire import Channel, Event, Order, Stop
from argosy.process.launch import Child
from argosy.process.tail import last_words
from argosy.spec.crash import STACKS
from argosy.spec.errors import Unavailable

WRITING = 0.2
"""Seconds that a process which hangs has to write its stacks."""
DYING = 2.0
"""Seconds from the last message of a process to its end."""
TRIMMING = 0.2
"""Seconds between two checks of the sizes of the logs."""

MOST = 4 << 20
HEAD = 256 << 10
TAIL = 1 << 20
"""Bytes of a log past which it is cut, and those that stay of its beginning and of its end."""


class End(NamedTuple):
    """How a worker ended, in words; whether by SIGKILL; the log of what it printed."""

    how: str
    killed: bool
    log: Path


class Pool(Protocol):
    """Workers that can be started, given messages, listened to and ended. Leaving `with` ends them all.

    `kind` is what messages call a worker. `capacity` is how many workers there may be; 0 while that is not known.
    """

    kind: str
    capacity: int

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def workers(self) -> Collection[int]:
        """The numbers of the workers, from `start` to `end`."""
        ...

    @property
    def running(self) -> Collection[int]:
        """Those of them that have a process: on Ray a worker may wait for a node."""
        ...

    def start(self) -> None:
        """Start one more."""
        ...

    def send(self, worker: int, message: Order) -> None:
        """Send a message to a worker; one that is gone will be noticed."""
        ...

    def receive(self, timeout: float) -> Iterator[tuple[int, Event | None]]:
        """(worker, message) of all messages within `timeout` seconds; None in place of a message: it is gone.

        Raises an error of the table where the whole pool has failed.
        """
        ...

    def end(self, worker: int, *, hung: bool = False) -> End:
        """Remove a worker that is gone, or end one that `hung`: then its stacks are written to its log."""
        ...


class Process:
    """A child with a channel. What it prints goes to `log`, of which the beginning and the end are kept."""

    def __init__(self, child: Child, log: Path) -> None:
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours, worker=False)
        self.log = log
        with theirs, log.open("ab") as output:
            self._process = _start(child, theirs.fileno(), output)
        self.pid = self._process.pid
        self._end: End | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended; it is not reaped, so that its number stays its own."""
        if self._end is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self, patience: float) -> End:
        """Wait so many seconds for its end, then kill its session: itself and what its model started."""
        if self._end is not None:
            return self._end
        limit = time.monotonic() + patience
        while not self.over and time.monotonic() < limit:
            time.sleep(0.002)
        self.channel.close()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        trim(self.log)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        words = last_words(self.log)
        how += f"; it had printed: {words[:400]}" if words else ""
        self._end = End(how, code == -signal.SIGKILL, self.log)
        return self._end


def _start(child: Child, channel: int, output: IO[bytes]) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            [*child.command, "--channel", str(channel)],
            pass_fds=(channel,),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=child.environ,
        )
    except OSError as error:
        raise Unavailable(f"no further process can be started here: {error.strerror}; give fewer --workers") from None


class LocalPool:
    """At most `capacity` processes of this machine, each a `child`; their numbers are their process ids."""

    kind = "worker"

    def __init__(self, child: Child, logs: Path, capacity: int) -> None:
        self.capacity = capacity
        self._processes: dict[int, Process] = {}
        self._child, self._logs = child, logs
        self._selector = selectors.DefaultSelector()
        self._trimmed = 0.0

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in list(self._processes):
            self._removed(worker).end(0.0)
        self._selector.close()

    @property
    def workers(self) -> Collection[int]:
        """The process ids of the workers."""
        return self._processes.keys()

    running = workers

    def start(self) -> None:
        """Start one more, which has a log of its own."""
        taken = {process.log.name for process in self._processes.values()}
        names = (f"worker-{number}.log" for number in range(len(taken) + 1))
        process = Process(self._child, self._logs / next(name for name in names if name not in taken))
        self._processes[process.pid] = process
        self._selector.register(process.channel.socket, selectors.EVENT_READ, process)

    def send(self, worker: int, message: Order) -> None:
        """Send a message to a worker; one that is gone will be noticed."""
        self._processes[worker].channel.send(message)

    def receive(self, timeout: float) -> Iterator[tuple[int, Event | None]]:
        """(worker, message) of all messages within `timeout` seconds; None in place of a message: it is gone."""
        if time.monotonic() - self._trimmed > TRIMMING:
            for process in self._processes.values():
                trim(process.log)
            self._trimmed = time.monotonic()
        for key, _ in self._selector.select(timeout):
            process: Process = key.data
            messages = cast("list[Event] | None", process.channel.receive())
            for message in messages or ():
                yield process.pid, message
            if messages is None:
                yield process.pid, None
        readable = {key.data.pid for key, _ in self._selector.select(0)}
        for worker, process in list(self._processes.items()):
            if worker not in readable and process.over:  # a child of its own may hold the socket open
                yield worker, None

    def end(self, worker: int, *, hung: bool = False) -> End:
        """Remove a worker that is gone, or end one that `hung`, with all that it started."""
        if hung:
            write_stacks(worker)
        return self._removed(worker).end(0.0 if hung else DYING)

    def _removed(self, worker: int) -> Process:
        process = self._processes.pop(worker)
        self._selector.unregister(process.channel.socket)
        return process


def stop(pool: Pool) -> None:
    """Tell all workers to end after the rows they have."""
    for worker in pool.workers:
        pool.send(worker, Stop())


def write_stacks(worker: int) -> None:
    """Have the model of a worker and then the worker itself write where they are to the log they share."""
    with suppress(psutil.Error):
        leader = psutil.Process(worker)
        for process in (*leader.children(), leader):
            process.send_signal(STACKS)
            time.sleep(WRITING)


_CUT = re.compile(rb"\n\[\.\.\. ([0-9,]+) bytes [^\n]*\n")


def trim(log: Path, most: int = MOST, head: int = HEAD, tail: int = TAIL) -> bool:
    """Cut the middle out of a log of more than `most` bytes, in place; whether there was anything to cut.

    `most` is larger than `head` and `tail` together. A worker appends to its log by itself, so that nothing it prints
    depends on its driver; what is printed in the very moment of the cut may be lost and not counted.
    """
    with suppress(OSError):
        if log.stat().st_size > most:
            file = os.open(log, os.O_RDWR | os.O_APPEND)
            try:
                _cut(file, head, tail)
            finally:
                os.close(file)
            return True
    return False


def _cut(file: int, head: int, tail: int) -> None:
    earlier = _CUT.match(os.pread(file, 200, head))
    size = os.fstat(file).st_size
    end = os.pread(file, tail, size - tail)
    end = end[end.find(b"\n") + 1 :]
    left_out = size - head - len(end)
    if earlier is not None:
        left_out += int(earlier[1].replace(b",", b"")) - len(earlier[0])
    os.ftruncate(file, head)
    os.write(file, f"\n[... {left_out:,} bytes are left out here ...]\n".encode() + end)
