"""`/v1/alerts`: what is wrong, muting it, and whether the sinks accept notices; `/v1/endpoints/{name}/triggers`."""

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Annotated

import msgspec

from argosy.alerting.incident import Finding, Incident, Notice
from argosy.alerting.incidents import SinkStatus
from argosy.alerting.send import repeats, send
from argosy.alerting.triggers.policy import STATES
from argosy.api.route import Route, Services, Why
from argosy.spec.alerts import Sink
from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument, NotFound, Unavailable
from argosy.store import alerts
from argosy.store import triggers as fired
from argosy.store.alerts import DAYS, MOST, Alert
from argosy.store.triggers import RunStatus

SHOWN = 60.0
"""Seconds for which a sink that keeps alerts shows the test notice."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last `limit` alerts, of one endpoint or of all."""

    endpoint: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = MOST


class Mute(Why, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Notify no sink of an alert, by its id, for so many seconds; 0 ends that."""

    alert: str
    seconds: float

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= DAYS * 86400:
            raise InvalidArgument(f"seconds must be 0 to {DAYS * 86400} ({DAYS} days), not {self.seconds:g}")


class Muted(msgspec.Struct, frozen=True, kw_only=True):
    """Until when (seconds since 1970) an alert is muted."""

    alert: str
    until: float


class Trial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Notify one sink, by its name, or all of them."""

    sink: str = ""


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink answered, or why it did not take the notice."""

    sink: str
    taken: bool
    said: str


async def every(services: Services, query: Wanted) -> list[Alert]:
    """Alerts, the newest first."""
    return await asyncio.to_thread(alerts.read, services.store.database, query.endpoint, query.limit)


async def mute(services: Services, body: Mute) -> Muted:
    """Mute an alert, and what has the same cause."""
    until = time.time() + body.seconds
    await asyncio.to_thread(alerts.mute, services.store.database, body.alert, until, body.cause)
    return Muted(alert=body.alert, until=until)


async def sinks(services: Services) -> list[SinkStatus]:
    """The sinks that are declared, and what they have not taken."""
    return services.incidents.statuses()


async def trial(services: Services, body: Trial) -> list[TrialResult]:
    """Send a test notice, and report what was answered."""
    declared = services.incidents.sinks
    if body.sink and body.sink not in declared:
        known = ", ".join(sorted(declared)) or "none: declare some under alerts in config.yaml"
        raise NotFound(f"there is no sink '{body.sink[:80]}'; there are {known}")
    return await answers({name: sink for name, sink in declared.items() if body.sink in ("", name)})


async def answers(
    sinks: Mapping[str, Sink], environ: Mapping[str, str] = os.environ, now: float | None = None
) -> list[TrialResult]:
    """Send a test notice to each of these sinks, all at once; `now` is seconds since 1970."""
    moment = time.time() if now is None else now

    async def answer(name: str, sink: Sink) -> TrialResult:
        finding = Finding(
            endpoint="argosy",
            kind="test",
            subject=name,
            severity="ticket",
            title="Argosy tries this sink",
            reason="Somebody ran  argosy alerts test. Nothing is wrong.",
        )
        ended = moment + SHOWN if repeats(sink) else None
        notice = Notice(kind="firing", incident=Incident(finding=finding, since=moment, seen=moment, ended=ended))
        try:
            return TrialResult(sink=name, taken=True, said=await send(sink, notice, environ))
        except (Unavailable, InvalidArgument) as error:
            return TrialResult(sink=name, taken=False, said=error.message)

    return list(await asyncio.gather(*(answer(name, sink) for name, sink in sinks.items())))


MOST_RUNS = 50


class TriggerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A declared trigger: how many bad windows in a row it has had, and when it fired last (seconds since 1970)."""

    name: str
    when: str
    metric: str
    runs: str
    bad: int
    windows: int
    fired: float | None


class TriggersStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The triggers of an endpoint, and their last runs, newest first."""

    triggers: tuple[TriggerStatus, ...]
    runs: tuple[RunStatus, ...]


async def triggers(services: Services, name: str) -> TriggersStatus:
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
        runs = fired.read(database, name, MOST_RUNS)
        converted = msgspec.convert(runs, tuple[RunStatus, ...], from_attributes=True)
        return TriggersStatus(triggers=tuple(shown), runs=converted)

    return await asyncio.to_thread(read)


ROUTES = (
    Route("GET", "/v1/alerts", every, "Alerts"),
    Route("POST", "/v1/alerts/mute", mute, "Mute an alert"),
    Route("GET", "/v1/alerts/sinks", sinks, "Sinks"),
    Route("POST", "/v1/alerts/test", trial, "Try the sinks"),
    Route("GET", "/v1/endpoints/{name}/triggers", triggers, "Triggers of an endpoint"),
)
