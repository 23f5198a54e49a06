"""What is remembered of one version of an endpoint between looks at its performance, in `HOME/quality`."""

import hashlib
import shutil
from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote

import msgspec

from argosy.monitoring.feedback.reconcile import Reconciled
from argosy.monitoring.performance.fall import Fall
from argosy.spec.settings import Home
from argosy.store.durable import replace, storage

MOST_WINDOWS = 5000
"""Windows that are remembered: the newest."""


class Guess(msgspec.Struct, frozen=True, array_like=True):
    """An estimate that waits for its labels: of the metric that is reconciled, and the deviation of what was learnt."""

    value: float
    calibration: float


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """`basis` names the monitor, package and hidden columns it is of. Windows are by place: start · every seconds.

    `until`: the end of the last window that was estimated. `days`: by day, the file of counts that was told of.
    `served`: predictions of each window; `guesses`: estimates without labels yet. `waiting` windows have labels, and
    too few; `counted` ones are part of the evidence. `reconciled` is that of classes, `gap` that of numbers, `differ`
    whether the last one counted was an alarm. `said`: by kind, what was found last, in words.
    """

    basis: str = ""
    until: float = 0.0
    days: dict[str, str] = {}
    served: dict[int, int] = {}
    guesses: dict[int, Guess] = {}
    waiting: tuple[int, ...] = ()
    counted: tuple[int, ...] = ()
    estimated: Fall = Fall()
    realised: Fall = Fall()
    reconciled: Reconciled = Reconciled()
    gap: Fall = Fall()
    differ: bool = False
    said: dict[str, str] = {}

    def bounded(self) -> "Kept":
        """Without the oldest windows beyond 5,000."""
        return msgspec.structs.replace(
            self,
            served=dict(sorted(self.served.items())[-MOST_WINDOWS:]),
            guesses=dict(sorted(self.guesses.items())[-MOST_WINDOWS:]),
            counted=tuple(sorted(self.counted)[-MOST_WINDOWS:]),
            waiting=tuple(sorted(self.waiting)[-MOST_WINDOWS:]),
            reconciled=msgspec.structs.replace(self.reconciled, counted=(), alarms=()),
        )


def basis(*facts: object) -> str:
    """A name for what a state is of."""
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()[:32]


def folder(home: Home, endpoint: str) -> Path:
    """Where the states of an endpoint lie."""
    return home.root / "quality" / quote(endpoint, safe="")


def read(home: Home, endpoint: str, version: str) -> Kept:
    """What is remembered; nothing where it cannot be read."""
    try:
        return msgspec.msgpack.decode(_path(home, endpoint, version).read_bytes(), type=Kept)
    except (OSError, msgspec.MsgspecError):
        return Kept()


def write(home: Home, endpoint: str, version: str, kept: Kept) -> None:
    """Remember. Raises StorageFull."""
    place = folder(home, endpoint)
    with storage(home.root):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace(_path(home, endpoint, version), msgspec.msgpack.encode(kept.bounded()), place, mode=0o600)


def forget(home: Home, endpoints: Collection[str]) -> None:
    """Remove what is remembered of others than these endpoints."""
    named = {quote(each, safe="") for each in endpoints}
    for place in (home.root / "quality").glob("*"):
        if place.name not in named:
            shutil.rmtree(place, ignore_errors=True)


def _path(home: Home, endpoint: str, version: str) -> Path:
    return folder(home, endpoint) / f"{quote(version, safe='')}.kept"
