"""Figures of a run over a stretch of time: replica-hours, lateness, waits."""

import msgspec
import numpy as np

from argosy_simulators.simulate import Run
from argosy_simulators.trace import Trace

LATE = 2.0
"""A request that waits longer than this, in seconds, is late."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """`late` is the share of requests that waited over `LATE`; waits in seconds; `peak`: replicas paid at once."""

    replica_hours: float
    late: float
    p50_wait: float
    p99_wait: float
    peak: int
    changes: int


def score(trace: Trace, run: Run, begin: float = 0.0, end: float | None = None) -> Score:
    """Count what was paid, and the requests that came, from `begin` to `end` (default: the last arrival)."""
    end = trace.end if end is None else end
    inside = (trace.arrivals >= begin) & (trace.arrivals <= end)
    waits = run.waits[inside]
    paid = sum(max(min(one.ended, end) - max(one.asked, begin), 0.0) for one in run.replicas)
    return Score(
        replica_hours=paid / 3600,
        late=float(np.mean(waits > LATE)) if len(waits) else 0.0,
        p50_wait=quantile(waits, 0.5),
        p99_wait=quantile(waits, 0.99),
        peak=max((one.ready + one.starting + one.draining for one in run.samples if begin <= one.at <= end), default=0),
        changes=sum(begin <= at <= end for at, _ in run.decisions),
    )


def quantile(waits: "np.ndarray[tuple[int], np.dtype[np.float64]]", share: float) -> float:
    """The smallest wait that at least `share` of the requests did not exceed; infinite waits are allowed."""
    if not len(waits):
        return 0.0
    return float(np.sort(waits)[min(max(int(np.ceil(share * len(waits))) - 1, 0), len(waits) - 1)])
