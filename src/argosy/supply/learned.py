"""What launches have taught: how likely one succeeds here and now, how long it takes, whether the catalogue's price is
the true one, and which zones lose their capacity together. Pure.

What is known of a zone and kind of machine counts most, then that of its region, then that of the provider. Recent
hours count more, and so do those of the same time of day.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from argosy.capacity import spot
from argosy.capacity.preemption import PRIOR, USUAL, ZoneHistory
from argosy.spec.offer import Offer
from argosy.store.offers import HOUR, Learned

HALF_LIFE = 5 * 86400.0
"""Seconds after which an hour counts half."""
OTHER_HOURS = 0.35
"""What an hour of another time of day counts."""
STRENGTH = 4.0
"""Launches that what is known of the wider place counts."""
DRIFT = 0.02
"""Share by which what was paid may differ from the catalogue before it is said to be wrong."""
COMMON = 24
"""Hours that two zones must have in common before their correlation is believed."""
TOGETHER = 0.4
"""Mean correlation of their zones from which two regions count as one for the hedge."""

Place = tuple[str, ...]


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """A catalogue that is wrong: what was paid is `factor` times what it lists, over so many launches."""

    provider: str
    region: str
    instance: str
    market: str
    launches: int
    factor: float


class Knowledge:
    """What rows say, at a moment."""

    def __init__(self, rows: Iterable[Learned], now: float) -> None:
        self._sums: dict[Place, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        for row in rows:
            apart = abs((now - row.hour) / HOUR - round((now - row.hour) / HOUR / 24) * 24)
            weight = 0.5 ** (max(0.0, now - row.hour) / HALF_LIFE) * (1.0 if apart <= 1.5 else OTHER_HOURS)
            failed = row.tried - row.started + row.lost
            for place in _places(row):
                sums = self._sums[place]
                sums[0] += weight * row.started
                sums[1] += weight * (row.started + failed)
                sums[2] += weight * row.ready

    def of(self, offer: Offer) -> Offer:
        """An offer with what is known of it; as it is where nothing is."""
        available, ready = None, None
        for place in reversed(_places(offer)):
            started, tried, seconds = self._sums.get(place, (0.0, 0.0, 0.0))
            if tried > 0:
                prior = 0.5 if available is None else available
                available = (started + STRENGTH * prior) / (tried + STRENGTH)
            if started > 0:
                own = seconds / started
                ready = own if ready is None else (seconds + STRENGTH * ready) / (started + STRENGTH)
        return msgspec.structs.replace(offer, available=available, ready=ready)


def _places(of: Offer | Learned) -> list[Place]:
    """The narrow first."""
    return [
        (of.provider, of.market, of.region, of.zone, of.instance),
        (of.provider, of.market, of.region, of.zone),
        (of.provider, of.market, of.region),
        (of.provider, of.market),
    ]


def drifts(rows: Iterable[Learned]) -> list[Drift]:
    """Where what was paid is not what the catalogue said, the most expensive error first."""
    sums: dict[Place, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for row in rows:
        each = sums[(row.provider, row.region, row.instance, row.market)]
        for place, value in enumerate((row.listed, row.paid, row.started)):
            each[place] += value
    wrong = [
        (abs(paid - listed), Drift(provider=p, region=r, instance=i, market=m, launches=int(n), factor=paid / listed))
        for (p, r, i, m), (listed, paid, n) in sums.items()
        if listed > 0 and abs(paid / listed - 1) > DRIFT
    ]
    return [drift for _, drift in sorted(wrong, key=lambda each: -each[0])]


def correlations(rows: Iterable[Learned], zone: Callable[[Learned], str]) -> dict[tuple[str, str], float]:
    """How much two zones have capacity in the same hours: the correlation of having some, where both told often enough
    (0 where one never changed).
    An hour tells of capacity if machines were held or started and none was lost or refused."""
    hours: dict[str, dict[int, list[int]]] = defaultdict(dict)
    for row in rows:
        good, bad = hours[zone(row)].get(row.hour, [0, 0])
        bad += row.lost + row.tried - row.started
        hours[zone(row)][row.hour] = [good + row.started + (row.held > 0), bad]
    up = {name: {hour: float(not bad) for hour, (good, bad) in of.items() if good or bad} for name, of in hours.items()}
    found: dict[tuple[str, str], float] = {}
    for one in sorted(up):
        for other in sorted(up):
            common = up[one].keys() & up[other].keys() if one < other else ()
            if len(common) >= COMMON:
                pair = [[up[name][hour] for hour in common] for name in (one, other)]
                constant = any(len({*each}) == 1 for each in pair)
                found[one, other] = 0.0 if constant else statistics.correlation(*pair)
    return found


def zones(offers: Sequence[Offer], rows: Sequence[Learned]) -> tuple[spot.Zone, ...]:
    """The markets of the hedge of `capacity.spot`: each zone's cheapest spot offer. Regions whose zones
    were seen to lose their capacity together are one, whatever the provider calls them."""
    best: dict[str, Offer] = {}
    for offer in offers:
        name = zone_name(offer)
        if offer.market == "spot" and (name not in best or offer.price < best[name].price):
            best[name] = offer
    region = {name: f"{offer.provider}/{offer.region}" for name, offer in best.items()}
    pairs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (one, other), share in correlations(rows, zone_name).items():
        if one in region and other in region and region[one] != region[other]:
            pairs[region[one], region[other]].append(share)
    merged = {name: name for name in region.values()}
    for (one, other), shares in sorted(pairs.items()):
        if statistics.mean(shares) >= TOGETHER:
            gone, stays = merged[other], merged[one]
            merged = {name: stays if each == gone else each for name, each in merged.items()}
    return tuple(
        spot.Zone(name=name, region=merged[region[name]], price=each.price) for name, each in sorted(best.items())
    )


def zone_name(of: Offer | Learned) -> str:
    """A zone among all providers."""
    return f"{of.provider}/{of.zone or of.region}"


def state(hedge: spot.Hedge, rows: Iterable[Learned], look: float) -> spot.SpotState:
    """Where the hedge begins, looking every `look` seconds: not with nothing, but with the share of launches that
    succeeded in each zone, its losses a look, and those of its region by hour of the day."""
    begin = spot.begin(hedge)
    place = {zone.name: number for number, zone in enumerate(hedge.zones)}
    counts, regions = [[0.0, 0.0, 0.0, 0.0] for _ in hedge.zones], dict(begin.regions)
    for row in rows:
        if row.market != "spot" or (number := place.get(zone_name(row))) is None:
            continue
        for at, value in enumerate((row.started, row.tried, row.lost, row.held / look)):
            counts[number][at] += value
        name, hour = hedge.zones[number].region, row.hour // HOUR % 24
        known = regions[name]
        looks, losses = list(known.looks), list(known.losses)
        looks[hour] += row.held / look
        losses[hour] += row.lost
        regions[name] = msgspec.structs.replace(known, looks=tuple(looks), losses=tuple(losses))
    usual = ZoneHistory()
    histories = tuple(
        msgspec.structs.replace(
            usual,
            share=(started + STRENGTH * usual.share) / (tried + STRENGTH),
            rate=(lost + PRIOR / 24 * USUAL) / (looks + PRIOR / 24),
        )
        for started, tried, lost, looks in counts
    )
    return msgspec.structs.replace(begin, zones=histories, regions=regions)
