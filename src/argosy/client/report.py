"""The report of a batch job: `report.json`, and the same as a page, beside its ledger."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from argosy.batch import sample
from argosy.batch.driver import Outcome
from argosy.batch.ledger import Ledger, Seal
from argosy.batch.place import place
from argosy.batch.plan import Plan
from argosy.packaging.language import golden as language_golden
from argosy.packaging.package import Package
from argosy.profiles.layout import Layout, layout
from argosy.profiles.profile import Profile
from argosy.spec.batch import BatchJob

TEMPLATE = Path(__file__).with_name("templates") / "batch.html"
LEAST_ROWS = 30
"""With fewer rows nothing can be said of drift."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output as the sampled rows have it: shares of missing and out-of-range values, moments of numbers;
    and, where there is a reference, how far it lies from it (`effect` from `low` to `high`, by name), the evidence (an
    e-value) and whether it has drifted."""

    name: str
    side: str
    kind: str
    missing: float
    unseen: float
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    measure: str = ""
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    evidence: float | None = None
    drifted: bool = False


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """The golden examples, replayed by every worker before it took work."""

    examples: int
    largest_difference: float
    atol: float
    rtol: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a job did. `throughput` is rows a second of the run that ended it, `work` the seconds of all workers in all
    runs, `cost` what that run's `seconds` cost, given a price. `unused` are columns of the files that were left out."""

    model: str
    digest: str
    job: BatchJob
    planned: str
    finished: str
    seal: Seal
    answered: int
    seconds: float
    throughput: float
    work: float
    workers: int
    threads: int
    batch_size: int
    cost: float | None = None
    attempts: int
    golden: Golden
    unused: tuple[str, ...] = ()
    sampled: int = 0
    columns: tuple[Column, ...] = ()
    drifted: tuple[str, ...] = ()
    note: str = ""


def report(plan: Plan, outcome: Outcome, package: Package, now: datetime) -> Report:
    """The report of a job that is sealed."""
    assert outcome.seal is not None
    columns, sampled, note = _columns(plan, package)
    tolerance = package.manifest.tolerance
    if package.manifest.generates:
        examples = len(language_golden.read(package.folder).examples)
    else:
        golden = package.golden_inputs()
        examples = len(golden[0].array) if golden and golden[0].array.ndim else 0
    return Report(
        model=plan.model.ref,
        digest=plan.model.digest,
        job=plan.job,
        planned=datetime.fromtimestamp(plan.planned, UTC).isoformat(timespec="seconds"),
        finished=now.isoformat(timespec="seconds"),
        seal=outcome.seal,
        answered=outcome.rows,
        seconds=outcome.seconds,
        throughput=round(outcome.rows / outcome.seconds, 1) if outcome.seconds else 0.0,
        work=outcome.seal.seconds,
        workers=outcome.sizes.workers,
        threads=outcome.sizes.threads,
        batch_size=outcome.sizes.batch_size,
        cost=plan.job.price * outcome.seconds / 3600 if plan.job.price else None,
        attempts=sum(entry.attempts for entry in outcome.entries),
        golden=Golden(
            examples=examples,
            largest_difference=outcome.difference,
            atol=tolerance.atol,
            rtol=tolerance.rtol,
        ),
        unused=plan.unused,
        sampled=sampled,
        columns=columns,
        drifted=tuple(column.name for column in columns if column.drifted),
        note=note,
    )


def _columns(plan: Plan, package: Package) -> tuple[tuple[Column, ...], int, str]:
    """The columns of the sample, how many rows that has, and why there are none or no comparison."""
    reference = package.profile()
    if reference is None:
        return (), 0, "the model was pushed without sample data, so there is nothing to compare its rows with"
    where = layout(reference, package.manifest.signature)
    found = sample.merged(place(plan.job.output), where)
    if found is None:
        return (), 0, "no rows were sampled"
    columns = [_column(where, found, index) for index in range(len(where.columns))]
    if found.rows < LEAST_ROWS:
        return tuple(columns), found.rows, f"{LEAST_ROWS} rows are the least to compare with the reference"
    return _compared(columns, package, found), found.rows, ""


def _column(where: Layout, found: Profile, index: int) -> Column:
    one = where.columns[index]
    counts = np.array(found.counts[where.slice(index)], np.int64)
    special = counts[one.inner :] / max(found.rows, 1)
    number = one.kind == "numbers"
    moments = found.moments[index] if number and found.moments and found.moments[index].count else None
    return Column(
        name=one.name,
        side=one.side,
        kind=one.kind,
        missing=float(special[-1]),
        unseen=float(special[:2].sum()) if number else float(special[0]) if one.complete else 0.0,
        mean=moments.mean if moments else None,
        std=moments.std if moments else None,
        min=moments.min if moments else None,
        max=moments.max if moments else None,
    )


def _compared(columns: list[Column], package: Package, found: Profile) -> tuple[Column, ...]:
    """With drift, the strongest evidence first."""
    from argosy.monitoring.drift.compare import compare
    from argosy.monitoring.drift.reference import baseline

    base = baseline(package)
    known = {column.name: column for column in columns}
    compared: dict[str, Column] = {}
    for one in compare(base.where, base.counts, base.came(found)):
        effect = one.effects[0] if one.effects else None
        compared[one.column] = msgspec.structs.replace(
            known[one.column],
            measure=effect.name if effect else "",
            effect=float(effect.value) if effect else None,
            low=float(effect.low) if effect else None,
            high=float(effect.high) if effect else None,
            evidence=one.e if one.rows else None,
            drifted=bool(one.drifted),
        )
    return (*compared.values(), *(column for name, column in known.items() if name not in compared))


def write(found: Report) -> None:
    """Put `report.json` and `report.html` beside the ledger."""
    ledger = Ledger(place(found.job.output))
    ledger.root.join("report.json").put(msgspec.json.format(msgspec.json.encode(found), indent=2))
    ledger.report.put(render(found).encode())


def render(found: Report) -> str:
    """The page: one file, without scripts, light and dark."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = _number
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(one=found)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 and value == int(value) else f"{value:.4g}"
