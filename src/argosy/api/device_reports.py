"""Reports of devices: checked, and written many at a time. While some are written, the next ones gather."""

import asyncio
import re
from collections.abc import Callable

from argosy.edge import wire
from argosy.spec.errors import InvalidArgument, Unauthenticated
from argosy.spec.foreign import printable
from argosy.store.devices import Device, DeviceNote
from argosy.store.fleets import AssignmentState, Fleets, Reported

MOST = 2**31 - 1
"""Of a number that a device says."""
CELLS = 64
TOGETHER = 500
"""Reports of one transaction."""
DETAIL = 1000
WORKING = ("fetch", "assemble", "verify", "selftest")
ENDS: dict[str, AssignmentState] = {"committed": "committed", "rolled_back": "rolled_back", "refused": "refused"}
_DIGEST = re.compile(r"(sha256:[0-9a-f]{64})?")

Take = Callable[[Device, wire.AgentReport, float], None]
"""Has a report before it counts. It may come again, under the same number, where the platform ended in between."""


class Intake:
    """Takes reports in."""

    def __init__(self, fleets: Fleets, take: Take | None, clock: Callable[[], float]) -> None:
        self.hook = take
        self._fleets, self._clock = fleets, clock
        self._gathered: list[tuple[Reported, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def take(self, device: Device, said: wire.AgentReport) -> int:
        """The number of the last report that is known. Raises InvalidArgument, Unauthenticated."""
        if said.number <= device.report:
            return device.report
        now = self._clock()
        reported = checked(device, said, now)
        if self.hook is not None and (said.profiles or said.payloads or said.events):
            await asyncio.to_thread(self.hook, device, said, now)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._gathered.append((reported, future))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        if not await future:
            raise Unauthenticated(f"device '{device.id}' has begun another session, or is none any more")
        return said.number

    async def _write(self) -> None:
        while self._gathered:
            batch, self._gathered = self._gathered[:TOGETHER], self._gathered[TOGETHER:]
            try:
                known = await asyncio.to_thread(self._fleets.report, [each for each, _ in batch], self._clock())
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), each in zip(batch, known, strict=True):
                if not future.done():
                    future.set_result(each)


def checked(device: Device, said: wire.AgentReport, now: float) -> Reported:
    """A report as it is stored: numbers within bounds, and texts that every terminal takes. Raises InvalidArgument."""
    quality = said.quality
    counts = {
        "stable_requests": quality.stable.requests,
        "stable_errors": quality.stable.errors,
        "candidate_requests": quality.candidate.requests,
        "candidate_errors": quality.candidate.errors,
        "compared": quality.compared,
        "agreed": quality.agreed,
    }
    latencies = quality.stable.latency, quality.candidate.latency
    numbers = [said.number, said.boot, said.index, said.lost, *counts.values(), *latencies[0], *latencies[1]]
    numbers += [number for each in said.events for number in (each.boot, each.index)]
    if not all(0 <= each <= MOST for each in numbers) or not 0 <= said.sent <= 2**53 or not 0 <= said.again <= 2**53:
        raise InvalidArgument("the report: a number is below 0 or too large")
    if max(map(len, latencies)) > CELLS:
        raise InvalidArgument(f"the report: latencies have {CELLS} cells at the most")
    if not all(_DIGEST.fullmatch(each) for each in (said.committed, said.candidate, *(e.package for e in said.events))):
        raise InvalidArgument("the report: what should be the digest of a package is none")
    working: AssignmentState = "working" if said.phase in WORKING else "trial"
    outcomes: list[tuple[int, AssignmentState, str]] = []
    if said.phase in (*WORKING, "trial"):
        outcomes.append((said.index, working, ""))
    ended = [each for each in said.events if each.kind in ENDS]
    outcomes.extend((each.index, ENDS[each.kind], printable(each.detail)[:DETAIL]) for each in ended)
    committed = [each.index for each in said.events if each.kind == "committed"]
    return Reported(
        device=device.id,
        session=device.session,
        number=said.number,
        phase=said.phase,
        index=said.index,
        committed_index=max(committed, default=None),
        committed=said.committed,
        candidate=said.candidate,
        lost=said.lost,
        counts=counts,
        stable_latency=quality.stable.latency,
        candidate_latency=quality.candidate.latency,
        sent=said.sent,
        again=said.again,
        outcomes=tuple(outcomes),
        notes=tuple(_note(device, said.number, place, each, now) for place, each in enumerate(said.events)),
    )


def _note(device: Device, report: int, place: int, event: wire.DeviceEvent, now: float) -> DeviceNote:
    return DeviceNote(
        device=device.id,
        number=report * 256 + place,
        fleet=device.fleet,
        at=event.at if abs(event.at) < 2**40 else 0.0,
        received=now,
        kind=event.kind,
        index=event.index,
        package=event.package,
        detail=printable(event.detail)[:DETAIL],
    )
