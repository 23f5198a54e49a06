"""One window of one endpoint, or of one of its segments, column by column. Pure."""

import math
from collections.abc import Sequence

import msgspec

from argosy.alerting import incident
from argosy.monitoring.drift.detector import ColumnFinding, DetectorState, evaluate
from argosy.monitoring.drift.distribution import distribution, readable
from argosy.monitoring.drift.reference import Baseline
from argosy.profiles.cells import Column, Floats
from argosy.profiles.profile import named
from argosy.spec.payload import PayloadLog
from argosy.store.findings import Finding, Span, Verdict, subject

MOST_DRAWN = 64
"""Columns of one window whose distributions are stored: those that drifted, then those of the strongest evidence."""
MOST_OF_SEGMENT = 3
"""Columns of a segment that have a finding where none has drifted."""
MOST_ALERTS = 20
"""More columns that drift together are one incident."""


class Watched(Span, frozen=True, kw_only=True):
    """What is evaluated. `segment` is empty for all rows, else `column=value`."""

    segment: str = ""
    log: PayloadLog = PayloadLog()

    @property
    def place(self) -> str:
        """The segment as it follows a column's name."""
        return f" [{readable(self.segment)}]" if self.segment else ""


def evaluate_window(
    watched: Watched,
    base: Baseline,
    before: DetectorState,
    counts: Floats,
    run_length: float,
    reference: Floats,
    season: Floats | None = None,
) -> tuple[list[Finding], list[incident.Finding], DetectorState]:
    """What was found in one window (D, C), what is wrong, and the detector's state. Effects are measured from
    `reference` (D, C). With `season` (D, C), the same hours of the weeks before, that is what evidence compares with,
    and what effects are measured from."""
    reference = reference if season is None else season
    evaluation, state = evaluate(base.where, before, counts, reference, run_length=run_length, base=season)
    places = {column.name: place for place, column in enumerate(base.where.columns)}
    reported = [
        one
        for one in sorted(evaluation.findings, key=lambda one: not one.drifted)
        if one.effects and not named(base.where.columns[places[one.column]], watched.log.redact)
    ]
    if watched.segment:
        reported = [one for at, one in enumerate(reported) if one.drifted or at < MOST_OF_SEGMENT]
    findings: list[Finding] = []
    for at, one in enumerate(reported):
        place = places[one.column]
        column = base.where.columns[place]
        shown = None
        if at < MOST_DRAWN:
            closed = named(column, watched.log.hash)
            shown = distribution(column, reference[place], counts[place], closed=closed)
        findings.append(_finding(watched, column, one, msgspec.structs.asdict(shown) if shown else {}))
    return findings, wrong(watched, findings, len(evaluation.findings)), state


def _finding(watched: Watched, column: Column, one: ColumnFinding, shown: dict[str, object]) -> Finding:
    effect = one.effects[0]
    text = f"{effect.name} {effect.value:.3f} ({effect.low:.3f} to {effect.high:.3f}) over {one.rows:,} rows"
    segment = {"segment": readable(watched.segment)} if watched.segment else {}
    return watched.finding(
        "prediction" if column.side == "output" else "drift",
        subject(one.column + watched.place),
        one.rows,
        Verdict.DRIFT if one.drifted else Verdict.NO_DRIFT,
        effect=float(effect.value),
        low=float(effect.low),
        high=float(effect.high),
        log_e=math.log(one.run_length) if one.run_length > 0 else None,
        detail={"margin": effect.margin, "text": text} | segment | shown,
    )


def wrong(watched: Watched, findings: Sequence[Finding], columns: int) -> list[incident.Finding]:
    """What is to be reported: each that has drifted, or all of them as one where they are many."""
    drifted = [one for one in findings if one.outcome is Verdict.DRIFT]
    if len(drifted) <= MOST_ALERTS:
        return [
            incident.Finding(
                endpoint=watched.endpoint,
                kind=one.kind,
                subject=one.subject,
                severity="ticket",
                title=f"'{one.subject}' of version {watched.version} has drifted",
                reason=f"'{one.subject}' of version {watched.version} has drifted: {one.detail['text']}",
            )
            for one in drifted
        ]
    some = ", ".join(f"'{one.subject}'" for one in drifted[:5])
    return [
        incident.Finding(
            endpoint=watched.endpoint,
            kind="drift",
            subject=f"many columns{watched.place}",
            severity="ticket",
            title=f"more than {MOST_ALERTS} columns of version {watched.version} have drifted{watched.place}",
            reason=f"{len(drifted)} of {columns} columns have drifted, as {some}",
        )
    ]
