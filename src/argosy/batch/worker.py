"""A process that answers fragments: `python -m argosy.batch.worker`, started by a driver, with orders from a socket.

It loads the model and replays its golden examples before it says that it is ready. When the driver is gone it ends
after the rows that its engine has; one that hangs there, after a grace.
"""

import argparse
import gc
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from argosy.batch.background import Abandoned
from argosy.batch.delivery import Delivery
from argosy.batch.idle import follow
from argosy.batch.ledger import Entry, Ledger
from argosy.batch.place import place
from argosy.batch.plan import Plan
from argosy.batch.sample import reference
from argosy.batch.spool import Tally
from argosy.batch.wire import GRACE, Answered, Channel, Do, Done, Event, Failed, Message, Reached, Ready
from argosy.batch.work import FragmentRunner
from argosy.packaging.model_process import load_in_process
from argosy.packaging.package import Package, open_package
from argosy.spec import crash
from argosy.spec.errors import ArgosyError, NotFound


class Link(Protocol):
    """The worker's end of its connection to the driver."""

    def send(self, message: Event) -> bool:
        """Send a message."""
        ...

    def __iter__(self) -> Iterator[Message]:
        """Messages until the worker is to end."""
        ...


class Worker:
    """The loop of one process, which ends `grace` seconds after it was told to at the latest."""

    def __init__(self, channel: Link, grace: float = GRACE) -> None:
        self.channel, self.grace = channel, grace
        self.stopping = threading.Event()
        self._orders: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._failed: BaseException | None = None

    def listen(self) -> None:
        """In a thread: take orders until told to stop, or until nobody is there to give any."""
        for message in self.channel:
            if not isinstance(message, Do):
                break
            self._orders.put(message.number)
        self.stop()
        crash.end_after(self.grace)

    def stop(self, *_: object) -> None:
        """End after the rows that the engine has. Also a handler of signals."""
        self.stopping.set()
        self._orders.put(None)

    def work(self, opened: Callable[[], tuple[Plan, Package]], threads: int, batch_size: int) -> int:
        """Load the model and answer the fragments that are ordered; what ends that is sent. The exit status."""
        try:
            plan, package = opened()
            self._run(plan, package, threads, batch_size)
        except ArgosyError as error:
            self.channel.send(Failed(error.code, error.message))
            return error.exit
        except BaseException as error:
            traceback.print_exc()
            self.channel.send(Failed("internal", f"a bug in a batch worker: {type(error).__name__}: {error}"))
            return 1
        return 0

    def _run(self, plan: Plan, package: Package, threads: int, batch_size: int) -> None:
        environ, network = plan.job.given(os.environ), plan.job.network
        model = load_in_process(package, threads=threads, environ=environ, network=network)
        runner = FragmentRunner(plan, model.engine, batch_size, reference(model.package))
        runner.stage.create()
        gc.freeze()
        self.channel.send(Ready(model.max_difference))
        before: Delivery | None = None
        while (number := self._orders.get()) is not None and not self.stopping.is_set():
            found = runner.answer(number, partial(self._reached, number), self.stopping.is_set, self._ended)
            if isinstance(found, Entry):
                self.channel.send(Done(found))
            elif found is not None:
                self.channel.send(Answered(number))
                if before is not None:
                    before.entry()
                before = found
        if before is not None:
            before.entry()
        if self._failed is not None:
            raise self._failed

    def _ended(self, outcome: Entry | BaseException) -> None:
        """Called by the thread that wrote a fragment. An error there ends the worker."""
        if isinstance(outcome, Entry):
            self.channel.send(Done(outcome))
        elif not isinstance(outcome, Abandoned):
            self._failed = outcome
            self.stop()

    def _reached(self, number: int, tally: Tally) -> None:
        self.channel.send(Reached(number, tally))


def begun(output: str, checkpoint: float) -> Plan:
    """The plan of the job in a folder, with settings of this run. Raises NotFound.

    How long a worker may be silent is the driver's to know: what was first planned may not fit this checkpoint.
    """
    plan = Ledger(place(output)).plan()
    if plan is None:
        raise NotFound(f"no job was begun in {output}")
    return replace(plan, job=replace(plan.job, output=output, checkpoint=checkpoint, patience=0.0))


def main() -> int:
    """Run one worker. The status is that of the error which ended it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True)
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--checkpoint", type=float, required=True)
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--trusted", action="store_true")
    options = parser.parse_args()
    crash.tell()
    crash.tell_where()
    follow()
    os.set_inheritable(options.channel, False)
    worker = Worker(Channel(socket.socket(fileno=options.channel), worker=True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, worker.stop)
    threading.Thread(target=worker.listen, name="orders", daemon=True).start()

    def opened() -> tuple[Plan, Package]:
        package = open_package(options.package, trusted=options.trusted)
        return begun(options.output, options.checkpoint), package

    return worker.work(opened, options.threads, options.batch_size)


if __name__ == "__main__":
    sys.exit(main())
