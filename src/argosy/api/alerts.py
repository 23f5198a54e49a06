"""`/v1/alerts`: what is wrong, muting it, and whether sinks take what they are told."""

import asyncio
import os
import time
from collections.abc import Mapping

import msgspec

from argosy.alerting.incident import Finding, Incident, Notice
from argosy.alerting.incidents import SinkStatus
from argosy.alerting.send import repeats, send
from argosy.api.route import Call, Route
from argosy.spec.alerts import Sink
from argosy.spec.errors import InvalidArgument, NotFound, Unavailable
from argosy.store import alerts
from argosy.store.alerts import DAYS, MOST, Alert
from argosy.store.ledger import Cause

SHOWN = 60.0
"""Seconds for which a sink that keeps alerts shows it."""


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink answered, or why it did not take the notice."""

    sink: str
    taken: bool
    said: str


async def answers(
    sinks: Mapping[str, Sink], environ: Mapping[str, str] = os.environ, now: float | None = None
) -> list[TrialResult]:
    """Tell each of these sinks, all at once; `now` is seconds since 1970."""
    moment = time.time() if now is None else now
    return list(await asyncio.gather(*(_answer(name, sink, environ, moment) for name, sink in sinks.items())))


async def _answer(name: str, sink: Sink, environ: Mapping[str, str], now: float) -> TrialResult:
    try:
        return TrialResult(sink=name, taken=True, said=await send(sink, _notice(name, sink, now), environ))
    except (Unavailable, InvalidArgument) as error:
        return TrialResult(sink=name, taken=False, said=error.message)


def _notice(name: str, sink: Sink, now: float) -> Notice:
    finding = Finding(
        endpoint="argosy",
        kind="test",
        subject=name,
        severity="ticket",
        title="Argosy tries this sink",
        reason="Somebody ran  argosy alerts test. Nothing is wrong.",
    )
    ended = now + SHOWN if repeats(sink) else None
    return Notice(kind="firing", incident=Incident(finding=finding, since=now, seen=now, ended=ended))


LONGEST = DAYS * 86400


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last `limit` alerts, of one endpoint or of all."""

    endpoint: str = ""
    limit: int = MOST

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= 10_000:
            raise InvalidArgument(f"limit must be 1 to 10000, not {self.limit}")


class Mute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tell no sink of an alert, by its id, for so many seconds; 0 ends that."""

    alert: str
    seconds: float
    actor: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= LONGEST:
            raise InvalidArgument(f"seconds must be 0 to {LONGEST} ({DAYS} days), not {self.seconds:g}")
        if len(self.actor) > 200 or len(self.reason) > 4000:
            raise InvalidArgument("actor may have 200 characters, reason 4000")


class Muted(msgspec.Struct, frozen=True, kw_only=True):
    """Until when (seconds since 1970) an alert is muted."""

    alert: str
    until: float


class Trial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tell one sink, by its name, or all of them."""

    sink: str = ""


async def every(call: Call) -> list[Alert]:
    """Alerts, the newest first."""
    wanted, database = call.query, call.services.store.database
    return await asyncio.to_thread(alerts.read, database, wanted.endpoint, wanted.limit)


async def mute(call: Call) -> Muted:
    """Mute an alert, and what has the same cause."""
    wanted: Mute = call.body
    until = time.time() + wanted.seconds
    cause = Cause(actor=wanted.actor or "unknown", reason=wanted.reason)
    await asyncio.to_thread(alerts.mute, call.services.store.database, wanted.alert, until, cause)
    return Muted(alert=wanted.alert, until=until)


async def sinks(call: Call) -> list[SinkStatus]:
    """The sinks that are declared, and what they have not taken."""
    return call.services.incidents.standing()


async def trial(call: Call) -> list[TrialResult]:
    """Send a test notice, and tell what was answered."""
    declared, wanted = call.services.incidents.sinks, call.body.sink
    if wanted and wanted not in declared:
        known = ", ".join(sorted(declared)) or "none: declare some under alerts in config.yaml"
        raise NotFound(f"there is no sink '{wanted[:80]}'; there are {known}")
    return await answers({name: sink for name, sink in declared.items() if wanted in ("", name)})


ROUTES = (
    Route(method="GET", path="/v1/alerts", handler=every, summary="Alerts", query=Wanted, answer=list[Alert]),
    Route(method="POST", path="/v1/alerts/mute", handler=mute, summary="Mute an alert", body=Mute, answer=Muted),
    Route(method="GET", path="/v1/alerts/sinks", handler=sinks, summary="Sinks", answer=list[SinkStatus]),
    Route(
        method="POST",
        path="/v1/alerts/test",
        handler=trial,
        summary="Try the sinks",
        body=Trial,
        answer=list[TrialResult],
    ),
)
