"""One fragment, from its rows to its entry in the ledger. Local workers and Ray's actors alike go this way."""

import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from typing import Any

from argosy.batch import columns, rows
from argosy.batch.delivery import Delivery, FragmentEnd, JobContext
from argosy.batch.fragment import Fragment
from argosy.batch.ledger import Entry, Ledger
from argosy.batch.place import place
from argosy.batch.plan import Plan
from argosy.batch.readahead import ReadAhead
from argosy.batch.sample import Sample, share
from argosy.batch.source import in_memory, source
from argosy.batch.source.shape import arrow
from argosy.batch.spool import Blob, Record, Spool, Tally
from argosy.batch.stage import Stage
from argosy.engines.base import Engine
from argosy.profiles.layout import Layout
from argosy.spec.errors import Conflict

BUFFERED = 64 * 1024 * 1024
"""Bytes of answers that wait in memory for the next checkpoint at most."""

OnProgress = Callable[[Tally], None]
"""Called after each checkpoint with the counts of the fragment so far."""


class FragmentRunner:
    """What a process needs to work at fragments of a job: the loaded engine, the plan, the way to the output, and the
    cells `where` a sample of the rows is counted in.

    `batch_size` rows go to the engine at once.
    """

    def __init__(self, plan: Plan, engine: Engine, batch_size: int, where: Layout | None = None) -> None:
        output = place(plan.job.output)
        self.plan, self.engine, self.batch_size = plan, engine, batch_size
        self._where = where
        self.ledger, self.stage = Ledger(output), Stage(output)
        self.fragments = plan.fragments()
        self.recipe = plan.recipe
        first = plan.files[0]
        self.mapping = columns.plan(engine.signature, source(first.format).schema(first), plan.job)

    @property
    def context(self) -> JobContext:
        """What a delivery needs to know of the job."""
        return JobContext(self.plan, self.mapping, self.ledger, self.stage)

    def sample(self, number: int) -> Sample:
        """What one fragment's rows are looked at with."""
        return Sample(self._where, self.engine.signature, self.plan.model.ref, share(number, len(self.fragments)))

    def run(self, number: int, progress: OnProgress, stopping: Callable[[], bool]) -> Entry | None:
        """Do the fragment of this number, or what is left of it; None if it was told to stop before the end.

        Raises Conflict where the input is not what it was when the job was planned, InvalidArgument for a row that is
        not answered, StorageFull, and what the place of the output raises. What was answered is kept, whatever it
        raises.
        """
        found = self.answer(number, progress, stopping)
        return found.entry() if isinstance(found, Delivery) else found

    def answer(
        self,
        number: int,
        progress: OnProgress,
        stopping: Callable[[], bool],
        ended: Callable[[Entry | BaseException], None] = lambda _: None,
    ) -> Delivery | Entry | None:
        """The first part of `run`: the rows are answered, and the rest goes on in a thread, which calls `ended`.

        The entry where the fragment was done before.
        """
        arrow().default_memory_pool().release_unused()  # the threads of the fragment before have left theirs
        name = self.fragments[number].id(self.recipe)
        spool = Spool(self.stage.spool(name)).open()
        with ExitStack() as stack:
            stack.callback(spool.close)
            entry = self.ledger.entry(name)
            if entry is not None:
                self.stage.settle(entry)
                spool.remove()
                return entry
            delivery = Delivery(self.context, number, name, spool, ended)
            stack.callback(delivery.abandon)
            last = _Work(self, number, spool, delivery, progress).answer(stopping)
            if last is None:
                return None
            delivery.end(last)
            stack.pop_all()
            return delivery


class _Work:
    """A fragment under way."""

    def __init__(
        self, runner: FragmentRunner, number: int, spool: Spool, delivery: Delivery, progress: OnProgress
    ) -> None:
        self.runner, self.fragment = runner, runner.fragments[number]
        self.spool, self.delivery, self.progress = spool, delivery, progress
        self.mapping = runner.mapping
        self.sample = runner.sample(number)
        self.tally = spool.last.tally
        self.attempt = spool.last.attempt + 1
        self.begun = time.monotonic()
        self.out: list[Any] = []
        self.rejects: list[Any] = []
        self.buffered = 0
        self.due = self.begun + runner.plan.job.checkpoint

    def answer(self, stopping: Callable[[], bool]) -> FragmentEnd | None:
        """Answer the rows that no earlier attempt has answered. None: told to stop first."""
        runner, fragment, job = self.runner, self.fragment, self.runner.plan.job
        _unchanged(fragment)
        self.progress(self.tally)
        reading = source(fragment.file.format).read(fragment, self.tally.rows, runner.batch_size, self.mapping.reads)
        with nullcontext(reading) if in_memory(fragment.file) else ReadAhead(reading) as batches:
            for batch in batches:
                self._take(rows.answer(batch, self._respond, job.on_error, fragment, self.tally.rows))
                if stopping():
                    self._checkpoint()
                    return None
        _unchanged(fragment)
        return FragmentEnd(self.tally, self.rejects, self.sample, self.attempt, self.begun)

    def _respond(self, batch: Any) -> Any:
        feeds = self.mapping.feeds(batch)
        outputs = self.runner.engine.predict(feeds)
        self.sample.add(feeds, outputs)
        return self.mapping.rows(batch, outputs)

    def _take(self, found: rows.Answers) -> None:
        for batch in found.out:
            self.delivery.add(batch)
        self.out += found.out
        self.rejects += found.rejects
        self.tally = self.tally.plus(found.tally)
        self.buffered += sum(batch.nbytes for batch in (*found.out, *found.rejects))
        if self.buffered > BUFFERED or time.monotonic() >= self.due:
            self._checkpoint()

    def _checkpoint(self) -> None:
        if self.tally != self.spool.last.tally:
            packed = [tuple(_packed(batch) for batch in batches) for batches in (self.out, self.rejects)]
            self.spool.append(Record(self.tally, packed[0], packed[1], self.attempt))
            self.out, self.rejects, self.buffered = [], [], 0
        self.due = time.monotonic() + self.runner.plan.job.checkpoint
        self.progress(self.tally)


def _packed(batch: Any) -> Blob:
    return memoryview(batch.serialize())


def _unchanged(fragment: Fragment) -> None:
    """Raise Conflict unless the file is as it was planned."""
    file = fragment.file
    found = place(file.url).stamp()
    if (found.size, found.mark) != (file.size, file.mark):
        raise Conflict(
            f"{file.url} has changed since the job was planned ({file.size} bytes then, {found.size} now): what was "
            "answered before stays as it is; write to another folder to answer the file as it is"
        )
