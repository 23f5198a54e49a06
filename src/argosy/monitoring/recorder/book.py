"""What is kept of one version of an endpoint: requests until they are flushed, profiles until their minute is over."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from argosy.monitoring.recorder.told import Kept
from argosy.packaging.package import Package, open_package
from argosy.profiles.layout import Layout, layout
from argosy.profiles.profile import Profile
from argosy.profiles.recorder import Recorder
from argosy.serving.frames import Block
from argosy.spec.signature import Signature
from argosy.spec.tensor import Array
from argosy.store.payloads.columns import Column, columns
from argosy.store.payloads.encode import Encoder
from argosy.store.payloads.record import Record

MOST_BYTES = 128 * 1024 * 1024
"""What may wait for one flush; more is dropped."""


class Batch(msgspec.Struct, frozen=True):
    """Requests of one replica that are to be written."""

    replica: str
    block: Block


class Book:
    """One version of an endpoint as it is kept now. Raises ArgosyError where that cannot be as it was told."""

    def __init__(self, endpoint: str, version: str, package: Path, kept: Kept, secret: bytes) -> None:
        self.endpoint, self.version, self.kept = endpoint, version, kept
        opened = open_package(package)
        self.signature = opened.manifest.signature
        self._secret = secret
        self._columns: tuple[Column, ...] = columns(self.signature, kept.payload) if kept.payload else ()
        self.layout = _layout(opened, self.signature) if kept.profiles else None
        self._recorder = Recorder(self.layout, version, kept.segments) if self.layout else None
        self._batches: list[Batch] = []
        self._bytes = 0
        self.dropped = 0

    def take(self, replica: str, block: Block) -> None:
        """Keep what is wanted of a block."""
        rows = block.requests["rows"]
        if self._recorder is not None and block.outputs and len(rows):
            self._recorder.add(int(block.requests["time"][-1]) / 1e9, block.inputs, block.outputs)
        if self.kept.payload is None:
            return
        wanted = block.requests["weight"] > 0
        if not wanted.any():
            return
        if not wanted.all():
            block = _some(block, wanted)
        size = sum(array.nbytes for side in (block.inputs, block.outputs) for array in side.values())
        if self._bytes + size > MOST_BYTES:
            self.dropped += len(block.requests)
            return
        self._bytes += size
        self._batches.append(Batch(replica, block))

    def batches(self) -> list[Batch]:
        """What is to be written now."""
        found, self._batches, self._bytes = self._batches, [], 0
        return found

    def profiles(self, before: float) -> list[Profile]:
        """The profiles of the minutes that ended by then, in seconds since 1970."""
        return self._recorder.take(before) if self._recorder is not None else []

    def encoder(self, replica: str) -> Encoder:
        """For the requests of one replica."""
        log = self.kept.payload
        assert log is not None
        return Encoder(
            columns=self._columns,
            replica=replica,
            batched=self.signature.batched,
            max_elements=log.max_elements,
            max_text=log.max_text,
            secret=self._secret,
        )


def _layout(package: Package, signature: Signature) -> Layout | None:
    reference = package.profile()
    return layout(reference, signature) if reference is not None else None


def _some(block: Block, wanted: Array) -> Block:
    rows = np.repeat(wanted, block.requests["rows"])
    ids = [id for id, mark in zip(block.ids, wanted.tolist(), strict=True) if mark]

    def chosen(side: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array[rows] for name, array in side.items()}

    return Block(requests=block.requests[wanted], ids=ids, inputs=chosen(block.inputs), outputs=chosen(block.outputs))


def records(block: Block, batched: bool) -> list[Record]:
    """A block, request by request."""
    found: list[Record] = []
    start = 0
    for one, id in zip(block.requests.tolist(), block.ids, strict=True):
        time, latency, weight, rows, code = one
        where = slice(start, start + rows) if batched else start
        inputs = {name: array[where] for name, array in block.inputs.items()} if rows else {}
        outputs = {name: array[where] for name, array in block.outputs.items()} if rows else {}
        found.append(Record(id, time, code, latency, rows, inputs, outputs, weight))
        start += rows
    return found
