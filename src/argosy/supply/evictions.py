"""What is done about hosts that are evicted: their replicas move, and their machines are given back."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from argosy.spec.offer import Launch
from argosy.store import hosts as store
from argosy.store.hosts import EvictedHost
from argosy.store.ledger import Cause
from argosy.supply.launcher import Launcher, hosts_of

Vacate = Callable[[Collection[str]], Awaitable[Mapping[str, int]]]
"""Have the replicas on these hosts move, and place none there; how many there still are, by host."""


class Evictions:
    """`targets` are the `vacate` of each. What groups have leave goes through `vacate` here, since targets are always
    told of all hosts; `grouped` says whether a group looks after a launch."""

    def __init__(
        self,
        launcher: Launcher,
        targets: Sequence[Vacate],
        grouped: Callable[[Launch], bool],
        clock: Callable[[], float],
    ) -> None:
        self._launcher, self._targets, self._grouped, self._clock = launcher, targets, grouped, clock
        self._database = launcher.launches.database
        self._leaving: Collection[str] = ()
        self._left: Mapping[str, int] = {}
        self._told = True  # an earlier platform may have told it of some

    def evict(self, host: str, reason: str) -> EvictedHost:
        """Have its replicas move and its machine given back; it gets no more. One that is evicted stays so."""
        if found := store.evicted(self._database).get(host):
            return found
        machines = [hosts_of(each) for each in self._launcher.launches.live()]
        names = {host}.union(*(each for each in machines if host in each))
        found = EvictedHost(host=host, names=tuple(sorted(names)), since=self._clock(), reason=reason)
        store.evict(self._database, found)
        return found

    async def turn(self) -> None:
        """One round."""
        found = await asyncio.to_thread(store.evicted, self._database)
        if found or self._told:
            await self._vacate(found.values())
            self._told = bool(found)
        if found:
            await asyncio.to_thread(self._give_back, found.values())

    async def vacate(self, hosts: Collection[str]) -> Mapping[str, int]:
        """Have replicas move from these hosts, and from those that are evicted."""
        self._leaving = hosts
        return await self._vacate((await asyncio.to_thread(store.evicted, self._database)).values())

    async def _vacate(self, found: Collection[EvictedHost]) -> Mapping[str, int]:
        names = {*self._leaving, *(name for each in found for name in each.names)}
        busy = [await each(names) for each in self._targets]
        self._left = {name: sum(each.get(name, 0) for each in busy) for name in names}
        return self._left

    def _give_back(self, found: Collection[EvictedHost]) -> None:
        for launch in self._launcher.launches.live():
            host = next((each for each in found if not hosts_of(launch).isdisjoint(each.names)), None)
            if host is None or launch.state == "ending":
                continue
            why = f"evicted: {host.reason}"
            if not self._grouped(launch):
                if self._left.keys() >= {*host.names} and not any(map(self._left.get, host.names)):
                    self._launcher.release(launch.id, Cause(reason=why), why)
            elif not launch.reason:  # its group has it leave, then
                self._launcher.launches.move(launch.id, ("starting", "ready"), reason=why)
