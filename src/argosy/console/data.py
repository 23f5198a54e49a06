"""What the pages read, behind one small interface, so that they can be shown without a platform."""

from typing import Any, Literal, Protocol

import msgspec

from argosy.control.traffic_api import Minute

Part = Literal["traffic", "findings", "alerts"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What monitoring found of a `subject` (a column, an output, a metric) in a window (seconds since 1970).

    `kind` is drift, prediction, multivariate, estimate, realised, reconcile or slo. `effect` lies in `low` to `high`.
    """

    endpoint: str
    version: str
    kind: str
    subject: str
    at: float
    window_start: float
    window_end: float
    rows: int
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    log_e: float | None = None
    verdict: str = ""
    detail: dict[str, Any] = {}


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert. `state` is firing, muted or resolved; times are seconds since 1970."""

    id: str
    endpoint: str
    kind: str
    subject: str
    severity: str
    state: str
    since: float
    until: float | None = None
    text: str = ""
    muted_until: float | None = None


class Data(Protocol):
    """What monitoring has written. `has` says which parts of it there are; pages leave out what there is not."""

    @property
    def has(self) -> frozenset[Part]:
        """The parts that are there."""
        ...

    def traffic(self, endpoint: str, since: float, step: float) -> list[Minute]:
        """An endpoint's traffic, in steps of so many seconds, oldest first."""
        ...

    def findings(self, endpoint: str, kinds: tuple[str, ...], since: float) -> list[Finding]:
        """What was found of an endpoint, oldest first."""
        ...

    def alerts(self, endpoint: str = "") -> list[Alert]:
        """Alerts of an endpoint, or all; the newest first."""
        ...

    def mute(self, alert: str, until: float, actor: str, reason: str) -> None:
        """Tell nothing of this alert until then. Raises NotFound."""
        ...
