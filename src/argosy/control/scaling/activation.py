"""The waiting room as the controller sees it: a process to keep, a file to write, and messages that somebody waits."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable

import msgspec

from argosy.activator.queue import Admitted, Door
from argosy.activator.server import demand_socket, doors_file, grpc_socket, http_socket
from argosy.control.scaling.scaler import Scaler
from argosy.gateway.model import EndpointRoute
from argosy.gateway.shaping import Waiting
from argosy.process import launch
from argosy.process.process import Process, spawn
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import ArgosyError
from argosy.spec.scaling import Scaling
from argosy.spec.settings import Home
from argosy.store.durable import say
from argosy.store.endpoints import Declared
from argosy.targets import orphans

LOG = logging.getLogger(__name__)

MESSAGE = msgspec.json.Decoder(dict[str, int])


def may_sleep(endpoint: Endpoint) -> bool:
    """Whether it may be without a replica while it is declared to serve."""
    return isinstance(endpoint.replicas, Scaling) and endpoint.replicas.min == 0


def clear(home: Home) -> None:
    """End the process of a home, and remove its files."""
    orphans.end(orphans.rooms(home), 0.0)
    for path in (http_socket(home.run), grpc_socket(home.run), doors_file(home.run), demand_socket(home.run)):
        path.unlink(missing_ok=True)


class Room(asyncio.DatagramProtocol):
    """One home's waiting room. It runs from the first endpoint that needs it to the platform's orderly end."""

    def __init__(self, home: Home, scaler: Scaler, wake: Callable[[], None]) -> None:
        self.home, self._scaler, self._wake = home, scaler, wake
        self._process: Process | None = None
        self._transport: asyncio.BaseTransport | None = None
        self._written: dict[str, Door] | None = None

    async def start(self) -> None:
        """Listen, and adopt the process of an earlier controller."""
        path = demand_socket(self.home.run)
        path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=str(path), family=1)
        for found in await asyncio.to_thread(orphans.rooms, self.home):
            self._process = Process(found, child=False)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Somebody waits."""
        with contextlib.suppress(msgspec.MsgspecError):
            woken = [self._scaler.demand(name, count) for name, count in MESSAGE.decode(data).items()]
            if any(woken):
                self._wake()

    def admit(self, routes: Iterable[EndpointRoute], declared: Iterable[Declared]) -> list[EndpointRoute]:
        """The routes, with a waiting room for those that may sleep; and the room is told of them."""
        sleepers = {each.endpoint.name: each.endpoint for each in declared if may_sleep(each.endpoint)}
        made = [self._with_room(each, sleepers.get(each.endpoint)) for each in routes]
        self._tell({each.endpoint: self._door(each, sleepers[each.endpoint]) for each in made if each.waiting})
        return made

    def _with_room(self, route: EndpointRoute, endpoint: Endpoint | None) -> EndpointRoute:
        if endpoint is None:
            return route
        seconds = endpoint.waiting.deadline + endpoint.timeout
        run = self.home.run
        waiting = Waiting(http=str(http_socket(run)), grpc=str(grpc_socket(run)), seconds=seconds)
        return msgspec.structs.replace(route, waiting=waiting)

    def _door(self, route: EndpointRoute, endpoint: Endpoint) -> Door:
        ready = [
            Admitted(each.revision, upstream.http, upstream.grpc or "")
            for each in route.revisions
            if each.weight
            for upstream in each.upstreams
            if upstream.state == "ready"
        ]
        return Door(
            room=endpoint.waiting,
            ready=tuple(ready),
            most=endpoint.limits.requests,
            ready_in=self._scaler.cold_start(route.endpoint),
        )

    def _tell(self, doors: dict[str, Door]) -> None:
        try:
            if doors != self._written and (doors or self._written):
                say(doors_file(self.home.run), msgspec.json.encode(doors))
                self._written = doors
            if doors and (self._process is None or self._process.ended()):
                run = str(self.home.run.absolute())
                child = launch.ours("argosy.activator.server", run, folder=self.home.root)
                self._process = spawn(child.command, child.environ, self.home.logs / "waiting.log")
        except (ArgosyError, OSError) as error:
            LOG.warning("the waiting room: %s", error)

    async def stop(self) -> None:
        """End the process: nobody waits any more."""
        await self.close()
        await asyncio.to_thread(clear, self.home)

    async def close(self) -> None:
        """Listen no more; the process is left as it is."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            demand_socket(self.home.run).unlink(missing_ok=True)
