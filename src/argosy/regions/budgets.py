"""The shares of regions in the limits of keys, as the holder of the plan keeps them: written before they are told."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from argosy.regions.shares import FIELDS, LEASE, Share, Spend, divide, limited, paced, spends
from argosy.store.keys import KeyRecord
from argosy.store.regions import RegionStore, ShareRow
from argosy.store.tokens import Account

Name = tuple[str, str, str]
"""Region, key, field of its limits."""
LATE = 20.0
"""Seconds after which a region that is heard has followed an order without a key."""
Spends = Mapping[str, Mapping[str, Spend]]
"""What was used, by key and field."""


class Budgets:
    """`own` is the region of the holder, or empty; it has a share as every other one."""

    def __init__(self, store: RegionStore, own: str, clock: Callable[[], float] = time.time) -> None:
        self._store, self._own, self._clock = store, own, clock
        self._shares: dict[Name, Share] = {}
        self._rows: dict[Name, ShareRow] = {}
        self._told: dict[tuple[str, str], dict[str, float]] = {}
        self._regions: dict[str, int] = {}
        self._left: dict[Name, float] = {}
        self._begun = clock()

    def load(self) -> None:
        """Go on with what was written."""
        self._rows = {(row.region, row.key, row.field): row for row in self._store.shares()}
        self._shares = {name: Share(row.most, row.most) for name, row in self._rows.items()}
        self._regions = {key: len({each for each, id, _ in self._rows if id == key}) for _, key, _ in self._rows}
        self._told = _told(self._shares)

    @property
    def divided(self) -> bool:
        """Whether another region may be spending of any limit."""
        return any(region != self._own for region, _ in self._told)

    def divides(self, key: str) -> bool:
        """Whether regions may be spending of the limits of a key."""
        return any(id == key and region != self._own for region, id in self._told)

    def update(
        self,
        keys: Iterable[KeyRecord],
        placed: Mapping[str, Collection[str]],
        spent: Mapping[str, Spends],
        heard: Mapping[str, float],
    ) -> None:
        """Divide the limits of keys. `placed` has the regions of each key, this one among them; `spent` is what those
        that are heard have used, `heard` when each was last."""
        now = self._clock()
        current = {name: each.period for name, each in spends(Account(), int(now)).items()}
        shares, counts = self._left_over(placed, heard, current, now), dict[str, int]()
        by_limit: dict[tuple[str, str], dict[str, Share]] = {}
        for (region, key, field), each in shares.items():
            by_limit.setdefault((key, field), {})[region] = each
        for key in keys:
            regions = placed.get(key.id, ())
            counts[key.id] = len(regions)
            for field in FIELDS:
                limit = getattr(key.limits, field, None)
                if limit is None:
                    continue
                mine = by_limit.get((key.id, field), {})
                mine |= {each: Share() for each in regions if each not in mine and each != self._own}
                mine.setdefault(self._own, Share(limit, limit))  # it had all of it until now
                used = _used(key.id, field, [each for each in regions if each in spent], spent, current[field])
                mine |= {region: mine[region].answered(each, now) for region, each in used.items()}
                shares |= {(region, key.id, field): each for region, each in divide(limit, mine, used).items()}
        self._write(shares, current)
        self._regions = counts

    def _left_over(
        self, placed: Mapping[str, Collection[str]], heard: Mapping[str, float], current: Mapping[str, str], now: float
    ) -> dict[Name, Share]:
        """The shares there were, without those of regions that have lost the key, or were not heard for the length of a
        lease. What was used of them counts to the end of the period."""
        shares = dict(self._shares)
        for name in self._shares:
            region, key, field = name
            last = heard.get(region, 0.0)
            over = now - max(last, self._begun) > LEASE
            if region in placed.get(key, ()):
                self._left.pop(name, None)
                gone = over and region != self._own
            else:
                gone = over or last > self._left.setdefault(name, now) + LATE
            if gone and self._rows[name].period != current[field]:
                del shares[name]
                self._left.pop(name, None)
        return shares

    def _write(self, shares: dict[Name, Share], current: Mapping[str, str]) -> None:
        changed = {
            name: ShareRow(region=name[0], key=name[1], field=name[2], most=each.most, period=current[name[2]])
            for name, each in shares.items()
            if name not in self._rows or self._rows[name].most != each.most
        }
        gone = self._rows.keys() - shares.keys()
        if changed or gone:
            self._store.share(changed.values(), gone)
        self._rows = {name: row for name, row in (self._rows | changed).items() if name not in gone}
        self._shares, self._told = shares, _told(shares)

    def of(self, region: str, records: Iterable[KeyRecord]) -> list[KeyRecord]:
        """Keys with the share of a region in their limits, and their part of the rates."""
        found: list[KeyRecord] = []
        for each in records:
            if each.id not in self._regions:
                found.append(each)
                continue
            mine = paced(each, self._regions[each.id])
            if mine.limits is not None:
                shares = self._told.get((region, each.id), {})
                mine = msgspec.structs.replace(mine, limits=limited(mine.limits, shares))
            found.append(mine)
        return found


def _told(shares: Mapping[Name, Share]) -> dict[tuple[str, str], dict[str, float]]:
    found: dict[tuple[str, str], dict[str, float]] = {}
    for (region, key, field), each in shares.items():
        found.setdefault((region, key), {})[field] = each.told
    return found


def _used(key: str, field: str, regions: Iterable[str], spent: Mapping[str, Spends], period: str) -> dict[str, float]:
    """What regions have used of a limit, as far as they are in the same period. One that has not said anything of a key
    has not got it yet."""
    found: dict[str, float] = {}
    for region in regions:
        said = spent[region].get(key, {}).get(field)
        if said is None:
            found[region] = 0.0
        elif said.period == period:
            found[region] = said.used
    return found
