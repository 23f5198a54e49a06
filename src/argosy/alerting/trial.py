"""A notice that only tries whether a sink takes it."""

import asyncio
import os
import time
from collections.abc import Mapping

import msgspec

from argosy.alerting.incident import Finding, Incident, Notice
from argosy.alerting.send import repeats, send
from argosy.spec.alerts import Sink
from argosy.spec.errors import InvalidArgument, Unavailable

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
