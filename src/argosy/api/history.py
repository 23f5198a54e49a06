"""`/v1/history`, `/v1/served`, `/v1/ledger`: the ledger, read and verified."""

import asyncio
from typing import Annotated

import msgspec

from argosy.api.route import Route, Services
from argosy.api.timeline import Moment, served_at
from argosy.spec.errors import NotFound
from argosy.store import audit, ledger
from argosy.store.audit import LedgerAudit
from argosy.store.ledger import Entry
from argosy.store.signer import Head


class Range(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last `limit` entries."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100


class At(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time, ISO 8601; now, if it is left out."""

    at: str = ""


async def history(services: Services, name: str, query: Range) -> list[Entry]:
    """What happened to an endpoint, or to `model@alias`, oldest first. Deleted ones are remembered."""

    def read() -> list[Entry]:
        with services.store.database.read() as connection:
            return ledger.entries(connection, name, query.limit)

    if found := await asyncio.to_thread(read):
        return found
    raise NotFound(f"the ledger knows nothing of '{name[:127]}'")


async def served(services: Services, name: str, query: At) -> Moment:
    """What served at a time: revisions, their bytes, who had declared them and why."""
    return await asyncio.to_thread(served_at, services.store.database, name, query.at)


async def verify(services: Services) -> LedgerAudit:
    """Hash the whole ledger again, and check who signed it."""
    return await asyncio.to_thread(audit.verify, services.store.database)


async def head(services: Services) -> Head:
    """The end of the ledger, signed: stored elsewhere, it shows later that nothing before it was changed or cut off."""
    return await asyncio.to_thread(audit.head, services.store.database)


ROUTES = (
    Route("GET", "/v1/ledger", verify, "Verify the ledger"),
    Route("GET", "/v1/ledger/head", head, "The end of the ledger, signed"),
    Route("GET", "/v1/history/{name}", history, "History"),
    Route("GET", "/v1/served/{name}", served, "What served when"),
)
