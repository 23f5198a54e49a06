"""What one key may still use: reserve, then settle. Pure: `(account, …) -> (…, account)`, for the ledger in `usage.py`.

A gateway gets a lease of tokens, reserves from it for each request without asking again, and writes what a request has
used with its lease into the access log. That line settles it: the reservation ends, what was used is charged, to the
periods that the lease began in.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from argosy.spec.language import TokenLimits

HELD = 5
"""Seconds in which a gateway may reserve from a lease."""
SLACK = 10
"""Seconds, beyond the longest request, after which no line about a lease comes any more."""
SHARE, LEAST, MOST = 16, 8, 1024
"""A lease has more than was asked for: a part of what is left, and at the most what so many such requests take as the
gateway says."""


class Period(NamedTuple):
    """A minute, day or month of UTC, in seconds since 1970."""

    name: str
    start: int
    end: int
    kind: str


class Spent(msgspec.Struct, frozen=True):
    tokens: int = 0
    money: float = 0.0

    def plus(self, other: "Spent") -> "Spent":
        return Spent(self.tokens + other.tokens, self.money + other.money)


class TokenLease(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that a gateway may give to requests of a key from `at` to `until`; `left` are those that no line has
    settled. After `closes` no line is to come. `rate` is the most that one of them may cost; `gateway` is the process
    of the gateway's Envoy."""

    id: str
    key: str
    at: int
    until: int
    closes: int
    left: int
    rate: float = 0.0
    gateway: str = ""


class Account(msgspec.Struct, frozen=True):
    """A key: its limits, what was spent by the name of the period, and its leases."""

    limits: TokenLimits = TokenLimits()
    spent: dict[str, Spent] = {}
    leases: tuple[TokenLease, ...] = ()

    @property
    def reserved(self) -> int:
        return sum(lease.left for lease in self.leases)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request of `key` needs so many tokens, each at `rate` at the most, and may take `longest` seconds."""

    key: str
    tokens: int
    rate: float = 0.0
    longest: int = 60
    gateway: str = ""
    worth: int = LEAST


class Bound(NamedTuple):
    """One limit: of so many tokens or so much money, what of it was used, and how many tokens are neither used nor in
    leases."""

    period: Period
    money: bool
    limit: float
    used: float
    room: int


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A lease, or None with `why`: the limit that forbids one, and when to ask again (0: never). `limit`, `remaining`
    and `reset` (seconds) are told to callers, of the shortest period whose tokens are limited."""

    lease: TokenLease | None
    limit: int | None = None
    remaining: int = 0
    reset: int = 0
    why: Bound | None = None
    again: int = 0


def periods(at: int) -> Iterator[Period]:
    """The minute, the day and the month of UTC at this second."""
    moment = datetime.fromtimestamp(at, UTC)
    minute, day = moment.replace(second=0), moment.replace(hour=0, minute=0, second=0)
    month = day.replace(day=1)
    after = (month + timedelta(days=32)).replace(day=1)
    yield _period(minute, minute + timedelta(minutes=1), "%Y-%m-%dT%H:%M", "minute")
    yield _period(day, day + timedelta(days=1), "%Y-%m-%d", "day")
    yield _period(month, after, "%Y-%m", "month")


def _period(start: datetime, end: datetime, form: str, kind: str) -> Period:
    return Period(start.strftime(form), int(start.timestamp()), int(end.timestamp()), kind)


def began(lease: str) -> int:
    """When the lease of this id was given; 0 for what is no id."""
    try:
        return int(lease.partition(".")[0], 16)
    except ValueError:
        return 0


def bounds(account: Account, now: int, rate: float) -> Iterator[Bound]:
    """The limits of a key as they stand, those of the shortest period first; `rate` turns money into tokens."""
    for period in periods(now):
        spent = account.spent.get(period.name, Spent())
        held = [each for each in account.leases if period.start <= each.at < period.end]
        tokens = getattr(account.limits, f"tokens_per_{period.kind}")
        money = getattr(account.limits, f"money_per_{period.kind}", None)
        if tokens is not None:
            room = tokens - spent.tokens - sum(each.left for each in held)
            yield Bound(period, False, tokens, spent.tokens, room)
        if money is not None:
            left = money - spent.money - sum(each.left * each.rate for each in held)
            room = int(left / rate + 1e-6) if rate else int(left >= 0) * 2**53
            yield Bound(period, True, money, spent.money, room)


def grant(account: Account, ask: Ask, now: int, name: str) -> tuple[Decided, Account]:
    """A lease with at least the tokens that are asked for; `name` is unique. What leases hold is never given twice."""
    found = list(bounds(account, now, ask.rate))
    shown = next((each for each in found if not each.money), None)
    decided = Decided(lease=None)
    if shown is not None:
        remaining = max(0, shown.room)
        decided = Decided(lease=None, limit=int(shown.limit), remaining=remaining, reset=shown.period.end - now)
    refusing = [each for each in found if each.room < ask.tokens]
    if refusing:
        why = refusing[-1]
        used = ask.tokens * ask.rate if why.money else ask.tokens
        again = 0 if used > why.limit else 1 if why.used + used <= why.limit else why.period.end - now
        return msgspec.structs.replace(decided, why=why, again=again), account
    least = min((each.room for each in found), default=ask.tokens)
    until = min([now + HELD, *(each.period.end for each in found)])
    lease = TokenLease(
        id=f"{now:x}.{name}",
        key=ask.key,
        at=now,
        until=until,
        closes=until + ask.longest + SLACK,
        left=max(ask.tokens, min(least // SHARE, ask.worth * ask.tokens)),
        rate=ask.rate,
        gateway=ask.gateway,
    )
    remaining = max(0, decided.remaining - ask.tokens)
    decided = msgspec.structs.replace(decided, lease=lease, remaining=remaining)
    return decided, msgspec.structs.replace(account, leases=(*account.leases, lease))


def settle(account: Account, lease: str, reserved: int, used: Spent, at: int) -> Account:
    """A request has ended, which began at `at`: its reservation ends, and what it used is charged."""
    return _charged(relieved(account, lease, reserved), used, began(lease) or at)


def relieved(account: Account, lease: str, tokens: int) -> Account:
    """So many tokens of a lease are reserved no more, by a request that has ended or by the gateway's word."""
    leases = tuple(
        msgspec.structs.replace(each, left=max(0, each.left - max(0, tokens))) if each.id == lease else each
        for each in account.leases
    )
    return msgspec.structs.replace(account, leases=tuple(each for each in leases if each.left))


def expire(account: Account, now: int, dead: Collection[str] = (), drained: Collection[str] = ()) -> Account:
    """Leases that no line is to come of are over, and what is left of them is free, as of gateways that were
    `drained`. Of one that was killed, whose last lines are lost, it is charged."""
    lost, ended = [each for each in account.leases if each.gateway in dead], {*dead, *drained}
    kept = tuple(each for each in account.leases if each.closes > now and each.gateway not in ended)
    account = msgspec.structs.replace(account, leases=kept)
    for each in lost:
        account = _charged(account, Spent(each.left, each.left * each.rate), each.at)
    return account


def _charged(account: Account, used: Spent, at: int) -> Account:
    if not used.tokens and not used.money:
        return account
    news = {each.name: account.spent.get(each.name, Spent()).plus(used) for each in periods(at)}
    return msgspec.structs.replace(account, spent=account.spent | news)
