"""What is stored of a version between evaluations of its performance; the job of the child process, and its answer."""

import hashlib
from pathlib import Path

import msgspec

from argosy.monitoring.eprocess import Fall, RateRise
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Home
from argosy.store.findings import Finding

MOST_WINDOWS = 5000
"""Windows that are stored: the newest."""


class Guess(msgspec.Struct, frozen=True, array_like=True):
    """An estimate that waits for its labels: of the metric that is reconciled, and the deviation of what was learnt."""

    value: float
    calibration: float


class Reconciled(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence that estimates of classes are too good."""

    burst: RateRise = RateRise()


class PerformanceState(msgspec.Struct, frozen=True, kw_only=True):
    """`basis` names the monitor, package and hidden columns it is of. Windows are by place: start · every seconds.

    `until`: the end of the last window that was estimated. `days`: by day, the file of counts that was evaluated.
    `served`: predictions of each window; `guesses`: estimates without labels yet. `waiting` windows have labels, and
    too few; `counted` ones are part of the evidence. `reconciled` is that of classes, `gap` that of numbers, `differ`
    whether the last one counted was an alarm. `said`: by kind, what was found last, in words.
    """

    basis: str = ""
    until: float = 0.0
    days: dict[str, str] = {}
    served: dict[int, int] = {}
    guesses: dict[int, Guess] = {}
    waiting: tuple[int, ...] = ()
    counted: tuple[int, ...] = ()
    estimated: Fall = Fall()
    realised: Fall = Fall()
    reconciled: Reconciled = Reconciled()
    gap: Fall = Fall()
    differ: bool = False
    said: dict[str, str] = {}

    def bounded(self) -> "PerformanceState":
        """Without the oldest windows beyond 5,000."""
        return msgspec.structs.replace(
            self,
            served=dict(sorted(self.served.items())[-MOST_WINDOWS:]),
            guesses=dict(sorted(self.guesses.items())[-MOST_WINDOWS:]),
            counted=tuple(sorted(self.counted)[-MOST_WINDOWS:]),
            waiting=tuple(sorted(self.waiting)[-MOST_WINDOWS:]),
        )


def basis(*facts: object) -> str:
    """A name for what a state is of."""
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()[:32]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version that serves or has served: its number, its unpacked package, whether the store trusts it, its state."""

    number: str
    digest: str
    package: str
    trusted: bool = False
    state: PerformanceState = PerformanceState()


class EvaluationJob(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint to evaluate. `now` is seconds since 1970; windows until `end` are over and on disk."""

    home: str
    endpoint: str
    monitor: Monitor
    log: PayloadLog
    now: float
    end: float
    versions: tuple[Version, ...]

    @property
    def place(self) -> Home:
        return Home(Path(self.home))


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, and the states by version once that is written. `metrics`: by version, what alerts are about.
    `more`: there are further windows to evaluate."""

    findings: tuple[Finding, ...] = ()
    states: dict[str, PerformanceState] = {}
    metrics: dict[str, str] = {}
    more: bool = False
