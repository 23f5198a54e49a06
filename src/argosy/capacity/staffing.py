"""How many slots a load needs so that few requests wait long: square-root staffing.

In the limit of Halfin and Whitt (Operations Research 29(3), 1981) an M/M/s queue with offered load A (mean number of
busy slots if nobody waited) and s = A + β·√A slots delays a share  1 / (1 + β·Φ(β)/φ(β))  of its requests, and those
wait exponentially with rate (s - A)/service time. Loads burstier than Poisson are scaled by their peakedness z, the
variance of the load over its mean (Hayward's approximation): β = (s - A)/√(A·z), the rate divided by z.

That is the queue at rest, which it comes to within some service times. Where slots can be added sooner, what counts is
the load until then, which is known better: of n requests now, e^(-t/service time) are left after t seconds.
"""

import math
from statistics import NormalDist

LARGEST = 1e9
"""A load of so many slots is past anything real, and past what floating point can add a slot to."""

RAREST, LIKELIEST = 1e-9, 0.3
"""Bounds on the share of late requests for which `slots_soon` plans."""


def late_share(load: float, slots: float, service_time: float, wait: float, peakedness: float = 1.0) -> float:
    """Expected share of requests that wait longer than `wait` seconds; 1 where the load fills all slots."""
    if load <= 0:
        return 0.0
    spare = slots - load
    if spare <= 0:
        return 1.0
    beta = spare / math.sqrt(load * peakedness)
    density = math.exp(-beta * beta / 2) / math.sqrt(2 * math.pi)
    delayed = density / (density + beta * (1 + math.erf(beta / math.sqrt(2))) / 2)
    return delayed * (math.exp(-spare * wait / (service_time * peakedness)) if service_time > 0 else 0.0)


def slots_for(load: float, service_time: float, wait: float, late: float, peakedness: float = 1.0) -> float:
    """The fewest slots (to 0.1 %) with `late_share` at most `late`. Never below `load`, never falling in it."""
    if load <= 0:
        return 0.0
    if load >= LARGEST:
        return load
    low, high = load, load + 1.0
    while late_share(load, high, service_time, wait, peakedness) > late:
        low, high = high, high + 2 * (high - load)
    while high - low > 0.001 * high:
        middle = (low + high) / 2
        if late_share(load, middle, service_time, wait, peakedness) > late:
            low = middle
        else:
            high = middle
    return high


def slots_soon(
    present: float, load: float, service_time: float, soon: float, wait: float, late: float, peakedness: float = 1.0
) -> float:
    """The slots that are needed `soon` seconds from now, by when more of them can be there: `present` requests run or
    wait, and others come as for `load`.

    Those too many for the slots wait; longer than `wait`, where there are more of them than are answered in that time.
    """
    left = math.exp(-soon / service_time)
    mean = present * left + load * (1 - left)
    spread = math.sqrt((present * left + load * peakedness) * (1 - left))
    quantile = NormalDist().inv_cdf(min(max(late, RAREST), LIKELIEST))
    return (mean - quantile * spread) / (1 + wait / service_time)
