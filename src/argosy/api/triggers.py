"""`/v1/endpoints/{name}/triggers`: what is declared, what it has observed, what it has set off."""

import asyncio

import msgspec

from argosy.alerting.triggers.policy import STATES
from argosy.api.route import Route, Services
from argosy.spec.endpoint import check_name
from argosy.spec.errors import NotFound
from argosy.store import triggers
from argosy.store.triggers import Phase

SHOWN = 50


class TriggerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A declared trigger: how many bad windows in a row it has had, and when it fired last (seconds since 1970)."""

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


async def of_endpoint(services: Services, name: str) -> TriggersStatus:
    """What an endpoint's triggers have observed and done. Raises NotFound."""
    check_name(name)

    def read() -> TriggersStatus:
        declared, database = services.state.endpoint(name), services.state.database
        if declared is None:
            raise NotFound(f"there is no endpoint '{name}'")
        states, shown = STATES.all(database), list[TriggerStatus]()
        for one in declared.endpoint.triggers:
            state = states.get((name, one.name))
            shown.append(
                TriggerStatus(
                    name=one.name,
                    when=str(one.__struct_config__.tag),
                    metric=one.metric,
                    runs=str(one.run.__struct_config__.tag),
                    bad=len(state.row) if state else 0,
                    windows=one.windows,
                    fired=state.fired if state else None,
                )
            )
        runs = triggers.read(database, name, SHOWN)
        converted = msgspec.convert(runs, tuple[RunStatus, ...], from_attributes=True)
        return TriggersStatus(triggers=tuple(shown), runs=converted)

    return await asyncio.to_thread(read)


ROUTES = (Route("GET", "/v1/endpoints/{name}/triggers", of_endpoint, "Triggers of an endpoint"),)
