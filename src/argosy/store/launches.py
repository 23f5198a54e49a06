"""Machines that were asked for of providers: written before a provider is asked, and changed from known states only."""

from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa

from argosy.spec.errors import NotFound
from argosy.spec.offer import Launch
from argosy.store import ledger
from argosy.store.database import Database, metadata
from argosy.store.ledger import Cause
from argosy.store.offers import learn
from argosy.store.table import RowMapper, table_of

LIVE = ("intended", "starting", "ready", "ending")
"""States in which a machine may be there, and be billed."""
MOST = 10_000


class _Row(Launch, frozen=True, kw_only=True):
    """A launch as it is stored, with columns to find it by."""

    provider: str


launches_table = table_of(
    metadata,
    "launches",
    _Row,
    sa.Index("launches_of_machine", "provider", "machine"),
    key=("id",),
    index=("state", "asked"),
    id=63,
    state=16,
    provider=63,
    machine=255,
    address=255,
)
L = launches_table.c
ROWS = RowMapper(launches_table, Launch)


class Launches:
    """The launches of a platform. Every method may be called from any thread; those that write raise Unavailable,
    StorageFull, and Conflict for a platform that leads no more."""

    def __init__(self, database: Database) -> None:
        self.database = database.create()

    def intend(self, launch: Launch, cause: Cause | None = None) -> Launch:
        """Write down what is about to be asked for. One whose id is known stays as it is, and is what is returned."""
        with self.database.begin() as connection:
            if ROWS.add(connection, [launch], provider=launch.offer.provider):
                offer = launch.offer
                body = {
                    "provider": offer.provider,
                    "instance": offer.instance,
                    "region": offer.region,
                    "zone": offer.zone,
                }
                body |= {"market": offer.market, "price": offer.price}
                ledger.append(connection, f"launch/{launch.id}", "launch", body, cause)
                return launch
            return _known(ROWS.one(connection, L.id == launch.id), launch.id)

    def move(self, name: str, states: Collection[str], cause: Cause | None = None, **news: Any) -> Launch:
        """Change a launch that is in one of `states`; one in another stays as it is. As it stands afterwards. A new
        state is noted in the ledger. Raises NotFound."""
        with self.database.begin() as connection:
            before = _known(ROWS.one(connection, L.id == name), name)
            after = msgspec.structs.replace(before, **news)
            if before.state not in states or after == before:
                return before
            mine = sa.update(launches_table).where(L.id == name, L.state == before.state).returning(L.id)
            if connection.execute(mine.values(news)).first() is None:
                return _known(ROWS.one(connection, L.id == name), name)
            if after.state != before.state:
                body = {"machine": after.machine, "price": after.price, "reason": after.reason}
                learn(connection, before, after)
                ledger.append(connection, f"launch/{name}", after.state, body, cause)
            return after

    def get(self, name: str) -> Launch:
        """One launch. Raises NotFound."""
        with self.database.read() as connection:
            return _known(ROWS.one(connection, L.id == name), name)

    def live(self, provider: str = "") -> list[Launch]:
        """Those whose machine may be there, the oldest first: all, or of one provider."""
        where = (L.state.in_(LIVE), *([L.provider == provider] if provider else []))
        return ROWS.read(self.database, *where, order=(L.asked, L.id))

    def known(self, names: Collection[str]) -> dict[str, Launch]:
        """Those of these ids that were ever written down."""
        found = ROWS.read(self.database, L.id.in_(names), order=(L.id,)) if names else []
        return {each.id: each for each in found}

    def between(self, begin: float, end: float) -> list[Launch]:
        """Those that may have cost something in an interval: asked for before its end, and not ended before it begins,
        the newest first."""
        where = (L.asked < end, sa.or_(L.state.in_(LIVE), L.ended >= begin))
        return ROWS.read(self.database, *where, order=(L.asked.desc(), L.id), most=MOST)

    def of(self, prefix: str, since: float) -> list[Launch]:
        """Those whose id begins so, and that are not over, or ended after a moment; the oldest first."""
        where = (L.id.startswith(prefix, autoescape=True), sa.or_(L.state.in_(LIVE), L.ended >= since))
        return ROWS.read(self.database, *where, order=(L.asked, L.id))


def _known(launch: Launch | None, name: str) -> Launch:
    if launch is None:
        raise NotFound(f"there is no launch '{name[:63]}': argosy supply ls lists them")
    return launch
