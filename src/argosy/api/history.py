"""`/v1/history`: the ledger, told and verified."""

import asyncio

import msgspec

from argosy.api.route import Call, Route
from argosy.api.timeline import Moment, served_at
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.store import audit, ledger
from argosy.store.audit import LedgerAudit
from argosy.store.ledger import Entry
from argosy.store.signer import Head


class Range(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last `limit` entries."""

    limit: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= 10_000:
            raise InvalidArgument(f"limit must be 1 to 10000, not {self.limit}")


class At(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time, ISO 8601; now, if it is left out."""

    at: str = ""


async def history(call: Call) -> list[Entry]:
    """What happened to an endpoint, or to `model@alias`, oldest first. Deleted ones are remembered."""
    name, database = call.path["name"], call.services.store.database

    def read() -> list[Entry]:
        with database.read() as connection:
            return ledger.entries(connection, name, call.query.limit)

    if found := await asyncio.to_thread(read):
        return found
    raise NotFound(f"the ledger knows nothing of '{name[:127]}'")


async def served(call: Call) -> Moment:
    """What served at a time: revisions, their bytes, who had declared them and why."""
    return await asyncio.to_thread(served_at, call.services.store.database, call.path["name"], call.query.at)


async def verify(call: Call) -> LedgerAudit:
    """Hash the whole ledger again, and check who signed it."""
    return await asyncio.to_thread(audit.verify, call.services.store.database)


async def head(call: Call) -> Head:
    """The end of the ledger, signed: kept elsewhere, it shows later that nothing before it was changed or cut off."""
    return await asyncio.to_thread(audit.head, call.services.store.database)


ROUTES = (
    Route(method="GET", path="/v1/ledger", handler=verify, summary="Verify the ledger", answer=LedgerAudit),
    Route(method="GET", path="/v1/ledger/head", handler=head, summary="The end of the ledger, signed", answer=Head),
    Route(method="GET", path="/v1/history/{name}", handler=history, summary="History", query=Range, answer=list[Entry]),
    Route(method="GET", path="/v1/served/{name}", handler=served, summary="What served when", query=At, answer=Moment),
)
