"""What the pages read, from the platform's database."""

from argosy.console.data import Alert, Finding, Part
from argosy.control import traffic_api
from argosy.control.traffic_api import Minute
from argosy.spec.errors import NotFound
from argosy.store.database import Database


class Kept:
    """Traffic is always there; findings and alerts only where something writes them."""

    has: frozenset[Part] = frozenset({"traffic"})

    def __init__(self, database: Database) -> None:
        self._database = database

    def traffic(self, endpoint: str, since: float, step: float) -> list[Minute]:
        """Minutes, or hours."""
        return traffic_api.course(self._database, endpoint, since, int(step))

    def findings(self, endpoint: str, kinds: tuple[str, ...], since: float) -> list[Finding]:
        """None."""
        return []

    def alerts(self, endpoint: str = "") -> list[Alert]:
        """None."""
        return []

    def mute(self, alert: str, until: float, actor: str, reason: str) -> None:
        """There is none."""
        raise NotFound("this alert is not there any more")
