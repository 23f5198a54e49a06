"""`/v1/plans`: plans of what runs where, which were applied or are proposed."""

import asyncio
import time

import msgspec

from argosy.api.regions import changed
from argosy.api.route import Route, Services, Why
from argosy.regions.placing import numbers
from argosy.spec.errors import InvalidArgument
from argosy.spec.placement import PlacementFile
from argosy.spec.plan import KeptPlan, MadePlan

MOST = 16 * 1024 * 1024
"""Bytes of a file with its plan."""


class NewPlan(Why, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan of a file, as `argosy place` makes it; `apply`: give it to the regions, else it is proposed."""

    declared: PlacementFile
    plan: MadePlan
    apply: bool = False


class KeptPlans(msgspec.Struct, frozen=True, kw_only=True):
    """The newest first; `problem` is why the current plan could not be made again."""

    plans: list[KeptPlan]
    problem: str = ""


async def every(services: Services) -> KeptPlans:
    """All plans that are kept."""
    return KeptPlans(plans=await asyncio.to_thread(services.plans.store.every), problem=services.plans.problem)


async def get(services: Services, number: str) -> KeptPlan:
    """One plan."""
    return await asyncio.to_thread(services.plans.store.get, _number(number))


async def keep(services: Services, body: NewPlan) -> KeptPlan:
    """Keep a plan, and apply it."""
    if body.declared.offers not in ("", "platform"):
        raise InvalidArgument("offers must be 'platform' here: declare what a file of prices has as supply")
    given = numbers(body.declared, body.plan, await _allowed(services))
    plan = KeptPlan(
        number=0,
        made=time.time(),
        state="current" if body.apply else "proposed",
        why=body.reason or "argosy place",
        plan=body.plan,
        numbers=given,
        note="" if body.apply else "it was only proposed",
    )
    kept = await asyncio.to_thread(services.plans.store.keep, body.declared, plan, body.cause)
    await changed(services)
    return kept


async def apply(services: Services, number: str, body: Why) -> KeptPlan:
    """Apply a plan that is proposed."""
    plan = await get(services, number)
    declared = await asyncio.to_thread(services.plans.store.declared, plan.number)
    numbers(declared, plan.plan, await _allowed(services))
    kept = await asyncio.to_thread(services.plans.store.apply, plan.number, body.cause)
    await changed(services)
    return kept


async def end(services: Services, query: Why) -> None:
    """Follow no plan any more."""
    await asyncio.to_thread(services.plans.store.end, query.cause)


async def _allowed(services: Services) -> dict[str, tuple[str, ...]]:
    there = await asyncio.to_thread(services.state.endpoints)
    return {each.endpoint.name: each.endpoint.regions for each in there}


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise InvalidArgument(f"a plan has a number, not '{text[:80]}'")
    return int(text)


ROUTES = (
    Route("GET", "/v1/plans", every, "Plans of what runs where"),
    Route("POST", "/v1/plans", keep, "Keep a plan, and apply it", most=MOST),
    Route("DELETE", "/v1/plans", end, "Follow no plan any more"),
    Route("GET", "/v1/plans/{number}", get, "One plan"),
    Route("POST", "/v1/plans/{number}/apply", apply, "Apply a plan that is proposed"),
)
