"""`/v1/endpoints/{name}/triggers`: what is declared, what it has seen, what it has set off."""

import asyncio

import msgspec

from argosy.alerting.triggers.policy import STATES, TriggerState
from argosy.api.route import Call, Route
from argosy.spec.endpoint import check_name
from argosy.spec.errors import NotFound
from argosy.spec.trigger import Trigger
from argosy.store import triggers
from argosy.store.triggers import Phase

SHOWN = 50


class TriggerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A declared trigger: how many bad windows in a row it has seen, and when it fired last (seconds since 1970)."""

    name: str
    when: str
    metric: str
    runs: str
    bad: int
    windows: int
    fired: float | None


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What one firing led to. Times are seconds since 1970; `status` is the exit status of a command."""

    id: str
    trigger: str
    version: str
    at: float
    reason: str
    phase: Phase
    tries: int
    status: int | None
    ended: float | None
    error: str


class TriggersStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The triggers of an endpoint, and their last runs, newest first."""

    triggers: tuple[TriggerStatus, ...]
    runs: tuple[RunStatus, ...]


async def of_endpoint(call: Call) -> TriggersStatus:
    """What an endpoint's triggers have seen and done. Raises NotFound."""
    name, services = check_name(call.path["name"]), call.services

    def read() -> TriggersStatus:
        declared = services.state.endpoint(name)
        if declared is None:
            raise NotFound(f"there is no endpoint '{name}'")
        database = services.state.database
        states = STATES.all(database)
        shown = tuple(_status(one, states.get((name, one.name))) for one in declared.endpoint.triggers)
        runs = triggers.read(database, name, SHOWN)
        return TriggersStatus(triggers=shown, runs=msgspec.convert(runs, tuple[RunStatus, ...], from_attributes=True))

    return await asyncio.to_thread(read)


def _status(one: Trigger, state: TriggerState | None) -> TriggerStatus:
    return TriggerStatus(
        name=one.name,
        when=str(one.__struct_config__.tag),
        metric=one.metric,
        runs=str(one.run.__struct_config__.tag),
        bad=len(state.row) if state else 0,
        windows=one.windows,
        fired=state.fired if state else None,
    )


ROUTES = (
    Route(
        method="GET",
        path="/v1/endpoints/{name}/triggers",
        handler=of_endpoint,
        summary="Triggers of an endpoint",
        answer=TriggersStatus,
    ),
)
