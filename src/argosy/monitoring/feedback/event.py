"""A label as it is sent, and which of them are taken. Pure."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

SKEW_SECONDS = 300.0
"""How far ahead a sender's clock may be."""

MAX_ID = 256
MAX_TEXT = 1024


class Label(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What turned out to be true of row `row` of the request `request_id`.

    `time`: since when it is known, ISO 8601 (UTC unless it says otherwise) or seconds since 1970; now, if left out. Of
    several for the same row the one of the highest `version` counts, then the latest, then the greatest as text: the
    order in which they arrive does not matter.
    """

    request_id: str
    label: str | float | bool
    row: int = 0
    time: str | float | None = None
    version: int = 0
    source: str = ""


class AcceptedLabel(msgspec.Struct, frozen=True, kw_only=True):
    """A label that was taken. `time` and `received` are µs since 1970; `label` is text as `plain` writes it; `key` is
    the id of its sender's key, empty for the owner."""

    request_id: str
    row: int
    label: str
    version: int
    time: int
    received: int
    source: str
    key: str = ""


class RefusedLabel(msgspec.Struct, frozen=True):
    """A label that was not taken: its place in the list, and why."""

    index: int
    reason: str


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome for a list of labels."""

    labels: tuple[AcceptedLabel, ...]
    refused: tuple[RefusedLabel, ...]


def accept(events: Sequence[Label], now: float, key: str = "") -> Taken:
    """Take what can be right; `now` is seconds since 1970, `key` the id of the sender's key.

    What is refused does not hold up the rest.
    """
    accepted: list[AcceptedLabel] = []
    refused: list[RefusedLabel] = []
    for index, event in enumerate(events):
        moment, reason = _time(event.time, now)
        reason = reason or _fault(event)
        if reason or moment is None:
            refused.append(RefusedLabel(index, reason))
            continue
        accepted.append(
            AcceptedLabel(
                request_id=event.request_id,
                row=event.row,
                label=plain(event.label),
                version=event.version,
                time=round(moment * 1e6),
                received=round(now * 1e6),
                source=event.source,
                key=key,
            )
        )
    return Taken(labels=tuple(accepted), refused=tuple(refused))


def _fault(event: Label) -> str:
    checks = {
        f"request_id must have 1 to {MAX_ID} characters": 0 < len(event.request_id) <= MAX_ID,
        "row must be 0 to 2147483647": 0 <= event.row < 2**31,
        "version must be 0 to 2147483647": 0 <= event.version < 2**31,
        "label must be a finite number or a text": not isinstance(event.label, float) or math.isfinite(event.label),
        f"label and source have at most {MAX_TEXT} characters": len(str(event.label)) <= MAX_TEXT >= len(event.source),
    }
    return next((reason for reason, good in checks.items() if not good), "")


def _time(given: Any, now: float) -> tuple[float | None, str]:
    if given is None:
        return now, ""
    if isinstance(given, str):
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            return None, f"time '{given[:40]}' is not ISO 8601"
        given = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(given) or given < 0:
        return None, "time must be seconds since 1970"
    if given > now + SKEW_SECONDS:
        ahead = given - now
        return None, f"time is {ahead:.0f} s in the future; the sender's clock is wrong, or it is no time in seconds"
    return min(given, now), ""


def plain(value: str | float | bool) -> str:
    """One text for one class, however it was written: 3, 3.0 and "3" are `3`, true is `1`."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str):
        lowered = value.strip().lower()
        if lowered in ("true", "false"):
            return str(int(lowered == "true"))
        try:
            number = float(value)
        except ValueError:
            return value
        if not math.isfinite(number) or "_" in value:
            return value
        value = number
    if value == math.trunc(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(value)
