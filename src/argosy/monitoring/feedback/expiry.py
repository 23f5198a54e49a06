"""What labels are let go of: those without a prediction after a while, and those of payloads that are gone. Pure.

Counts of performance stay for good; they are small.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from argosy.monitoring.feedback.folder import Manifest
from argosy.store.payloads import layout

NEAR = timedelta(days=2)
"""Labels that are joined again are looked for among the days around a segment's."""


class ExpiryLimits(msgspec.Struct, frozen=True):
    """Labels that came before `waiting` wait no more. Files of labels from before `needed`, and rows of days before it,
    are of no payload that is left.
    """

    waiting: datetime
    needed: datetime


def limits(now: datetime, keep_days: float, segments: Iterable[str]) -> ExpiryLimits:
    """For a log of these segments: what it still has is needed, however old."""
    waiting = now - timedelta(days=keep_days)
    hours = [found.hour - NEAR for key in segments if (found := layout.parse(key))]
    return ExpiryLimits(waiting, min([waiting, *hours]))


def labels(names: Sequence[str], needed: datetime) -> set[str]:
    """The files of labels that go, by the time in their names."""
    first = int(needed.timestamp() * 1e9)
    return {name for name in names if int(name.rpartition("/")[2].partition("-")[0]) < first}


def beyond(sizes: Mapping[str, int], most: int) -> set[str]:
    """The files of labels that make all of them more than so many bytes: always the oldest of the sender who has the
    most."""
    files: dict[str, list[str]] = {}
    for name in sorted(sizes, reverse=True):
        files.setdefault(sender(name), []).append(name)
    totals = {key: sum(sizes[name] for name in names) for key, names in files.items()}
    gone = set[str]()
    while sum(totals.values()) > most:
        largest = max(totals, key=lambda key: (totals[key], key))
        name = files[largest].pop()
        gone.add(name)
        totals[largest] -= sizes[name]
    return gone


def sender(name: str) -> str:
    """The id of the key that a file of labels is from; empty for the owner, and in names of earlier versions."""
    return "-".join(name.rpartition("/")[2].removesuffix(".parquet").split("-")[2:])


def kept(manifest: Manifest, needed: datetime, over: Collection[str] = ()) -> Manifest:
    """What stays of a manifest; `over`: files of labels that are too many."""
    gone, day = labels(manifest.labels, needed).union(over), needed.strftime("%Y-%m-%d")
    return msgspec.structs.replace(
        manifest,
        labels=tuple(name for name in manifest.labels if name not in gone),
        joined={each: names for each, names in manifest.joined.items() if each >= day},
    )
