"""The load that is offered, whether or not there are slots for it, and its recent course. Pure.

Load is counted in slots: the requests that would run if nobody had to wait. Counting the queue in instead would ask
for capacity again and again while the capacity that was asked for is still loading.
"""

import math

import msgspec

from argosy.capacity.policy import Observation
from argosy.capacity.staffing import LARGEST

BUCKETS_PER_COLD_START = 18
SHORTEST, LONGEST = 0.25, 15.0
"""Bounds on the length of a bucket, seconds."""
MOST_BUCKETS = 720
CALM = 3.0
"""Service times after which nearly all requests that had to wait have been answered."""
SHORTEST_GAP, LONGEST_GAP = 0.001, 60.0
"""Looks that are closer or further apart say nothing of the time between: the machine slept or the clock jumped."""
SHORTEST_TIME, LONGEST_TIME = 1e-6, 1e6


class Load(msgspec.Struct, frozen=True, gc=False):
    """The course of the load, and the bucket that is open.

    `at`: time of the last look (NaN before the first); `now`: slots offered; `calm`: seconds since requests waited;
    `means` and `squares`: of the load by bucket of `width` seconds, oldest first; `filled` seconds of the open bucket,
    with their `total` and `square`.
    """

    at: float = math.nan
    now: float = 0.0
    calm: float = math.inf
    width: float = 0.0
    means: tuple[float, ...] = ()
    squares: tuple[float, ...] = ()
    filled: float = 0.0
    total: float = 0.0
    square: float = 0.0


def elapsed(seen: Observation, load: Load) -> float:
    """Seconds since the last look; 0 where there was none, or where the clock stood, went back or too far ahead."""
    gap = seen.now - load.at
    return gap if SHORTEST_GAP <= gap <= LONGEST_GAP else 0.0


def follow(seen: Observation, load: Load, history: float) -> Load:
    """The load after this look. A look with no time in it moves the clock and closes no bucket."""
    gap = elapsed(seen, load)
    at = seen.now if math.isfinite(seen.now) else math.nan
    if not gap:
        now = load.now if not math.isnan(load.at) else float(seen.ongoing)
        return msgspec.structs.replace(load, at=at, now=now, width=load.width or _width(seen.cold_start))
    calm = 0.0 if seen.queue > 0 else load.calm + gap
    now = min(offered(seen, load.now, gap, calm), LARGEST)
    grown = msgspec.structs.replace(
        load,
        at=at,
        now=now,
        calm=calm,
        filled=load.filled + gap,
        total=load.total + now * gap,
        square=load.square + now * now * gap,
    )
    return _close(grown, history) if grown.filled >= load.width * 0.999 else grown


def seconds(measured: float) -> float:
    """A measured time; 0 for what is none or shorter than any, and at most some days."""
    return min(measured, LONGEST_TIME) if math.isfinite(measured) and measured >= SHORTEST_TIME else 0.0


def _width(cold_start: float) -> float:
    return min(max(seconds(cold_start) / BUCKETS_PER_COLD_START, SHORTEST), LONGEST)


def offered(seen: Observation, before: float, gap: float, calm: float) -> float:
    """Slots offered after `gap` seconds: what ran is left by exp(-gap/service time), what came is added.

    Requests in flight are the load itself where they last longer than a look and none has waited for so long (`calm`)
    that what was started late has been answered.
    """
    service = seconds(seen.service_time)
    if not service:
        return float(seen.ongoing)
    if service >= gap and calm > CALM * service:
        return float(seen.in_flight)
    gone = -math.expm1(-gap / service)
    return before * (1 - gone) + max(seen.arrivals, 0) * (service / gap * gone)


def _close(load: Load, history: float) -> Load:
    """Put the open bucket behind the others; one that took several widths counts as so many."""
    copies = min(max(round(load.filled / load.width), 1), MOST_BUCKETS)
    keep = min(max(math.ceil(history / load.width), 1), MOST_BUCKETS)
    return msgspec.structs.replace(
        load,
        means=(load.means + (load.total / load.filled,) * copies)[-keep:],
        squares=(load.squares + (load.square / load.filled,) * copies)[-keep:],
        filled=0.0,
        total=0.0,
        square=0.0,
    )
