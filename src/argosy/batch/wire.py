"""The messages of a driver and its workers: one JSON object a line, over a pair of sockets.

On Ray the other end of the driver's socket is the process of `cluster.py`, which has many workers: their messages come
in `From` and go in `To`, with the number of the worker.
"""

import socket
import threading
from collections.abc import Iterator

import msgspec

from argosy.batch.ledger import Entry
from argosy.batch.sizes import Sizes
from argosy.batch.spool import Tally

GRACE = 30.0
"""Seconds that workers have for the rows at hand once the job is stopped, or once its driver is gone."""


class Message(msgspec.Struct, frozen=True):
    """Base of all."""


class Do(Message, frozen=True, tag="do"):
    """To a worker: the number of a fragment to answer."""

    number: int


class Stop(Message, frozen=True, tag="stop"):
    """To a worker: end after the rows that the engine has."""


class Ready(Message, frozen=True, tag="ready"):
    """The model is loaded and has answered its golden examples; `difference` is the largest of that replay."""

    difference: float


class Reached(Message, frozen=True, tag="reached"):
    """A fragment is begun, or so many of its rows are safe."""

    number: int
    tally: Tally


class Answered(Message, frozen=True, tag="answered"):
    """All rows of a fragment are answered; its entry will come, and there is time for another."""

    number: int


class Done(Message, frozen=True, tag="done"):
    """A fragment has its entry."""

    entry: Entry


class Failed(Message, frozen=True, tag="failed"):
    """The sender ends: an error of the table by its code, and its message."""

    code: str
    message: str


Order = Do | Stop
Event = Ready | Reached | Answered | Done | Failed


class Start(Message, frozen=True, tag="start"):
    """To Ray: start a worker."""

    worker: int


class Kill(Message, frozen=True, tag="kill"):
    """To Ray: end a worker at once."""

    worker: int


class To(Message, frozen=True, tag="to"):
    """To Ray: a message for a worker."""

    worker: int
    message: Order


class Joined(Message, frozen=True, tag="joined"):
    """From Ray: the cluster is joined, and has room for these sizes."""

    sizes: Sizes


class Started(Message, frozen=True, tag="started"):
    """From Ray: a worker has found a node, and loads the model."""

    worker: int


class From(Message, frozen=True, tag="from"):
    """From Ray: a message of a worker."""

    worker: int
    message: Event


class Gone(Message, frozen=True, tag="gone"):
    """From Ray: a worker has ended, and how, in words."""

    worker: int
    how: str


_TO_WORKER = msgspec.json.Decoder(Order | Start | Kill | To)
_TO_DRIVER = msgspec.json.Decoder(Event | Joined | Started | From | Gone)


class Channel:
    """One end of a pair of sockets."""

    def __init__(self, end: socket.socket, *, worker: bool) -> None:
        self.socket = end
        self._decoder = _TO_WORKER if worker else _TO_DRIVER
        self._rest = b""
        self._sending = threading.Lock()

    def send(self, message: Message) -> bool:
        """Send a message; any thread may. False: the other end is gone."""
        try:
            with self._sending:
                self.socket.sendall(msgspec.json.encode(message) + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """Wait for messages; None once the other end is gone. What a dying process cut short is left out."""
        try:
            data = self.socket.recv(65536)
        except OSError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [self._decoder.decode(line) for line in lines]

    def __iter__(self) -> Iterator[Message]:
        """Messages until the other end is gone."""
        while (messages := self.receive()) is not None:
            yield from messages

    def close(self) -> None:
        """Close this end."""
        self.socket.close()
