"""What the pages read, from the platform's database."""

import time
from collections.abc import Callable

from argosy.api import traffic as traffic_api
from argosy.api.traffic import Minute
from argosy.console.data import Alert, Finding, Part
from argosy.store import alerts, findings, jobs
from argosy.store.database import Database
from argosy.store.ledger import Cause

FRESH = 5.0
"""Seconds for which it is remembered which parts there are."""


class DatabaseReader:
    """Traffic is always there; findings, alerts and jobs once something has written them. `clock` is monotonic."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._has: frozenset[Part] = frozenset({"traffic"})
        self._looked = float("-inf")

    @property
    def has(self) -> frozenset[Part]:
        """The parts that are there."""
        if self._clock() - self._looked > FRESH:
            found: set[Part] = {"traffic"}
            found |= {"findings"} if findings.any_of(self._database) else set()
            found |= {"alerts"} if alerts.read(self._database, most=1) else set()
            found |= {"jobs"} if jobs.any_of(self._database) else set()
            self._has, self._looked = frozenset(found), self._clock()
        return self._has

    def traffic(self, endpoint: str, since: float, step: float) -> list[Minute]:
        """Minutes, or hours."""
        return traffic_api.course(self._database, endpoint, since, int(step))

    def findings(self, endpoint: str, kinds: tuple[str, ...], since: float) -> list[Finding]:
        """What was found of an endpoint, oldest first."""
        return findings.read(self._database, endpoint, kinds, since)

    def alerts(self, endpoint: str = "") -> list[Alert]:
        """Alerts, the newest first."""
        return alerts.read(self._database, endpoint)

    def mute(self, alert: str, until: float, actor: str, reason: str) -> None:
        """Mute an alert. Raises NotFound."""
        alerts.mute(self._database, alert, until, Cause(actor=actor, reason=reason))
