"""`/edge/v1`: what devices ask, each with a key of its own. See `edge/wire.py`, which is the contract.

Devices reach it through the gateway, over a Unix socket that only our user may open, and at the control API where other
machines reach that. Neither has the control token: a device shows the token of its session, and whether it is one of
the fleet still is read anew for every request. What it says is kept within bounds, and decides about itself alone.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from argosy.api.application import answered, as_json, no_method, no_route, read_body
from argosy.api.device_reports import Intake, Take
from argosy.api.device_sessions import (
    SECONDS,
    Bearer,
    Challenges,
    Tell,
    Tokens,
    check_enrolment,
    check_session,
    tell_suspended,
)
from argosy.api.server import SocketServer
from argosy.api.transfers import DeviceTransfers
from argosy.edge import wire
from argosy.spec import strict
from argosy.spec.errors import InvalidArgument, PermissionDenied, Unauthenticated
from argosy.spec.foreign import printable
from argosy.spec.settings import Home
from argosy.store.devices import Device, good, hashed
from argosy.store.fleets import Asked
from argosy.store.store import Store

SMALL, REPORT = 64 * 1024, 2 * 1024 * 1024
"""Bytes of a body, and of a report."""
WAITING = 1000
"""Devices that wait for news at a time; the others ask again after `POLL` seconds."""
DIRECT = 32
"""Those that wait at the control API's own port, which has few connections."""
LONGEST, POLL = 55.0, 30.0
MOST_POLL, ASKS = 90.0, 150.0
"""Where devices are so many that more would ask each second, they are told to wait longer, so many seconds at most."""
FLUSH = 15.0
"""Seconds between two writings of when devices were heard."""
SPREAD = 5.0
"""Seconds over which many that wait are told, for each `WAITING` of them."""
GATEWAY = 4096
"""Connections of the gateway."""

B = TypeVar("B", bound=msgspec.Struct)
Handler = Callable[[Request, Device], Awaitable[Response]]


class DeviceApi:
    """What devices ask of a platform. `tell` takes what is wrong with a fleet; `take` has each report before it counts,
    at least once, in a thread."""

    def __init__(
        self, store: Store, tell: Tell, take: Take | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys, self._fleets, self._devices = store.fleet_keys, store.fleets, store.fleets.devices
        self._tell, self._clock = tell, clock
        self.intake = Intake(self._fleets, take, clock)
        self.transfers = DeviceTransfers(store)
        self.challenges = Challenges()
        self._tokens: Tokens | None = None
        self._number = 0
        self.waiting: dict[str, tuple[str, asyncio.Event]] = {}
        self._heard: dict[str, float] = {}
        self._poll = POLL
        self._flushed, self._changes, self._ending = 0.0, 0, False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._devices.listen(self._changed)

    def routes(self, most: int = WAITING) -> list[BaseRoute]:
        """The routes, of which so many requests may wait for news."""

        async def desired(request: Request) -> Response:
            return await self.desired(request, most)

        return [
            self._open("/enrol", wire.Enrolment, self.enrol),
            self._open("/challenge", wire.ChallengeRequest, self.challenge),
            self._open("/session", wire.SessionRequest, self.session),
            self._guarded("/report", "POST", self.report),
            answered(wire.PREFIX + "/desired", "GET", desired),
            self._guarded("/plan", "GET", self.plan),
            self._guarded("/blobs/{sha256}", "GET", self.blob),
        ]

    def _open(self, path: str, kind: type[B], handle: Callable[[B], Awaitable[Any]]) -> BaseRoute:
        async def answer(request: Request) -> Response:
            body = strict.decode(await read_body(request, SMALL), kind, "the body")
            return as_json(await handle(body))

        return answered(wire.PREFIX + path, "POST", answer)

    def _guarded(self, path: str, method: str, handle: Handler) -> BaseRoute:
        async def answer(request: Request) -> Response:
            return await handle(request, (await self._asked(await self._bearer(request))).device)

        return answered(wire.PREFIX + path, method, answer)

    async def _bearer(self, request: Request) -> Bearer:
        token = request.headers.get(wire.SESSION, "")
        return (await self._signed()).read(token, self._clock())

    async def _signed(self) -> Tokens:
        """Those of the present key: another one ends all sessions, so that devices hear of it first."""
        if self._tokens is None:
            await asyncio.to_thread(lambda: self._keys.current)
        if self._tokens is None or self._number != self._keys.public.number:
            self._number = self._keys.public.number
            self._tokens = Tokens(self._keys.secret("sessions of devices"))
        return self._tokens

    async def _asked(self, bearer: Bearer) -> Asked:
        """A device and what it is to do, read now. Raises Unauthenticated where the session is over, PermissionDenied
        for a device that is no more."""
        asked = await asyncio.to_thread(self._fleets.asked, bearer.device)
        device = good(asked.device if asked else None)
        if asked is None or device.session != bearer.session:
            raise Unauthenticated(f"device '{device.id}' has begun another session")
        if device.previous:
            await asyncio.to_thread(self._devices.used, device.id, device.session)
        self.hear(device.id)
        return asked

    async def challenge(self, body: wire.ChallengeRequest) -> wire.Challenge:
        """What to sign. It says nothing about the device that asks."""
        now = self._clock()
        return wire.Challenge(nonce=self.challenges.make(now), now=now)

    async def enrol(self, body: wire.Enrolment) -> wire.Enrolled:
        """A new device, or one that lost the answer. Raises Unauthenticated, PermissionDenied, Conflict, NotFound."""
        now = self._clock()
        self.challenges.check(body.nonce, now)
        fleet = await asyncio.to_thread(self._fleets.get, body.fleet)
        pem = check_enrolment(body, fleet.owner)
        self.challenges.use(body.nonce, now)
        mark = hashed(pem)
        device = Device(
            id=body.name or f"{body.fleet[:40]}-{mark[:12]}",
            fleet=body.fleet,
            public_key=pem,
            fingerprint=mark,
            labels=dict(body.labels),
            facts=_facts(body.facts),
            created=now,
            seen=now,
            since=now,
        )
        device = await asyncio.to_thread(self._devices.enrol, device, token=body.token, now=now)
        known = await asyncio.to_thread(lambda: self._keys.public)
        return wire.Enrolled(
            device=device.id, fleet=fleet.name, keys=known.keys, signers=fleet.signers, number=known.number
        )

    async def session(self, body: wire.SessionRequest) -> wire.DeviceSession:
        """A new session of a device. Raises Unauthenticated, PermissionDenied."""
        now = self._clock()
        self.challenges.check(body.nonce, now)
        asked = await asyncio.to_thread(self._fleets.asked, body.device)
        if asked is None:
            raise Unauthenticated("there is no such device: enrol it")
        check_session(body, asked.device.public_key)
        self.challenges.use(body.nonce, now)
        if body.facts.protocol != wire.VERSION:
            raise InvalidArgument(f"the agent speaks protocol {body.facts.protocol}, this platform {wire.VERSION}")
        ratchet = secrets.token_urlsafe(24)
        try:
            device = await asyncio.to_thread(
                self._devices.renew, body.device, body.ratchet, ratchet, _facts(body.facts), now
            )
        except PermissionDenied:
            await asyncio.to_thread(tell_suspended, self._tell, self._devices, asked.device.fleet)
            raise
        token = (await self._signed()).make(Bearer(device.id, device.session), now + SECONDS)
        news = await asyncio.to_thread(self._keys.since, body.number)
        keys = tuple(msgspec.json.decode(each, type=wire.Envelope) for each in news)
        return wire.DeviceSession(
            token=token, seconds=SECONDS, ratchet=ratchet, now=now, labels=device.labels, keys=keys
        )

    async def report(self, request: Request, device: Device) -> Response:
        """Take a report, once."""
        said = strict.decode(await read_body(request, REPORT), wire.AgentReport, "the report")
        return as_json(wire.Received(number=await self.intake.take(device, said)))

    async def plan(self, request: Request, device: Device) -> Response:
        """How to get a `package` of the device, from those that it says to `have`."""
        package, have = (request.query_params.get(name, "") for name in ("package", "have"))
        theirs = await asyncio.to_thread(self._fleets.packages, device.id)
        return as_json(await self.transfers.plan(theirs, package, have))

    async def blob(self, request: Request, device: Device) -> Response:
        """A blob, or a part of it."""
        theirs = await asyncio.to_thread(self._fleets.packages, device.id)
        return await self.transfers.blob(theirs, request.path_params["sha256"], request)

    async def desired(self, request: Request, most: int) -> Response:
        """What the device is to run, as soon as that is something else than it knows, or after the time it waits."""
        after, loop = request.query_params.get("after", ""), asyncio.get_running_loop()
        try:
            wait = min(LONGEST, max(0.0, float(request.query_params.get("wait", "0"))))
        except ValueError:
            raise InvalidArgument("the query: wait is a number of seconds") from None
        ends = loop.time() + wait
        while True:
            bearer = await self._bearer(request)
            self._loop, seen = loop, self._changes
            asked = await self._asked(bearer)
            found, left = wanted(asked, self._poll), ends - loop.time()
            if found.revision != after or left <= 0 or len(self.waiting) >= most or self._ending:
                return as_json(found)
            changed = asyncio.Event()
            self.waiting[bearer.device] = asked.device.fleet, changed
            try:
                if seen == self._changes:
                    async with asyncio.timeout(left):
                        await changed.wait()
            except TimeoutError:
                return as_json(found)
            finally:
                if self.waiting.get(bearer.device, ("", None))[1] is changed:
                    del self.waiting[bearer.device]

    def end(self) -> None:
        """Nobody waits any more: the platform ends."""
        self._ending = True
        for _, event in self.waiting.values():
            event.set()

    def _changed(self, fleet: str, devices: Collection[str]) -> None:
        """From any thread: something is new for devices."""
        self._changes += 1
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake, fleet, frozenset(devices))

    def _wake(self, fleet: str, devices: Collection[str]) -> None:
        """Wake those that wait, many of them one after the other."""
        mine = (
            [self.waiting[each] for each in devices if each in self.waiting] if devices else list(self.waiting.values())
        )
        events = [event for of, event in mine if of == fleet]
        loop = asyncio.get_running_loop()
        for event in events:
            loop.call_later(random.random() * SPREAD * len(events) / WAITING, event.set)

    def hear(self, device: str) -> None:
        """A device was heard."""
        now = self._clock()
        self._heard[device] = now
        if not self._flushed <= now < self._flushed + FLUSH:
            self._flushed = now
            heard, self._heard = self._heard, {}
            self._poll = min(MOST_POLL, max(POLL, len(heard) * self._poll / FLUSH / ASKS))
            task = asyncio.create_task(asyncio.to_thread(self._devices.note_seen, heard))
            self._tasks.add(task)
            task.add_done_callback(self._noted)

    def _noted(self, task: "asyncio.Task[None]") -> None:
        """A database that is away for a moment costs the times of that moment."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()


def wanted(asked: Asked, poll: float = POLL) -> wire.Desired:
    """What a device is told to run, and when to ask again."""
    if not asked.number:
        return wire.Desired(revision="0", poll=poll)
    over, hold = asked.state in ("aborted", "stopped"), asked.state == "paused"
    return wire.Desired(
        revision=f"{asked.number}.{'over' if over else 'hold' if hold else 'go'}",
        update=None if over else msgspec.json.decode(asked.envelope or b"", type=wire.Envelope),
        hold=hold,
        drop=over,
        poll=poll,
    )


def _facts(facts: wire.Facts) -> dict[str, Any]:
    return {
        name: printable(value) if isinstance(value, str) else value
        for name, value in msgspec.to_builtins(facts).items()
    }


class DeviceServer(SocketServer):
    def __init__(self, home: Home, routes: Sequence[BaseRoute]) -> None:
        app = Starlette(routes=routes, exception_handlers={404: no_route, 405: no_method})
        super().__init__(app, home.devices, GATEWAY, whole=120)
