"""What the child process that looks at performance is asked, and what it answers."""

from pathlib import Path

import msgspec

from argosy.monitoring.performance.memory import Kept
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Home
from argosy.store.findings import Finding


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version that serves or has served: its number, its unpacked package, whether the store trusts it,
    and what is remembered of it."""

    number: str
    digest: str
    package: str
    trusted: bool = False
    kept: Kept = Kept()


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint to look at. `now` is seconds since 1970; windows until `end` are over and on disk."""

    home: str
    endpoint: str
    monitor: Monitor
    log: PayloadLog
    now: float
    end: float
    versions: tuple[Version, ...]

    @property
    def place(self) -> Home:
        """The home."""
        return Home(Path(self.home))


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, and what is to be remembered by version once that is written. `metrics`: by version, what alerts
    are about. `more`: there are further windows to look at."""

    findings: tuple[Finding, ...] = ()
    kept: dict[str, Kept] = {}
    metrics: dict[str, str] = {}
    more: bool = False
