"""What becomes of findings: one incident for each cause, told once when it begins, worsens and ends. Pure."""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import msgspec

Severity = Literal["page", "ticket"]
News = Literal["firing", "worse", "resolved"]

CALM = 300.0
"""Seconds without a finding after which an incident is over: what flaps is one incident."""

_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,63}")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong now with an endpoint.

    `kind` is that of `store.findings` (drift, slo, …), `subject` what it is about as users name it (a column, an
    objective), `title` one line that stays the same as long as it goes on, `reason` the figures of now.
    """

    endpoint: str
    kind: str
    subject: str
    severity: Severity
    title: str
    reason: str

    @property
    def key(self) -> str:
        """The cause, as `digits/slo/availability`; of a subject that is no plain word, its hash."""
        plain = _PLAIN.fullmatch(self.subject)
        what = self.subject if plain else hashlib.sha256(self.subject.encode()).hexdigest()[:16]
        return f"{self.endpoint}/{self.kind}/{what}"


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
        return f"{self.finding.key}@{self.since:.0f}"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be told of an incident."""

    kind: News
    incident: Incident

    @property
    def id(self) -> str:
        """The same for the same news, however often it is computed."""
        return f"{self.incident.id}:{self.kind}:{self.incident.finding.severity}"


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """After a look: what is to be told, the incidents that go on, by key, and those that have just ended."""

    notices: tuple[Notice, ...]
    going: dict[str, Incident]
    ended: tuple[Incident, ...]


def gathered(findings: Iterable[Finding]) -> dict[str, Finding]:
    """By key; of two with the same key the more severe."""
    found: dict[str, Finding] = {}
    for each in findings:
        if each.key not in found or (each.severity == "page" and found[each.key].severity != "page"):
            found[each.key] = each
    return found


def advance(
    findings: Mapping[str, Finding],
    now: float,
    going: Mapping[str, Incident],
    muted: Collection[str] = (),
    endpoints: Collection[str] | None = None,
) -> Turn:
    """One more look: all that is found now, by key. What is `muted` goes on silently, and is told if the mute ends
    first. Incidents of what is none of the `endpoints` are over at once.

    Severity never falls within an incident.
    """
    notices: list[Notice] = []
    still: dict[str, Incident] = {}
    ended: list[Incident] = []
    for key in sorted(findings.keys() | going.keys()):
        incident = _updated(going.get(key), findings.get(key), now)
        gone = endpoints is not None and incident.finding.endpoint not in endpoints
        over = gone or (key not in findings and now - incident.seen >= CALM)
        if over:
            incident = msgspec.structs.replace(incident, ended=incident.seen)
        kind = _news(incident, muted=key in muted, over=over)
        if kind is not None:
            incident = msgspec.structs.replace(incident, told=incident.finding.severity)
            notices.append(Notice(kind=kind, incident=incident))
        if over:
            ended.append(incident)
        else:
            still[key] = incident
    return Turn(notices=tuple(notices), going=still, ended=tuple(ended))


def _updated(incident: Incident | None, finding: Finding | None, now: float) -> Incident:
    if finding is None:
        assert incident is not None
        return incident
    if incident is None:
        return Incident(finding=finding, since=now, seen=now)
    worst = "page" if "page" in (finding.severity, incident.finding.severity) else "ticket"
    fresh = msgspec.structs.replace(finding, severity=worst, title=incident.finding.title)
    return msgspec.structs.replace(incident, finding=fresh, seen=now)


def _news(incident: Incident, *, muted: bool, over: bool) -> News | None:
    if over:
        return "resolved" if incident.told else None
    if muted:
        return None
    if incident.told is None:
        return "firing"
    return "worse" if incident.told != incident.finding.severity else None
