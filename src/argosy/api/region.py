"""`/region/v1`: what the holder of a plan asks of a region, with the region's token, which opens nothing else.

What it orders takes the same walk as the declarations of users; see `regions/wire.py`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

import argosy
from argosy.api import token
from argosy.api.application import answered, as_json, check_host, read_body
from argosy.api.orders import follow, leave
from argosy.api.regions import measured
from argosy.api.route import Services
from argosy.packaging.lineage import lineage_from
from argosy.regions.wire import RegionEndpoint, RegionOrder, RegionReport, SentPackage, reported
from argosy.spec import strict
from argosy.spec.errors import Conflict, Unauthenticated

PREFIX = "/region/v1"
MOST = 64 * 1024 * 1024
"""Bytes of an order, and of the manifests of a package."""


class RegionApi:
    """The side of a region."""

    def __init__(self, services: Services) -> None:
        self._services, self._member = services, services.member
        self._token = token.ensure_of(services.home, "region")
        self._measuring: asyncio.Task[None] | None = None

    def routes(self) -> list[BaseRoute]:
        """None where the platform is no region."""
        if not self._member.name:
            return []
        return [
            self._route("", "GET", self._report),
            self._route("", "PUT", self._order),
            self._route("", "DELETE", self._leave),
            self._route("/packages/{name}/{number:int}", "PUT", self._package),
            self._route("/blobs/{digest}", "PUT", self._blob),
        ]

    def _route(self, path: str, method: str, handle: Callable[[Request], Awaitable[Any]]) -> BaseRoute:
        async def answer(request: Request) -> Response:
            check_host(request, self._services.settings.control.expose)
            if not token.matches(request.headers.get("authorization", ""), self._token):
                raise Unauthenticated("a region needs its token: argosy regions token  prints it there")
            return as_json(await handle(request))

        return answered(PREFIX + path, method, answer)

    async def _report(self, _: Request) -> RegionReport:
        return await self.report({})

    async def _order(self, request: Request) -> RegionReport:
        order = strict.decode(await read_body(request, MOST), RegionOrder, "the order")
        async with self._member.lock:
            self._member.check(order)
            if self._measuring is None or self._measuring.done():
                self._measuring = asyncio.create_task(self._member.measure())
            return await self.report(await follow(self._services, order))

    async def _leave(self, request: Request) -> RegionReport:
        holder = request.query_params.get("holder", "")
        if self._member.order.holder not in ("", holder):
            raise Conflict("another platform holds this region")
        await leave(self._services)
        return await self.report({})

    async def _package(self, request: Request) -> list[str]:
        sent = strict.decode(await read_body(request, MOST), SentPackage, "the package")
        name, number = request.path_params["name"], request.path_params["number"]
        lineage = lineage_from(f"region holder {self._member.order.holder}")
        return await asyncio.to_thread(self._member.adopt, name, number, sent, lineage)

    async def _blob(self, request: Request) -> None:
        await self._member.receive(request.path_params["digest"], request.stream())

    async def report(self, missing: dict[str, str]) -> RegionReport:
        """How this region is."""
        member, services = self._member, self._services
        await services.controller.settled()
        statuses, found = services.controller.view.endpoints, dict[str, RegionEndpoint]()
        declared = {each.endpoint.name: each for each in await asyncio.to_thread(services.state.endpoints)}
        for each in member.order.endpoints:
            status, now = statuses.get(name := each.endpoint.name), declared.get(name)
            made = reported(status, each, now.generation) if status and now else RegionEndpoint(placed=each)
            found[name] = measured(services, name, made)
        return RegionReport(
            region=member.name,
            version=argosy.__version__,
            now=time.time(),
            holder=member.order.holder,
            gateway=services.settings.gateway.url or services.controller.gateway_url,
            endpoints=member.report_of(found),
            missing=missing,
            spent=await asyncio.to_thread(member.spent),
        )
