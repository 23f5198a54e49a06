"""What is kept of one version of an endpoint: requests until they are flushed, profiles until their minute is over."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from argosy.packaging.package import Package, open_package
from argosy.profiles.layout import Layout, layout
from argosy.profiles.privacy import Hidden
from argosy.profiles.profile import Profile
from argosy.profiles.recorder import Recorder
from argosy.spec.payload import PayloadLog
from argosy.spec.recorder import RecordedEndpoint
from argosy.spec.signature import Signature
from argosy.spec.tensor import Array, nbytes
from argosy.store.payloads.columns import Column, columns
from argosy.store.payloads.encode import Encoder, parquet
from argosy.store.payloads.record import Rows

MOST_BYTES = 128 * 1024 * 1024
"""What may wait for one flush; more is dropped."""


class Book:
    """One version of an endpoint as it is kept now. Raises ArgosyError where that cannot be as it was told."""

    def __init__(self, endpoint: str, version: str, package: Path, kept: RecordedEndpoint, secret: bytes) -> None:
        self.endpoint, self.version, self.kept = endpoint, version, kept
        opened = open_package(package)
        self.signature = opened.manifest.signature
        self._secret = secret
        self._columns: tuple[Column, ...] = columns(self.signature, kept.payload) if kept.payload else ()
        if kept.payload:
            parquet()
        self.layout = _layout(opened, self.signature) if kept.profiles else None
        log = kept.payload or PayloadLog()
        self._hidden = Hidden(self.layout, log.redact, log.hash) if self.layout else None
        self._recorder = Recorder(self.layout, version, self._segments()) if self.layout else None
        self._waiting: dict[str, list[Rows]] = {}
        self._bytes = 0
        self.dropped = 0

    def _segments(self) -> list[str]:
        """The columns with profiles for each value that this version has and the log does not hide."""
        known = {column.name for column in self.layout.columns if column.detailed} if self.layout else set[str]()
        return [name for name in self.kept.segments if name in known and self._hidden and not self._hidden.covers(name)]

    def take(self, replica: str, rows: Rows) -> None:
        """Keep what is wanted of the requests of a replica."""
        wanted = rows.requests["weight"] > 0
        if self.kept.payload is not None and wanted.any():
            self._log(replica, rows if wanted.all() else _some(rows, wanted))
        if self._recorder is not None and rows.outputs:
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
        log = self.kept.payload
        assert log is not None
        return Encoder(
            columns=self._columns,
            replica=replica,
            max_elements=log.max_elements,
            max_text=log.max_text,
            messages=not (log.redact or log.hash),
            secret=self._secret,
        )


def _layout(package: Package, signature: Signature) -> Layout | None:
    reference = package.profile()
    return layout(reference, signature) if reference is not None else None


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
