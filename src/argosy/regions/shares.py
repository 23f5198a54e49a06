"""How the limits of a key are divided among regions. Pure.

A region gets a share of each limit, and spends no more than that in any period, whether it is heard or not: all shares
together are never more than the limit. A share is lowered by telling the region, and counts as lowered once the region
has said, a moment later, what it has used by then; only after that another one is raised. Shares move where both sides
name the same period, so that clocks that differ spend nothing twice.

A share holds for `LEASE` seconds from the last order, by the region's clock. The holder counts from the answer, which
comes later.
"""

import math
from collections.abc import Iterable, Mapping

import msgspec

from argosy.spec.language import TokenLimits
from argosy.spec.limits import RATES
from argosy.store.keys import KeyRecord
from argosy.store.tokens import Account, Spent, periods

LEASE = 3600.0
"""Seconds for which a region that hears nothing goes on spending its shares."""
MOMENT = 2.5
"""Seconds after which all that was asked under an earlier share has been counted."""
SPREAD = 0.2
"""Of what is left, the part that all regions have alike; the rest goes where it is used."""
ENOUGH = 0.5
"""A region that has this part of what it could have is not given more."""
FIELDS = ("tokens_per_minute", "tokens_per_day", "tokens_per_month", "money_per_day", "money_per_month")
NONE = TokenLimits(tokens_per_minute=1, money_per_day=0.0)
"""What is left to a key whose lease is over: no request takes one token."""


class Spend(msgspec.Struct, frozen=True):
    """What was used of a limit and is reserved, in the period of this name."""

    period: str
    used: float


class Share(msgspec.Struct, frozen=True):
    """A region's share of a limit: what it was `told` last, when it first answered after that (seconds since 1970; 0:
    not yet), and the most that it may be spending by."""

    told: float = 0.0
    most: float = 0.0
    since: float = 0.0

    def tell(self, value: float) -> "Share":
        """With another share. It holds at once where it is larger."""
        return Share(value, max(self.most, value)) if value != self.told else self

    def answered(self, used: float, now: float) -> "Share":
        """After an answer that says what is used: a moment after the first one, nothing else is spent by."""
        if self.most <= self.told:
            return self
        if not self.since:
            return msgspec.structs.replace(self, since=now)
        return self if now - self.since < MOMENT else msgspec.structs.replace(self, most=max(self.told, used))


def spends(account: Account, now: int) -> dict[str, Spend]:
    """What a key has used, by the field of its limits."""
    found: dict[str, Spend] = {}
    for period in periods(now):
        spent = account.spent.get(period.name, Spent())
        held = [each for each in account.leases if period.start <= each.at < period.end]
        found[f"tokens_per_{period.kind}"] = Spend(period.name, spent.tokens + sum(each.left for each in held))
        money = spent.money + sum(each.left * each.rate for each in held)
        found[f"money_per_{period.kind}"] = Spend(period.name, money)
    return {name: found[name] for name in FIELDS}


def divide(limit: float, shares: Mapping[str, Share], used: Mapping[str, float]) -> dict[str, Share]:
    """The shares of a limit from now on. `used` are the regions that have said what they use in the present period; the
    others keep what they may be spending."""
    fixed = sum(each.most for name, each in shares.items() if name not in used)
    pool, after = max(0.0, limit - fixed), dict(shares)
    spent = {name: min(used[name], pool) for name in used if name in shares}
    left, total = max(0.0, pool - sum(spent.values())), sum(spent.values())
    wanted: dict[str, float] = {}
    for name, each in spent.items():
        part = SPREAD / len(spent) + (1 - SPREAD) * (each / total if total else 1 / len(spent))
        wanted[name] = each + left * part
    if not _short(limit, fixed, shares, spent, wanted):
        return after
    for name, each in wanted.items():
        if each < shares[name].told:
            after[name] = shares[name].tell(max(each, used[name]))
    for name, each in wanted.items():
        room = limit - sum(one.most for other, one in after.items() if other != name)
        if (value := min(each, room)) > after[name].told:
            after[name] = after[name].tell(value)
    return after


def _short(
    limit: float, fixed: float, shares: Mapping[str, Share], used: Mapping[str, float], wanted: Mapping[str, float]
) -> bool:
    """Whether a region has too little, or something is given to nobody, or more is given than there is."""
    told = sum(shares[name].told for name in used)
    if told > limit - fixed or told < (limit - fixed) * (1 - 1e-6):
        return True
    return any(shares[name].told - each < ENOUGH * (wanted[name] - each) for name, each in used.items())


def limited(limits: TokenLimits, shares: Mapping[str, float]) -> TokenLimits:
    """The limits of a key in a region that has these shares, by field. One token is the least."""
    found: dict[str, float | None] = {}
    least = math.inf
    for name in reversed(FIELDS):
        if getattr(limits, name) is None:
            continue
        share = shares.get(name, 0.0)
        if name.startswith("tokens"):
            least = min(least, max(1, int(share)))
            share = least
        found[name] = share
    return msgspec.structs.replace(limits, **found)


def paced(record: KeyRecord, regions: int) -> KeyRecord:
    """A key with its part of its rate."""
    if record.rate is None or regions < 2:
        return record
    burst = record.burst and max(1, record.burst // regions)
    return msgspec.structs.replace(record, rate=max(RATES[0], record.rate / regions), burst=burst)


def over(records: Iterable[KeyRecord], held: Mapping[str, KeyRecord]) -> list[KeyRecord]:
    """Keys where the lease of those `held` is over: they spend nothing more, unless they say that they are answered
    where nobody counts."""
    return [
        msgspec.structs.replace(each, limits=NONE)
        if each.id in held and each.limits is not None and each.limits.unreachable == "closed"
        else each
        for each in records
    ]
