"""The gateways that follow this controller, and the Envoy of this machine where one runs, as one `Routing`."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from argosy.activator.queue import ActivatedEndpoint
from argosy.control.leases import LEASE, GatewayReport, GatewaySnapshot, Heard, Leases
from argosy.gateway.gateway import Gateway
from argosy.gateway.model import ApiKey, EndpointRoute
from argosy.gateway.subscriptions import Refused
from argosy.gateway.traffic import Traffic
from argosy.spec.errors import ArgosyError, Unavailable
from argosy.telemetry.counters import traffic_since, traffic_sum
from argosy.telemetry.feed import Key

LOG = logging.getLogger(__name__)
PATIENCE = 1.0
"""Seconds for all gateways to confirm, while the controller does nothing else."""
TICK = 0.2
RESTARTED = 2.0
"""Seconds between two attempts to start the Envoy of this machine."""
FORGOTTEN = 3600.0
"""Seconds after which the counters of a gateway that is gone are let go."""
CALLER_FILES = ("authorities.pem", "gateway.pem", "activator.pem")
HERE = ""
"""The name of the Envoy of this machine among those that count."""


class Reading(NamedTuple):
    """The counters of one Envoy (empty: none runs). Of the readings of a run, later ones have larger numbers."""

    run: str
    number: int
    envoy: str = ""
    traffic: Mapping[Key, Traffic] = {}


class Sums:
    """What all gateways have counted since this controller began, each by itself, so that one which begins at zero
    takes nothing from the others, and none counts twice."""

    def __init__(self) -> None:
        self.all: dict[Key, Traffic] = {}
        self._last: dict[str, Reading] = {}

    def add(self, gateway: str, reading: Reading) -> None:
        """Add what was counted since the last reading. The first one of a gateway says where it begins. One that comes
        late is left out."""
        before = self._last.get(gateway)
        if before is not None and before.run == reading.run and reading.number <= before.number:
            return
        self._last[gateway] = reading
        if before is None:
            return
        last: Mapping[Key, Traffic] = before.traffic if reading.envoy == before.envoy else {}
        for key, new in reading.traffic.items():
            grown = traffic_since(new, last.get(key, Traffic()))
            self.all[key] = traffic_sum((self.all.get(key, Traffic()), grown))

    def forget(self, gateways: Iterable[str]) -> None:
        """Let go of what is known of these; what they counted stays in the sum."""
        for gateway in gateways:
            self._last.pop(gateway, None)

    def total(self, alive: Iterable[str], routed: Iterable[Key]) -> dict[Key, Traffic]:
        """The sums, for revisions that are routed or that a gateway still counts; gauges of those `alive` only."""
        readings = [self._last[name].traffic for name in alive if name in self._last]
        present = {*routed, *(key for reading in readings for key in reading)}
        self.all = {key: each for key, each in self.all.items() if key in present}
        found: dict[Key, Traffic] = {}
        for key, each in self.all.items():
            now = [reading[key] for reading in readings if key in reading]
            hosts, healthy = (
                max((getattr(one, name) for one in now), default=0) for name in ("hosts", "healthy_hosts")
            )
            active = sum(one.active for one in now)
            found[key] = msgspec.structs.replace(each, active=active, hosts=hosts, healthy_hosts=healthy)
        return found


class Followers:
    """Implements `Routing`. `term` is that of the controller, `url` where clients reach the gateways, if it is set.

    Time passes here only while this process listens: one that was stopped for a while ends no lease.
    """

    def __init__(self, local: Gateway | None, term: int, url: str = "") -> None:
        self.local, self._url = local, url
        self.now = 0.0
        self.leases: Leases = Leases(began=self.now)
        self.snapshot: GatewaySnapshot = GatewaySnapshot(term=term)
        self.activated: Callable[[], dict[str, ActivatedEndpoint]] = dict
        self.demanded: Callable[[dict[str, int]], None] = lambda waiting: None
        self.withheld: Callable[[], bool] = lambda: False
        """Whether a gateway knows more than this controller, so that it keeps the snapshot of the one before."""
        self.urls: dict[str, str] = {}
        self._sums = Sums()
        self._waiting: dict[str, tuple[float, dict[str, int]]] = {}
        self._changed = asyncio.Condition()
        self._superseded = False
        self._local_after = 0.0
        if local is not None:
            self._sums.add(HERE, Reading("", 0))

    async def run(self) -> None:
        """Have time pass, for ever."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            real = time.monotonic()
            alive = self.leases.alive(self.now).keys()
            self.now += min(real - last, 2 * TICK)
            last = real
            if gone := alive - self.leases.alive(self.now).keys():
                LOG.warning("not heard of for %g s, and waited for no longer: %s", LEASE, _names(gone))
                await self._tell()
            old = [name for name, each in self.leases.gateways.items() if self.now - each.at > FORGOTTEN]
            for name in old:
                self._forget(name, self.leases.gateways[name].run)

    async def hear(self, name: str, report: GatewayReport) -> GatewaySnapshot | None:
        """What a gateway reports; the snapshot, if that is another than it has. Raises Conflict for a gateway whose
        name another one bears, Unavailable where it has followed a later controller."""
        if report.has[0] > self.snapshot.term:
            self._superseded = True
            raise Unavailable(f"gateway '{name}' follows a later controller: this one leads no more")
        new = name not in self.leases.gateways
        mine = report.has == self.snapshot.version
        applied = report.applied[1] if report.applied[0] == self.snapshot.term else 0
        heard = Heard(report.run, self.now, applied, report.refused if mine else "")
        self.leases = self.leases.heard(name, heard)
        self._note(name, report, new)
        await self._tell()

        def news() -> bool:
            keeps = 0 < report.has[0] < self.snapshot.term and self.withheld()
            return bool(self.snapshot.number) and report.has != self.snapshot.version and not keeps

        if report.hold:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(report.hold), self._changed:
                    await self._changed.wait_for(news)
        return self.snapshot if news() else None

    def _note(self, name: str, report: GatewayReport, new: bool) -> None:
        if new:
            LOG.info("the gateway '%s' follows", name)
        self.urls[name] = report.url
        if report.traffic is not None:
            found = {(each.endpoint, each.revision): each.counted for each in report.traffic}
            self._sums.add(name, Reading(report.run, report.number, report.envoy, found))
        if report.waiting:
            self._waiting[name] = (self.now, report.waiting)
            recent = [waiting for at, waiting in self._waiting.values() if self.now - at < 2 * TICK]
            self.demanded(dict(sum(map(Counter, recent), Counter[str]())))

    async def left(self, name: str, run: str) -> None:
        """A gateway has ended, and routes nothing any more."""
        self._forget(name, run)
        await self._tell()

    def _forget(self, name: str, run: str) -> None:
        self.leases = self.leases.without(name, run)
        if name not in self.leases.gateways:
            self._sums.forget([name])
            self.urls.pop(name, None)
            self._waiting.pop(name, None)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # What these do stands in `base.Routing`.

    @property
    def runs(self) -> bool:
        """A local one that is gone is started again by `apply` and `sweep`, which are for the others, too."""
        return True

    @property
    def settled(self) -> bool:
        return not self._superseded and self.leases.settled(self.snapshot.number, self.now)

    async def adopt(self) -> bool:
        return self.local is None or await self.local.adopt()

    async def resume(self) -> bool:
        return self.local is None or await self.local.resume()

    async def start(self, endpoints: Iterable[EndpointRoute], keys: Iterable[ApiKey]) -> None:
        """Start the local one. Those elsewhere get this with the next `apply`: they may still route by more."""
        if self.local is not None:
            await self.local.start(endpoints, keys)

    async def apply(self, endpoints: Iterable[EndpointRoute], keys: Iterable[ApiKey] = ()) -> bool:
        changed = await self._publish(tuple(endpoints), tuple(keys))
        await self._apply_here()
        await self._confirmed()
        return changed

    async def sweep(self) -> None:
        """Publish certificates and what may wait, where that has changed."""
        if self.snapshot.number:
            await self._publish(self.snapshot.endpoints, self.snapshot.keys)
            await self._apply_here()

    async def _apply_here(self) -> None:
        if self.local is None:
            return
        if self.local.runs:
            await self.local.apply(self.snapshot.endpoints, self.snapshot.keys)
        elif self.now >= self._local_after:
            self._local_after = self.now + RESTARTED
            LOG.warning("the gateway of this machine is gone; starting it again")
            await self.local.start(self.snapshot.endpoints, self.snapshot.keys)

    async def stats(self) -> Mapping[Key, Traffic]:
        alive = [*self.leases.alive(self.now)]
        if self.local is not None:
            running = self.local.process.running
            node, found = running.node if running else "", await self.local.stats()
            self._sums.add(HERE, Reading("", time.monotonic_ns(), node, found))
            alive.append(HERE)
        routed = [(route.endpoint, each.revision) for route in self.snapshot.endpoints for each in route.revisions]
        return self._sums.total(alive, routed)

    async def statistics(self, pattern: str) -> dict[str, float]:
        return await self.local.statistics(pattern) if self.local is not None else {}

    async def url(self) -> str:
        if self._url or self.local is None:
            return self._url or next((self.urls[name] for name in sorted(self.leases.alive(self.now))), "")
        return await self.local.url()

    async def stop(self) -> None:
        with contextlib.suppress(ArgosyError):
            await self.apply(())
        if self.local is not None:
            await self.local.stop()

    async def _publish(self, endpoints: tuple[EndpointRoute, ...], keys: tuple[ApiKey, ...]) -> bool:
        files = certificates(endpoints)
        fresh = msgspec.structs.replace(
            self.snapshot, endpoints=endpoints, keys=keys, activated=self.activated(), files=files
        )
        if fresh == self.snapshot and fresh.number:
            return False
        self.snapshot = msgspec.structs.replace(fresh, number=self.snapshot.number + 1)
        await self._tell()
        return True

    async def _confirmed(self) -> None:
        """Wait until every gateway that counts has applied the snapshot. Raises Refused, Unavailable."""
        number = self.snapshot.number
        behind: Mapping[str, Heard] = {}

        def over() -> bool:
            nonlocal behind
            behind = self.leases.behind(number, self.now)
            return not behind or any(each.refused for each in behind.values())

        try:
            async with asyncio.timeout(PATIENCE), self._changed:
                await self._changed.wait_for(over)
        except TimeoutError:
            text = f"not confirmed within {PATIENCE:g} s by {_names(behind)}"
            why = "; they keep what they have until it is known what runs" if self.withheld() else ""
            raise Unavailable(text + why) from None
        for name, each in behind.items():
            if each.refused:
                raise Refused(f"gateway '{name}': {each.refused}")
        if self._superseded:
            raise Unavailable("a gateway follows a later controller: this one leads no more")


def certificates(endpoints: Iterable[EndpointRoute]) -> dict[str, dict[str, str]]:
    """What gateways show and trust where replicas are reached by TLS: by folder and name."""
    addresses = (
        address
        for endpoint in endpoints
        for revision in endpoint.revisions
        for upstream in revision.upstreams
        for address in (upstream.http, upstream.grpc)
    )
    folders = sorted({each.tls.files for each in addresses if each is not None and each.tls is not None})
    found: dict[str, dict[str, str]] = {}
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            found[folder] = {name: Path(folder, name).read_text("ascii") for name in CALLER_FILES}
    return found


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"gateway '{name}'" for name in sorted(names))
