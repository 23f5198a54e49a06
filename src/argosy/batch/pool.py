"""The worker processes of a driver: started, listened to, ended."""

import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from argosy.batch import output as printed
from argosy.batch.wire import Channel, Message, Stop
from argosy.process.launch import Child
from argosy.process.tail import last_words
from argosy.spec.crash import STACKS
from argosy.spec.errors import Unavailable

WRITING = 0.2
"""Seconds that a process which hangs has for its stacks."""
DYING = 2.0
"""Seconds from the last word of a process to its end."""
LOOKED = 0.2
"""Seconds between two looks at how much the workers have printed."""


class Member:
    """One worker. What it prints goes to `log`, of which the beginning and the end are kept."""

    def __init__(self, child: Child, log: Path) -> None:
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours, worker=False)
        self.log = log
        self.ready = False
        with theirs, log.open("ab") as output:
            self.process = _start(child, theirs.fileno(), output)

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    @property
    def killed(self) -> bool:
        """Whether it was ended by SIGKILL."""
        return self.process.wait() == -signal.SIGKILL

    def ended(self) -> str:
        """How it ended, in words, with the end of what it printed."""
        code = self.process.wait()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        words = last_words(self.log)
        return f"{how}" + (f"; it had printed: {words[:400]}" if words else "")


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


class Crew:
    """All workers of a job, each a `child`. Ends them with `with`. The log of each begins with `name`."""

    def __init__(self, child: Child, logs: Path, name: str = "worker") -> None:
        self.members: dict[int, Member] = {}
        self._name = name
        self._child, self._logs = child, logs
        self._selector = selectors.DefaultSelector()
        self._looked = 0.0

    def __enter__(self) -> "Crew":
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def start(self) -> int:
        """Start one more. Its process id."""
        taken = {member.log.name for member in self.members.values()}
        names = (f"{self._name}-{number}.log" for number in range(len(taken) + 1))
        name = next(name for name in names if name not in taken)
        member = Member(self._child, self._logs / name)
        self.members[member.pid] = member
        self._selector.register(member.channel.socket, selectors.EVENT_READ, member)
        return member.pid

    def heard(self, timeout: float) -> Iterator[tuple[int, Message | None]]:
        """(worker, message) of all that speak within `timeout` seconds; None in place of a message: it is gone."""
        self._trim()
        for key, _ in self._selector.select(timeout):
            member: Member = key.data
            messages = member.channel.receive()
            for message in messages or ():
                yield member.pid, message
            if messages is None:
                yield member.pid, None
        speaking = {key.data.pid for key, _ in self._selector.select(0)}
        for worker in list(self.members):
            if worker not in speaking and _over(worker):  # a child of its own may hold the socket open
                yield worker, None

    def _trim(self) -> None:
        if time.monotonic() - self._looked > LOOKED:
            for member in self.members.values():
                printed.trim(member.log)
            self._looked = time.monotonic()

    def send(self, worker: int, message: Message) -> None:
        """Tell a worker something; one that is gone will be noticed."""
        self.members[worker].channel.send(message)

    def bury(self, worker: int, patience: float = DYING) -> Member:
        """Take a worker that is going off the list, with all that it started. It has so many seconds to be gone."""
        member = self.members.pop(worker)
        self._selector.unregister(member.channel.socket)
        limit = time.monotonic() + patience
        while not _over(worker) and time.monotonic() < limit:
            time.sleep(0.002)
        member.channel.close()
        _kill(member)
        printed.trim(member.log)
        return member

    def kill(self, worker: int) -> Member:
        """The same for one that hangs; where its model did, and then where it did, is left in the log they share."""
        with suppress(psutil.Error):
            leader = psutil.Process(worker)
            for process in (*leader.children(), leader):
                process.send_signal(STACKS)
                time.sleep(WRITING)
        return self.bury(worker, patience=0.0)

    def stop(self) -> None:
        """Tell all to end after the rows they have."""
        for worker in self.members:
            self.send(worker, Stop())

    def __exit__(self, *_: object) -> None:
        for worker in list(self.members):
            self.bury(worker, patience=0.0)
        self._selector.close()


def _over(pid: int) -> bool:
    """Whether a child has ended; it is not reaped, so that its number stays its own."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill(member: Member) -> None:
    """End the session of a worker: itself and what its model started."""
    with suppress(ProcessLookupError):
        os.killpg(member.pid, signal.SIGKILL)
    member.process.wait()
