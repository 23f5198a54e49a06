"""The activator as the controller sees it: its process, its file, and messages that somebody waits."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping

import msgspec

from argosy.activator.queue import ActivatedEndpoint, Destination
from argosy.activator.server import demand_socket, doors_file, grpc_socket, http_socket
from argosy.control.recording import Sidecar
from argosy.control.scaling.scaler import Scaler
from argosy.gateway.model import EndpointRoute, Waiting
from argosy.spec.address import Address
from argosy.spec.endpoint import Endpoint
from argosy.spec.scaling import Scaling
from argosy.spec.settings import Home
from argosy.store.endpoints import Declared

MESSAGE = msgspec.json.Decoder(dict[str, int])


def may_sleep(endpoint: Endpoint) -> bool:
    """Whether it may be without a replica while it is declared to serve."""
    return isinstance(endpoint.replicas, Scaling) and endpoint.replicas.min == 0


def activator(home: Home) -> Sidecar:
    """The activator of a home: it does not drain, since there is nobody left to answer."""
    run = home.run
    sockets = (http_socket(run), grpc_socket(run), demand_socket(run))
    log = home.logs / "waiting.log"
    return Sidecar("argosy.activator.server", run, doors_file(run), *sockets, folder=home.root, log=log)


class Activator(asyncio.DatagramProtocol):
    """One home's activator: its process, and `demanded`, which is called with how many requests wait, by endpoint."""

    def __init__(self, home: Home, demanded: Callable[[dict[str, int]], None]) -> None:
        self.home, self._demanded = home, demanded
        self._sidecar = activator(home)
        self._transport: asyncio.BaseTransport | None = None

    async def start(self) -> None:
        """Listen, and adopt the process of an earlier controller."""
        path = demand_socket(self.home.run)
        path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=str(path), family=1)
        await self._sidecar.start()

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Somebody waits."""
        with contextlib.suppress(msgspec.MsgspecError):
            self._demanded(MESSAGE.decode(data))

    def want(self, routes: Iterable[EndpointRoute], activated: Mapping[str, ActivatedEndpoint]) -> list[EndpointRoute]:
        """The routes, those that may wait by way of this activator; and write what is `activated` for it."""
        http, grpc = (Address(path=str(of(self.home.run))) for of in (http_socket, grpc_socket))
        self._sidecar.want(activated, by=activated)
        return [
            msgspec.structs.replace(route, waiting=msgspec.structs.replace(route.waiting, http=http, grpc=grpc))
            if route.waiting
            else route
            for route in routes
        ]

    async def stop(self) -> None:
        """End the process: nobody waits any more."""
        await self.close()
        await self._sidecar.stop()

    async def close(self) -> None:
        """Listen no more; the process is left as it is."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            demand_socket(self.home.run).unlink(missing_ok=True)


class Activation:
    """Sends requests for endpoints without a replica to activators, and wakes those that somebody waits for. `here`:
    one runs on this machine; `activated` is what all of them are to hold."""

    def __init__(self, home: Home, scaler: Scaler, wake: Callable[[], None], *, here: bool = True) -> None:
        self._scaler, self._wake, self._here = scaler, wake, here
        self.activator = Activator(home, self.demanded)
        self.activated: dict[str, ActivatedEndpoint] = {}
        self._shares: dict[str, str] = {}

    def demanded(self, waiting: dict[str, int]) -> None:
        """So many requests wait."""
        woken = [self._scaler.demand(self._shares.get(name, name), count) for name, count in waiting.items()]
        if any(woken):
            self._wake()

    def admit(self, routes: Iterable[EndpointRoute], declared: Iterable[Declared]) -> list[EndpointRoute]:
        """The routes, by way of the activator for those that may sleep; and write these for the activator."""
        every = {each.endpoint.name: each.endpoint for each in declared}
        self._shares = {name: each.shares for name, each in every.items() if each.shares in every}
        sleepers = {name: each for name, each in every.items() if may_sleep(every[self._shares.get(name, name)])}
        here = Address(path=str(http_socket(self.activator.home.run)))
        self.activated = {}
        found: list[EndpointRoute] = []
        for route in routes:
            if endpoint := sleepers.get(route.endpoint):
                waiting = Waiting(http=here, seconds=endpoint.waiting.deadline + endpoint.timeout)
                route = msgspec.structs.replace(route, waiting=waiting)
                self.activated[route.endpoint] = self._activated(route, endpoint)
            found.append(route)
        return self.activator.want(found, self.activated) if self._here else found

    def _activated(self, route: EndpointRoute, endpoint: Endpoint) -> ActivatedEndpoint:
        ready = [
            Destination(each.revision, upstream.http, upstream.grpc, upstream.engine)
            for each in route.revisions
            if each.weight
            for upstream in each.upstreams
            if upstream.state == "ready"
        ]
        return ActivatedEndpoint(
            queue=endpoint.waiting,
            ready=tuple(ready),
            most=endpoint.limits.requests,
            ready_in=self._scaler.cold_start(route.endpoint),
        )
