"""What the controller routes by: the Envoy of this machine, or gateways elsewhere, which follow it."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from argosy.gateway.model import ApiKey, EndpointRoute
from argosy.gateway.traffic import Traffic


class Routing(Protocol):
    """One gateway, or all that follow one controller. Every call may be repeated."""

    @property
    def runs(self) -> bool:
        """False where Envoy should run on this machine and does not: `start` starts it."""
        ...

    @property
    def settled(self) -> bool:
        """Whether nothing is routed by anything older than what was applied last: what drains may be released."""
        ...

    async def adopt(self) -> bool:
        """Take over an Envoy that runs on this machine. False: there is none, and one should run."""
        ...

    async def resume(self) -> bool:
        """Start Envoy with the routes of the last one, which is gone. False: it begins without any."""
        ...

    async def start(self, endpoints: Iterable[EndpointRoute], keys: Iterable[ApiKey]) -> None:
        """Start Envoy on this machine, and apply this."""
        ...

    async def apply(self, endpoints: Iterable[EndpointRoute], keys: Iterable[ApiKey]) -> bool:
        """Apply this everywhere. False: nothing changed. Raises Refused, Unavailable where not every gateway has
        confirmed it."""
        ...

    async def sweep(self) -> None:
        """What there is to do where nothing has changed."""
        ...

    async def stats(self) -> Mapping[tuple[str, str], Traffic]:
        """(endpoint, revision) → what was counted. Raises Unavailable."""
        ...

    async def statistics(self, pattern: str) -> dict[str, float]:
        """Envoy's own statistics whose names match, of the Envoy of this machine. Raises Unavailable."""
        ...

    async def url(self) -> str:
        """Where clients reach it; empty where that is not known."""
        ...

    async def stop(self) -> None:
        """Let what is in flight finish, then end Envoy on this machine."""
        ...
