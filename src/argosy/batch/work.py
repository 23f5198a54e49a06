"""One fragment, from its rows to its entry in the ledger. Local workers and Ray's actors alike go this way."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from argosy.batch import columns, rows, stage
from argosy.batch.ahead import Ahead
from argosy.batch.fragment import Fragment, Part
from argosy.batch.ledger import FOLDER, Entry, Ledger
from argosy.batch.place import place
from argosy.batch.plan import Plan
from argosy.batch.sample import Sample, share
from argosy.batch.sink import partition, sink
from argosy.batch.source import source
from argosy.batch.spool import Blob, Record, Spool, Tally
from argosy.batch.stage import Stage
from argosy.engines.base import Engine, require
from argosy.profiles.layout import Layout
from argosy.spec.batch import Format
from argosy.spec.errors import Conflict

HELD = 64 * 1024 * 1024
"""Bytes of answers that wait in memory for the next checkpoint at most."""

Told = Callable[[Tally], None]
"""Called after each checkpoint with the counts of the fragment so far."""


class Bench:
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

    def sample(self) -> Sample:
        """What one fragment's rows are looked at with."""
        return Sample(self._where, self.engine.signature, self.plan.model.ref, share(len(self.fragments)))

    def run(self, number: int, told: Told, stopping: Callable[[], bool]) -> Entry | None:
        """Do the fragment of this number, or what is left of it; None if it was told to stop before the end.

        Raises Conflict where the input is not what it was when the job was planned, InvalidArgument for a row that is
        not answered, StorageFull, and what the place of the output raises. What was answered is kept, whatever it
        raises.
        """
        fragment = self.fragments[number]
        name = fragment.id(self.recipe)
        with Spool(self.stage.spool(name)) as spool:
            entry = self.ledger.entry(name)
            if entry is None:
                work = _Work(self, fragment, spool, told)
                if not work.answer(stopping):
                    return None
                written = work.written(number, name)
                work.sample.keep(self.ledger.output, name)
                entry = self.ledger.commit(written)
            self.stage.settle(entry)
            spool.remove()
        return entry


class _Work:
    """A fragment under way."""

    def __init__(self, bench: Bench, fragment: Fragment, spool: Spool, told: Told) -> None:
        self.bench, self.fragment, self.spool, self.told = bench, fragment, spool, told
        self.mapping = bench.mapping
        self.sample = bench.sample()
        self.tally = spool.last.tally
        self.attempt = spool.last.attempt + 1
        self.begun = time.monotonic()
        self.out: list[Any] = []
        self.rejects: list[Any] = []
        self.held = 0
        self.due = self.begun + bench.plan.job.checkpoint

    def answer(self, stopping: Callable[[], bool]) -> bool:
        """Answer the rows that no earlier attempt has answered. False: told to stop first."""
        bench, fragment, job = self.bench, self.fragment, self.bench.plan.job
        _unchanged(fragment)
        self.told(self.tally)
        reading = source(fragment.file.format).read(fragment, self.tally.rows, bench.batch_size, self.mapping.reads)
        with Ahead(reading) as batches:
            for batch in batches:
                self._take(rows.answer(batch, self._respond, job.on_error, fragment, self.tally.rows))
                if stopping():
                    self._checkpoint()
                    return False
        _unchanged(fragment)
        return True

    def _respond(self, batch: Any) -> Any:
        feeds = self.mapping.feeds(batch)
        outputs = self.bench.engine.predict(feeds)
        self.sample.see(feeds, outputs)
        return self.mapping.rows(batch, outputs)

    def _take(self, found: rows.Answers) -> None:
        self.out += found.out
        self.rejects += found.rejects
        self.tally = self.tally.plus(found.tally)
        self.held += sum(batch.nbytes for batch in (*found.out, *found.rejects))
        if self.held > HELD or time.monotonic() >= self.due:
            self._checkpoint()

    def _checkpoint(self) -> None:
        if self.tally != self.spool.last.tally:
            packed = [tuple(_packed(batch) for batch in batches) for batches in (self.out, self.rejects)]
            self.spool.append(Record(self.tally, packed[0], packed[1], self.attempt))
            self.out, self.rejects, self.held = [], [], 0
        self.due = time.monotonic() + self.bench.plan.job.checkpoint
        self.told(self.tally)

    def written(self, number: int, name: str) -> Entry:
        """Write the files of the fragment, durable but not yet under their names, and say what is in them."""
        bench, job = self.bench, self.bench.plan.job
        shutil.rmtree(bench.stage.folder(name), ignore_errors=True)
        parts: tuple[Part, ...] = ()
        rejects: Part | None = None
        if self.tally.out and job.partition:
            folder, file = bench.stage.folder(name), stage.name(number, name, job.format)
            parts = partition.write(
                self._answers(), self.mapping.schema, folder, file, job.partition, job.format, bench.plan.metadata
            )
        elif self.tally.out:
            parts = (
                self._file(
                    name, stage.name(number, name, job.format), job.format, self.mapping.schema, self._answers()
                ),
            )
        if self.tally.quarantined:
            path, schema = (
                f"{FOLDER}/quarantine/{stage.name(number, name, 'parquet')}",
                rows.rejected(self.mapping.reads),
            )
            rejects = self._file(name, path, "parquet", schema, self._rejects(schema))
        bench.stage.deliver(name, (*parts, rejects) if rejects else parts)
        return Entry(
            fragment=name,
            number=number,
            rows=self.tally.rows,
            out=self.tally.out,
            skipped=self.tally.skipped,
            quarantined=self.tally.quarantined,
            parts=parts,
            rejects=rejects,
            seconds=round(time.monotonic() - self.begun, 3),
            attempts=self.attempt,
        )

    def _file(self, fragment: str, name: str, format: Format, schema: Any, batches: Iterator[Any]) -> Part:
        path: Path = self.bench.stage.folder(fragment) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = sink(format).write(batches, schema, path, self.bench.plan.metadata)
        return msgspec.structs.replace(part, name=name)

    def _answers(self) -> Iterator[Any]:
        for record in self.spool.records():
            yield from (_unpacked(data, self.mapping.schema) for data in record.out)
        yield from self.out

    def _rejects(self, schema: Any) -> Iterator[Any]:
        for record in self.spool.records():
            yield from (_unpacked(data, schema) for data in record.rejects)
        yield from self.rejects


def _packed(batch: Any) -> Blob:
    return memoryview(batch.serialize())


def _unpacked(data: Blob, schema: Any) -> Any:
    pa: Any = require("pyarrow", "batch", "Batch")
    return pa.ipc.read_record_batch(pa.py_buffer(data), schema)


def _unchanged(fragment: Fragment) -> None:
    """Raise Conflict unless the file is as it was planned."""
    file = fragment.file
    found = place(file.url).stamp()
    if (found.size, found.mark) != (file.size, file.mark):
        raise Conflict(
            f"{file.url} has changed since the job was planned ({file.size} bytes then, {found.size} now): what was "
            "answered before stays as it is; write to another folder to answer the file as it is"
        )
