"""What providers offer, as it was last read, and what was learned of it by launching: one row for each kind of machine,
market, zone and hour."""

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from argosy.spec.offer import Launch, Offer
from argosy.store.database import Database, metadata
from argosy.store.table import RowMapper, table_of

HOUR = 3600
DAYS = 60
"""For how long is kept what was learned."""


class RefusedRows(msgspec.Struct, frozen=True, kw_only=True):
    """So many rows of a catalogue were no offers, for one reason; `line` is the first of them."""

    reason: str
    count: int
    line: int


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """The offers of one provider's catalogue: `version` is the SHA-256 of what was read from `source` at `at`. Where
    the last attempt (`tried`) failed, `error` says why, and the offers are those of before."""

    provider: str
    source: str
    version: str = ""
    at: float = 0.0
    tried: float = 0.0
    error: str = ""
    offers: tuple[Offer, ...] = ()
    refused: tuple[RefusedRows, ...] = ()


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What launches told in the hour that begins at `hour` (seconds since 1970): how many were `tried`, how many of
    those served (`started`), `ready` seconds after they were asked for, together; how many machines were `lost`, and
    for how many seconds some were `held`. `listed` and `paid` are the sums of their prices, as offered and as billed.
    """

    provider: str
    region: str
    zone: str
    instance: str
    market: str
    hour: int
    tried: int = 0
    started: int = 0
    lost: int = 0
    held: float = 0.0
    ready: float = 0.0
    listed: float = 0.0
    paid: float = 0.0


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """US dollars that went to an external provider on a `day` (of UTC, since 1970), with what is leased to be spent."""

    provider: str
    day: int
    spent: float


SUMS = ("tried", "started", "lost", "held", "ready", "listed", "paid")
KEY = ("provider", "region", "zone", "instance", "market", "hour")
catalogues_table = table_of(metadata, "catalogues", Catalogue, key=("provider",), provider=63)
learned_table = table_of(
    metadata,
    "learned_offers",
    Learned,
    sa.Index("learned_offers_hour", "hour"),
    key=KEY,
    hour=sa.BigInteger,
    **dict.fromkeys(("provider", "region", "zone", "instance", "market"), 200),
)
spending_table = table_of(metadata, "external_spending", Spending, key=("provider", "day"), provider=63)
L, S = learned_table.c, spending_table.c
CATALOGUES, LEARNED = RowMapper(catalogues_table, Catalogue), RowMapper(learned_table, Learned)
SPENDING = RowMapper(spending_table, Spending)


def keep(database: Database, catalogue: Catalogue) -> None:
    """Replace what is known of a provider. Raises Unavailable, StorageFull."""
    with database.begin() as connection:
        CATALOGUES.put(connection, [catalogue])


def catalogues(database: Database) -> list[Catalogue]:
    """Every catalogue that was read, by provider."""
    return CATALOGUES.read(database, order=(catalogues_table.c.provider,))


def learned(database: Database, since: float) -> list[Learned]:
    """What was learned in the hours from `since` on, oldest first."""
    return LEARNED.read(database, L.hour >= int(since) // HOUR * HOUR, order=(L.hour, *(L[name] for name in KEY[:5])))


def learn(connection: sa.Connection, before: Launch | None, after: Launch) -> None:
    """Take in that a launch has changed; in the transaction that writes the launch, so that it counts once."""
    count(connection, told(before, after))


def told(before: Launch | None, after: Launch) -> list[Learned]:
    """What the change of a launch tells: that it served, that it failed, for how long it was held, and whether it was
    lost: it has ended, and nobody of ours was ending it."""
    state, was = after.state, before.state if before is not None else ""
    if state == was:
        return []
    if state == "ready":
        ready = max(0.0, (after.ready or after.asked) - after.asked)
        paid = after.price or after.offer.price
        return [_row(after, after.asked, tried=1, started=1, ready=ready, listed=after.offer.price, paid=paid)]
    if state == "failed":
        return [_row(after, after.asked, tried=1)]
    if state != "ended" or after.ready is None:
        return []
    end, found = max(after.ended or after.ready, after.ready), list[Learned]()
    begin = max(after.ready, end - DAYS * 86400)
    while begin < end:
        until = min(end, begin // HOUR * HOUR + HOUR)
        found.append(_row(after, begin, held=until - begin))
        begin = until
    return [*found, _row(after, end, lost=1)] if was == "ready" else found


def _row(launch: Launch, at: float, **sums: float) -> Learned:
    offer = launch.offer
    key = (offer.provider, offer.region, offer.zone, offer.instance, offer.market, int(at) // HOUR * HOUR)
    return Learned(**dict(zip(KEY, key, strict=True)), **sums)  # pyright: ignore[reportArgumentType]


def count(connection: sa.Connection, rows: Iterable[Learned]) -> None:
    """Add rows to what is there."""
    for row in rows:
        known = LEARNED.one(connection, *(L[name] == getattr(row, name) for name in KEY))
        if known is not None:
            row = msgspec.structs.replace(row, **{name: getattr(row, name) + getattr(known, name) for name in SUMS})
        LEARNED.put(connection, [row])


def forget(database: Database, now: float) -> None:
    """Delete what was learned, and spent, more than `DAYS` ago."""
    with database.begin() as connection:
        connection.execute(sa.delete(learned_table).where(L.hour < now - DAYS * 86400))
        connection.execute(sa.delete(spending_table).where(S.day < now / 86400 - DAYS))


def spend(database: Database, provider: str, day: int, dollars: float, budget: float) -> bool:
    """Take dollars of what a day's budget has left; False where it has less. What is negative is given back."""
    with database.begin() as connection:
        SPENDING.add(connection, [Spending(provider=provider, day=day, spent=0.0)])
        change = sa.update(spending_table).where(S.provider == provider, S.day == day, S.spent + dollars <= budget)
        done = connection.execute(change.values(spent=S.spent + dollars).returning(S.spent)).first()
        return done is not None


def spent(database: Database, day: int) -> dict[str, float]:
    """What went to each external provider on a day."""
    return {each.provider: each.spent for each in SPENDING.read(database, S.day == day, order=(S.provider,))}
