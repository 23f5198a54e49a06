"""The workers of a driver on this machine, each a process."""

import os
import re
import selectors
import signal
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil
from msgspec.structs import replace

from argosy.batch.wire import Begin, Channel, Gone, Message, Order
from argosy.process import process
from argosy.process.launch import Child
from argosy.process.tail import last_words
from argosy.spec.crash import STACKS
from argosy.spec.errors import Internal, Unavailable

WRITING = 0.2
"""Seconds that a process which hangs has to write its stacks."""
DYING = 2.0
"""Seconds from the last message of a process to its end."""
TRIMMING = 0.2
"""Seconds between two checks of the sizes of the logs."""

MOST = 4 << 20
HEAD = 256 << 10
TAIL = 1 << 20
"""Bytes of a log above which it is cut, and those that stay of its beginning and of its end."""


class WorkerProcess:
    """A child with a channel, whose first message is to begin. Its output goes to `log`."""

    def __init__(self, child: Child, begin: Begin, log: Path) -> None:
        self.number, self.log = begin.worker, log
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        with theirs:
            try:
                self._process = process.spawn(child.command, child.environ, log, {0: theirs.fileno()})
            except Internal as error:
                self.channel.close()
                raise Unavailable(f"{error.message}; give fewer --workers") from None
        self.pid = self._process.pid
        self.ended = self._process.ended
        self.channel.send(begin)

    def end(self, patience: float) -> Gone:
        """Wait so many seconds for its end, then kill it with all that its model started."""
        status = self._process.end(patience) or 0
        self.channel.close()
        trim(self.log)
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        words = last_words(self.log)
        how += f"; its last output: {words[:400]}" if words else ""
        return Gone(self.number, how, status == -signal.SIGKILL, str(self.log))


class LocalPool:
    """At most `capacity` processes of this machine, each a `child`. Leaving `with` ends them all."""

    kind = "worker"

    def __init__(self, child: Child, begin: Begin, logs: Path) -> None:
        self.capacity, self.sizes = begin.sizes.workers, begin.sizes
        self._child, self._begin, self._logs = child, begin, logs
        self._processes: dict[int, WorkerProcess] = {}
        self._started = 0
        self._selector = selectors.DefaultSelector()
        self._trimmed = 0.0

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in list(self._processes):
            self._end(worker, 0.0)
        self._selector.close()

    @property
    def workers(self) -> Collection[int]:
        return self._processes.keys()

    running = workers

    def start(self) -> None:
        """Start one more, which has a log of its own."""
        taken = {each.log.name for each in self._processes.values()}
        names = (f"worker-{number}.log" for number in range(len(taken) + 1))
        self._started += 1
        begin = replace(self._begin, worker=self._started)
        started = WorkerProcess(self._child, begin, self._logs / next(name for name in names if name not in taken))
        self._processes[self._started] = started
        self._selector.register(started.channel.socket, selectors.EVENT_READ, started)

    def send(self, message: Order) -> None:
        """Send a message to its worker; one that is gone will be noticed."""
        self._processes[message.worker].channel.send(message)

    def receive(self, timeout: float) -> Iterator[Message]:
        """All messages within `timeout` seconds. After `Gone` a worker is removed."""
        if time.monotonic() - self._trimmed > TRIMMING:
            for each in self._processes.values():
                trim(each.log)
            self._trimmed = time.monotonic()
        for key, _ in self._selector.select(timeout):
            worker: WorkerProcess = key.data
            messages = worker.channel.receive()
            yield from messages or ()
            if messages is None:
                yield self._end(worker.number, DYING)
        readable = {key.data.number for key, _ in self._selector.select(0)}
        for number, worker in list(self._processes.items()):
            if number not in readable and worker.ended():  # a child of its own may have the socket open
                yield self._end(number, DYING)

    def kill(self, worker: int) -> Gone:
        """End a worker that hangs, with all that it started. Its stacks are written to its log before."""
        write_stacks(self._processes[worker].pid)
        return self._end(worker, 0.0)

    def _end(self, worker: int, patience: float) -> Gone:
        ending = self._processes.pop(worker)
        self._selector.unregister(ending.channel.socket)
        return ending.end(patience)


def write_stacks(pid: int) -> None:
    """Have the model of a worker and then the worker itself write where they are to the log they share."""
    with suppress(psutil.Error):
        leader = psutil.Process(pid)
        for each in (*leader.children(), leader):
            each.send_signal(STACKS)
            time.sleep(WRITING)


_CUT = re.compile(rb"\n\[\.\.\. ([0-9,]+) bytes [^\n]*\n")


def trim(log: Path, most: int = MOST, head: int = HEAD, tail: int = TAIL) -> bool:
    """Cut the middle out of a log of more than `most` bytes, in place; whether there was anything to cut.

    `most` is larger than `head` and `tail` together. A worker appends to its log by itself, so that nothing it prints
    depends on its driver; what is written in the very moment of the cut may be lost and not counted.
    """
    with suppress(OSError):
        if log.stat().st_size > most:
            with log.open("ab+", buffering=0) as file:
                _cut(file.fileno(), head, tail)
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
