"""Hosts that are evicted: they get no replica and no launch, until somebody allows them again."""

import msgspec

from argosy.spec.errors import NotFound
from argosy.store.database import Database
from argosy.store.ledger import Cause, append
from argosy.store.monitor_state import MonitorState


class EvictedHost(msgspec.Struct, frozen=True, kw_only=True):
    """A host, as its target names it, with all `names` it goes by; since when (seconds since 1970), and why."""

    host: str
    names: tuple[str, ...]
    since: float
    reason: str


STATE = MonitorState("hosts", EvictedHost)


def evicted(database: Database) -> dict[str, EvictedHost]:
    """All of them, by host. Raises Unavailable."""
    return {host: each for (_, host), each in STATE.all(database).items()}


def evict(database: Database, host: EvictedHost) -> None:
    """Write down one. Raises what a transaction raises."""
    with database.begin() as connection:
        STATE.put(connection, "", host, host.host)
        append(connection, f"host/{host.host}", "evict", {"reason": host.reason})


def allow(database: Database, host: str, cause: Cause | None) -> None:
    """It may be used again. Raises NotFound, and what a transaction raises."""
    if host not in evicted(database):
        raise NotFound(f"no host '{host[:127]}' is evicted: argosy hosts ls lists those that are")
    with database.begin() as connection:
        STATE.delete(connection, "", host)
        append(connection, f"host/{host}", "allow", {}, cause)
