"""What becomes of a fragment's answers: files, which a thread writes while further rows are answered, and an entry in
the ledger, which it creates while those of the next fragment are."""

import itertools
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from argosy.batch import rows, stage
from argosy.batch.background import BackgroundThread
from argosy.batch.columns import Mapping
from argosy.batch.fragment import Part
from argosy.batch.ledger import FOLDER, Entry, Ledger
from argosy.batch.plan import Plan
from argosy.batch.sample import Sample
from argosy.batch.sink import partition, sink
from argosy.batch.spool import Blob, Spool, Tally
from argosy.batch.stage import Stage
from argosy.engines.base import require
from argosy.spec.batch import Format
from argosy.store.durable import storage

DEPTH = 4
"""Batches of answers that wait for the thread at most."""


class JobContext(NamedTuple):
    """What all deliveries of a job share."""

    plan: Plan
    mapping: Mapping
    ledger: Ledger
    stage: Stage


class FragmentEnd(NamedTuple):
    """What is known of a fragment once all its rows are answered. `rejects` are batches that are not in the spool."""

    tally: Tally
    rejects: Sequence[Any]
    sample: Sample
    attempt: int
    begun: float


class Delivery:
    """The files and the entry of fragment `number`, which is called `name`.

    What the spool holds when this begins is written first. `ended` is called by the thread, with the entry or with what
    went wrong. Until `end` the spool is the caller's to append to and to close, after it this thread's.
    """

    def __init__(
        self,
        context: JobContext,
        number: int,
        name: str,
        spool: Spool,
        ended: Callable[[Entry | BaseException], None] = lambda _: None,
    ) -> None:
        self.number, self._name, self._context, self._spool = number, name, context, spool
        self._earlier = spool.size
        self._last: FragmentEnd | None = None
        self._thread = BackgroundThread[Any, Entry](
            self._run, DEPTH, lambda one: ended(one.outcome), f"fragment {number}"
        )

    def add(self, batch: Any) -> None:
        """Further answers. Raises what went wrong with those before."""
        self._thread.put(batch)

    def end(self, last: FragmentEnd) -> None:
        """All rows are answered: the fragment can be committed. Raises what went wrong before."""
        self._last = last
        self._thread.end()

    def entry(self) -> Entry:
        """Wait for the commit. Raises what went wrong instead."""
        return self._thread.result()

    def abandon(self) -> None:
        """Not all rows were answered: what is in the spool waits for another attempt."""
        self._thread.abandon()

    def _run(self, batches: Iterator[Any]) -> Entry:
        try:
            shutil.rmtree(self._context.stage.folder(self._name), ignore_errors=True)
            parts = self._written(itertools.chain(self._spooled(), batches))
            assert self._last is not None
            entry = self._commit(self._last, parts)
            self._context.stage.settle(entry)
            self._spool.remove()
        finally:
            if self._last is not None:
                self._spool.close()
        return entry

    def _written(self, batches: Iterator[Any]) -> tuple[Part, ...]:
        """The files of the answers, durable but not yet under their names; none where there are no answers."""
        plan, schema = self._context.plan, self._context.mapping.schema
        first = next(batches, None)
        if first is None:
            return ()
        batches = itertools.chain((first,), batches)
        name = stage.name(self.number, self._name, plan.job.format)
        if plan.job.partition:
            folder = self._context.stage.folder(self._name)
            return partition.write(batches, schema, folder, name, plan.job.partition, plan.job.format, plan.metadata)
        return (self._file(name, plan.job.format, schema, batches),)

    def _file(self, name: str, format: Format, schema: Any, batches: Iterator[Any]) -> Part:
        path = self._context.stage.folder(self._name) / name
        with storage(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        part = sink(format).write(batches, schema, path, self._context.plan.metadata)
        return msgspec.structs.replace(part, name=name)

    def _commit(self, last: FragmentEnd, parts: tuple[Part, ...]) -> Entry:
        rejects: Part | None = None
        if last.tally.quarantined:
            path = f"{FOLDER}/quarantine/{stage.name(self.number, self._name, 'parquet')}"
            schema = rows.rejected(self._context.mapping.reads)
            rejects = self._file(path, "parquet", schema, self._rejects(last, schema))
        self._context.stage.deliver(self._name, (*parts, rejects) if rejects else parts)
        last.sample.write(self._context.ledger.output, self._name)
        entry = Entry(
            fragment=self._name,
            number=self.number,
            rows=last.tally.rows,
            out=last.tally.out,
            skipped=last.tally.skipped,
            quarantined=last.tally.quarantined,
            parts=parts,
            rejects=rejects,
            seconds=round(time.monotonic() - last.begun, 3),
            attempts=last.attempt,
        )
        return self._context.ledger.commit(entry)

    def _spooled(self) -> Iterator[Any]:
        for record in self._spool.records(self._earlier):
            yield from (_unpacked(data, self._context.mapping.schema) for data in record.out)

    def _rejects(self, last: FragmentEnd, schema: Any) -> Iterator[Any]:
        for record in self._spool.records():
            yield from (_unpacked(data, schema) for data in record.rejects)
        yield from last.rejects


def _unpacked(data: Blob, schema: Any) -> Any:
    pa: Any = require("pyarrow", "batch", "Batch")
    return pa.ipc.read_record_batch(pa.py_buffer(data), schema)
