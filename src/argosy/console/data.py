"""What the pages read, behind one small interface, so that they can be shown without a platform."""

from typing import Literal, Protocol

from argosy.api.traffic import Minute
from argosy.store.alerts import Alert
from argosy.store.findings import Finding

__all__ = ["Alert", "Data", "Finding", "Minute", "Part"]

Part = Literal["traffic", "findings", "alerts", "jobs"]


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
