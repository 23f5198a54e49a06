"""`/v1/regions`: the regions of which this platform holds the plan, and how they are."""

import asyncio
import time
from typing import Annotated

import msgspec

from argosy.alerting.allowed import Allowed
from argosy.api.orders import leave as leave_holder
from argosy.api.route import Route, Services, Why
from argosy.regions.holder import RegionState
from argosy.regions.wire import RegionEndpoint, reported
from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument, NotFound
from argosy.spec.region import check_region
from argosy.store.regions import Region, Replicas


class RegionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A region: `own` for this platform, else `heard` so many seconds ago, None for never; `away` is why it is not
    heard now. `skew` is by how many seconds its clock is ahead."""

    name: str
    url: str
    own: bool = False
    gateway: str = ""
    version: str = ""
    draining: bool = False
    heard: float | None = None
    away: str = ""
    skew: float = 0.0
    unsent: dict[str, str] = {}
    endpoints: dict[str, RegionEndpoint] = {}


class NewRegion(Why, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a region is reached: its control API, the token of the region, and the SHA-256 of its certificate where the
    system does not know that."""

    url: Annotated[str, msgspec.Meta(max_length=2000)]
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    fingerprint: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")] = ""


class Drained(Why, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether a region drains."""

    draining: bool = True


class Removed(Why, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`force`: also where the region does not answer; what runs there goes on."""

    force: bool = False


class Placed(Why, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replicas by endpoint; null: as the endpoint declares."""

    replicas: dict[str, Replicas | None]


class Which(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of all endpoints, or of one."""

    endpoint: str = ""


async def every(services: Services, query: Which) -> list[RegionStatus]:
    """All regions, this platform first."""
    holder, name = services.regions, query.endpoint
    await asyncio.to_thread(holder.load)
    found = [_status(each, holder.states.get(one)) for one, each in sorted(holder.regions.items())]
    if holder.own and not services.member.order.holder:
        mine = services.controller.view.endpoints.items()
        endpoints = {
            one: measured(services, one, reported(each, None, each.generation))
            for one, each in mine
            if holder.own in each.endpoint.regions
        }
        drains, gateway = holder.own in holder.draining, services.controller.gateway_url
        own = RegionStatus(name=holder.own, url="", own=True, gateway=gateway, draining=drains, heard=0.0)
        found.insert(0, msgspec.structs.replace(own, endpoints=endpoints))
    if not name:
        return found
    return [
        msgspec.structs.replace(each, endpoints={k: v for k, v in each.endpoints.items() if k == name})
        for each in found
    ]


def measured(services: Services, name: str, endpoint: RegionEndpoint) -> RegionEndpoint:
    """With the requests that the gateway here gets, and what its replicas here cost."""
    rate, hourly = services.meter.now(name).requests, services.costs.hourly.get(name, 0.0)
    return msgspec.structs.replace(endpoint, rate=round(rate, 3), hourly=hourly)


def _status(region: Region, state: RegionState | None) -> RegionStatus:
    report = state.report if state else None
    endpoints = report.endpoints if report else {}
    return RegionStatus(
        name=region.name,
        url=region.url,
        gateway=report.gateway if report else "",
        version=report.version if report else "",
        draining=bool(region.draining),
        heard=round(time.time() - state.heard, 1) if state and report else None,
        away=state.problem if state else "",
        skew=round(state.skew, 2) if state else 0.0,
        unsent=state.unsent if state else {},
        endpoints={name: msgspec.structs.replace(each, placed=None) for name, each in endpoints.items()},
    )


async def add(services: Services, name: str, body: NewRegion) -> RegionStatus:
    """Add a region, which has to answer; one that is there is reached by the new URL and token."""
    holder, region = (
        services.regions,
        Region(
            name=check_region(name, "the name of a region"),
            url=body.url,
            token=body.token,
            fingerprint=body.fingerprint,
            added=time.time(),
        ),
    )
    Allowed.of(services.settings).check_url(body.url, "the region's control API")
    if name == holder.own:
        raise InvalidArgument(f"'{name}' is this platform itself")
    if services.member.order.holder:
        raise Conflict(f"this platform is a region of another one ({services.member.order.holder}), and holds no plan")
    report = await holder.greet(region)
    await asyncio.to_thread(holder.store.add, region, body.cause)
    holder.wake()
    return _status(region, RegionState(report=report, heard=time.time()))


async def drain(services: Services, name: str, body: Drained) -> RegionStatus:
    """Have a region give up its replicas once the others serve its part, or take them again."""
    region = await _region(services, name)
    await asyncio.to_thread(services.regions.store.drain, name, body.draining, body.cause)
    await changed(services)
    return _status(msgspec.structs.replace(region, draining=int(body.draining)), services.regions.states.get(name))


async def _region(services: Services, name: str) -> Region:
    """This platform, or one of the others. Raises NotFound."""
    if name == services.regions.own:
        return Region(name=name, url="", token="")
    return await asyncio.to_thread(services.regions.store.get, name)


async def changed(services: Services) -> None:
    """Have what is placed now be so."""
    await asyncio.to_thread(services.regions.load)
    services.regions.wake()
    services.controller.wake()


async def remove(services: Services, name: str, query: Removed) -> None:
    """Take back what a region was given, and forget it."""
    region = await asyncio.to_thread(services.regions.store.get, name)
    try:
        await services.regions.leave(region)
    except ArgosyError as error:
        if not query.force:
            raise type(error)(f"region '{name}' keeps what it has, so it is not removed: {error.message}") from None
    await asyncio.to_thread(services.regions.store.remove, name, query.cause)
    services.regions.wake()


async def place(services: Services, name: str, body: Placed) -> RegionStatus:
    """Place endpoints in a region with other numbers of replicas than they declare."""
    region = await _region(services, name)
    there = {each.endpoint.name: each.endpoint for each in await asyncio.to_thread(services.state.endpoints)}
    for each in body.replicas:
        if each not in there:
            raise NotFound(f"there is no endpoint '{each[:63]}'")
        if name not in there[each].regions:
            raise InvalidArgument(f"endpoint '{each}' does not declare region '{name}', and never runs there")
    await asyncio.to_thread(services.regions.store.place, name, body.replicas, body.cause)
    await changed(services)
    return _status(region, services.regions.states.get(name))


async def leave(services: Services) -> None:
    """Follow the holder of the plan no more: what it has placed here goes."""
    await leave_holder(services)


_ONE = "/v1/regions/{name}"
ROUTES = (
    Route("GET", "/v1/regions", every, "Regions"),
    Route("DELETE", "/v1/regions", leave, "Follow no holder"),
    Route("PUT", _ONE, add, "Add a region"),
    Route("POST", f"{_ONE}/drain", drain, "Drain a region, or resume it"),
    Route("PUT", f"{_ONE}/placements", place, "Place endpoints in a region"),
    Route("DELETE", _ONE, remove, "Remove a region"),
)
