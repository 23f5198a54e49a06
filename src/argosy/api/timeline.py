"""What the ledger records of an endpoint: what served when, which bytes, who had declared it and why."""

from datetime import UTC, datetime

import msgspec

from argosy.spec.errors import InvalidArgument
from argosy.store import ledger
from argosy.store.database import Database
from argosy.store.endpoints import SERVED
from argosy.store.table import stamp


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A revision that had `weight` percent of the traffic, and its declaration: when, by whom, why."""

    revision: str
    version: str
    digest: str
    weight: int
    declared: str = ""
    actor: str = ""
    reason: str = ""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What served an endpoint at `at`, since `since`; nothing, if `served` is empty."""

    endpoint: str
    at: str
    since: str = ""
    served: tuple[Served, ...] = ()


def served_at(database: Database, endpoint: str, at: str = "") -> Moment:
    """What served at a time (ISO 8601; without a zone it is UTC), or now. Raises InvalidArgument."""
    moment = parse(at)
    with database.read() as connection:
        found = ledger.latest(connection, endpoint, SERVED, moment)
        if found is None:
            return Moment(endpoint=endpoint, at=moment)
        served: list[Served] = []
        for each in found.body.get("traffic", ()):
            entry = ledger.entry(connection, each["declared"]) if each["declared"] else None
            by = {"declared": entry.time, "actor": entry.actor, "reason": entry.reason} if entry else {"declared": ""}
            served.append(msgspec.convert(each | by, Served))
    return Moment(endpoint=endpoint, at=moment, since=found.time, served=tuple(served))


def parse(at: str) -> str:
    """A time as the ledger writes it; now, where it is empty. Raises InvalidArgument."""
    try:
        moment = datetime.fromisoformat(at) if at else datetime.now(UTC)
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument(f"'{at[:40]}' is no time: write it as 2026-01-31 or 2026-01-31T15:00:00Z") from None
    return stamp(moment)
