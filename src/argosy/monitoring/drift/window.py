"""One window of one endpoint, or of one of its segments, column by column. Pure."""

import math
from collections.abc import Collection, Sequence

import msgspec

from argosy.alerting import incident
from argosy.monitoring.drift.detector import ColumnFinding as Column
from argosy.monitoring.drift.detector import DetectorState, Look, look
from argosy.monitoring.drift.distribution import distribution, readable
from argosy.monitoring.drift.reference import Baseline
from argosy.profiles.layout import Column as Place
from argosy.profiles.layout import Floats
from argosy.profiles.privacy import named
from argosy.spec.payload import PayloadLog
from argosy.store.findings import Finding, subject

MOST_DRAWN = 64
"""Columns of one look that keep their distributions: those that drifted, then those of the strongest evidence."""
MOST_OF_SEGMENT = 3
"""Columns of a segment that are told of where none has drifted."""
MOST_ALERTS = 20
"""Of more columns that drift together, one alert tells."""


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What a look is about; times in seconds since 1970. `segment` is empty for all rows, else `column=value`."""

    endpoint: str
    version: str
    start: float
    end: float
    segment: str = ""
    log: PayloadLog = PayloadLog()

    @property
    def place(self) -> str:
        """The segment as it follows a column's name."""
        return f" [{readable(self.segment)}]" if self.segment else ""


class Judged(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is to be written after a look, what is wrong, and the detector's state."""

    findings: tuple[Finding, ...]
    wrong: tuple[incident.Finding, ...]
    state: DetectorState


def judge(
    watched: Watched,
    base: Baseline,
    before: DetectorState,
    counts: Floats,
    run_length: float,
    reference: Floats,
    season: Floats | None = None,
) -> Judged:
    """One window (D, C), with effects measured from `reference` (D, C). With `season` (D, C), the same hours of the
    weeks before, that is what evidence compares with, and what effects are measured from."""
    reference = reference if season is None else season
    found, state = look(base.where, before, counts, reference, run_length=run_length, base=season)
    places = {column.name: place for place, column in enumerate(base.where.columns)}
    told = [
        one
        for one in sorted(found.findings, key=lambda one: not one.drifted)
        if one.effects and not named(base.where.columns[places[one.column]], watched.log.redact)
    ]
    if watched.segment:
        told = [one for at, one in enumerate(told) if one.drifted or at < MOST_OF_SEGMENT]
    findings: list[Finding] = []
    for at, one in enumerate(told):
        place = places[one.column]
        column = base.where.columns[place]
        shown = _shown(column, reference[place], counts[place], watched.log.hash) if at < MOST_DRAWN else {}
        findings.append(_finding(watched, column, one, shown))
    return Judged(findings=tuple(findings), wrong=wrong(watched, findings, found), state=state)


def _shown(column: Place, reference: Floats, current: Floats, hashed: Collection[str]) -> dict[str, object]:
    found = distribution(column, reference, current, closed=named(column, hashed))
    return msgspec.structs.asdict(found) if found else {}


def _finding(watched: Watched, column: Place, one: Column, shown: dict[str, object]) -> Finding:
    effect = one.effects[0]
    text = f"{effect.name} {effect.value:.3f} ({effect.low:.3f} to {effect.high:.3f}) over {one.rows:,} rows"
    segment = {"segment": readable(watched.segment)} if watched.segment else {}
    return Finding(
        endpoint=watched.endpoint,
        version=watched.version,
        kind="prediction" if column.side == "output" else "drift",
        subject=subject(one.column + watched.place),
        at=watched.end,
        window_start=watched.start,
        window_end=watched.end,
        rows=one.rows,
        effect=float(effect.value),
        low=float(effect.low),
        high=float(effect.high),
        log_e=math.log(one.run_length) if one.run_length > 0 else None,
        verdict="drift" if one.drifted else "no drift",
        detail={"margin": effect.margin, "text": text} | segment | shown,
    )


def wrong(watched: Watched, findings: Sequence[Finding], found: Look) -> tuple[incident.Finding, ...]:
    """What is to be reported: each that has drifted, or all of them as one where they are many."""
    drifted = [one for one in findings if one.verdict == "drift"]
    if len(drifted) <= MOST_ALERTS:
        return tuple(raised(watched, one) for one in drifted)
    some = ", ".join(f"'{one.subject}'" for one in drifted[:5])
    return (
        incident.Finding(
            endpoint=watched.endpoint,
            kind="drift",
            subject=f"many columns{watched.place}",
            severity="ticket",
            title=f"more than {MOST_ALERTS} columns of version {watched.version} have drifted{watched.place}",
            reason=f"{len(drifted)} of {len(found.findings)} columns have drifted, as {some}",
        ),
    )


def raised(watched: Watched, one: Finding) -> incident.Finding:
    """A finding as it is reported."""
    return incident.Finding(
        endpoint=watched.endpoint,
        kind=one.kind,
        subject=one.subject,
        severity="ticket",
        title=f"'{one.subject}' of version {watched.version} has drifted",
        reason=f"'{one.subject}' of version {watched.version} has drifted: {one.detail['text']}",
    )
