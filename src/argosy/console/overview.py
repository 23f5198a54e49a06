"""The first page: what runs where, what comes in, what is wrong."""

import asyncio
import time

import msgspec
from starlette.responses import Response

from argosy.console.pages import Ask, Desk
from argosy.spec.status import EndpointStatus, ReplicaStatus
from argosy.telemetry.rates import Rates


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint on the first page. `cpu` in cores, `memory` in bytes, of all its replicas together."""

    status: EndpointStatus
    now: Rates
    course: tuple[Rates, ...]
    replicas: tuple[ReplicaStatus, ...]
    cpu: float
    memory: int
    candidate: str = ""
    weight: int = 0
    verdict: str = ""

    @property
    def error_share(self) -> float | None:
        """Errors by requests of the last look."""
        return self.now.errors / self.now.requests if self.now.requests else None


async def page(desk: Desk, ask: Ask) -> Response:
    """Every endpoint in one table."""
    found = rows(desk)
    alerts = await asyncio.to_thread(desk.data.alerts) if "alerts" in ask.has else []
    view = desk.services.controller.view
    totals = Rates(
        at=time.time(),
        requests=sum(each.now.requests for each in found),
        errors=sum(each.now.errors for each in found),
    )
    return desk.render(
        ask,
        "overview.html",
        rows=found,
        view=view,
        totals=totals,
        alerts=[each for each in alerts if each.state == "firing"],
        now=time.time(),
    )


def rows(desk: Desk) -> list[Row]:
    """The endpoints by name; those that need a look come first."""
    view, meter = desk.services.controller.view, desk.services.meter
    found: list[Row] = []
    for name, status in sorted(view.endpoints.items()):
        mine = tuple(each for each in view.replicas if each.endpoint == name)
        used = [meter.usage[each.id] for each in mine if each.id in meter.usage]
        kept = desk.services.controller.analysis.rows.get(name)
        live = kept is not None and kept.progress.live
        found.append(
            Row(
                status=status,
                now=meter.now(name),
                course=tuple(meter.recent(name)),
                replicas=mine,
                cpu=sum(each.cpu for each in used),
                memory=sum(each.memory for each in used),
                candidate=status.version if kept and live else "",
                weight=kept.progress.weight if kept and live else 0,
                verdict=kept.evidence.verdict if kept and live else "",
            )
        )
    order = {"failed": 0, "starting": 1, "updating": 2}
    return sorted(found, key=lambda row: (order.get(row.status.state, 3), row.status.name))
