"""What a notice says to each kind of sink. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from argosy.alerting.incident import Notice

HEADS = {"firing": "", "worse": "worse: ", "resolved": "resolved: "}
LONGEST = timedelta(hours=24)
"""For how long Alertmanager believes in an alert of which it hears no more."""


class WebhookBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a webhook. `id` is the same whenever the same news is sent again; `incident` is that of the whole
    incident. Times are ISO 8601 in UTC."""

    id: str
    incident: str
    status: str
    severity: str
    endpoint: str
    title: str
    reason: str
    since: str
    ended: str | None = None


def told(notice: Notice) -> WebhookBody:
    """A notice as a webhook has it."""
    incident, finding = notice.incident, notice.incident.finding
    return WebhookBody(
        id=notice.id,
        incident=incident.id,
        status=notice.kind,
        severity=finding.severity,
        endpoint=finding.endpoint,
        title=finding.title,
        reason=finding.reason,
        since=_moment(incident.since),
        ended=None if incident.ended is None else _moment(incident.ended),
    )


def subject(notice: Notice) -> str:
    """One line."""
    finding = notice.incident.finding
    return _line(f"[{finding.severity}] {HEADS[notice.kind]}{finding.endpoint}: {finding.title}")


def text(notice: Notice) -> str:
    """A few lines."""
    said = told(notice)
    lines = [said.reason, "", f"endpoint: {said.endpoint}", f"severity: {said.severity}", f"since: {said.since}"]
    lines += [f"until: {said.ended}"] if said.ended else []
    return "\n".join([*lines, f"incident: {said.incident}", ""])


def slack(notice: Notice) -> dict[str, Any]:
    """The body for an incoming webhook; what users wrote cannot call people or make links."""
    finding = notice.incident.finding
    sign = {"firing": ":rotating_light:", "worse": ":rotating_light:", "resolved": ":white_check_mark:"}[notice.kind]
    return {"text": f"{sign} *{_escaped(subject(notice))}*\n{_escaped(finding.reason)}"}


def alertmanager(notice: Notice, labels: dict[str, str], now: float) -> list[dict[str, Any]]:
    """The body of POST /api/v2/alerts. The labels name the incident's cause, so that it stays one alert."""
    incident, finding = notice.incident, notice.incident.finding
    ends = incident.ended if incident.ended is not None else now + LONGEST.total_seconds()
    return [
        {
            "labels": labels
            | {"alertname": finding.title, "endpoint": finding.endpoint, "cause": finding.key, "source": "argosy"},
            "annotations": {"summary": subject(notice), "description": finding.reason, "severity": finding.severity},
            "startsAt": _moment(incident.since),
            "endsAt": _moment(ends),
        }
    ]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(words: str) -> str:
    """No line breaks: a header ends at one."""
    return "".join(letter if letter.isprintable() else " " for letter in words)[:200]
