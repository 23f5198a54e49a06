"""The current plan is made again when regions are lost, drain or return, and when demand or prices change.

What it decides from is in the database, or is said by regions and the platform: one that starts anew waits longer, and
does nothing else.
"""

import asyncio
import logging
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from argosy.alerting.incident import Finding, Severity
from argosy.process.repeat import repeat
from argosy.regions.holder import Holder
from argosy.regions.placing import PlanJob, again, endpoint_of, numbers, region_of, supplied
from argosy.spec.errors import ArgosyError
from argosy.spec.offer import Offer
from argosy.spec.placement import DeclaredSupply, PlacementFile, Replan
from argosy.spec.plan import KeptPlan, MadePlan
from argosy.store.ledger import Cause
from argosy.store.plans import Plans

LOG = logging.getLogger(__name__)
EVERY = 5.0
LOOK = 60.0
"""Seconds between two looks at demand, and until a plan that could not be made is tried again."""
PRICES = 600.0
"""Seconds between two looks at what is offered."""
LOOKS = 5
"""Looks over whose mean a rate is taken."""
SECONDS = 10.0
"""For a search."""
DAY = 86400.0
DOUBLINGS = 6
ACTOR = "the platform"
"""No user of a machine has this name."""
TINY = 1e-9


class Here(Protocol):
    """What the platform of the holder knows. Each call may block."""

    def endpoints(self) -> Mapping[str, Collection[str]]:
        """The regions that each endpoint declares."""
        ...

    def rates(self, endpoint: str) -> tuple[float, float]:
        """Requests per second at the gateway here: in the busiest five minutes of the last day, and now."""
        ...

    def offers(self) -> Sequence[Offer]:
        """What is offered."""
        ...

    def solve(self, job: PlanJob) -> MadePlan:
        """Make a plan."""
        ...

    def close(self) -> None:
        """End what is being made, and make no more."""
        ...


class Seen(NamedTuple):
    """Whether a region serves, and since when that is so."""

    there: bool
    since: float


def absent(
    regions: Iterable[str],
    before: Collection[str],
    seen: Mapping[str, Seen],
    now: float,
    settle: float,
    losses: Mapping[str, int],
) -> tuple[str, ...]:
    """The regions to leave out, of which those `before` are. One leaves after `settle` seconds, and returns after twice
    as long, and twice as long again for each time that it was lost lately. Of one that was never seen, nothing
    changes. Pure."""

    def out(name: str) -> bool:
        at, was = seen.get(name), name in before
        if at is None:
            return was
        if at.there:
            return was and now - at.since < settle * 2 ** min(max(1, losses.get(name, 0)), DOUBLINGS)
        return was or now - at.since >= settle

    return tuple(sorted(filter(out, regions)))


class Replanner:
    """A task of the platform that holds the plan. `problem` is why the plan could not be made again."""

    def __init__(self, store: Plans, holder: Holder, here: Here, clock: Callable[[], float] = time.time) -> None:
        self.store, self._holder, self._here, self._clock = store, holder, here, clock
        self.problem = ""
        self._again = self._looked = self._priced = float("-inf")
        self._seen: dict[str, Seen] = {}
        self._samples: dict[str, deque[float]] = {}
        self._rates, self._supply = tuple[float, ...](), tuple[DeclaredSupply, ...]()
        self._of: int = 0
        self._weighed: tuple[int, Sequence[float], Mapping[str, float]] = (0, (), {})
        self._moved: float | None = None
        self._told: dict[str, list[Finding]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await repeat(self.step, EVERY, "making the plan again", LOG)
        finally:
            self._here.close()

    async def step(self) -> None:
        """One look at regions, demand and prices."""
        current, proposed = await asyncio.to_thread(self.store.open)
        if proposed is not None and proposed.actor != ACTOR:
            proposed = None
        if current is None:
            self._tell({})
            return
        now, last = self._clock(), proposed or current
        file = await asyncio.to_thread(self.store.declared, current.number)
        self._tell(_wrong(file, current, proposed))
        names = sorted({*current.plan.regions, *current.without})
        self._see(names, now)
        losses = await asyncio.to_thread(self._losses, now) if last.without else Counter[str]()
        without = absent(names, last.without, self._seen, now, file.replan.settle, losses)
        await asyncio.to_thread(self._look, file, current.number, now)
        moved = self._has_moved(file, last, now)
        if (without == last.without and not moved) or now < self._again:
            return
        if proposed is not None and without == current.without and not moved:
            await self._withdraw("what it was proposed for is over")
            return
        try:
            await self._make(file, current, proposed, without)
        except ArgosyError as error:
            self.problem, self._again = error.message, now + LOOK
            raise
        self.problem, self._moved = "", None

    def _see(self, names: Iterable[str], now: float) -> None:
        holder, news = self._holder, dict[str, Seen]()
        for name in names:
            state, there, since = holder.states.get(name), not holder.given_up(name), now
            if name != holder.own:
                if name in holder.regions and (state is None or (not state.problem and state.report is None)):
                    continue
                if state is None or state.problem:
                    there, since = False, max(state.heard, holder.begun) if state else now
            before = self._seen.get(name)
            news[name] = before if before is not None and before.there == there else Seen(there, since)
        self._seen = news

    def _losses(self, now: float) -> Counter[str]:
        """How often each region was left out anew within the last day."""
        rows = [each for each in reversed(self.store.every()) if each.made > now - DAY]
        return Counter(name for one, two in pairwise(rows) for name in {*two.without} - {*one.without})

    def _look(self, file: PlacementFile, number: int, now: float) -> None:
        if now - self._looked < LOOK and number == self._of:
            return
        if now - self._priced >= PRICES or number != self._of:
            self._supply, self._priced = supplied(file, self._here.offers() if file.offers else ()), now
        self._rates = tuple(
            self._rate(endpoint_of(file, each.model)) * each.share if each.rate is None else each.rate
            for each in file.demand
        )
        self._looked, self._of = now, number

    def _rate(self, endpoint: str) -> float:
        """Requests of an endpoint in all regions, lately, or at the busiest time here."""
        reports = [each.report for each in self._holder.states.values() if each.report and not each.problem]
        busiest, here = self._here.rates(endpoint)
        found = self._samples.setdefault(endpoint, deque(maxlen=LOOKS))
        found.append(here + sum(each.endpoints[endpoint].rate for each in reports if endpoint in each.endpoints))
        return max(busiest, statistics.fmean(found))

    def _has_moved(self, file: PlacementFile, last: KeptPlan, now: float) -> bool:
        """Whether rates or prices have been others for long enough than those that were weighed last."""
        if self._weighed[0] != last.number:
            self._weighed = last.number, last.plan.rates, last.plan.prices
        _, rates, prices = self._weighed
        fresh, share = self._prices(file, last.without), file.replan.change
        pairs = [*zip(rates, self._rates, strict=True)]
        pairs += [(prices.get(each, 0.0), fresh.get(each, 0.0)) for each in {*prices, *fresh}]
        if not any(abs(new - old) > share * old + TINY for old, new in pairs):
            self._moved = None
            return False
        self._moved = now if self._moved is None else self._moved
        return now - self._moved >= file.replan.settle

    def _prices(self, file: PlacementFile, without: Collection[str]) -> dict[str, float]:
        return {each.id: each.price for each in self._supply if region_of(file, each.region) not in without}

    async def _make(
        self, file: PlacementFile, current: KeptPlan, proposed: KeptPlan | None, without: tuple[str, ...]
    ) -> None:
        """Make the plan again, and apply or propose it."""
        allowed, prices = await asyncio.to_thread(self._here.endpoints), self._prices(file, without)
        if not prices:
            return
        running = (*current.plan.placements, *current.left)
        asked = again(file, self._supply, self._rates, running, without, allowed)
        made = await asyncio.to_thread(self._here.solve, PlanJob(file=asked, seconds=SECONDS))
        self._weighed = (proposed or current).number, self._rates, prices
        if made.kept and without == current.without:
            if proposed is not None:
                await self._withdraw("what runs would be kept")
            return
        drained = [each for each in without if each in self._holder.draining]
        given = numbers(file, made, allowed)
        given |= {each: {name: 0 for name, regions in allowed.items() if each in regions} for each in drained}
        why, note = _why(current, without), self._refused(file.replan, made, without)
        plan = KeptPlan(
            number=0,
            made=self._clock(),
            state="proposed" if note else "current",
            why=why,
            plan=made,
            numbers={region: replicas for region, replicas in given.items() if replicas},
            without=without,
            left=tuple(each for each in running if each.region in without and each.region not in drained),
            note=note,
        )
        cause = Cause(actor=ACTOR, reason=why)
        plan = await asyncio.to_thread(lambda: self.store.keep(file, plan, cause, instead=current.number))
        self._weighed = plan.number, self._rates, prices
        LOG.warning("plan %d is %s: %s", plan.number, plan.state, note or why)
        await asyncio.to_thread(self._holder.load)
        self._holder.wake()
        self._holder.changed()

    async def _withdraw(self, reason: str) -> None:
        await asyncio.to_thread(lambda: self.store.end(Cause(actor=ACTOR, reason=reason), proposed=True))

    def _refused(self, replan: Replan, made: MadePlan, without: Collection[str]) -> str:
        """Why a plan is not applied; empty where it is."""
        others = [each for each in self._seen if each != self._holder.own]
        silent = [each for each in others if each in without and each not in self._holder.draining]
        paid = made.cost - made.costs["unserved"] - made.costs["reserve"]
        if not replan.apply:
            return "the plan's file does not set replan.apply"
        if len(others) > 1 and 2 * len(silent) > len(others):
            return f"{len(silent)} of {len(others)} regions are silent: rather this platform is cut off"
        if replan.budget is not None and paid > replan.budget:
            return f"it costs {paid:,.3f} $/h, and replan.budget is {replan.budget:g}"
        return ""

    def _tell(self, found: Mapping[str, list[Finding]]) -> None:
        for name in {*found, *self._told}:
            if found.get(name) != self._told.get(name):
                self._holder.tell("plans", name, found.get(name, []))
        self._told = dict(found)


def _why(current: KeptPlan, without: Collection[str]) -> str:
    gone, back = sorted({*without} - {*current.without}), sorted({*current.without} - {*without})
    parts = [f"without {', '.join(gone)}"] * bool(gone) + [f"{', '.join(back)} is back"] * bool(back)
    return "; ".join(parts) or "demand or prices have changed"


def _wrong(file: PlacementFile, current: KeptPlan, proposed: KeptPlan | None) -> dict[str, list[Finding]]:
    """What endpoints suffer of the current plan, and what is proposed for them."""
    found: dict[str, list[Finding]] = {}

    def add(name: str, severity: Severity, title: str, reason: str) -> None:
        subject = "unserved" if severity == "page" else "proposed"
        each = Finding(endpoint=name, kind="plan", subject=subject, severity=severity, title=title, reason=reason)
        found.setdefault(name, []).append(each)

    for each in current.plan.unserved:
        reason = f"{each.rate:.3g}/s of {each.demand}"
        add(endpoint_of(file, each.model), "page", "the plan leaves requests unserved", reason)
    if proposed is not None:
        for name in sorted({each for replicas in proposed.numbers.values() for each in replicas}):
            add(name, "ticket", "another plan waits to be applied", f"plan {proposed.number}: {proposed.note}")
    return found
