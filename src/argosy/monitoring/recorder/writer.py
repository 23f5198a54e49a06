"""What the recorder does with the disk and the object store, in a thread of its own."""

import errno
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from argosy.monitoring.feedback.folder import LabelFolder
from argosy.monitoring.recorder.buffer import Book
from argosy.profiles import files
from argosy.profiles.layout import Layout
from argosy.profiles.profile import Profile
from argosy.spec.errors import ArgosyError
from argosy.spec.recorder import RecordedEndpoint, RecorderConfig, RecorderReport
from argosy.spec.settings import Home
from argosy.store.payloads import compact, layout, segment, ship
from argosy.store.payloads.record import Rows, joined

LOG = logging.getLogger(__name__)
LOG_OF = "the payload log"
GRACE = timedelta(minutes=2)
"""After an hour is over and the last flush of it is due."""
MERGE_SECONDS = 20.0
PROFILES_KEPT = 100 * 24 * 60
"""Minutes: a quarter, and a little more."""


class Keeper:
    """Writes, sends, removes. What fails is told in the report and does not end anything."""

    def __init__(self, home: Home, report: RecorderReport) -> None:
        self.home, self.report = home, report
        self._swaps = True

    def write(self, book: Book, waiting: Mapping[str, Sequence[Rows]]) -> None:
        """Put requests on disk, by replica, or drop them."""
        count = sum(len(part.requests) for parts in waiting.values() for part in parts)
        try:
            tables = [book.encoder(replica).table(part) for replica, parts in waiting.items() for part in joined(parts)]
            segment.write(self.home.payloads, book.endpoint, book.version, tables)
            self.report.records += count
            self._good(LOG_OF)
        except Exception as error:
            self.report.dropped += count
            self._bad(LOG_OF, error)

    def write_profiles(self, endpoint: str, profiles: Sequence[Profile]) -> None:
        """Put profiles on disk."""
        try:
            files.write(self.home.profiles, endpoint, profiles)
            self.report.profiles += len(profiles)
            self._good("the profiles")
        except (ArgosyError, OSError) as error:
            self._bad("the profiles", error)

    def tidy(self, told: RecorderConfig, layouts: Iterable[Layout]) -> None:
        """Put profiles together, remove what is past its time. What fails is told, and tried again next time."""
        try:
            self._tidy(told, layouts)
        except (ArgosyError, OSError) as error:
            LOG.warning("what is past its time could not be removed: %s", error)

    def _tidy(self, told: RecorderConfig, layouts: Iterable[Layout]) -> None:
        known = {one.digest: one for one in layouts}
        for endpoint in files.endpoints(self.home.profiles):
            for version in files.versions(self.home.profiles, endpoint):
                files.tidy(self.home.profiles, endpoint, version, known.get, int(time.time()) // 60, PROFILES_KEPT)
        for endpoint in layout.endpoints(self.home.payloads):
            kept = told.endpoints.get(endpoint, RecordedEndpoint())
            self._retain(endpoint, kept, bool(told.store))
            self._merge(endpoint, kept.payload.flush if kept.payload else 0.0)
        segment.clean(self.home.payloads)

    def _merge(self, endpoint: str, flush: float) -> None:
        """Put the small segments of hours that are over together, for a while."""
        begun, found = time.monotonic(), layout.segments(self.home.payloads, endpoint)
        folder = LabelFolder(self.home.feedback, endpoint)
        for small in compact.due(found, datetime.now(UTC), GRACE + timedelta(seconds=flush)):
            if self._swaps and time.monotonic() - begun < MERGE_SECONDS:
                try:
                    self.report.merged += compact.hour(self.home.payloads, small, folder)
                except (ArgosyError, OSError) as error:
                    self._swaps = getattr(error, "errno", None) not in (errno.ENOSYS, errno.EINVAL)
                    LOG.warning("segments of '%s' were not merged: %s", endpoint, error)

    def _retain(self, endpoint: str, kept: RecordedEndpoint, sending: bool) -> None:
        log = kept.payload
        if log is None:
            return
        found = layout.segments(self.home.payloads, endpoint)
        sent = ship.shipped(self.home.payloads) if sending else None
        decision = ship.decide(found, datetime.now(UTC), days=log.keep_days, size=log.keep_bytes, shipped=sent)
        ship.remove(self.home.payloads, decision.remove)
        self.report.removed += len(decision.remove)
        if decision.lost:
            LOG.warning("%d segments of '%s' were removed before they could be sent", len(decision.lost), endpoint)

    def send(self, url: str) -> None:
        """Send what is not in the object store yet."""
        try:
            turn = ship.ship(self.home.payloads, layout.segments(self.home.payloads), ship.destination(url))
        except (ArgosyError, OSError) as error:
            self._bad("the object store", error)
            return
        self.report.shipped += len(turn.sent)
        self.report.waiting = turn.left
        self._bad("the object store", Exception(turn.error)) if turn.error else self._good("the object store")

    def _bad(self, what: str, error: Exception) -> None:
        text = error.message if isinstance(error, ArgosyError) else str(error) or type(error).__name__
        said = f"{what}: {text}"
        if said != self.report.problem:
            LOG.warning("%s", said)
        self.report.problem = said

    def _good(self, what: str) -> None:
        if self.report.problem.startswith(f"{what}:"):
            self.report.problem = ""
