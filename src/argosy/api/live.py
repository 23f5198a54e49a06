"""`/v1/live`: what comes in at this moment."""

import msgspec

from argosy.api.route import Call, Route
from argosy.telemetry.rates import Rates


class ReplicaLoad(msgspec.Struct, frozen=True, kw_only=True):
    """A replica's load: processor time in cores, resident memory in bytes."""

    id: str
    endpoint: str
    cpu: float
    memory: int


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The last look at everything: endpoint → its rates, and every replica's load."""

    endpoints: dict[str, Rates]
    replicas: tuple[ReplicaLoad, ...]


async def live(call: Call) -> Live:
    """The rates of the last few seconds; they are measured every 5 s."""
    view, meter = call.services.controller.view, call.services.meter
    loads = tuple(
        ReplicaLoad(id=each.id, endpoint=each.endpoint, cpu=used.cpu, memory=used.memory)
        for each in view.replicas
        if (used := meter.usage.get(each.id)) is not None
    )
    return Live(endpoints={name: meter.now(name) for name in view.endpoints}, replicas=loads)


ROUTES = (Route(method="GET", path="/v1/live", handler=live, summary="Traffic and load now", answer=Live),)
