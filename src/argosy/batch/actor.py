"""What runs on the nodes of a Ray cluster: an actor for each worker, and one that gathers their messages.

A module of its own: Ray sends the classes of the process that is run, `cluster.py`, by value.
"""

import io
import os
import tarfile
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from argosy.batch.pool import write_stacks
from argosy.batch.wire import Begin, Message, Order, Reached, Started
from argosy.batch.worker import Worker
from argosy.engines.base import require
from argosy.spec import crash

NEED = "Batch on Ray"
EVERY = 0.5
"""Seconds between two messages of an actor on how far a fragment is."""


class Mailbox:
    """An actor beside the driver: the messages of the others since they were last taken."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def add(self, *messages: Message) -> None:
        self._messages += messages

    def take(self) -> list[Message]:
        """Remove and return them, in order."""
        messages, self._messages = self._messages, []
        return messages


class Actor:
    """A worker on a node. `package`, the files of the package as a tar, and `mailbox` are one reference each, in a list
    so that Ray does not resolve it.

    `run` takes as long as the worker lives; the other methods are called meanwhile.
    """

    def __init__(self, begin: bytes, package: Sequence[Any], mailbox: Sequence[Any]) -> None:
        self._begin = msgspec.json.decode(begin, type=Begin)
        self._package, self._mailbox = package, mailbox[0]
        self._worker = Worker(self._begin.worker, self._send)
        self._due: tuple[int, float] = (-1, 0.0)

    def run(self) -> None:
        """Load the model and answer the fragments that are ordered. All messages are delivered when this returns."""
        ray = require("ray", "ray", NEED)
        self._send(Started(self._begin.worker))
        crash.tell()
        crash.report_location()
        with tempfile.TemporaryDirectory(prefix="argosy-") as folder:
            with tarfile.open(fileobj=io.BytesIO(ray.get(self._package[0]))) as archive:
                archive.extractall(folder, filter="data")
            self._worker.work(msgspec.structs.replace(self._begin, package=folder))
        ray.get(self._mailbox.add.remote())

    def _send(self, message: Message) -> None:
        """Send it; of one fragment's `Reached` no more than one in `EVERY` seconds."""
        if isinstance(message, Reached):
            number, due = self._due
            if message.number == number and time.monotonic() < due:
                return
            self._due = message.number, time.monotonic() + EVERY
        self._mailbox.add.remote(message)

    def order(self, message: Order) -> None:
        """Pass an order of the driver to the worker."""
        self._worker.order(message)

    def write_stacks(self) -> None:
        """Write where the worker and its model are to the log."""
        write_stacks(os.getpid())
