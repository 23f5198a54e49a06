"""The messages of a driver and its workers: one JSON object a line, over a pair of sockets.

A worker of this machine is at the other end itself. On Ray the process of `cluster.py` is, which has many workers.
"""

import socket
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from argosy.batch.ledger import Entry, Ledger
from argosy.batch.place import place
from argosy.batch.plan import Plan
from argosy.batch.sizes import Sizes
from argosy.batch.spool import Tally
from argosy.packaging.package import Package, open_package
from argosy.process import channel
from argosy.spec.batch import BatchJob
from argosy.spec.errors import ArgosyError, NotFound

GRACE = 30.0
"""Seconds that workers have for the rows at hand once the job is stopped, or once its driver is gone."""


class Slots(msgspec.Struct, frozen=True):
    """Where a job gets slots that an endpoint leaves idle, in the place of an engine of its own: the socket of the
    platform, and what it is asked for, in one word after another: the job, the endpoint, the package's digest."""

    socket: str
    asked: str


class _Message(msgspec.Struct, frozen=True, tag=str.lower):
    """`worker` is the number of the worker that a message is for, or comes from."""

    worker: int


class Begin(_Message, frozen=True):
    """To a process that has just started: the job with its settings in this run, the sizes, the folder of the
    package, whether that may run code of its author, whether it has to be signed, and the lock of what it requires,
    where the driver lets that be installed. With `slots` the package answers there, and none of it is loaded here."""

    job: BatchJob
    sizes: Sizes
    package: str
    trusted: bool
    signed: bool = False
    lock: str = ""
    slots: Slots | None = None

    def open(self, plan: Plan) -> Package:
        """The package, of the digest that the plan names if it has to be signed. Raises what `open_package` raises."""
        digest = plan.model.digest if self.signed else ""
        return open_package(Path(self.package), trusted=self.trusted, digest=digest)

    def plan(self) -> Plan:
        """The plan of the job, which its output has. Raises NotFound."""
        found = Ledger(place(self.job.output)).plan()
        if found is None:
            raise NotFound(f"no job was begun in {self.job.output}")
        return msgspec.structs.replace(found, job=self.job)


class Do(_Message, frozen=True):
    """To a worker: the number of a fragment to answer."""

    number: int


class Stop(_Message, frozen=True):
    """To a worker: end after the rows that the engine has."""


class Start(_Message, frozen=True):
    """To Ray: start a worker."""


class Kill(_Message, frozen=True):
    """To Ray: end a worker at once."""


class Joined(_Message, frozen=True):
    """From Ray: the cluster is joined, and has places for these sizes."""

    sizes: Sizes


class Started(_Message, frozen=True):
    """From Ray: a worker has found a node, and loads the model."""


class Ready(_Message, frozen=True):
    """The model is loaded and has answered its golden examples; `difference` is the largest of that replay."""

    difference: float


class Reached(_Message, frozen=True):
    """A fragment is begun, or so many of its rows are safe."""

    number: int
    tally: Tally


class Answered(_Message, frozen=True):
    """All rows of a fragment are answered; its entry will come, and there is time for another."""

    number: int


class Done(_Message, frozen=True):
    """A fragment has its entry."""

    entry: Entry


class Failed(_Message, frozen=True):
    """The sender ends: an error of the table by its code, and its message."""

    code: str
    message: str


class Gone(_Message, frozen=True):
    """A worker has ended: how, in words; whether by SIGKILL; the log with its output."""

    how: str
    killed: bool = False
    log: str = ""


Order = Do | Stop
Message = Begin | Order | Start | Kill | Joined | Started | Ready | Reached | Answered | Done | Failed | Gone

_DECODER = msgspec.json.Decoder(Message)


class Channel(channel.Channel[Message]):
    """One end between a driver and its workers."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(end, _DECODER.decode)

    @classmethod
    def own(cls) -> "Channel":
        """That of this process, which has it as its standard input from its start."""
        return cls(channel.own())


def reporting(worker: int, send: Callable[[Message], object], work: Callable[[], object]) -> int:
    """The exit status of a process that does this work. What it raises is sent."""
    try:
        work()
    except ArgosyError as error:
        send(Failed(worker, error.code, error.message))
        return error.exit
    except BaseException as error:
        traceback.print_exc()
        send(Failed(worker, "internal", f"a bug in a batch worker: {type(error).__name__}: {error}"))
        return 1
    return 0
