"""How likely a zone is to take its spot capacity back until the next look, learned from what was held there. Pure.

A logistic regression that learns as it goes: on the age of what is held, on losses in its zone and region, and on
the hour of the day. What nothing was held in is not seen; only launches that were tried tell of it.
"""

import math
from collections.abc import Sequence

import msgspec

RATE = 0.01
"""Of learning, a look."""
WEIGHTS = (-2.0, -0.45, 0.3, 0.2, 0.3, 0.5)
"""Before anything was seen: of what is measured in `features`."""
FLOOR = 0.0005
"""Chance of a loss below which no zone is believed to be."""
UNSEEN = 300.0
"""Looks for which a zone that nobody looked at is taken to be there, before the first loss."""
NEW, GONE = 0.97, 0.02
"""Chance that a launch succeeds right after capacity was seen, and right after it was lost or refused."""
FORGET = 12.0
"""Looks after which that says little, and the zone's own share counts."""
PRIOR, USUAL = 400.0, 0.02
"""Looks and losses a look that count beside those of an hour of the day."""
SHORT, LONG, OWN = 0.95, 0.998, 0.995
"""Share of a region's recent losses, of its losses of a day, and of a zone's that is left after a look."""


class ZoneHistory(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a zone. Looks are counted. `since`: capacity was held without a break from here on; `seen`: the
    last look that told something, and whether that was capacity (`up`); `down`: the last that told of none; `share`:
    of the looks that told something, those that told of capacity; `rate`: losses a look."""

    since: int | None = None
    seen: int = -(10**9)
    up: bool | None = None
    down: int = -int(UNSEEN)
    share: float = 0.6
    rate: float = 0.02

    def told(self, look: int, *, up: bool) -> "ZoneHistory":
        """After one more look that told something."""
        return msgspec.structs.replace(
            self,
            seen=look,
            up=up,
            down=self.down if up else look,
            share=0.98 * self.share + 0.02 * up,
            since=(look if self.since is None else self.since) if up else None,
        )

    def start(self, look: int) -> float:
        """The chance that a launch succeeds now."""
        if self.up is None:
            return self.share
        known = math.exp(-(look - self.seen) / FORGET)
        return known * (NEW if self.up else GONE) + (1 - known) * self.share


class RegionHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Losses in a region: the recent ones, those of a day, and for each hour of the day looks and losses."""

    recent: float = 0.0
    day: float = 0.5
    looks: tuple[float, ...] = (PRIOR / 24,) * 24
    losses: tuple[float, ...] = (PRIOR / 24 * USUAL,) * 24

    def hour(self, at: int) -> float:
        """How many times more often than usual something is lost in this hour and those beside it."""
        near = ((at - 1) % 24, at, (at + 1) % 24)
        here = sum(self.losses[each] for each in near) / sum(self.looks[each] for each in near)
        return here * sum(self.looks) / sum(self.losses)

    def after(self, lost: int) -> "RegionHistory":
        """After one more look, at which so many zones of it lost something."""
        return msgspec.structs.replace(self, recent=SHORT * self.recent + lost, day=LONG * self.day + 0.2 * lost)

    def counted(self, hour: int, *, lost: bool) -> "RegionHistory":
        """With one more zone that was held over a look in this hour."""
        looks, losses = list(self.looks), list(self.losses)
        looks[hour] += 1
        losses[hour] += lost
        return msgspec.structs.replace(self, looks=tuple(looks), losses=tuple(losses))


Features = tuple[float, ...]


def features(zone: ZoneHistory, region: RegionHistory, look: int, hour: int) -> Features:
    """What a zone in which something is held is judged by. Its age lies between the time for which it was held and that
    since it was last known to have none: the middle of both, as powers of two, counts."""
    held = look - zone.since + 1 if zone.since is not None else 1
    most = max(held, look - zone.down)
    age = 0.5 * (math.log2(held + 1) + math.log2(most + 1))
    return (
        1.0,
        age,
        min(region.recent, 3.0),
        math.log(zone.rate + 1e-3) + 4.0,
        math.log(region.day + 0.05),
        math.log(region.hour(hour)),
    )


def chance(weights: Sequence[float], of: Features) -> float:
    """The chance of a loss until the next look."""
    sum_ = sum(a * b for a, b in zip(weights, of, strict=True))
    return FLOOR + 1.0 / (1.0 + math.exp(-max(-9.0, min(3.0, sum_))))


def learned(weights: Sequence[float], of: Features, *, lost: bool) -> tuple[float, ...]:
    """The weights after what became of a zone is known."""
    step = RATE * (lost - chance(weights, of) + FLOOR)
    return tuple(weight + step * each for weight, each in zip(weights, of, strict=True))


class Held(msgspec.Struct, frozen=True):
    """Replicas of one zone that are lost together: the region of it, how many, the chance that they are lost, and
    whether they run already (else they do not start with that chance)."""

    region: str
    replicas: int
    chance: float
    runs: bool = True


TOGETHER = 0.25
"""Chance, as a share of that of its most endangered zone, that a region takes back capacity as a whole."""
SWEEP = 0.8
"""Then each of its zones is lost with this chance more."""
DEPTH = 0.25
"""How much each missing replica counts beside that any is missing."""


def shortage(held: Sequence[Held], need: int) -> float:
    """The chance that fewer than `need` are left at the next look, and a part of how many are missing then."""
    if need <= 0:
        return 0.0
    left = [1.0] + [0.0] * need
    for region in dict.fromkeys(each.region for each in held):
        here = [each for each in held if each.region == region]
        running = [each.chance for each in here if each.runs]
        all_ = TOGETHER * max(running) if len(running) > 1 else 0.0
        calm = _fold(left, [(one.replicas, one.chance - SWEEP * all_ * one.runs) for one in here])
        if all_:
            swept = _fold(left, [(one.replicas, one.chance + SWEEP * one.runs) for one in here])
            calm = [(1 - all_) * a + all_ * b for a, b in zip(calm, swept, strict=True)]
        left = calm
    return 1.0 - left[need] + DEPTH * sum((need - count) * share for count, share in enumerate(left[:need]))


def _fold(left: list[float], zones: Sequence[tuple[int, float]]) -> list[float]:
    """The distribution of what is left, with more zones: (replicas, chance of their loss)."""
    most = len(left) - 1
    for replicas, lost in zones:
        lost = max(0.0, min(1.0, lost))
        after = [share * lost for share in left]
        for count, share in enumerate(left):
            after[min(count + replicas, most)] += share * (1 - lost)
        left = after
    return left
