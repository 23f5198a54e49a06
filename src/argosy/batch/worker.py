"""A process that answers fragments: `python -m argosy.batch.worker`, started by a driver, with orders from its channel.

It loads the model and replays its golden examples before it reports that it is ready. When the driver is gone it ends
after the rows that its engine has; one that hangs there, after a grace.
"""

import gc
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from itertools import takewhile

from argosy.batch import requests
from argosy.batch.idle import follow
from argosy.batch.ledger import Entry
from argosy.batch.sample import reference
from argosy.batch.spool import Tally
from argosy.batch.threads import Abandoned
from argosy.batch.wire import GRACE, Answered, Begin, Channel, Do, Done, Message, Order, Reached, Ready, Stop, reporting
from argosy.batch.work import Attempt, FragmentRunner
from argosy.packaging.model_process import load_in_process
from argosy.spec import crash


class Worker:
    """The loop of one process, which ends `grace` seconds after it was stopped at the latest. `send` takes its events
    to the driver."""

    def __init__(self, number: int, send: Callable[[Message], object], grace: float = GRACE) -> None:
        self.number, self.send, self.grace = number, send, grace
        self.stopping = threading.Event()
        self._orders: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._failed: BaseException | None = None

    def listen(self, messages: Iterable[Message]) -> None:
        """In a thread: take orders up to a Stop, or until nobody is there to give any."""
        for message in takewhile(lambda one: isinstance(one, Do), messages):
            assert isinstance(message, Do)
            self.order(message)
        self.order(Stop(self.number))

    def order(self, message: Order) -> None:
        """Take one order. Stop is the last."""
        if isinstance(message, Do):
            self._orders.put(message.number)
        else:
            self.stop()
            crash.end_after(self.grace)

    def stop(self, *_: object) -> None:
        """End after the rows that the engine has. Also a handler of signals."""
        self.stopping.set()
        self._orders.put(None)

    def work(self, begin: Begin) -> int:
        """Load the model and answer the fragments that are ordered; what ends that is sent. The exit status."""
        return reporting(self.number, self.send, partial(self._run, begin))

    def _run(self, begin: Begin) -> None:
        plan = begin.plan()
        package = begin.open(plan)
        environ, network = plan.job.given(os.environ), plan.job.network
        threads, lock = begin.sizes.threads, begin.lock
        with ExitStack() as stack:
            if begin.slots is not None:
                engine, difference = requests.in_idle_slots(begin.slots), 0.0
            elif package.manifest.generates:
                engine, difference = stack.enter_context(requests.engine(package, plan.job, threads))
            else:
                model = load_in_process(package, threads=threads, environ=environ, network=network, lock=lock)
                engine, difference = model.engine, model.max_difference
            self._answer(FragmentRunner(plan, engine, begin.sizes.batch_size, reference(package)), difference)

    def _answer(self, runner: FragmentRunner, difference: float) -> None:
        runner.stage.create()
        gc.freeze()
        self.send(Ready(self.number, difference))
        before: Attempt | None = None
        while (number := self._orders.get()) is not None and not self.stopping.is_set():
            found = runner.answer(number, partial(self._reached, number), self.stopping.is_set, self._ended)
            if isinstance(found, Entry):
                self.send(Done(self.number, found))
            elif found is not None:
                self.send(Answered(self.number, number))
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
            self.send(Done(self.number, outcome))
        elif not isinstance(outcome, Abandoned):
            self._failed = outcome
            self.stop()

    def _reached(self, number: int, tally: Tally) -> None:
        self.send(Reached(self.number, number, tally))


def main() -> int:
    """Run one worker. The status is that of the error which ended it."""
    crash.tell()
    crash.report_location()
    follow()
    channel = Channel.own()
    messages = iter(channel)
    begin = next(messages)
    assert isinstance(begin, Begin)
    worker = Worker(begin.worker, channel.send, GRACE if begin.slots is None else 1.0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, worker.stop)
    threading.Thread(target=worker.listen, args=(messages,), name="orders", daemon=True).start()
    return worker.work(begin)


if __name__ == "__main__":
    sys.exit(main())
