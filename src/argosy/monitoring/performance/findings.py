"""Findings of performance. Pure."""

from typing import Any

import msgspec

from argosy.monitoring.performance.estimate import Estimate
from argosy.monitoring.performance.verdict import MEASURED, Bar
from argosy.store.findings import Finding


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A window of one version of an endpoint, in seconds since 1970, looked at at `at`."""

    endpoint: str
    version: str
    start: float
    end: float
    at: float

    def finding(self, kind: str, subject: str, rows: int, verdict: str, **more: Any) -> Finding:
        """What was found in this window."""
        return Finding(
            endpoint=self.endpoint,
            version=self.version,
            kind=kind,
            subject=subject,
            at=self.at,
            window_start=self.start,
            window_end=self.end,
            rows=rows,
            verdict=verdict,
            **more,
        )


def figure(span: Span, kind: str, metric: str, found: Estimate, rows: int, bar: Bar | None, **more: Any) -> Finding:
    """A metric with its interval; `more` is `fallen`, and what goes into the detail."""
    fallen = bool(more.pop("fallen", False))
    detail: dict[str, Any] = more | {"text": text(metric, found, rows, bar)}
    if bar is not None:
        detail |= {"margin": bar.margin, "reference": bar.reference.value}
    verdict = MEASURED if bar is None else bar.verdict(found.value, fallen)
    return span.finding(kind, metric, rows, verdict, effect=found.value, low=found.low, high=found.high, detail=detail)


def text(metric: str, found: Estimate, rows: int, bar: Bar | None) -> str:
    """In words."""
    beside = f", {bar.reference.value:.3f} on the reference" if bar is not None else ""
    return f"{metric} {found.value:.3f} ({found.low:.3f} to {found.high:.3f}) over {rows:,} rows{beside}"
