"""An order of the holder of a plan, followed by the walk that every declaration takes."""

import asyncio
import functools
import logging

import msgspec

from argosy.api.endpoints import Written, declare
from argosy.api.route import Services
from argosy.regions.member import NOTHING
from argosy.regions.plan import same
from argosy.regions.wire import PlacedEndpoint, RegionOrder
from argosy.spec.errors import ArgosyError, Conflict, NotFound
from argosy.store.ledger import Cause

LOG = logging.getLogger(__name__)


async def follow(services: Services, order: RegionOrder) -> dict[str, str]:
    """Have what the order says, as far as its packages are here. Returns those that are not.

    An endpoint that is refused, or of which a package is missing, stays as it was.
    """
    member = services.member
    missing = await asyncio.to_thread(member.missing, order)
    before = {each.endpoint.name: each for each in member.order.endpoints}
    names = {each.endpoint.name for each in order.endpoints}
    there = {each.endpoint.name for each in await asyncio.to_thread(services.state.endpoints)}
    problems: dict[str, str] = {}
    taken: list[PlacedEndpoint] = []
    # Written first, so that what is declared belongs to this holder wherever a crash comes.
    intended = {**before, **{each.endpoint.name: each for each in order.endpoints if each.endpoint.name not in there}}
    claim = msgspec.structs.replace(order, endpoints=tuple(intended.values()), keys=member.order.keys)
    await asyncio.to_thread(member.follow, claim)
    for each in order.endpoints:
        name = each.endpoint.name
        old = before.get(name)
        try:
            if name in there and old is None:
                raise Conflict(f"endpoint '{name}' is declared in region '{member.name}' itself: delete it there")
            if missing.keys() & each.packages.keys():
                taken += [old] if old else []
            elif each != old or name not in there:
                why = Written(actor=member.actor, reason="as the holder of the plan says")
                news = old is None or not same(old, each)
                await declare(services, each.endpoint, why, version=each.ref, keys=False, again=news)
                taken.append(each)
            else:
                taken.append(each)
        except ArgosyError as error:
            problems[name] = error.message
            taken += [old] if old else []
    for name in before.keys() - names:
        await _delete(services, name)
    member.problems = problems
    await asyncio.to_thread(member.follow, msgspec.structs.replace(order, endpoints=tuple(taken)))
    services.controller.wake()
    return missing


async def leave(services: Services) -> None:
    """Take back all that the holder has placed here, and follow nobody."""
    async with services.member.lock:
        for name in services.member.held:
            await _delete(services, name)
        services.member.problems = {}
        await asyncio.to_thread(services.member.follow, NOTHING)
        services.controller.wake()


async def _delete(services: Services, name: str) -> None:
    delete = functools.partial(services.state.delete, name, cause=Cause(actor=services.member.actor))
    try:
        await asyncio.to_thread(delete)
    except NotFound:
        LOG.info("endpoint '%s' was gone already", name)
