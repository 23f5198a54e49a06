"""The pages of regions and of plans: what each region serves, with how much capacity, for how many requests, at what
cost; what a plan has where, and what other choices would cost."""

import asyncio
from typing import Any, NamedTuple

from starlette.responses import Response

from argosy.api import regions
from argosy.api.regions import RegionStatus, Which
from argosy.console.chart import Bubble
from argosy.console.pages import Console, PageRequest
from argosy.console.words import money, rate
from argosy.regions.placing import instead, renting
from argosy.regions.wire import RegionEndpoint
from argosy.spec.plan import Alternative, KeptPlan, PlannedReplicas
from argosy.store.regions import Replicas


class RegionRow(NamedTuple):
    """A region: its state, the sums over its endpoints, and what is wrong there."""

    region: RegionStatus
    state: str
    ready: int
    replicas: int
    rate: float
    hourly: float
    wrong: list[str]


class Choice(NamedTuple):
    """Replicas of a plan, and its alternative; `share`: of the dearest one, in percent."""

    placed: PlannedReplicas
    reason: Alternative | None
    instead: str
    share: float


async def page(console: Console, ask: PageRequest) -> Response:
    """All regions."""
    rows = [_row(each) for each in await regions.every(console.services, Which())]
    names = sorted({name for each in rows for name in each.region.endpoints})
    placed = {place: _planned(each) for place, each in console.services.regions.placements.items()}
    bubbles = [_bubble(each) for each in rows]
    return console.render(ask, "regions.html", rows=rows, names=names, placed=placed, bubbles=bubbles)


def _planned(replicas: Replicas) -> str:
    return f"{replicas}" if isinstance(replicas, int) else f"{replicas.min}–{replicas.max}"


def _row(region: RegionStatus) -> RegionRow:
    found = region.endpoints.values()
    return RegionRow(
        region=region,
        state="away" if region.away else "draining" if region.draining else "ready",
        ready=sum(each.ready for each in found),
        replicas=sum(each.replicas for each in found),
        rate=sum(each.rate for each in found),
        hourly=sum(each.hourly for each in found),
        wrong=[region.away] * bool(region.away)
        + [text for name, each in region.endpoints.items() if (text := _wrong(name, each))],
    )


def _wrong(name: str, endpoint: RegionEndpoint) -> str:
    text = endpoint.problem or endpoint.reason
    return f"{name}: {text}" if text else ""


def _bubble(row: RegionRow) -> Bubble:
    lines = (f"{row.ready} of {row.replicas} replicas", f"{rate(row.rate)} requests/s", f"{money(row.hourly)} an hour")
    return Bubble(row.state, row.region.name, row.hourly, lines)


async def plans(console: Console, ask: PageRequest) -> Response:
    """One plan, the current one unless another is asked for, and a list of all."""
    every = await asyncio.to_thread(console.services.plans.store.every)
    asked = [each for each in every if str(each.number) == ask.query.get("plan")]
    current = [each for each in every if each.state == "current"]
    chosen = next(iter((*asked, *current, *every)), None)
    proposed = next((each for each in every if each.state == "proposed" and each != chosen), None)
    choices, problem = _choices(chosen) if chosen else [], console.services.plans.problem
    rented = [told for each in (chosen.plan.rented if chosen else ()) if (told := renting(each))]
    found: dict[str, Any] = {"plans": every, "chosen": chosen, "proposed": proposed, "choices": choices}
    return console.render(ask, "plans.html", problem=problem, rented=rented, **found)


def _choices(plan: KeptPlan) -> list[Choice]:
    """The dearest first."""
    reasons = {each.place: each for each in plan.plan.reasons}
    most = max((each.dearer or 0.0 for each in reasons.values()), default=0.0)
    found = list[Choice]()
    for each in sorted(plan.plan.placements, key=lambda each: -each.hourly):
        reason = reasons.get((each.model, each.variant, each.supply))
        share = 100 * (reason.dearer or 0.0) / most if reason and most else 0.0
        found.append(Choice(each, reason, instead(reason) if reason else "", share))
    return found
