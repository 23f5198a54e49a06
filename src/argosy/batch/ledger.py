"""What is done, beside the output: the plan, an entry for each fragment, and the seal.

    OUTPUT/_argosy/job.json            the plan, frozen
    OUTPUT/_argosy/ledger/ID.json      an entry: the one commit of a fragment
    OUTPUT/_argosy/seal.json           what all of them sum to

A fragment's files are durable under `staged/` before its entry is created; the entry decides, and only then do they get
their names in the output. After a crash the next run gives the remaining ones theirs.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from typing import TypeVar

import msgspec

from argosy.batch.fragment import Part
from argosy.batch.place import Place
from argosy.batch.plan import FORMAT, TOGETHER, Plan
from argosy.batch.spool import Tally
from argosy.spec.errors import Conflict, InvalidArgument, NotFound, Unsupported
from argosy.spec.strict import parse

T = TypeVar("T")

FOLDER = "_argosy"


class Entry(Tally, frozen=True, kw_only=True):
    """One fragment, done. `number` is its place in the plan, `rejects` the file with the quarantined rows. `seconds` of
    work, `attempts` at it."""

    fragment: str
    number: int
    parts: tuple[Part, ...]
    rejects: Part | None = None
    seconds: float
    attempts: int = 1

    @property
    def files(self) -> tuple[Part, ...]:
        """Everything that was written for it."""
        return (*self.parts, self.rejects) if self.rejects else self.parts


class Seal(Tally, frozen=True, kw_only=True):
    """The sum of a finished job. `digest` is over the files of all entries in the order of the plan: it is the same for
    the same output, however the work went."""

    model: str
    files: int
    fragments: int
    parts: int
    size: int
    digest: str
    seconds: float


class Ledger:
    """The folder `_argosy/` of an output."""

    def __init__(self, output: Place) -> None:
        self.output = output
        self.root = output.join(FOLDER)
        self.report = self.root.join("report.html")

    def begin(self, plan: Plan) -> None:
        """Write the plan down. Raises Conflict where there is one, or where the folder contains something else."""
        self.check_empty()
        if not self.root.join("job.json").create(msgspec.json.encode(plan)):
            raise Conflict(f"a job was begun in {self.output}: go on with --resume, or write to another folder")

    def check_empty(self) -> None:
        """Raise Conflict where the output contains what is not of a job."""
        for file in self.output.walk():
            if not file.url.startswith(self.root.url + "/"):
                raise Conflict(f"{self.output} is not empty (there is {file.name}): write to a folder of its own")

    def plan(self) -> Plan | None:
        """The plan of the job in this output; None where none was begun. Raises Unsupported for another layout."""
        plan = _read(self.root.join("job.json"), Plan)
        if plan is not None and plan.format != FORMAT:
            raise Unsupported(f"{self.root} has the layout {plan.format}; this argosy reads {FORMAT}")
        return plan

    def entries(self) -> dict[str, Entry]:
        files = (file for file in self.root.join("ledger").walk() if file.name.endswith(".json"))
        with ThreadPoolExecutor(TOGETHER) as pool:
            return {entry.fragment: entry for entry in pool.map(partial(_read, kind=Entry), files) if entry}

    def entry(self, fragment: str) -> Entry | None:
        """The entry of one fragment, if it is done."""
        return _read(self._file(fragment), Entry)

    def commit(self, entry: Entry) -> Entry:
        """Create the entry, once its files are durable. Gives the one that counts: another worker's, if that was
        first."""
        first = self._file(entry.fragment).create(msgspec.json.encode(entry))
        return entry if first else self.entry(entry.fragment) or entry

    def _file(self, fragment: str) -> Place:
        return self.root.join(f"ledger/{fragment}.json")

    def seal(self, plan: Plan, entries: Sequence[Entry]) -> Seal:
        """Sum up the entries of all fragments, and write it down."""
        ordered = sorted(entries, key=lambda entry: entry.number)
        written = [part for entry in ordered for part in entry.files]
        lines = "".join(f"{part.name} {part.rows} {part.digest}\n" for part in written)
        total = reduce(Tally.plus, ordered, Tally())
        seal = Seal(
            model=plan.model.digest,
            files=len(plan.files),
            fragments=len(ordered),
            **total.counts(),
            parts=sum(len(entry.parts) for entry in ordered),
            size=sum(part.size for part in written),
            digest=f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}",
            seconds=round(sum(entry.seconds for entry in ordered), 3),
        )
        self.root.join("seal.json").put(msgspec.json.encode(seal))
        return seal

    def sealed(self) -> Seal | None:
        """The seal, if the job is finished."""
        return _read(self.root.join("seal.json"), Seal)


def _read(file: Place, kind: type[T]) -> T | None:
    """What a file says; None without one. Raises InvalidArgument where it is broken."""
    try:
        return parse(file.read(), kind, f"{file} is broken", InvalidArgument)
    except NotFound:
        return None
