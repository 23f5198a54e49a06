"""One fragment, from its rows to its entry in the ledger. Local workers and Ray's actors alike go this way."""

import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from typing import Any

import msgspec

from argosy.batch import requests, rows, stage
from argosy.batch.fragment import Fragment, Part
from argosy.batch.ledger import FOLDER, Entry, Ledger
from argosy.batch.place import place
from argosy.batch.plan import Plan
from argosy.batch.sample import Sample
from argosy.batch.sink import formats, partition
from argosy.batch.source import in_memory, source
from argosy.batch.source.shape import arrow
from argosy.batch.spool import Blob, Record, Spool, Tally
from argosy.batch.stage import Stage
from argosy.batch.threads import BackgroundThread, read_ahead
from argosy.engines.base import Engine
from argosy.profiles.layout import Layout
from argosy.spec.batch import Format
from argosy.spec.errors import Conflict
from argosy.store.durable import storage

BUFFERED = 64 * 1024 * 1024
"""Bytes of answers that wait in memory for the next checkpoint at most."""
DEPTH = 4
"""Batches of answers that wait for the thread that writes them at most."""

OnProgress = Callable[[Tally], None]
"""Called after each checkpoint with the counts of the fragment so far."""
OnEnd = Callable[[Entry | BaseException], None]
"""Called by the thread that writes a fragment, with its entry or with what went wrong."""


class FragmentRunner:
    """What a process needs to work at fragments of a job: the loaded engine, the plan, the way to the output, and the
    cells `where` a sample of the rows is counted in.

    `batch_size` rows go to the engine at once.
    """

    def __init__(self, plan: Plan, engine: Engine, batch_size: int, where: Layout | None = None) -> None:
        output = place(plan.job.output)
        self.plan, self.engine, self.batch_size, self.where = plan, engine, batch_size, where
        self.ledger, self.stage = Ledger(output), Stage(output)
        self.fragments = plan.fragments()
        self.recipe = plan.recipe
        first = plan.files[0]
        self.mapping = requests.plan(engine.signature, source(first.format).schema(first), plan.job)

    def answer(
        self, number: int, progress: OnProgress, stopping: Callable[[], bool], ended: OnEnd = lambda _: None
    ) -> "Attempt | Entry | None":
        """Answer the rows of the fragment of this number, or what is left of them; the rest goes on in a thread. The
        entry where the fragment was done before; None if it was stopped before the end.

        Raises Conflict where the input is not what it was when the job was planned, InvalidArgument for a row that is
        not answered, StorageFull, and what the place of the output raises. What was answered stays in the spool,
        whatever it raises.
        """
        arrow().default_memory_pool().release_unused()  # the threads of the fragment before have left theirs
        name = self.fragments[number].id(self.recipe)
        spool = Spool(self.stage.spool(name))
        with ExitStack() as stack:
            stack.callback(spool.close)
            entry = self.ledger.entry(name)
            if entry is not None:
                self.stage.settle(entry)
                spool.remove()
                return entry
            attempt = Attempt(self, number, name, spool, progress, ended)
            stack.callback(attempt.abandon)
            if not attempt.answer(stopping):
                return None
            stack.pop_all()
            return attempt


class Attempt:
    """An attempt at fragment `number`, which is called `name`.

    This thread answers its rows. Another one writes the files, beginning with what earlier attempts have left in the
    spool, and creates the entry, while this one goes on to the next fragment. The spool is this thread's to append to
    and to close until all rows are answered, then the other's.
    """

    def __init__(
        self, runner: FragmentRunner, number: int, name: str, spool: Spool, progress: OnProgress, ended: OnEnd
    ) -> None:
        self._runner, self._job, self._mapping = runner, runner.plan.job, runner.mapping
        self._fragment, self._number, self._name = runner.fragments[number], number, name
        self._spool, self._earlier, self._progress = spool, spool.size, progress
        version, fragments = runner.plan.model.ref, len(runner.fragments)
        self._sample = Sample(runner.where, runner.engine.signature, version, number, fragments)
        self._tally, self._attempt = spool.last.tally, spool.last.attempt + 1
        self._begun = time.monotonic()
        self._due = self._begun + self._job.checkpoint
        self._out: list[Any] = []
        self._rejects: list[Any] = []
        self._buffered = 0
        self._answered = False
        self._thread = BackgroundThread[Any, Entry](self._write, DEPTH, ended, f"fragment {number}")

    def answer(self, stopping: Callable[[], bool]) -> bool:
        """Answer the rows that no earlier attempt has answered. False: stopped before the end."""
        fragment = self._fragment
        _check_unchanged(fragment)
        self._progress(self._tally)
        reader = source(fragment.file.format)
        reading = reader.read(fragment, self._tally.rows, self._runner.batch_size, self._mapping.reads)
        with nullcontext(reading) if in_memory(fragment.file) else read_ahead(reading) as batches:
            for batch in batches:
                self._take(rows.answer(batch, self._respond, self._job.on_error, fragment, self._tally.rows))
                if stopping():
                    self._checkpoint()
                    return False
        _check_unchanged(fragment)
        self._answered = True
        self._thread.end()
        return True

    def _respond(self, batch: Any) -> Any:
        feeds = self._mapping.feeds(batch)
        engine, names = self._runner.engine, self._job.outputs
        outputs = engine.predict(feeds)
        self._sample.add(feeds, outputs)
        return self._mapping.rows(batch, engine.select(feeds, names, outputs) if names else outputs)

    def _take(self, found: rows.Answers) -> None:
        for batch in found.out:
            self._thread.put(batch)
        self._out += found.out
        self._rejects += found.rejects
        self._tally = self._tally.plus(found.tally)
        self._buffered += sum(batch.nbytes for batch in (*found.out, *found.rejects))
        if self._buffered > BUFFERED or time.monotonic() >= self._due:
            self._checkpoint()

    def _checkpoint(self) -> None:
        if self._tally != self._spool.last.tally:
            packed = [tuple(memoryview(one.serialize()) for one in batches) for batches in (self._out, self._rejects)]
            self._spool.append(Record(self._tally, packed[0], packed[1], self._attempt))
            self._out, self._rejects, self._buffered = [], [], 0
        self._due = time.monotonic() + self._job.checkpoint
        self._progress(self._tally)

    def entry(self) -> Entry:
        """Wait for the commit. Raises what went wrong instead."""
        return self._thread.result()

    def abandon(self) -> None:
        """Not all rows were answered: what is in the spool waits for another attempt."""
        self._thread.abandon()

    def _write(self, batches: Iterator[Any]) -> Entry:
        """In the other thread: write the files and commit them."""
        try:
            shutil.rmtree(self._runner.stage.folder(self._name), ignore_errors=True)
            spooled = self._unpacked(self._mapping.schema, lambda record: record.out, self._earlier)
            parts = self._parts(itertools.chain(spooled, batches))
            entry = self._commit(parts)
            self._runner.stage.settle(entry)
            self._spool.remove()
        finally:
            if self._answered:
                self._spool.close()
        return entry

    def _parts(self, batches: Iterator[Any]) -> tuple[Part, ...]:
        """The files of the answers, durable but not yet under their names; none where there are no answers."""
        job, schema = self._job, self._mapping.schema
        first = next(batches, None)
        if first is None:
            return ()
        batches = itertools.chain((first,), batches)
        name = stage.name(self._number, self._name, job.format)
        if job.partition:
            folder, metadata = self._runner.stage.folder(self._name), self._runner.plan.metadata
            return partition.write(batches, schema, folder, name, job.partition, job.format, metadata)
        return (self._file(name, job.format, schema, batches),)

    def _file(self, name: str, format: Format, schema: Any, batches: Iterator[Any]) -> Part:
        path = self._runner.stage.folder(self._name) / name
        with storage(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        part = formats.write(format, batches, schema, path, self._runner.plan.metadata)
        return msgspec.structs.replace(part, name=name)

    def _commit(self, parts: tuple[Part, ...]) -> Entry:
        tally, ledger = self._tally, self._runner.ledger
        rejects: Part | None = None
        if tally.quarantined:
            name = f"{FOLDER}/quarantine/{stage.name(self._number, self._name, 'parquet')}"
            schema = rows.rejected(self._mapping.reads)
            spooled = self._unpacked(schema, lambda record: record.rejects)
            rejects = self._file(name, "parquet", schema, itertools.chain(spooled, self._rejects))
        self._runner.stage.deliver(self._name, (*parts, rejects) if rejects else parts)
        self._sample.write(ledger.output, self._name)
        entry = Entry(
            fragment=self._name,
            number=self._number,
            **tally.counts(),
            parts=parts,
            rejects=rejects,
            seconds=round(time.monotonic() - self._begun, 3),
            attempts=self._attempt,
        )
        return ledger.commit(entry)

    def _unpacked(
        self, schema: Any, blobs: Callable[[Record], tuple[Blob, ...]], limit: int | None = None
    ) -> Iterator[Any]:
        """Batches of the records in the spool, or in its first `limit` bytes."""
        pa = arrow()
        for record in self._spool.records(limit):
            yield from (pa.ipc.read_record_batch(pa.py_buffer(data), schema) for data in blobs(record))


def _check_unchanged(fragment: Fragment) -> None:
    """Raise Conflict unless the file is as it was planned."""
    file = fragment.file
    found = place(file.url).stamp()
    if (found.size, found.mark) != (file.size, file.mark):
        raise Conflict(
            f"{file.url} has changed since the job was planned ({file.size} bytes then, {found.size} now): what was "
            "answered before stays as it is; write to another folder to answer the file as it is"
        )
