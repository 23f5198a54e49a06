"""The last will of devices: incidents of those that fell silent, or start again and again.

A device that is offline for a while is no trouble: it has to be silent for `DeviceSettings.silent` seconds. It is back
once it has been heard all the time for as long, so that one that comes and goes is one incident. Of many at once there
is one incident for the fleet.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

from argosy.alerting.incident import Finding
from argosy.monitoring.monitor import ReportFindings
from argosy.process.repeat import repeat
from argosy.store.devices import D, Device, Devices
from argosy.store.store import Store
from argosy.store.streams import stream

LOG = logging.getLogger(__name__)
EVERY = 15.0
MOST = 10
"""Devices that have an incident each; more of them are one."""
MOST_SILENT = 10_000
BACK = 1 / 3
"""Of that silence, what one that was lost may have at most to be on its way back."""
STARTS, WINDOW = 5, 600.0
"""So many starts of the agent in so many seconds are a crash loop."""
SOURCE, KIND = "devices", "device"


def silent(devices: Devices, fleet: str, before: float, most: int | None = None) -> list[Device]:
    """Active devices of a fleet that were not heard since, by name. One that was never heard has its enrolment."""
    return devices.of_fleet(fleet, D.state == "active", D.seen < before, D.created < before, most=most)


class LostDevices:
    """`after`: seconds of silence."""

    def __init__(
        self, store: Store, report: ReportFindings, after: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._report, self._after, self._clock = store, report, after, clock
        self._lost: dict[str, dict[str, float]] = {}
        self._began = clock()

    async def run(self) -> None:
        """Until cancelled."""
        await repeat(lambda: asyncio.to_thread(self.turn), EVERY, "the watch over devices", LOG)

    def turn(self) -> None:
        """Report what is wrong with each fleet now. While nobody could have been heard nothing is: after a start the
        devices have their time to come."""
        now = self._clock()
        if now - self._began < self._after:
            return
        for fleet in self._store.fleets.every():
            self._report(SOURCE, stream(fleet.name), self._found(fleet.name, now))

    def _found(self, fleet: str, now: float) -> list[Finding]:
        devices = self._store.fleets.devices
        quiet = {each.id: each for each in silent(devices, fleet, now - self._after * BACK, MOST_SILENT)}
        gone = {name for name, each in quiet.items() if max(each.seen, each.created) < now - self._after}
        since = {name: at for name, at in self._lost.get(fleet, {}).items() if now - at < self._after}
        since |= dict.fromkeys(gone | (since.keys() & quiet.keys()), now)
        self._lost[fleet] = since
        lost = [_silent(fleet, name, quiet.get(name), now) for name in sorted(since)]
        starts = Counter(each.device for each in devices.fleet_events(fleet, now - WINDOW, ("started",)))
        looping = [_looping(fleet, name, count) for name, count in sorted(starts.items()) if count >= STARTS]
        return [
            *_few(fleet, "silent", lost, "fell silent"),
            *_few(fleet, "starts", looping, "start again and again"),
        ]


def _few(fleet: str, subject: str, found: Sequence[Finding], what: str) -> list[Finding]:
    """Each of a few; of many one for the fleet."""
    if len(found) <= MOST:
        return [*found]
    some = ", ".join(each.subject.partition(" ")[0] for each in found[:5])
    title = f"more than {MOST} devices of fleet '{fleet}' {what}"
    return [_finding(fleet, subject, title, f"{len(found):,} devices {what}, as {some}: argosy fleet devices {fleet}")]


def _silent(fleet: str, name: str, device: Device | None, now: float) -> Finding:
    title = f"device '{name}' fell silent"
    if device is None:
        return _finding(fleet, f"{name} silent", title, f"device '{name}' was silent and is heard again")
    heard = max(device.seen, device.created)
    doing = f"; it was at {device.phase}" if device.phase != "idle" else ""
    return _finding(
        fleet, f"{name} silent", title, f"device '{name}' was last heard {(now - heard) / 60:.0f} minutes ago{doing}"
    )


def _looping(fleet: str, name: str, count: int) -> Finding:
    reason = f"the agent of device '{name}' was started {count} times in {WINDOW / 60:.0f} minutes"
    return _finding(fleet, f"{name} starts", f"the agent of device '{name}' starts again and again", reason)


def _finding(fleet: str, subject: str, title: str, reason: str) -> Finding:
    return Finding(endpoint=stream(fleet), kind=KIND, subject=subject, severity="ticket", title=title, reason=reason)
