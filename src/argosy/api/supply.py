"""`/v1/launches`: machines of providers. What is asked for here is written down; the rounds of the launcher do it."""

import asyncio
import re
import time
from typing import Annotated

import msgspec

from argosy.api.route import Route, Services, Why
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.offer import Launch, Market
from argosy.store import hosts
from argosy.store.hosts import EvictedHost
from argosy.supply import offers
from argosy.supply.groups import GroupStatus
from argosy.supply.launcher import Launcher, pick
from argosy.supply.sweep import Finding

TOKEN = re.compile(r"[a-z0-9]{1,24}")
Text = Annotated[str, msgspec.Meta(max_length=253)]
DAY = 86400.0


class NewLaunch(Why, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine to launch: the cheapest offer of a provider that is as said here, empty fields left out, for `most`
    US dollars an hour."""

    provider: Text
    instance: Text = ""
    region: Text = ""
    zone: Text = ""
    gpu: Text = ""
    count: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    market: Market = "on_demand"
    most: Annotated[float, msgspec.Meta(ge=0)] | None = None


class WhichLaunches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Those that are not over, and with `days` those of so many days."""

    days: Annotated[float, msgspec.Meta(ge=0, le=3650)] = 0.0


class LaunchList(msgspec.Struct, frozen=True, kw_only=True):
    """Launches, and what differs between them and what the providers say they have."""

    launches: list[Launch]
    findings: list[Finding]


async def launches(services: Services, query: WhichLaunches) -> LaunchList:
    """Launches, the newest first."""
    launcher = services.launcher
    begin = time.time() - query.days * DAY
    found = await asyncio.to_thread(launcher.launches.between, begin, time.time() + DAY)
    return LaunchList(launches=found, findings=[each for one in launcher.findings.values() for each in one])


class GroupList(msgspec.Struct, frozen=True, kw_only=True):
    """The groups of machines that are kept ready."""

    groups: list[GroupStatus]


async def groups(services: Services) -> GroupList:
    """How the groups of machines stand."""
    return GroupList(groups=await asyncio.to_thread(services.groups.status))


async def launch(services: Services, token: str, body: NewLaunch) -> Launch:
    """Have a machine launched. The same token again is the same launch. It is answered as it is written down."""
    launcher = services.launcher
    if not TOKEN.fullmatch(token):
        raise InvalidArgument("a token has 1 to 24 of a-z and 0-9")
    if there := await asyncio.to_thread(launcher.launches.known, [launcher.name(token)]):
        return there[launcher.name(token)]
    found = await asyncio.to_thread(_request, services, launcher, token, body)
    launcher.wake(found.offer.provider)
    return found


def _request(services: Services, launcher: Launcher, token: str, body: NewLaunch) -> Launch:
    provider = launcher.provider(body.provider)
    fields = ("provider", "instance", "region", "zone", "gpu", "count")
    wanted = {name: getattr(body, name) for name in fields if getattr(body, name)} | {"market": body.market}
    every = offers.every(services.store.database, services.settings.supply, [provider])
    if not any(each.provider == body.provider for each in every):
        provider.offers()  # raises why, where it does not answer
    offer = pick(every, wanted, float("inf") if body.most is None else body.most)
    return launcher.request(offer, token=token, cause=body.cause)


async def end(services: Services, name: str, query: Why) -> Launch:
    """Have a machine ended, by the id or the token of its launch."""
    launcher = services.launcher
    known = await asyncio.to_thread(launcher.launches.known, [name, launcher.name(name)])
    if not known:
        raise NotFound(f"there is no launch '{name[:63]}': argosy supply ls lists them")
    found = await asyncio.to_thread(launcher.release, next(iter(known)), query.cause)
    launcher.wake(found.offer.provider)
    return found


async def evicted(services: Services) -> list[EvictedHost]:
    """Hosts that are evicted."""
    return [*(await asyncio.to_thread(hosts.evicted, services.store.database)).values()]


async def allow(services: Services, host: str, query: Why) -> None:
    """Use a host again that is evicted."""
    await asyncio.to_thread(hosts.allow, services.store.database, host, query.cause)


ROUTES = (
    Route("GET", "/v1/hosts", evicted, "Hosts that are evicted"),
    Route("DELETE", "/v1/hosts/{host}", allow, "Use a host again that is evicted"),
    Route("GET", "/v1/launches", launches, "Launches of machines"),
    Route("GET", "/v1/groups", groups, "Groups of machines that are kept ready"),
    Route("PUT", "/v1/launches/{token}", launch, "Launch a machine", status=202),
    Route("DELETE", "/v1/launches/{name}", end, "End a machine", status=202),
)
