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
    """The history of the load, and the bucket that is open.

    `at`: when it was last observed (NaN before the first time); `now`: slots offered; `calm`: seconds since requests
    waited; `means` and `squares`: of the load by bucket of `width` seconds, oldest first; `filled` seconds of the open
    bucket, with their `total` and `square`.
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


def elapsed(observed: Observation, load: Load) -> float:
    """Seconds since the last observation; 0 without one, or where the clock stood, went back or too far on."""
    gap = observed.now - load.at
    return gap if SHORTEST_GAP <= gap <= LONGEST_GAP else 0.0


def follow(observed: Observation, load: Load, history: float) -> Load:
    """The load after this look. A look with no time in it moves the clock and closes no bucket."""
    gap = elapsed(observed, load)
    at = observed.now if math.isfinite(observed.now) else math.nan
    if not gap:
        now = load.now if not math.isnan(load.at) else float(observed.ongoing)
        width = min(max(seconds(observed.cold_start) / BUCKETS_PER_COLD_START, SHORTEST), LONGEST)
        return msgspec.structs.replace(load, at=at, now=now, width=load.width or width)
    calm = 0.0 if observed.queue > 0 else load.calm + gap
    now = min(offered(observed, load.now, gap, calm), LARGEST)
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


def offered(observed: Observation, before: float, gap: float, calm: float) -> float:
    """Slots offered after `gap` seconds: what ran is left by exp(-gap/service time), what came is added.

    Requests in flight are the load itself where they last longer than a look and none has waited for so long (`calm`)
    that what was started late has been answered.
    """
    service = seconds(observed.service_time)
    if not service:
        return float(observed.ongoing)
    if service >= gap and calm > CALM * service:
        return float(observed.in_flight)
    gone = -math.expm1(-gap / service)
    return before * (1 - gone) + max(observed.arrivals, 0) * (service / gap * gone)


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
