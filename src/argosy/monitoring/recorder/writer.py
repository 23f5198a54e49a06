"""What the recorder does with the disk and the object store, in a thread of its own."""

import errno
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from argosy.monitoring.feedback.folder import LabelFolder
from argosy.packaging.package import open_package
from argosy.profiles import files
from argosy.profiles import layout as profiled
from argosy.profiles.languages import reference
from argosy.profiles.layout import Layout
from argosy.profiles.profile import Hidden, Profile
from argosy.profiles.recorder import Recorder
from argosy.spec.errors import ArgosyError
from argosy.spec.payload import PayloadLog
from argosy.spec.recorder import RecordedEndpoint, RecorderConfig, RecorderReport
from argosy.spec.settings import Home
from argosy.spec.tensor import Array, nbytes
from argosy.store.payloads import compact, layout, segment, ship
from argosy.store.payloads.columns import Column, columns
from argosy.store.payloads.encode import Encoder, parquet
from argosy.store.payloads.record import Rows, joined

MOST_BYTES = 128 * 1024 * 1024
"""What may wait for one flush; more is dropped."""


class VersionBuffer:
    """One version of an endpoint as it is recorded now. Raises ArgosyError where that cannot be as it is declared."""

    def __init__(self, endpoint: str, version: str, package: Path, declared: RecordedEndpoint, secret: bytes) -> None:
        self.endpoint, self.version, self.declared = endpoint, version, declared
        opened = open_package(package)
        self.signature = opened.manifest.recorded
        self._secret = secret
        self._columns: tuple[Column, ...] = columns(self.signature, declared.payload) if declared.payload else ()
        if declared.payload:
            parquet()
        profile = reference(opened) if declared.profiles else None
        self.layout = profiled.layout(profile, self.signature) if profile is not None else None
        log = declared.payload or PayloadLog()
        self._hidden = Hidden(self.layout, log.redact, log.hash) if self.layout else None
        self._recorder: Recorder | None = None
        if self.layout and self._hidden:
            # Columns with profiles for each value: those that this version has and the log does not hide.
            known = {column.name for column in self.layout.columns if column.detailed}
            segments = [name for name in declared.segments if name in known and not self._hidden.covers(name)]
            self._recorder = Recorder(self.layout, version, segments)
        self._waiting: dict[str, list[Rows]] = {}
        self._bytes = 0
        self.dropped = 0

    def take(self, replica: str, rows: Rows) -> None:
        """Keep what is wanted of the requests of a replica."""
        wanted = rows.requests["weight"] > 0
        if self.declared.payload is not None and wanted.any():
            self._log(replica, rows if wanted.all() else _some(rows, wanted))
        if self._recorder is not None and rows.outputs and not rows.failures:
            self._recorder.add(int(rows.requests["time"][-1]) / 1e9, rows.inputs, rows.outputs)

    def _log(self, replica: str, rows: Rows) -> None:
        arrays = (*rows.inputs.values(), *rows.outputs.values())
        size = rows.requests.nbytes + sum(map(nbytes, arrays))
        if self._bytes + size > MOST_BYTES:
            self.dropped += len(rows.requests)
            return
        self._bytes += size
        self._waiting.setdefault(replica, []).append(rows)

    def waiting(self) -> dict[str, list[Rows]]:
        """What is to be written now, by replica."""
        found, self._waiting, self._bytes = self._waiting, {}, 0
        return found

    def profiles(self, before: float) -> list[Profile]:
        """The profiles of the minutes that ended by then, in seconds since 1970."""
        if self._recorder is None or self._hidden is None:
            return []
        return [self._hidden.apply(one) for one in self._recorder.take(before)]

    def encoder(self, replica: str) -> Encoder:
        """For the requests of one replica."""
        log = self.declared.payload
        assert log is not None
        return Encoder(
            columns=self._columns,
            replica=replica,
            max_elements=log.max_elements,
            max_text=log.max_text,
            messages=not (log.redact or log.hash),
            secret=self._secret,
        )


def _some(rows: Rows, wanted: Array) -> Rows:
    mask = np.repeat(wanted, rows.requests["rows"])
    ids = [id for id, mark in zip(rows.ids, wanted.tolist(), strict=True) if mark]
    failures = [one for one, mark in zip(rows.failures, wanted.tolist(), strict=False) if mark]

    def chosen(side: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array[mask] for name, array in side.items()}

    return Rows(
        requests=rows.requests[wanted],
        ids=ids,
        inputs=chosen(rows.inputs),
        outputs=chosen(rows.outputs),
        failures=failures,
    )


LOG = logging.getLogger(__name__)
LOG_OF = "the payload log"
GRACE = timedelta(minutes=2)
"""After an hour is over and the last flush of it is due."""
MERGE_SECONDS = 20.0
RETENTION = 100 * 24 * 60
"""Minutes: a quarter, and a little more."""


class Writer:
    """Writes, sends, removes. What fails is in the report and does not end anything."""

    def __init__(self, home: Home, report: RecorderReport) -> None:
        self.home, self.report = home, report
        self._swaps = True

    def write(self, buffer: VersionBuffer, waiting: Mapping[str, Sequence[Rows]]) -> None:
        """Put requests on disk, by replica, or drop them."""
        count = sum(len(part.requests) for parts in waiting.values() for part in parts)
        try:
            tables = [
                buffer.encoder(replica).table(part) for replica, parts in waiting.items() for part in joined(parts)
            ]
            segment.write(self.home.payloads, buffer.endpoint, buffer.version, tables)
            self.report.records += count
            self._good(LOG_OF)
        except Exception as error:
            self.report.dropped += count
            self._bad(LOG_OF, error)

    def write_profiles(self, endpoint: str, profiles: Sequence[Profile]) -> None:
        try:
            files.write(self.home.profiles, endpoint, profiles)
            self.report.profiles += len(profiles)
            self._good("the profiles")
        except (ArgosyError, OSError) as error:
            self._bad("the profiles", error)

    def tidy(self, config: RecorderConfig, layouts: Iterable[Layout]) -> None:
        """Put profiles together, remove what is past its time. What fails is logged, and tried again next time."""
        try:
            self._tidy(config, layouts)
        except (ArgosyError, OSError) as error:
            LOG.warning("what is past its time could not be removed: %s", error)

    def _tidy(self, config: RecorderConfig, layouts: Iterable[Layout]) -> None:
        known = {one.digest: one for one in layouts}
        for endpoint in layout.endpoints(self.home.profiles):
            for version in files.versions(self.home.profiles, endpoint):
                files.tidy(self.home.profiles, endpoint, version, known.get, int(time.time()) // 60, RETENTION)
        for endpoint in layout.endpoints(self.home.payloads):
            declared = config.endpoints.get(endpoint, RecordedEndpoint())
            self._retain(endpoint, declared, bool(config.store))
            self._merge(endpoint, declared.payload.flush if declared.payload else 0.0)
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

    def _retain(self, endpoint: str, declared: RecordedEndpoint, sending: bool) -> None:
        log = declared.payload
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
