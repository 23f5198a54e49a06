"""What each second of replicas was spent on: `(marks, what runs now) → (rows, marks)`. Pure.

A replica's time runs without a gap from its start to its end, by the target's record; what its process counted as busy
is for requests, and the rest is start-up, the price of a test, or idle. A reading that does not come is waited for: the
time until then is attributed by the next one. What a process has counted after its last reading, and took with it, is
idle, and is told as `unread`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from argosy.serving.counts import Work
from argosy.spec.offer import CostRow, Launch, Use
from argosy.spec.supply import ProviderPromise

HOUR = 3600
PATIENCE = 60.0
"""Seconds after which time is attributed without a reading of the process."""
LATE = 30.0
"""Seconds in which one that has started is seen: it had its price from its start. Hours are closed after them."""


class PaidRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a replica, or of a batch job, as its target has it; times are seconds since 1970.

    `price` is in dollars an hour. `work` is what its process has counted since its start, None where it does not say;
    `ready` it takes requests; `testing` it is a candidate, and with `copies` gets only copies of requests. A `whole`
    use, that of batch jobs and shared things, takes all of its time. `lent` are the slot-seconds that batch jobs had
    of it, by job, which are among those that its process has counted.
    """

    id: str
    endpoint: str
    version: str
    price: float
    started: float
    ended: float | None = None
    work: Work | None = None
    ready: bool = False
    testing: bool = False
    copies: bool = False
    whole: Use | None = None
    lent: dict[str, float] = {}


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Up to where a run was attributed, and what it had counted by then."""

    run: PaidRun
    until: float
    work: Work = Work()


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What came by one key to a version since the last step: `weight` is its part of the work."""

    weight: float = 0.0
    requests: int = 0
    tokens: int = 0


Shares = Mapping[tuple[str, str], Mapping[str, Share]]
"""(endpoint, version) → key → what came."""


class PricedSpan(msgspec.Struct, frozen=True):
    """A run's time at one price, by the target's record."""

    started: float
    ended: float | None
    price: float


class WorkTally(msgspec.Struct, frozen=True):
    """Of one hour, beside its rows: the seconds that processes counted as work, and those that nobody could read."""

    measured: float = 0.0
    unread: float = 0.0


class MachineHour(msgspec.Struct, frozen=True, kw_only=True):
    """A machine in one hour: what it cost, its seconds since it was ready, and those in which it was there."""

    provider: str
    instance: str
    cost: float = 0.0
    seconds: float = 0.0
    there: float = 0.0


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered between two steps, the last of them `at`: marks by run; work of which the keys are not known
    yet, by endpoint and version and hour, as (seconds, dollars); of hours that are not closed their tallies, and the
    spans of runs."""

    at: float = 0.0
    marks: dict[str, Mark] = {}
    unkeyed: dict[str, dict[int, tuple[float, float]]] = {}
    tallies: dict[int, WorkTally] = {}
    spans: dict[str, tuple[PricedSpan, ...]] = {}


class Spent(NamedTuple):
    """Seconds of a run in one hour."""

    hour: int
    run: PaidRun
    use: Use
    seconds: float

    @property
    def cost(self) -> float:
        """In dollars."""
        return self.seconds * self.run.price / HOUR


def step(
    state: Costs, runs: Iterable[PaidRun], shares: Shares, now: float, region: str = ""
) -> tuple[list[CostRow], Costs]:
    """Attribute the time of runs up to `now`. One that is not among them is waited for. What began long
    before the last step and was not seen by it had no price until then."""
    marks, tallies, spent = dict(state.marks), dict(state.tallies), list[Spent]()
    spans = dict(state.spans)
    for run in runs:
        mark = state.marks.get(run.id)
        if mark is None:
            mark = Mark(run=msgspec.structs.replace(run, ready=False), until=_since(run, state, now))
            spans[run.id] = (*spans.get(run.id, ()), PricedSpan(mark.until, None, run.price))
        end = max(mark.until, now if run.ended is None else run.ended)
        late = run.work is None and run.whole is None
        if late and run.ended is None and end - mark.until < PATIENCE and mark.run.price == run.price:
            marks[run.id] = mark
            continue
        marks.pop(run.id, None)
        spent += _split(mark, run, end, tallies)
        if run.ended is None:
            known = msgspec.structs.replace(run, lent=run.lent if run.work else mark.run.lent)
            marks[run.id] = Mark(run=known, until=end, work=run.work or mark.work)
        if run.ended is not None or run.price != mark.run.price:
            *before, last = spans[run.id]
            more = () if run.ended is not None else (PricedSpan(end, None, run.price),)
            spans[run.id] = (*before, PricedSpan(last.started, end, last.price), *more)
    rows = [_row(each, region) for each in spent if each.use != "requests"]
    keyed, unkeyed = _keyed(spent, shares, state.unkeyed, now, region)
    return [*rows, *keyed], Costs(at=now, marks=marks, unkeyed=unkeyed, tallies=tallies, spans=spans)


def _since(run: PaidRun, state: Costs, now: float) -> float:
    """From when on one that has no mark is attributed."""
    soon = state.at and run.started > state.at - LATE and run.id not in state.spans
    return run.started if soon else max(run.started, state.at or now)


def busy(new: Work, old: Work, seconds: float) -> float:
    """Seconds that a replica worked for requests between two readings, so many seconds apart: those of its engine, of
    one with slots a part of them; or those of its loop, which is never quite idle, where that was the narrower one."""
    engine, loop = (new.engine - old.engine) / max(new.slots, 1), new.loop - old.loop
    return max(0.0, engine, loop if loop > seconds / 2 else 0.0)


def _split(mark: Mark, run: PaidRun, end: float, tallies: dict[int, WorkTally]) -> list[Spent]:
    """The time since the mark by hour and use, at the price that it had until now."""
    length = end - mark.until
    counted = busy(run.work, mark.work, length) if run.work else 0.0
    lent = _lent(mark, run, length)
    counted = max(0.0, counted - sum(lent.values()))
    unread = run.work is None and run.whole is None and mark.run.ready
    priced = msgspec.structs.replace(run, price=mark.run.price)
    found: list[Spent] = []
    for hour, seconds in hours(mark.until, end):
        part = counted * seconds / length
        shares = {job: each * seconds / length for job, each in lent.items()}
        left = seconds - sum(shares.values())
        uses = _uses(mark, run, left, min(part, left))
        found += [Spent(hour, priced, use, each) for use, each in uses if each]
        for job, each in shares.items():
            found.append(Spent(hour, msgspec.structs.replace(priced, endpoint=f"batch/{job}"), "batch", each))
        tally, works = tallies.get(hour, WorkTally()), any(use == "requests" for use, _ in uses)
        tallies[hour] = WorkTally(tally.measured + part * works, tally.unread + seconds * unread)
    return found


def _lent(mark: Mark, run: PaidRun, seconds: float) -> dict[str, float]:
    """Seconds of a replica for batch jobs since the mark, by job: all of them at most. What lends begins to count anew
    with the platform."""
    if run.work is None or not run.lent:
        return {}
    before = {job: old for job, each in run.lent.items() if (old := mark.run.lent.get(job, 0.0)) <= each}
    grown = {job: (each - before.get(job, 0.0)) / max(run.work.slots, 1) for job, each in run.lent.items()}
    most = min(1.0, seconds / total) if (total := sum(grown.values())) else 0.0
    return {job: each * most for job, each in grown.items() if each}


def _uses(mark: Mark, run: PaidRun, seconds: float, work: float) -> list[tuple[Use, float]]:
    if run.whole is not None:
        return [(run.whole, seconds)]
    if run.copies:
        return [("candidate", seconds)]
    if not (run.ready or mark.run.ready):
        return [("candidate" if run.testing else "startup", seconds)]
    rest: Use = "candidate" if run.testing else "idle" if mark.run.ready else "startup"
    return [("requests", work), (rest, seconds - work)]


def hours(begin: float, end: float) -> list[tuple[int, float]]:
    """The hours that an interval lies in, with its seconds in each."""
    found: list[tuple[int, float]] = []
    while begin < end:
        hour = int(begin // HOUR) * HOUR
        last = min(end, hour + HOUR)
        found.append((hour, last - begin))
        begin = last
    return found


def _row(spent: Spent, region: str) -> CostRow:
    run = spent.run
    return CostRow(
        hour=spent.hour,
        endpoint=run.endpoint,
        version=run.version,
        use=spent.use,
        region=region,
        seconds=spent.seconds,
        cost=spent.cost,
    )


def _keyed(
    spent: Sequence[Spent],
    shares: Shares,
    before: Mapping[str, Mapping[int, tuple[float, float]]],
    now: float,
    region: str,
) -> tuple[list[CostRow], dict[str, dict[int, tuple[float, float]]]]:
    """Work by key. Before it is known whose requests a version works at, its work is nobody's, and is given to them
    when they have ended."""
    left: defaultdict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
    left |= {name: dict(each) for name, each in before.items()}
    rows: list[CostRow] = []
    for each in spent:
        if each.use == "requests":
            waiting = left[f"{each.run.endpoint} {each.run.version}"]
            seconds, cost = waiting.get(each.hour, (0.0, 0.0))
            waiting[each.hour] = seconds + each.seconds, cost + each.cost
            rows.append(_row(each, region))
    for (endpoint, version), came in shares.items():
        blank = CostRow(hour=int(now // HOUR) * HOUR, endpoint=endpoint, version=version, use="requests", region=region)
        total = sum(each.weight for each in came.values())
        waiting = left.pop(f"{endpoint} {version}", {}) if total else {}
        for hour, (seconds, cost) in waiting.items():
            rows.append(msgspec.structs.replace(blank, hour=hour, seconds=-seconds, cost=-cost))
            for key, each in came.items():
                part = each.weight / total
                row = msgspec.structs.replace(blank, hour=hour, key=key, seconds=seconds * part, cost=cost * part)
                rows.append(row)
        rows += [
            msgspec.structs.replace(blank, key=key, requests=each.requests, tokens=each.tokens)
            for key, each in came.items()
        ]
    return rows, dict(left)


def closed(state: Costs) -> tuple[dict[int, tuple[float, WorkTally]], Costs]:
    """By hour that is over and attributed to its end: price times time, in dollars, and its tally; and the state
    without them."""
    until = min([state.at, *(mark.until for mark in state.marks.values())]) - LATE
    over: dict[int, tuple[float, WorkTally]] = {}
    for hour, tally in state.tallies.items():
        if hour + HOUR <= until:
            every = (span for spans in state.spans.values() for span in spans)
            over[hour] = sum(each.price / HOUR * _within(each, hour) for each in every), tally
    first = int(until // HOUR) * HOUR
    spans = {
        run: left
        for run, every in state.spans.items()
        if (left := tuple(each for each in every if each.ended is None or each.ended > first))
    }
    waiting = {
        name: {hour: each for hour, each in found.items() if hour not in over} for name, found in state.unkeyed.items()
    }
    rest = {hour: each for hour, each in state.tallies.items() if hour not in over}
    unkeyed = {name: found for name, found in waiting.items() if found}
    return over, Costs(at=state.at, marks=state.marks, unkeyed=unkeyed, tallies=rest, spans=spans)


def attended(
    before: Mapping[str, Mapping[int, MachineHour]], machines: Iterable[Launch], since: float, now: float
) -> dict[str, dict[int, MachineHour]]:
    """Machines by launch and hour, with the time since the last look. One that has been ready and is not so by its
    provider's own record, without our doing, is not there."""
    found = {name: dict(each) for name, each in before.items()}
    for each in machines:
        for hour, seconds in hours(max(since, each.ready), now) if each.ready is not None else ():
            blank = MachineHour(provider=each.offer.provider, instance=each.offer.instance)
            was = found.setdefault(each.id, {}).get(hour, blank)
            found[each.id][hour] = msgspec.structs.replace(
                was,
                cost=was.cost + seconds * each.price / HOUR,
                seconds=was.seconds + seconds,
                there=was.there + seconds * (each.state in ("ready", "ending")),
            )
    return found


def credit(hour: int, machine: MachineHour, promise: ProviderPromise, region: str = "") -> CostRow:
    """What a provider gives back for the part of an hour that its machine was not there: so many times the price of
    the time by which that missed what is promised. A row of negative cost."""
    there = machine.there / machine.seconds if machine.seconds else 1.0
    missed = max(0.0, promise.available - min(1.0, there))
    cost = -min(machine.cost, machine.cost * missed * promise.back)
    return CostRow(hour=hour, endpoint="", version=machine.instance, use="credit", region=region, cost=cost)


def _within(span: PricedSpan, hour: int) -> float:
    end = hour + HOUR if span.ended is None else min(span.ended, hour + HOUR)
    return max(0.0, end - max(span.started, hour))


def disagreement(booked: float, billed: float, used: float, measured: float) -> str:
    """What does not agree in an hour: rows with price times time to 0.1 %, work with what processes counted to 2 %."""
    found: list[str] = []
    if abs(booked - billed) > max(0.001 * billed, 1e-9):
        found.append(f"the rows add up to {booked:.6g} $, price times time is {billed:.6g} $")
    if abs(used - measured) > max(0.02 * measured, 1.0):
        found.append(f"{used:.1f} s are booked for work, the processes counted {measured:.1f} s")
    return "; ".join(found)
