"""The one ledger of tokens: what was used by key, endpoint, version and hour; balances and leases of keys; and up to
where each access log was read, which is written in one transaction with what was read."""

import math
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from argosy.spec.language import TokenLimits
from argosy.store.database import Database, metadata
from argosy.store.table import RowMapper, put, table_of
from argosy.store.tokens import Account, Ask, Decided, Spent, TokenLease, expire, grant, periods, relieved, settle

HOUR = 3600
RETENTION = 400 * 86400
"""Seconds for which hours are retained; the sums of all hours stay."""
AGES = {"minute": HOUR, "day": 2 * 86400, "month": 62 * 86400}
"""Seconds after which balances are forgotten."""
_LOCK = 0x746F6B656E73


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What answers used in the hour that begins at `hour` (seconds since 1970); at 0, by no key: in all hours.

    `cached` are among the `input` tokens, `reasoning` among those of `output`. `aborted` are answers that were not sent
    to their end. `first` and `each` are milliseconds to the first token and for each further one: their sum, and how
    many answers there were by `bucket`.
    """

    key: str
    endpoint: str
    version: str
    hour: int
    requests: int = 0
    aborted: int = 0
    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0
    money: float = 0.0
    first: float = 0.0
    each: float = 0.0
    firsts: dict[int, int] = {}
    eaches: dict[int, int] = {}


class AnswerCounts(msgspec.Struct, frozen=True, kw_only=True):
    """All answers of a revision so far, for rollouts: how many there were by the bucket of `serving.counts`, of their
    times to the first token and for each further one (`firsts` and `eaches`, of streams), of their time by token
    (`speeds`) and of their tokens (`lengths`, a millisecond each); by finish reason; by whether they were refusals (1)
    or not (0). `input` tokens, and how many of them were `cached`. `at` is when the last one began."""

    endpoint: str
    revision: str
    at: int
    firsts: dict[int, int] = {}
    eaches: dict[int, int] = {}
    speeds: dict[int, int] = {}
    lengths: dict[int, int] = {}
    refusals: dict[int, int] = {}
    finishes: dict[str, int] = {}
    input: int = 0
    cached: int = 0


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """One request, of which the gateway has written a line: it began at `at`, and `reserved` of the `lease`; what its
    revision is `counted` by. Of a client that left before its engine had said a number the prompt's tokens are
    `estimated`: they count for limits, and are not billed."""

    usage: Usage
    at: int
    lease: str = ""
    reserved: int = 0
    estimated: int = 0
    counted: AnswerCounts | None = None


class Position(msgspec.Struct, frozen=True):
    """Up to where a log was read: the file by its inode, and bytes of it."""

    log: str
    inode: int = 0
    offset: int = 0


SUMS = ("requests", "aborted", "input", "cached", "output", "reasoning", "money", "first", "each")
usage_table = table_of(
    metadata,
    "usage",
    Usage,
    sa.Index("usage_hour", "hour"),
    key=("key", "endpoint", "version", "hour"),
    **dict.fromkeys(("hour", "requests", "aborted", "input", "cached", "output", "reasoning"), sa.BigInteger),
)
balances_table = sa.Table(
    "token_balances",
    metadata,
    sa.Column("key", sa.String(63), primary_key=True),
    sa.Column("period", sa.String(16), primary_key=True),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("money", sa.Double, nullable=False),
)
leases_table = table_of(
    metadata,
    "token_leases",
    TokenLease,
    key=("id",),
    **dict.fromkeys(("at", "until", "closes", "left"), sa.BigInteger),
)
positions_table = table_of(
    metadata, "log_positions", Position, key=("log",), log=255, inode=sa.BigInteger, offset=sa.BigInteger
)
answers_table = table_of(
    metadata,
    "answer_counts",
    AnswerCounts,
    key=("endpoint", "revision"),
    **dict.fromkeys(("at", "input", "cached"), sa.BigInteger),
)
U, B, L, P, A = (each.c for each in (usage_table, balances_table, leases_table, positions_table, answers_table))
ROWS, LEASES, POSITIONS, ANSWERS = (
    RowMapper(usage_table, Usage),
    RowMapper(leases_table, TokenLease),
    RowMapper(positions_table, Position),
    RowMapper(answers_table, AnswerCounts),
)


def bucket(milliseconds: float) -> int:
    """Of a histogram: eight to each doubling; `upper` is where it ends."""
    return math.ceil(8 * math.log2(milliseconds)) if milliseconds > 0 else -80


def upper(bucket: int) -> float:
    """The largest value in a bucket, in milliseconds."""
    return 2.0 ** (bucket / 8)


def add(rows: Iterable[Usage], **fields: Any) -> Usage:
    """The sum of rows, one at the least, with other `fields`."""
    found = list(rows)
    sums: dict[str, Any] = {name: sum(getattr(row, name) for row in found) for name in SUMS}
    return msgspec.structs.replace(found[0], **sums, **_histograms(found), **fields)


def _histograms(rows: Sequence[Usage | AnswerCounts]) -> dict[str, dict[Any, int]]:
    names = [name for name in rows[0].__struct_fields__ if isinstance(getattr(rows[0], name), dict)]
    sums: dict[str, dict[Any, int]] = {name: {} for name in names}
    for name, counts in sums.items():
        for row in rows:
            for place, count in getattr(row, name).items():
                counts[place] = counts.get(place, 0) + count
    return sums


class TokenLedger:
    """Every call is one transaction, which has the ledger to itself: any number of processes may share it.

    `limits` gives those of a key, or None for a key without."""

    def __init__(self, database: Database, limits: Callable[[str], TokenLimits | None]) -> None:
        self._database, self._limits = database, limits

    def ask(self, asks: Sequence[Ask], back: Sequence[tuple[str, int]], now: int) -> list[Decided]:
        """Leases for those who ask, after others have given `back` tokens of theirs. Raises Unavailable."""
        with self._database.begin(fenced=False) as connection:
            self._alone(connection)
            given = {name for name, _ in back}
            owners = dict(connection.execute(sa.select(L.id, L.key).where(L.id.in_(given))).all() if given else ())
            books = _Books(connection, {each.key for each in asks} | {*owners.values()}, self._limits)
            for name, tokens in back:
                if name in owners:
                    books.change(owners[name], lambda account, n=name, t=tokens: relieved(account, n, t))
            answers: list[Decided] = []
            for each in asks:
                account = expire(books.accounts[each.key], now)
                decided, account = grant(account, each, now, secrets.token_hex(6))
                books.change(each.key, lambda _, news=account: news)
                answers.append(decided)
            books.write()
        return answers

    def take(self, before: Position, after: Position, lines: Sequence[Used]) -> bool:
        """Add lines that stand in a log between two positions, once: False where it was read beyond `before` already.
        Raises Unavailable, StorageFull."""
        with self._database.begin(fenced=False) as connection:
            self._alone(connection)
            if (POSITIONS.one(connection, P.log == before.log) or Position(before.log)) != before:
                return False
            POSITIONS.put(connection, [after])
            books = _Books(connection, {each.usage.key for each in lines if each.usage.key}, self._limits)
            for each in lines:
                if (usage := each.usage).key:
                    used = Spent(usage.input + usage.output + each.estimated, usage.money)
                    books.change(
                        usage.key,
                        lambda account, each=each, used=used: settle(account, each.lease, each.reserved, used, each.at),
                    )
            books.write()
            _add_usage(connection, [each.usage for each in lines])
            _add_answers(connection, [each.counted for each in lines if each.counted is not None])
        return True

    def expire(self, now: int, dead: Collection[str] = (), drained: Collection[str] = ()) -> None:
        """End leases that are over, and those of gateways that are `dead` or were `drained`; forget what is too old.
        Raises Unavailable."""
        with self._database.begin(fenced=False) as connection:
            self._alone(connection)
            over = sa.or_(L.closes <= now, L.gateway.in_({*dead, *drained}))
            whose = set(connection.execute(sa.select(L.key).where(over)).scalars())
            books = _Books(connection, whose, self._limits)
            for key in whose:
                books.change(key, lambda account: expire(account, now, dead, drained))
            books.write()
            for kind, age in AGES.items():
                first = next(each.name for each in periods(now - age) if each.kind == kind)
                connection.execute(
                    sa.delete(balances_table).where(sa.func.length(B.period) == len(first), B.period < first)
                )
            connection.execute(sa.delete(usage_table).where(U.hour > 0, U.hour < now - RETENTION))
            connection.execute(sa.delete(answers_table).where(A.at < now - RETENTION))

    def gateways(self) -> set[str]:
        """The processes that hold leases."""
        with self._database.read() as connection:
            return set(connection.execute(sa.select(L.gateway).distinct()).scalars())

    def position(self, log: str) -> Position:
        """Up to where a log was read."""
        with self._database.read() as connection:
            return POSITIONS.one(connection, P.log == log) or Position(log)

    def account(self, key: str) -> Account:
        """A key as it stands."""
        with self._database.read() as connection:
            return _Books(connection, {key}, self._limits).accounts[key]

    def _alone(self, connection: sa.Connection) -> None:
        if not self._database.sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


class _Books:
    """The accounts of some keys in a transaction; `write` writes what has changed."""

    def __init__(
        self, connection: sa.Connection, keys: Collection[str], limits: Callable[[str], TokenLimits | None]
    ) -> None:
        self._connection = connection
        spent: dict[str, dict[str, Spent]] = {key: {} for key in keys}
        leases: dict[str, list[TokenLease]] = {key: [] for key in keys}
        if keys:
            for row in connection.execute(sa.select(balances_table).where(B.key.in_(keys))):
                spent[row.key][row.period] = Spent(row.tokens, row.money)
            for lease in LEASES.all(connection, LEASES.query(L.key.in_(keys)).order_by(L.id)):
                leases[lease.key].append(lease)
        self.accounts = {
            key: Account(limits(key) or TokenLimits(), spent[key], tuple(leases[key])) for key in sorted(keys)
        }
        self._before = dict(self.accounts)

    def change(self, key: str, how: Callable[[Account], Account]) -> None:
        """Put another account in the place of that of a key."""
        self.accounts[key] = how(self.accounts[key])

    def write(self) -> None:
        """Write balances and leases that are new or others, and delete leases that are over."""
        balances: list[Mapping[str, Any]] = []
        leases: list[TokenLease] = []
        gone: list[str] = []
        for key, now in self.accounts.items():
            before = self._before[key]
            balances += [
                {"key": key, "period": name, "tokens": each.tokens, "money": each.money}
                for name, each in now.spent.items()
                if before.spent.get(name) != each
            ]
            known = {each.id: each for each in before.leases}
            leases += [each for each in now.leases if known.get(each.id) != each]
            gone += known.keys() - {each.id for each in now.leases}
        put(self._connection, balances_table, balances)
        LEASES.put(self._connection, leases)
        if gone:
            self._connection.execute(sa.delete(leases_table).where(L.id.in_(gone)))


def _add_usage(connection: sa.Connection, rows: Iterable[Usage]) -> None:
    """Add to the rows of their hours, and to those of all hours."""
    news: dict[tuple[str, str, str, int], list[Usage]] = {}
    for row in rows:
        news.setdefault((row.key, row.endpoint, row.version, row.hour), []).append(row)
        whole = msgspec.structs.replace(row, key="", hour=0)
        news.setdefault(("", row.endpoint, row.version, 0), []).append(whole)
    found: list[Usage] = []
    for (key, endpoint, version, hour), each in news.items():
        where = (U.key == key, U.endpoint == endpoint, U.version == version, U.hour == hour)
        there = ROWS.one(connection, *where)
        found.append(add([there, *each] if there else each))
    ROWS.put(connection, found)


def _add_answers(connection: sa.Connection, rows: Iterable[AnswerCounts]) -> None:
    news: dict[tuple[str, str], list[AnswerCounts]] = {}
    for row in rows:
        news.setdefault((row.endpoint, row.revision), []).append(row)
    for (endpoint, revision), each in news.items():
        there = ANSWERS.one(connection, A.endpoint == endpoint, A.revision == revision)
        found = [there, *each] if there else each
        sums = {name: sum(getattr(one, name) for one in found) for name in ("input", "cached")}
        ANSWERS.put(connection, [msgspec.structs.replace(each[-1], **sums, **_histograms(found))])


def answers(database: Database, endpoints: Iterable[str]) -> dict[tuple[str, str], AnswerCounts]:
    """What is counted of the answers of these endpoints, by endpoint and revision."""
    found = ANSWERS.read(database, A.endpoint.in_(endpoints), order=(A.endpoint, A.revision))
    return {(each.endpoint, each.revision): each for each in found}


def totals(database: Database) -> list[Usage]:
    """What each version of an endpoint has used in all hours."""
    return ROWS.read(database, U.hour == 0, order=(U.endpoint, U.version))


def read(database: Database, since: int, until: int) -> list[Usage]:
    """The hours that begin from `since` on and before `until`, oldest first."""
    return ROWS.read(database, U.hour >= max(1, since), U.hour < until, order=(U.hour, U.key, U.endpoint, U.version))
