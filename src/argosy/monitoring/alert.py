"""What becomes of findings: one incident for each cause, told once when it begins, worsens and ends. Pure."""

from collections.abc import Mapping
from typing import Literal

import msgspec

Severity = Literal["page", "ticket"]
Kind = Literal["firing", "worse", "resolved"]

CALM = 300.0
"""Seconds without a finding after which an incident is over: what flaps is one incident."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong now. `key` names the cause, as `digits/slo/availability`; `subject` is the endpoint."""

    key: str
    subject: str
    severity: Severity
    title: str
    reason: str


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """A cause from `since` (seconds since 1970) until `ended`. `seen` is when it was last found, `told` what
    the sinks know of it: the severity they were told, if any."""

    finding: Finding
    since: float
    seen: float
    ended: float | None = None
    told: Severity | None = None

    @property
    def id(self) -> str:
        """One of its own for each incident."""
        return f"{self.finding.key}@{self.since:.0f}"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be told of an incident."""

    kind: Kind
    incident: Incident

    @property
    def id(self) -> str:
        """The same for the same news, however often it is computed."""
        return f"{self.incident.id}:{self.kind}:{self.incident.finding.severity}"


class Alerts(msgspec.Struct, frozen=True, kw_only=True):
    """The incidents that go on, by key, and until when (seconds since 1970) a key is muted."""

    incidents: dict[str, Incident] = {}
    muted: dict[str, float] = {}


def advance(findings: Mapping[str, Finding], now: float, state: Alerts) -> tuple[tuple[Notice, ...], Alerts]:
    """One more look: all that is found now, by key. What is muted goes on silently, and is told if the mute ends first.

    Severity never falls within an incident.
    """
    muted = {key: until for key, until in state.muted.items() if until > now}
    notices: list[Notice] = []
    going: dict[str, Incident] = {}
    for key in sorted(findings.keys() | state.incidents.keys()):
        incident = _seen(state.incidents.get(key), findings.get(key), now)
        over = key not in findings and now - incident.seen >= CALM
        if over:
            incident = msgspec.structs.replace(incident, ended=incident.seen)
        kind = _news(incident, muted=key in muted, over=over)
        if kind is not None:
            incident = msgspec.structs.replace(incident, told=incident.finding.severity)
            notices.append(Notice(kind=kind, incident=incident))
        if not over:
            going[key] = incident
    return tuple(notices), Alerts(incidents=going, muted=muted)


def _seen(incident: Incident | None, finding: Finding | None, now: float) -> Incident:
    if finding is None:
        assert incident is not None
        return incident
    if incident is None:
        return Incident(finding=finding, since=now, seen=now)
    worst = "page" if "page" in (finding.severity, incident.finding.severity) else "ticket"
    return msgspec.structs.replace(incident, finding=msgspec.structs.replace(finding, severity=worst), seen=now)


def _news(incident: Incident, *, muted: bool, over: bool) -> Kind | None:
    if over:
        return "resolved" if incident.told else None
    if muted:
        return None
    if incident.told is None:
        return "firing"
    return "worse" if incident.told != incident.finding.severity else None


def mute(state: Alerts, key: str, until: float) -> Alerts:
    """Tell nothing of a key until then; 0 ends it."""
    others = {name: end for name, end in state.muted.items() if name != key}
    return msgspec.structs.replace(state, muted=others | ({key: until} if until else {}))
