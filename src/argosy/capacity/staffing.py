"""How many slots a load needs so that few requests wait long: square-root staffing.

In the limit of Halfin and Whitt (Operations Research 29(3), 1981) an M/M/s queue with offered load A (mean number of
busy slots if nobody waited) and s = A + β·√A slots delays a share  1 / (1 + β·Φ(β)/φ(β))  of its requests, and those
wait exponentially with rate (s - A)/service time. Loads burstier than Poisson are scaled by their peakedness z, the
variance of the load over its mean (Hayward's approximation): β = (s - A)/√(A·z), the rate divided by z.
"""

import math

LARGEST = 1e9
"""A load of so many slots is past anything real, and past what floating point can add a slot to."""


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
