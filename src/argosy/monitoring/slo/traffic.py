"""How many requests came and how many were bad, of late: fine for the last hours, coarse for the weeks before. Pure."""

import msgspec

TIERS = ((6.5 * 3600, 60), (3.25 * 86400, 600), (90 * 86400, 3600))
"""Up to an age in seconds, slots are so many seconds wide."""


class Slot(msgspec.Struct, frozen=True, array_like=True):
    """`total` requests from `start` (seconds since 1970) on, `bad` of them bad."""

    start: int
    width: int
    total: int
    bad: int


class Traffic(msgspec.Struct, frozen=True):
    """Slots, oldest first."""

    slots: tuple[Slot, ...] = ()


def add(traffic: Traffic, now: float, total: int, bad: int, keep: float) -> Traffic:
    """Count what came just now; slots grow wider with age, and go after `keep` seconds."""
    width = TIERS[0][1]
    start = int(now // width * width)
    slots = list(traffic.slots)
    if slots and slots[-1].start == start:
        last = slots.pop()
        slots.append(Slot(start, width, last.total + total, last.bad + bad))
        return Traffic(tuple(slots))
    aged = not slots or slots[-1].start // TIERS[1][1] != start // TIERS[1][1]
    slots.append(Slot(start, width, total, bad))
    return Traffic(tuple(_coarser(slots, now, keep) if aged else slots))


def _coarser(slots: list[Slot], now: float, keep: float) -> list[Slot]:
    merged: list[Slot] = []
    for slot in slots:
        age = now - slot.start
        if age > keep:
            continue
        width = next((w for limit, w in TIERS if age <= limit), TIERS[-1][1])
        start = int(slot.start // width * width)
        if merged and merged[-1].start == start:
            last = merged.pop()
            merged.append(Slot(start, max(width, last.width), last.total + slot.total, last.bad + slot.bad))
        else:
            merged.append(Slot(start, max(width, slot.width), slot.total, slot.bad))
    return merged


def window(traffic: Traffic, now: float, seconds: float) -> tuple[int, int]:
    """Requests and bad ones of the slots that lie within the last `seconds`, the oldest one whole."""
    total = bad = 0
    for slot in reversed(traffic.slots):
        if slot.start + slot.width <= now - seconds:
            break
        total, bad = total + slot.total, bad + slot.bad
    return total, bad


def last(traffic: Traffic, now: float, requests: int, seconds: float) -> tuple[int, int]:
    """The same of the latest slots that together have so many requests, within the last `seconds`."""
    total = bad = 0
    for slot in reversed(traffic.slots):
        if total >= requests or slot.start + slot.width <= now - seconds:
            break
        total, bad = total + slot.total, bad + slot.bad
    return total, bad
