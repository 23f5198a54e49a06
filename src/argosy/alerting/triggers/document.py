"""What a command or webhook is told: why, and where the data to retrain on is."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from argosy.alerting.triggers.policy import Fired
from argosy.spec.endpoint import Endpoint
from argosy.spec.settings import Home
from argosy.spec.trigger import Trigger
from argosy.store.findings import Finding
from argosy.store.payloads import layout


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of a firing. Times are ISO 8601 in UTC.

    `id` is the same whenever the same firing is told again. `model` is the reference that the endpoint declares,
    `version` the one that served. The windows that made it fire lie between `since` and `until`; `payloads` are globs
    of the Parquet files of that time, `store` the object store that has them too, if there is one, and `labelled` is
    the command that writes them with their labels into one file.
    """

    id: str
    endpoint: str
    trigger: str
    when: str
    metric: str
    model: str
    version: str
    at: str
    reason: str
    findings: tuple[Finding, ...]
    since: str
    until: str
    home: str
    payloads: tuple[str, ...]
    store: str
    labelled: tuple[str, ...]


def run_id(endpoint: str, trigger: str, fired: Fired) -> str:
    """One of its own for each firing, and the same however often that is worked out."""
    return f"{endpoint}/{trigger}@{fired.findings[-1].window_end:.0f}"


def document(home: Home, store: str, endpoint: Endpoint, trigger: Trigger, fired: Fired) -> Document:
    """Tell of a firing."""
    begin, end = (_moment(each) for each in (fired.findings[0].window_start, fired.findings[-1].window_end))
    since, until = _text(begin), _text(end)
    told: dict[str, Any] = {"id": run_id(endpoint.name, trigger.name, fired), "when": trigger.__struct_config__.tag}
    return Document(
        **told,
        endpoint=endpoint.name,
        trigger=trigger.name,
        metric=trigger.metric,
        model=endpoint.model,
        version=fired.version,
        at=_text(_moment(fired.at)),
        reason=fired.reason,
        findings=fired.findings,
        since=since,
        until=until,
        home=str(home.root),
        payloads=_globs(home, endpoint.name, begin, end),
        store=store,
        labelled=(
            *("argosy", "feedback", "export", endpoint.name),
            *("--since", since, "--until", until, "--output", "labelled.parquet"),
        ),
    )


def _globs(home: Home, endpoint: str, since: datetime, until: datetime) -> tuple[str, ...]:
    """Folders of hours rather than files: small files become large ones meanwhile."""
    found: Sequence[layout.Segment] = layout.segments(home.payloads, endpoint, since, until)
    return tuple(sorted({str((home.payloads / each.key).with_name("*.parquet")) for each in found}))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
