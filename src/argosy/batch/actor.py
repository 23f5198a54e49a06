"""What runs on the nodes of a Ray cluster: an actor for each worker, and one that gathers their messages.

A module of its own: Ray sends the classes of the process that is run, `cluster.py`, by value.
"""

import io
import os
import queue
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from argosy.batch.plan import Plan
from argosy.batch.pool import write_stacks
from argosy.batch.wire import Event, From, Message, Order, Reached, Started, Stop
from argosy.batch.worker import Worker
from argosy.engines.base import require
from argosy.packaging.package import Package, open_package
from argosy.spec import crash

NEED = "Batch on Ray"
EVERY = 0.5
"""Seconds between two messages of an actor on how far a fragment is."""


class Mailbox:
    """An actor beside the driver: the messages of the others since they were last taken."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def add(self, *messages: Message) -> None:
        """Add to them."""
        self._messages += messages

    def take(self) -> list[Message]:
        """Remove and return them, in order."""
        messages, self._messages = self._messages, []
        return messages


class ActorLink:
    """The channel of a worker in an actor: it sends to the mailbox, and receives what is put."""

    def __init__(self, worker: int, mailbox: Any) -> None:
        self._worker, self._mailbox = worker, mailbox
        self._orders: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._due: tuple[int, float] = (-1, 0.0)

    def send(self, message: Event) -> bool:
        """Send it; of one fragment's `Reached` no more than one in `EVERY` seconds."""
        if isinstance(message, Reached):
            number, due = self._due
            if message.number == number and time.monotonic() < due:
                return True
            self._due = message.number, time.monotonic() + EVERY
        self._mailbox.add.remote(From(self._worker, message))
        return True

    def put(self, order: Message) -> None:
        """An order for the worker."""
        self._orders.put(order)

    def __iter__(self) -> Iterator[Message]:
        """Orders, the last of which is Stop."""
        while not isinstance(order := self._orders.get(), Stop):
            yield order


class Actor:
    """A worker on a node. `package` and `mailbox` hold one reference each, in a list so that Ray does not resolve it.

    `run` takes as long as the worker lives; the other methods are called meanwhile.
    """

    def __init__(
        self,
        worker: int,
        plan: bytes,
        package: Sequence[Any],
        mailbox: Sequence[Any],
        threads: int,
        batch_size: int,
        trusted: bool,
    ) -> None:
        self._number, self._mailbox = worker, mailbox[0]
        self._link = ActorLink(worker, self._mailbox)
        self._plan = msgspec.json.decode(plan, type=Plan)
        self._package, self._trusted = package, trusted
        self._threads, self._batch_size = threads, batch_size

    def run(self) -> None:
        """Load the model and answer the fragments that are ordered. All messages are delivered when this returns."""
        ray = require("ray", "ray", NEED)
        self._mailbox.add.remote(Started(self._number))
        crash.tell()
        crash.tell_where()
        worker = Worker(self._link)
        threading.Thread(target=worker.listen, name="orders", daemon=True).start()
        with tempfile.TemporaryDirectory(prefix="argosy-") as folder:
            worker.work(lambda: (self._plan, self._opened(ray, Path(folder))), self._threads, self._batch_size)
        ray.get(self._mailbox.add.remote())

    def _opened(self, ray: Any, folder: Path) -> Package:
        with tarfile.open(fileobj=io.BytesIO(ray.get(self._package[0]))) as archive:
            archive.extractall(folder, filter="data")
        return open_package(folder, trusted=self._trusted)

    def order(self, message: Order) -> None:
        """Pass a message of the driver to the worker."""
        self._link.put(message)

    def write_stacks(self) -> None:
        """Write where the worker and its model are to the log."""
        write_stacks(os.getpid())
