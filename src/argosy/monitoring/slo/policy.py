"""Is the error budget burning too fast? (objective, what came, state) → (verdict, state). Pure.

With traffic enough, the multi-window, multi-burn-rate rules of the Google SRE Workbook, chapter 5: 2 % of the budget in
an hour or 5 % in six page, 10 % in one or three days file a ticket, each confirmed by a window of a twelfth. A rate of
few requests says nothing: there a detector (`eprocess.RateRise`) takes the place of each severity's windows, with the
lowest burn of its rules as the bound and one false alarm a year as its run length.
"""

import math
from collections.abc import Iterator

import msgspec

from argosy.monitoring.eprocess import RateRise
from argosy.monitoring.slo import traffic
from argosy.monitoring.slo.traffic import Traffic
from argosy.serving.counts import Counts, bucket
from argosy.spec.slo import DAY, ENOUGH, HOUR, RULES, YEAR, Severity, Slo

CALM_REQUESTS, CALM_SECONDS = 20, 1800.0


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Alarm while the rate of bad requests is `factor` times what the budget allows, in both windows (seconds)."""

    factor: float
    long: float
    short: float
    severity: Severity


class SloObservation(msgspec.Struct, frozen=True, kw_only=True):
    """What came since the last look, `seconds` ago, at `now` (seconds since 1970)."""

    now: float
    seconds: float
    total: int
    bad: int


class SloState(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered: traffic, the detectors, and which severities they found (until it is calm again)."""

    traffic: Traffic = Traffic()
    page: RateRise = RateRise()
    ticket: RateRise = RateRise()
    found: tuple[Severity, ...] = ()


class SloVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """`severity` None: all is well. `budget` is the share of the budget that is left; below 0, it is overspent."""

    severity: Severity | None
    reason: str
    budget: float
    quiet: bool


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


def judge(slo: Slo, seen: SloObservation, state: SloState) -> tuple[SloVerdict, SloState]:
    """Fold one look in. A look without requests changes no evidence."""
    came = traffic.add(state.traffic, seen.now, seen.total, seen.bad, slo.days * DAY)
    state = msgspec.structs.replace(state, traffic=came)
    quiet = _quiet(slo, came, seen.now)
    state = _detect(slo, seen, state) if quiet else msgspec.structs.replace(state, page=RateRise(), ticket=RateRise())
    burning = list(_burning(slo, state, seen.now))
    budget = left(slo, came, seen.now)
    if not burning:
        return SloVerdict(severity=None, reason="within the objective", budget=budget, quiet=quiet), state
    severity, reason = min(burning)
    return SloVerdict(severity=severity, reason=reason, budget=budget, quiet=quiet), state


def _burning(slo: Slo, state: SloState, now: float) -> Iterator[tuple[Severity, str]]:
    """What is wrong now, by rates and by detectors."""
    for rule in rules(slo):
        if text := _burns(slo, rule, state.traffic, now):
            yield rule.severity, text
    for severity in state.found:
        yield severity, _told(slo, state, now)


def left(slo: Slo, came: Traffic, now: float) -> float:
    """The share of the budget that is left, of what came within the objective's window."""
    total, bad = traffic.window(came, now, slo.days * DAY)
    return 1 - bad / (total * slo.budget) if total else 1.0


def _bound(slo: Slo, factor: float) -> float:
    """The rate of bad requests at so many times the budget; never so high that nothing could exceed it."""
    return min(factor * slo.budget, (1 + slo.budget) / 2)


def _quiet(slo: Slo, came: Traffic, now: float) -> bool:
    fastest = rules(slo)[0]
    total, _ = traffic.window(came, now, fastest.long)
    return total * fastest.short / fastest.long * _bound(slo, fastest.factor) < ENOUGH


def _burns(slo: Slo, rule: Rule, came: Traffic, now: float) -> str:
    bound, rates = _bound(slo, rule.factor), list[float]()
    for seconds in (rule.long, rule.short):
        total, bad = traffic.window(came, now, seconds)
        if total * bound < ENOUGH or bad < total * bound:
            return ""
        rates.append(bad / total)
    return (
        f"{rates[1]:.2%} of requests were bad in the last {_span(rule.short)}, {rates[0]:.2%} in {_span(rule.long)}: "
        f"{rates[1] / slo.budget:.0f} times what {_share(slo.objective)} allows"
    )


def _detect(slo: Slo, seen: SloObservation, state: SloState) -> SloState:
    """The detectors of both severities, and whether what they found is over."""
    logs: dict[Severity, RateRise] = {"page": state.page, "ticket": state.ticket}
    found = set(state.found)
    looks = YEAR / max(seen.seconds, 1e-3) / slo.false_pages
    for severity, log in logs.items():
        bound = min(_bound(slo, rule.factor) for rule in rules(slo) if rule.severity == severity)
        log = log.after(seen.bad, seen.total, bound) if seen.total else log
        total, bad = traffic.last(state.traffic, seen.now, CALM_REQUESTS, CALM_SECONDS)
        if log.log_e >= math.log(looks):
            found.add(severity)
            log = RateRise()
        elif severity in found and total >= CALM_REQUESTS and bad <= total * bound:
            found.discard(severity)
        logs[severity] = log
    return msgspec.structs.replace(state, page=logs["page"], ticket=logs["ticket"], found=tuple(sorted(found)))


def _told(slo: Slo, state: SloState, now: float) -> str:
    total, bad = traffic.last(state.traffic, now, CALM_REQUESTS, CALM_SECONDS)
    return f"{bad} of the last {total} requests were bad; {_share(slo.objective)} have to be good"


def _share(objective: float) -> str:
    """As it was declared: 99.9%."""
    return f"{100 * objective:.8g}%"


def _span(seconds: float) -> str:
    if seconds < 2 * HOUR:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / HOUR:.0f} hours" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"
