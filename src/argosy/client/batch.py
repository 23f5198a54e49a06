"""`argosy.batch`: a model over files, from Python and from the command line."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from argosy.batch.ledger import Ledger, Seal
from argosy.batch.place import place
from argosy.batch.spool import Tally
from argosy.client.local import Located, locate, stored_package
from argosy.spec.batch import BatchJob
from argosy.spec.errors import INTERRUPTED, Conflict, InvalidArgument, Unsupported
from argosy.spec.settings import home
from argosy.spec.strict import convert

if TYPE_CHECKING:
    from argosy.batch.plan import Plan
    from argosy.batch.progress import Display
    from argosy.batch.wire import Slots
    from argosy.packaging.package import Package


class BatchResult(Tally, frozen=True, kw_only=True):
    """How a job ended, or where it was stopped: then there is no `seal`.

    `model` is the digest of the package. `rows` were read by the whole job, `out` of them written, the others skipped
    or quarantined; `answered` were read by this run, in so many `seconds`. `report` is the address of its page.
    """

    output: str
    model: str
    answered: int = 0
    seconds: float = 0.0
    seal: Seal | None = None
    report: str = ""

    @property
    def exit(self) -> int:
        """The exit status of a process that did this: INTERRUPTED where it was stopped."""
        return INTERRUPTED if self.seal is None else 0


def batch(
    model: str | Path,
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    resume: bool = False,
    progress: bool = False,
    trust: bool = False,
    **settings: Any,
) -> BatchResult:
    """Answer every row of the inputs, and write the answers to the folder `output`, each exactly once.

    `model` is what `argosy.load` takes; `inputs` are files, folders and globs of Parquet, Arrow, CSV, JSON lines or
    NumPy, here or on S3. `settings` are those of `argosy.spec.batch.BatchJob`: format, map, keep, partition, nulls,
    on_error, fragment_rows, batch_size, workers, threads, engine, price, checkpoint, patience. `resume` goes on with
    what an earlier run left. `progress` shows on standard error how far it is, and which columns are not used. `trust`
    vouches for a model given by its path, as in `argosy.load`. An interrupt ends it after the rows at hand and raises
    KeyboardInterrupt; what is done stays.

    Raises InvalidArgument for settings, columns and rows that do not fit; NotFound; Conflict where the output contains
    something, another run is at it, or an input has changed; GoldenMismatch; StorageFull.
    """
    from argosy.batch.progress import display, say, silent

    many = [inputs] if isinstance(inputs, str | Path) else inputs
    given = {"model": str(model), "inputs": [str(one) for one in many], "output": str(output), **settings}
    shown = display() if progress else silent()
    result = run(given, resume=resume, display=shown, note=say if progress else lambda text: None, trust=trust)
    if result.seal is None:
        raise KeyboardInterrupt
    return result


def run(
    given: Mapping[str, Any],
    *,
    resume: bool,
    display: "Display",
    note: Callable[[str], None] = lambda text: None,
    trust: bool = False,
    paths: bool = True,
    slots: tuple[str, str] | None = None,
) -> BatchResult:
    """Do a job of which these settings are given. To resume, `output` is enough: the others are as they were. `note`
    is called, once a job, about columns that are not used, and about what is installed. `trust` vouches for a model
    given by its path. Without `paths` the model is what the registry says, and nothing that lies in the working
    directory or that the output folder names. `slots` are the job's name and the socket at which the platform
    takes its rows for idle slots.
    """
    from argosy.batch.driver import drive
    from argosy.batch.plan import Model, prepare, resumed
    from argosy.client.report import report, write
    from argosy.engines.language.rows import SIGNATURE
    from argosy.packaging import environment
    from argosy.packaging.rows import listed

    output = place(str(given.get("output", "")))
    ledger = Ledger(output)
    before = ledger.plan()
    if before is not None and not resume:
        raise Conflict(f"a job was begun in {output}: go on with --resume, or write to another folder")
    known = absolute(dict(given) | {"output": output.url}, paths=paths)
    earlier: dict[str, Any] = {} if before is None else msgspec.to_builtins(before.job)
    if missing := [name for name in ("model", "inputs") if name not in known and name not in earlier]:
        raise InvalidArgument(f"no job was begun in {output}, so there is nothing to resume: give {missing[0]}")
    job = convert(earlier | known, BatchJob, "batch")
    if before is not None and (seal := ledger.sealed()) is not None and ledger.report.exists():
        return _result(resumed(before, job), seal)
    located = _located(job, before, trust=trust, paths=paths)
    try:
        package = located.open()
        lock = environment.wanted(home(), package.needs, note, elsewhere=job.engine == "ray")
        environment.prepare(home(), package.needs, note, lock)
        if before is None:
            version = located.version if located.digest else ""
            model = Model(digest=_digest(located), name=located.name, version=version)
            generates = package.manifest.generates
            if generates and job.engine != "local":
                raise Unsupported("a language model answers batches on this machine: leave out the engine ray")
            plan = prepare(job, model, SIGNATURE if generates else package.manifest.signature)
            if unused := plan.unused:
                what = "column is" if len(unused) == 1 else "columns are"
                note(f"{len(unused)} {what} neither taken by the model nor kept, and left out: {listed(unused)}")
        else:
            plan = resumed(before, job)
        begun, signed = before is not None, located.signed
        idle = _slots(plan, package, slots)
        outcome = drive(plan, package, display, begun=begun, signed=signed, lock=lock, slots=idle)
        if outcome.seal is not None:
            write(report(plan, outcome, package, datetime.now(UTC)))
    finally:
        located.release()
    return _result(plan, outcome.seal, answered=outcome.rows, seconds=outcome.seconds)


def absolute(given: Mapping[str, Any], *, paths: bool = True) -> dict[str, Any]:
    """The settings with addresses that are valid in any working folder. Without `paths` the model is none."""
    known = dict(given)
    if "output" in known:
        known["output"] = place(str(known["output"])).url
    if "inputs" in known:
        known["inputs"] = [place(str(text)).url for text in known["inputs"]]
    if paths and "model" in known and Path(known["model"]).exists():
        known["model"] = str(Path(known["model"]).absolute())
    return known


def _located(job: BatchJob, before: "Plan | None", *, trust: bool, paths: bool) -> Located:
    """The package of the job; of one that was begun that which it was begun with, wherever an alias points by now."""
    stored = before is not None and bool(before.model.version)
    model = before.model.digest if before is not None and stored else job.model
    located = locate(model, trust=trust) if paths else stored_package(model)
    if before is not None and not stored and _digest(located) != before.model.digest:
        located.release()
        raise Conflict(
            f"{job.model} is not the package that {job.output} was begun with ({before.model.digest}): go on with "
            "that one, or write to another folder"
        )
    return located


def _slots(plan: "Plan", package: "Package", slots: tuple[str, str] | None) -> "Slots | None":
    """Where the job asks for idle slots, if it is to have any."""
    if not plan.job.idle:
        return None
    if slots is None:
        raise InvalidArgument("idle slots are given by a platform: have it do the job by argosy batch submit")
    if not package.manifest.generates:
        raise Unsupported("only language models have slots: without idle a job has cores that nobody else wants")
    from argosy.batch.wire import Slots

    return Slots(slots[1], f"{slots[0]} {plan.job.idle} {plan.model.digest}")


def _digest(located: Located) -> str:
    return located.digest or located.open().digest()


def _result(plan: "Plan", seal: Seal | None, answered: int = 0, seconds: float = 0.0) -> BatchResult:
    return BatchResult(
        output=plan.job.output,
        model=plan.model.digest,
        answered=answered,
        seconds=seconds,
        seal=seal,
        report=Ledger(place(plan.job.output)).report.url if seal else "",
        **(seal.counts() if seal else {}),
    )
