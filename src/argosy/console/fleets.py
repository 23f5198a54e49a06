"""The pages of fleets: what runs on how many devices, and a deployment as a map of its waves."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from starlette.responses import Response

from argosy.console.pages import Console, PageRequest
from argosy.edge.wire import Envelope, Update
from argosy.monitoring.devices.lost import MOST_SILENT, silent
from argosy.spec.errors import NotFound
from argosy.store import findings
from argosy.store.devices import D
from argosy.store.findings import Finding, Verdict
from argosy.store.fleets import Assignment, AssignmentState, Deployment, Fleet, Fleets, WaveCount, WaveReason
from argosy.store.streams import stream

CELLS = 1200
"""Cells of one map at most: in larger fleets one stands for several devices."""
REASONS, DEPLOYMENTS, TROUBLED, COLUMNS = 30, 12, 100, 20
DRIFT, RECENT = ("drift", "prediction", "multivariate"), 7 * 86400
ORDER: tuple[AssignmentState, ...] = (
    "committed",
    "trial",
    "working",
    "offered",
    "rolled_back",
    "refused",
    "left_out",
)
SPOKEN = {"rolled_back": "rolled back", "left_out": "left out"}


class FleetRow(NamedTuple):
    """A fleet in the list: its active devices, those that are silent, and its last deployment."""

    fleet: Fleet
    devices: int
    silent: int
    last: Deployment | None
    counts: dict[str, int]


class Wave(NamedTuple):
    """One wave: how many devices are in which state, and its cells, each with the text that is shown of it. `each`:
    the devices that a cell stands for."""

    number: int
    devices: int
    counts: dict[str, int]
    cells: list[tuple[str, str]]
    each: int


class Shown(NamedTuple):
    """One deployment with all that the page shows of it. `sent` of `full` bytes: had every device got the files as they
    are."""

    deployment: Deployment
    waves: list[Wave]
    counts: dict[str, int]
    reasons: list[WaveReason]
    sent: int
    again: int
    full: int
    agreement: float | None


async def every(console: Console, ask: PageRequest) -> Response:
    """All fleets."""
    services = console.services
    rows = await asyncio.to_thread(_rows, services.store.fleets, services.settings.devices.silent)
    return console.render(ask, "fleets.html", rows=rows, spoken=SPOKEN)


def _rows(fleets: Fleets, after: float) -> list[FleetRow]:
    before, found = time.time() - after, list[FleetRow]()
    for fleet in fleets.every():
        last = next(iter(fleets.deployments(fleet.name, most=1)), None)
        counts = _counts(fleets.waves(fleet.name, last.number)) if last else {}
        devices = sum(each.devices for each in fleets.devices.counts(fleet.name) if each.state == "active")
        gone = len(silent(fleets.devices, fleet.name, before, MOST_SILENT))
        found.append(FleetRow(fleet, devices, gone, last, counts))
    return found


async def one(console: Console, ask: PageRequest) -> Response:
    """One fleet: the deployment that the query names, or the last one; versions; devices in trouble."""
    number = ask.query.get("deployment", "")
    if number and not (number.isascii() and number.isdigit() and len(number) < 10):
        raise NotFound(f"'{number[:40]}' is no number of a deployment")
    values = await asyncio.to_thread(_one, console, ask.path["name"], int(number or 0))
    return console.render(ask, "fleet.html", spoken=SPOKEN, order=ORDER, **values)


def _one(console: Console, name: str, number: int) -> dict[str, Any]:
    services, fleets = console.services, console.services.store.fleets
    fleet, deployments = fleets.get(name), fleets.deployments(name)
    chosen = fleets.deployment(name, number) if number else next(iter(deployments), None)
    active = [each for each in fleets.devices.counts(name) if each.state == "active"]
    refs = {each.number: each.ref for each in deployments} | {0: "no update yet"}
    versions = Counter[str]()
    for each in active:
        versions[refs.get(each.deployment, "?")] += each.devices
    return {
        "fleet": fleet,
        "deployments": deployments[:DEPLOYMENTS],
        "shown": _shown(fleets, chosen) if chosen else None,
        "devices": sum(each.devices for each in active),
        "versions": versions.most_common(),
        "silent": silent(fleets.devices, name, time.time() - services.settings.devices.silent, TROUBLED),
        "stopped": fleets.devices.of_fleet(name, D.state != "active", most=TROUBLED),
        "dropped": services.intake.dropped[name],
        "drift": _drift(console, name),
    }


def _drift(console: Console, name: str) -> list[Finding]:
    """The last window of each column, what has drifted first."""
    found = findings.read(console.database, stream(name), DRIFT, time.time() - RECENT)
    last = {(each.kind, each.subject): each for each in found}
    return sorted(last.values(), key=lambda each: (each.outcome is not Verdict.DRIFT, -(each.effect or 0.0)))[:COLUMNS]


def _shown(fleets: Fleets, deployment: Deployment) -> Shown:
    fleet, number = deployment.fleet, deployment.number
    found = fleets.waves(fleet, number)
    total = sum(each.devices for each in found)
    few = fleets.assignments(fleet, number, most=CELLS) if total <= CELLS else []
    waves = [_wave(at, found, few, total) for at in sorted({each.wave for each in found})]
    fetched = sum(each.devices for each in found if each.sent)
    compared = sum(each.compared for each in found)
    return Shown(
        deployment=deployment,
        waves=waves,
        counts=_counts(found),
        reasons=fleets.reasons(fleet, number, REASONS),
        sent=sum(each.sent for each in found),
        again=sum(each.again for each in found),
        full=_size(deployment) * fetched,
        agreement=sum(each.agreed for each in found) / compared if compared else None,
    )


def _counts(found: Sequence[WaveCount]) -> dict[str, int]:
    counts = Counter[str]()
    for each in found:
        counts[each.state] += each.devices
    return {state: counts[state] for state in ORDER if counts[state]}


def _wave(number: int, found: Sequence[WaveCount], few: Sequence[Assignment], total: int) -> Wave:
    counts = _counts([each for each in found if each.wave == number])
    each = max(1, -(-total // CELLS))
    if few:
        mine = sorted((one for one in few if one.wave == number), key=lambda one: (ORDER.index(one.state), one.device))
        cells = [(one.state, _title(one)) for one in mine]
    else:
        cells = [
            (state, f"{devices:,} devices {SPOKEN.get(state, state)}")
            for state, devices in counts.items()
            for _ in range(-(-devices // each))
        ]
    return Wave(number + 1, sum(counts.values()), counts, cells, each)


def _title(one: Assignment) -> str:
    said = f"{one.device}: {SPOKEN.get(one.state, one.state)}"
    return f"{said}, {one.reason[:200]}" if one.reason else said


def _size(deployment: Deployment) -> int:
    """Bytes of the files of a package, as its update lists them; 0 where that cannot be read."""
    try:
        envelope = msgspec.json.decode(deployment.envelope, type=Envelope)
        return sum(file.size for file in msgspec.json.decode(envelope.payload, type=Update).files)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0
