"""What is remembered of one version of an endpoint between evaluations of its performance."""

import hashlib

import msgspec

from argosy.monitoring.feedback.reconcile import Reconciled
from argosy.monitoring.performance.fall import Fall

MOST_WINDOWS = 5000
"""Windows that are remembered: the newest."""


class Guess(msgspec.Struct, frozen=True, array_like=True):
    """An estimate that waits for its labels: of the metric that is reconciled, and the deviation of what was learnt."""

    value: float
    calibration: float


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """`basis` names the monitor, package and hidden columns it is of. Windows are by place: start · every seconds.

    `until`: the end of the last window that was estimated. `days`: by day, the file of counts that was told of.
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

    def bounded(self) -> "Kept":
        """Without the oldest windows beyond 5,000."""
        return msgspec.structs.replace(
            self,
            served=dict(sorted(self.served.items())[-MOST_WINDOWS:]),
            guesses=dict(sorted(self.guesses.items())[-MOST_WINDOWS:]),
            counted=tuple(sorted(self.counted)[-MOST_WINDOWS:]),
            waiting=tuple(sorted(self.waiting)[-MOST_WINDOWS:]),
            reconciled=msgspec.structs.replace(self.reconciled, counted=(), alarms=()),
        )


def basis(*facts: object) -> str:
    """A name for what a state is of."""
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()[:32]
