"""Estimated against realised performance: what an estimate cannot see, a change of what is true, shows here. Pure.

For each chunk, once its labels are mature, the share that was wrong is compared with the share the estimate expected,
plus a margin. The evidence is that of `burst`: with alarms at A there are at least A chunks on average until a false
one, however long it runs.
"""

import math
from collections.abc import Iterable

import msgspec

from argosy.monitoring import burst
from argosy.monitoring.burst import Burst


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of predictions. `estimated` is the accuracy that was estimated without labels and `error` the
    half-width of its interval; `right` of `labelled` were right; `maturity` is the share of its labels that came."""

    name: str
    estimated: float
    error: float = 0.0
    right: int
    labelled: int
    maturity: float = 1.0

    @property
    def realised(self) -> float | None:
        """The accuracy as the labels say; None without labels."""
        return self.right / self.labelled if self.labelled else None

    @property
    def difference(self) -> float | None:
        """Realised less estimated."""
        return None if self.realised is None else self.realised - self.estimated


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """When the difference is an alarm. `margin` is a shortfall that is no harm, `chunks` how many there are at least,
    on average, between false alarms, `maturity` what a chunk needs before it counts."""

    margin: float = 0.02
    chunks: float = 2160.0
    maturity: float = 0.8


class Reconciled(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered: the evidence, the chunks that were counted, and those for which there was an alarm."""

    burst: Burst = Burst()
    counted: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()


def reconcile(rule: Rule, chunks: Iterable[Chunk], state: Reconciled) -> Reconciled:
    """Fold in the chunks that are mature and were not counted yet, in their order. After an alarm evidence starts anew.

    A chunk counts once, with the labels it has then: those that are corrected later change no evidence.
    """
    for chunk in chunks:
        if chunk.name in state.counted or chunk.maturity < rule.maturity or not chunk.labelled:
            continue
        bound = 1 - chunk.estimated + chunk.error + rule.margin
        seen = burst.look(state.burst, chunk.labelled - chunk.right, chunk.labelled, min(bound, 1 - 1e-6))
        alarm = burst.evidence(seen) >= math.log(rule.chunks)
        state = Reconciled(
            burst=Burst() if alarm else seen,
            counted=(*state.counted, chunk.name),
            alarms=(*state.alarms, chunk.name) if alarm else state.alarms,
        )
    return state
