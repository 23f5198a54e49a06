"""Is the error budget burning too fast? (objective, what came, state) → (status, state). Pure.

With traffic enough, the multi-window, multi-burn-rate rules of the Google SRE Workbook, chapter 5: 2 % of the budget in
an hour or 5 % in six page, 10 % in one or three days file a ticket, each confirmed by a window of a twelfth. A rate of
few requests says nothing: there a detector (`eprocess.RateRise`) takes the place of each severity's windows, with the
lowest burn of its rules as the bound and one false alarm a year as its run length.
"""

import math

import msgspec

from argosy.monitoring.eprocess import RateRise
from argosy.serving.counts import Counts, bucket
from argosy.spec.slo import DAY, ENOUGH, HOUR, RULES, YEAR, Severity, Slo
from argosy.spec.status import SloStatus

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


def add_traffic(traffic: Traffic, now: float, total: int, bad: int, keep: float) -> Traffic:
    """Count what came just now; slots grow wider with age, and go after `keep` seconds."""
    width = TIERS[0][1]
    start = int(now // width * width)
    slots = list(traffic.slots)
    if slots and slots[-1].start == start:
        last_requests = slots.pop()
        slots.append(Slot(start, width, last_requests.total + total, last_requests.bad + bad))
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
            last_requests = merged.pop()
            merged.append(
                Slot(
                    start,
                    max(width, last_requests.width),
                    last_requests.total + slot.total,
                    last_requests.bad + slot.bad,
                )
            )
        else:
            merged.append(Slot(start, max(width, slot.width), slot.total, slot.bad))
    return merged


def recent(traffic: Traffic, now: float, seconds: float, requests: float = math.inf) -> tuple[int, int]:
    """Requests and bad ones of the slots that lie within the last `seconds`, the oldest one whole; or of the latest
    that together have so many `requests`."""
    total = bad = 0
    for slot in reversed(traffic.slots):
        if total >= requests or slot.start + slot.width <= now - seconds:
            break
        total, bad = total + slot.total, bad + slot.bad
    return total, bad


CALM_REQUESTS, CALM_SECONDS = 20, 1800.0


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Alarm while the rate of bad requests is `factor` times what the budget allows, in both windows (seconds)."""

    factor: float
    long: float
    short: float
    severity: Severity


class SloObservation(msgspec.Struct, frozen=True, kw_only=True):
    """What came in the last `seconds`, at `now` (seconds since 1970)."""

    now: float
    seconds: float
    total: int
    bad: int


class SloState(msgspec.Struct, frozen=True, kw_only=True):
    """Traffic, the detectors, and which severities they found (until it is calm again)."""

    traffic: Traffic = Traffic()
    page: RateRise = RateRise()
    ticket: RateRise = RateRise()
    found: tuple[Severity, ...] = ()


def rules(slo: Slo) -> tuple[Rule, ...]:
    """The rules for this window: 14.4, 6, 3 and 1 times for 30 days."""
    window = slo.days * DAY
    return tuple(
        Rule(factor=share * window / long, long=long, short=long / 12, severity=severity)
        for share, long, severity in RULES
    )


def count(slo: Slo, counts: Counts) -> tuple[int, int]:
    """Requests and bad ones among `counts`: errors, and answers that took longer than the objective allows, to 5 %."""
    slow = sum(n for place, n in counts.latency.items() if slo.latency and place > bucket(slo.latency))
    return counts.requests, min(counts.requests, counts.errors + slow)


def evaluate(slo: Slo, observed: SloObservation, state: SloState) -> tuple[SloStatus, SloState]:
    """Add an observation; one without requests changes no evidence."""
    now, period = observed.now, slo.days * DAY
    traffic = add_traffic(state.traffic, now, observed.total, observed.bad, period)
    state = msgspec.structs.replace(state, traffic=traffic)
    if quiet(slo, traffic, now):
        state = _detect(slo, observed, state)
    else:
        found = tuple(each for each in state.found if not _over(slo, each, traffic, now))
        state = msgspec.structs.replace(state, page=RateRise(), ticket=RateRise(), found=found)
    burning = [(rule.severity, text) for rule in rules(slo) if (text := _burns(slo, rule, traffic, now))]
    if state.found:
        total, bad = recent(traffic, now, CALM_SECONDS, CALM_REQUESTS)
        text = f"{bad} of the last {total} requests were bad; {_share(slo.objective)} have to be good"
        burning += [(severity, text) for severity in state.found]
    severity, reason = min(burning, default=("", "within the objective"))
    total, bad = recent(traffic, now, period)
    status = SloStatus(
        name=slo.name,
        objective=slo.objective,
        latency=slo.latency,
        days=slo.days,
        budget=1 - bad / (total * slo.budget) if total else 1.0,
        severity=severity,
        reason=reason,
    )
    return status, state


def _bound(slo: Slo, factor: float) -> float:
    """The rate of bad requests at so many times the budget; never so high that nothing could exceed it."""
    return min(factor * slo.budget, (1 + slo.budget) / 2)


def quiet(slo: Slo, came: Traffic, now: float) -> bool:
    """Whether a rate of so few requests says nothing."""
    fastest = rules(slo)[0]
    total, _ = recent(came, now, fastest.long)
    return total * fastest.short / fastest.long * _bound(slo, fastest.factor) < ENOUGH


def _burns(slo: Slo, rule: Rule, came: Traffic, now: float) -> str:
    bound, rates = _bound(slo, rule.factor), list[float]()
    for seconds in (rule.long, rule.short):
        total, bad = recent(came, now, seconds)
        if total * bound < ENOUGH or bad < total * bound:
            return ""
        rates.append(bad / total)
    return (
        f"{rates[1]:.2%} of requests were bad in the last {_span(rule.short)}, {rates[0]:.2%} in {_span(rule.long)}: "
        f"{rates[1] / slo.budget:.0f} times what {_share(slo.objective)} allows"
    )


def _detect(slo: Slo, observed: SloObservation, state: SloState) -> SloState:
    """The detectors of both severities, and whether what they found is over."""
    logs: dict[Severity, RateRise] = {"page": state.page, "ticket": state.ticket}
    found = set(state.found)
    looks = YEAR / max(observed.seconds, 1e-3) / slo.false_pages
    for severity, log in logs.items():
        log = log.after(observed.bad, observed.total, _least(slo, severity)) if observed.total else log
        if log.log_e >= math.log(looks):
            found.add(severity)
            log = RateRise()
        elif severity in found and _over(slo, severity, state.traffic, observed.now):
            found.discard(severity)
        logs[severity] = log
    return msgspec.structs.replace(state, page=logs["page"], ticket=logs["ticket"], found=tuple(sorted(found)))


def _least(slo: Slo, severity: Severity) -> float:
    """The lowest bound of the rules of a severity."""
    return min(_bound(slo, rule.factor) for rule in rules(slo) if rule.severity == severity)


def _over(slo: Slo, severity: Severity, came: Traffic, now: float) -> bool:
    """Whether what a detector found has ended: the latest requests keep within the bound."""
    total, bad = recent(came, now, CALM_SECONDS, CALM_REQUESTS)
    return total >= CALM_REQUESTS and bad <= total * _least(slo, severity)


def _share(objective: float) -> str:
    """As it was declared: 99.9%."""
    return f"{100 * objective:.8g}%"


def _span(seconds: float) -> str:
    if seconds < 2 * HOUR:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / HOUR:.0f} hours" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"
