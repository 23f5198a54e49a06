"""Who leads, where several platforms share one database: a row with a holder, a term and an expiry by its own clock.

Every change of holder is a new term. What a leader writes is fenced by its term: a transaction of one that has been
replaced is refused, however late it wakes up. On SQLite the lock of the home does all of this.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

import sqlalchemy as sa

from argosy.spec.errors import ArgosyError, Conflict
from argosy.spec.settings import Home
from argosy.store.database import Database, metadata
from argosy.store.table import add

LOG = logging.getLogger(__name__)

SECONDS = 6.0
"""How long a lease holds without being renewed."""
RENEWED = 2.0
ASKED = 0.5
"""Seconds between two attempts of one that waits."""
NAME = "platform"

leases_table = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(16), primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.Float(53), nullable=False),
)
L = leases_table.c


def holder(home: Home) -> str:
    """The name of a home among all that may share its database. Its lock keeps it to one process."""
    return f"{socket.gethostname()}:{home.root.resolve()}"


class Lease:
    """One would-be leader. `term` is 0 while it does not lead. Raises Unavailable where the database is away."""

    def __init__(self, database: Database, holder: str, seconds: float = SECONDS) -> None:
        self.database = database.create()
        self.holder, self.seconds, self.term = holder, seconds, 0

    def take(self) -> bool:
        """Lead, if nobody does, or the leader's lease is over, or it was a process of this same home."""
        now = self._now()
        mine = {"holder": self.holder, "expires": now + self.seconds}
        with self.database.begin(fenced=False) as connection:
            add(connection, leases_table, [{"name": NAME, "holder": "", "term": 0, "expires": 0.0}])
            free = sa.or_(L.expires <= now, L.holder == self.holder)
            update = sa.update(leases_table).where(L.name == NAME, free).values(**mine, term=L.term + 1)
            term = connection.execute(update.returning(L.term)).scalar()
        self.term = term or 0
        return bool(self.term)

    def renew(self) -> bool:
        """Go on leading. False: another has taken over. A lease that ran out and that nobody took is still ours."""
        with self.database.begin(fenced=False) as connection:
            update = sa.update(leases_table).where(L.name == NAME, L.term == self.term)
            return bool(connection.execute(update.values(expires=self._now() + self.seconds)).rowcount)

    def release(self) -> None:
        """Lead no more, so that nobody has to wait for the end of the lease."""
        with self.database.begin(fenced=False) as connection:
            update = sa.update(leases_table).where(L.name == NAME, L.term == self.term)
            connection.execute(update.values(expires=0.0, holder=""))
        self.term = 0

    def leader(self) -> str:
        """Whose lease the present one is."""
        with self.database.read() as connection:
            return connection.execute(sa.select(L.holder).where(L.name == NAME)).scalar() or ""

    def fence(self, connection: sa.Connection) -> None:
        """Raise Conflict unless this transaction is the leader's; until it ends, nobody else becomes that."""
        found = connection.execute(sa.select(L.term).where(L.name == NAME).with_for_update(read=True)).scalar()
        if found != self.term:
            raise Conflict("another platform leads this database now: nothing was changed")

    def _now(self) -> sa.ColumnElement[float]:
        if self.database.sqlite:
            return (sa.func.julianday("now") - 2440587.5) * 86400.0
        return sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), sa.Float(53))


def next_term(database: Database, home: Home) -> int:
    """The term of a platform that leads by the lock of its home, and renews no lease."""
    lease = Lease(database, holder(home), seconds=0.0)
    lease.take()
    return lease.term


async def win(lease: Lease, stopping: asyncio.Event, *, standby: bool, report: Callable[[str], None]) -> bool:
    """Lead, now or, as a standby, as soon as the leader is gone. False: told to stop before. Raises Conflict."""
    reported = False
    while not stopping.is_set():
        try:
            if await asyncio.to_thread(lease.take):
                lease.database.fence = lease.fence
                return True
            leader = await asyncio.to_thread(lease.leader)
        except ArgosyError as error:
            if not standby:
                raise
            leader = error.message
        if not standby:
            raise Conflict(
                f"this database is led by {leader}: end that platform, or wait for it by  argosy up --standby"
            )
        if not reported:
            report(f"standby   {leader} leads")
            reported = True
        try:
            async with asyncio.timeout(ASKED):
                await stopping.wait()
        except TimeoutError:
            continue
    return False


async def keep(lease: Lease, lost: Callable[[], None], period: float = RENEWED) -> None:
    """Renew every `period` seconds, until another leads. A database that is away is asked again."""
    while True:
        await asyncio.sleep(period)
        try:
            if not await asyncio.to_thread(lease.renew):
                LOG.error("another platform leads this database; this one ends")
                lost()
                return
        except ArgosyError as error:
            LOG.warning("the lease could not be renewed: %s", error.message)
