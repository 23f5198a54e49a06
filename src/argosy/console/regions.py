"""The page of regions: what each of them serves, with how much capacity, for how many requests, at what cost."""

from typing import NamedTuple

from starlette.responses import Response

from argosy.api import regions
from argosy.api.regions import RegionStatus, Which
from argosy.console.chart import Bubble
from argosy.console.pages import Console, PageRequest
from argosy.console.words import money, rate
from argosy.regions.wire import RegionEndpoint
from argosy.store.regions import Replicas


class RegionRow(NamedTuple):
    """A region: its state, the sums over its endpoints, and what is wrong there."""

    region: RegionStatus
    state: str
    ready: int
    replicas: int
    rate: float
    hourly: float
    wrong: list[str]


async def page(console: Console, ask: PageRequest) -> Response:
    """All regions."""
    rows = [_row(each) for each in await regions.every(console.services, Which())]
    names = sorted({name for each in rows for name in each.region.endpoints})
    placed = {place: _planned(each) for place, each in console.services.regions.placements.items()}
    bubbles = [_bubble(each) for each in rows]
    return console.render(ask, "regions.html", rows=rows, names=names, placed=placed, bubbles=bubbles)


def _planned(replicas: Replicas) -> str:
    return f"{replicas}" if isinstance(replicas, int) else f"{replicas.min}–{replicas.max}"


def _row(region: RegionStatus) -> RegionRow:
    found = region.endpoints.values()
    return RegionRow(
        region=region,
        state="away" if region.away else "draining" if region.draining else "ready",
        ready=sum(each.ready for each in found),
        replicas=sum(each.replicas for each in found),
        rate=sum(each.rate for each in found),
        hourly=sum(each.hourly for each in found),
        wrong=[region.away] * bool(region.away)
        + [text for name, each in region.endpoints.items() if (text := _wrong(name, each))],
    )


def _wrong(name: str, endpoint: RegionEndpoint) -> str:
    text = endpoint.problem or endpoint.reason
    return f"{name}: {text}" if text else ""


def _bubble(row: RegionRow) -> Bubble:
    lines = (f"{row.ready} of {row.replicas} replicas", f"{rate(row.rate)} requests/s", f"{money(row.hourly)} an hour")
    return Bubble(row.state, row.region.name, row.hourly, lines)
