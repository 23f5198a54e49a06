"""Profiles and payloads of devices, merged into the profiles and the log of their fleet.

Nothing of it is believed: what is no profile of the version's own layout, not whole, or not finite, is dropped and
counted. What was taken is merged across devices and written once a minute, a file for each version: what a crash of the
platform costs is that minute.
"""

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from argosy.edge.wire import AgentReport
from argosy.monitoring.recorder.writer import RETENTION, VersionBuffer, Writer
from argosy.packaging.package import open_package
from argosy.process.repeat import repeat
from argosy.profiles import files, profile
from argosy.profiles import layout as layouts
from argosy.profiles.layout import Layout
from argosy.profiles.profile import Profile, minute
from argosy.spec.errors import ArgosyError, InvalidArgument
from argosy.spec.payload import PayloadLog
from argosy.spec.recorder import RecordedEndpoint, RecorderReport
from argosy.spec.signature import TensorSpec, check_form
from argosy.spec.tensor import NUMPY, Array, as_bytes
from argosy.store.devices import Device
from argosy.store.endpoints import Declared
from argosy.store.fleets import Deployment
from argosy.store.payloads.record import REQUEST, Rows
from argosy.store.store import Store
from argosy.store.streams import stream, streams

LOG = logging.getLogger(__name__)
EVERY = 60.0
TIDY = 3600.0
AHEAD = 2
"""Minutes that a device's clock may be ahead."""
MOST_ROWS = 10_000_000
"""Of one minute of one device."""
MOST_PARTS, MERGED = 20_000, 64
"""Profiles that wait at most, and of how many one is made."""
MOST_TEXT = 200
MOST_LATENCY = 3600.0


class JsonTensor(msgspec.Struct, frozen=True):
    """A tensor as the Open Inference Protocol has it in JSON; its datatype is that of the signature."""

    shape: tuple[int, ...]
    data: list[Any]


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """One request as a device reports it."""

    version: str
    at: float
    id: str
    milliseconds: float
    inputs: dict[str, JsonTensor]
    outputs: dict[str, JsonTensor]


class RecordedVersion:
    """A version of a fleet: under which name it is recorded, in which cells, and whether payloads are taken."""

    def __init__(self, store: Store, deployment: Deployment) -> None:
        package = open_package(store.unpacked(deployment.package))
        reference = package.profile()
        self.version, self.signature = deployment.ref, package.manifest.signature
        self.layout = layouts.layout(reference, self.signature) if reference is not None else None
        share = float(deployment.declaration.get("payloads") or 0.0)
        self.buffer: VersionBuffer | None = None
        self.weight = 1 / share if share > 0 else 0.0
        if share > 0:
            declared = RecordedEndpoint(payload=PayloadLog(sample=share), profiles=False)
            self.buffer = VersionBuffer(stream(deployment.fleet), deployment.ref, package.folder, declared, b"")


class DeviceIntake:
    """Every method may be called from any thread. `dropped` counts, by fleet, what could not be used; `logged` are the
    fleets with a payload log, as they were a minute ago."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock
        self._report = RecorderReport(pid=0, started=clock())
        self._writer = Writer(store.home, self._report)
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], RecordedVersion | None] = {}
        self._parts: dict[tuple[str, str, int], list[Profile]] = {}
        self._tidied = clock()
        self.dropped: Counter[str] = Counter()
        self.logged: tuple[Declared, ...] = ()

    def take(self, device: Device, report: AgentReport, now: float) -> None:
        """What a device reports: profiles and payloads. Never raises for what it holds."""
        for one in report.profiles:
            self._try(device, one, self._profile)
        for one in report.payloads:
            self._try(device, one, self._payload)

    def _try(self, device: Device, one: dict[str, Any], taken: Callable[[Device, dict[str, Any]], None]) -> None:
        try:
            taken(device, one)
        except (ArgosyError, msgspec.ValidationError, ValueError, TypeError, OverflowError) as error:
            with self._lock:
                self.dropped[device.fleet] += 1
                number = self.dropped[device.fleet]
            if number & (number - 1) == 0:
                LOG.warning("%d parts of reports of fleet '%s' were dropped: %s", number, device.fleet, error)

    def _version(self, device: Device, version: object) -> RecordedVersion:
        """A version by the digest of its package. Raises InvalidArgument for one that the fleet never had."""
        key = (device.fleet, str(version)[:MOST_TEXT])
        if key not in self._known:
            deployments = self._store.fleets.deployments(device.fleet)
            found = next((each for each in deployments if each.package == version), None)
            if found is None:
                raise InvalidArgument(f"device '{device.id}' tells of a version that its fleet never had")
            try:
                self._known[key] = RecordedVersion(self._store, found)
            except ArgosyError as error:
                LOG.warning("nothing is recorded of %s on fleet '%s': %s", found.ref, device.fleet, error.message)
                self._known[key] = None
        known = self._known[key]
        if known is None:
            raise InvalidArgument("nothing is recorded of this version")
        return known

    def _profile(self, device: Device, said: dict[str, Any]) -> None:
        known = self._version(device, said.get("version"))
        if known.layout is None:
            raise InvalidArgument("the version has no reference profile")
        one = msgspec.convert(said | {"version": known.version}, Profile)
        check(known.layout, one)
        now, span = minute(self._clock()), one.end - one.start
        if one.end > now + AHEAD or one.start < now - RETENTION:
            one = msgspec.structs.replace(one, start=now, end=now + span)
        with self._lock:
            if sum(map(len, self._parts.values())) >= MOST_PARTS:
                raise InvalidArgument("more profiles wait than can be written")
            parts = self._parts.setdefault((device.fleet, known.version, one.start), [])
            parts.append(one)
            if len(parts) >= MERGED:
                parts[:] = [profile.merge(known.layout, parts)]

    def _payload(self, device: Device, said: dict[str, Any]) -> None:
        one = msgspec.convert(said, Payload)
        known = self._version(device, one.version)
        if known.buffer is None:
            raise InvalidArgument("no payloads were asked for")
        inputs, outputs = _tensors(one.inputs, known.signature.inputs), _tensors(one.outputs, known.signature.outputs)
        sizes = {len(array) for array in (*inputs.values(), *outputs.values())}
        if len(sizes) != 1 or not (math.isfinite(one.milliseconds) and 0 <= one.milliseconds <= MOST_LATENCY * 1e3):
            raise InvalidArgument("a request needs equally many rows everywhere, and a latency")
        now = self._clock()
        at = one.at if now - RETENTION * 60 < one.at <= now + AHEAD * 60 else now
        about = (int(at * 1e9), int(one.milliseconds * 1e6), known.weight, sizes.pop(), 200)
        rows = Rows(
            requests=np.array([about], REQUEST), ids=[f"{device.id}/{one.id[:64]}"], inputs=inputs, outputs=outputs
        )
        with self._lock:
            known.buffer.take(device.id, rows)

    async def run(self) -> None:
        """Write once a minute, until cancelled; what waits then is written, too."""
        import asyncio

        try:
            await repeat(lambda: asyncio.to_thread(self.flush), EVERY, "the profiles of devices", LOG)
        finally:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        self.logged = tuple(each for each in streams(self._store)[0] if each.endpoint.payload is not None)
        with self._lock:
            parts, self._parts = self._parts, {}
            self._known = {key: known for key, known in self._known.items() if known is not None}
            buffers = [known.buffer for known in self._known.values() if known is not None]
            logs = [(each, each.waiting()) for each in buffers if each is not None]
        merged: dict[str, list[Profile]] = {}
        for (fleet, version, _), found in parts.items():
            where = self._layout(fleet, version)
            merged.setdefault(fleet, []).extend([profile.merge(where, found)] if where is not None else [])
        for fleet, found in merged.items():
            self._writer.write_profiles(stream(fleet), found)
        for buffer, waiting in logs:
            if waiting:
                self._writer.write(buffer, waiting)
        if self._clock() - self._tidied > TIDY:
            self._tidied = self._clock()
            self._tidy()

    def _layout(self, fleet: str, version: str) -> Layout | None:
        return next(
            (k.layout for (of, _), k in self._known.items() if k and of == fleet and k.version == version), None
        )

    def _tidy(self) -> None:
        """Put minutes that are past their time together by hour."""
        known = {k.layout.digest: k.layout for k in self._known.values() if k is not None and k.layout is not None}
        root, now = self._store.home.profiles, minute(self._clock())
        for fleet in {of for of, _ in self._known}:
            for version in files.versions(root, stream(fleet)):
                files.tidy(root, stream(fleet), version, known.get, now, RETENTION)


def check(where: Layout, one: Profile) -> None:
    """Raise InvalidArgument unless a profile that somebody sent is one that could have been counted."""
    profile.check(where, one)
    if one.segment or one.sketches or not (0 <= one.rows <= MOST_ROWS and 0 < one.end - one.start <= 60):
        raise InvalidArgument("a profile of a device has rows, a minute or so, and neither segment nor sketches")
    counts = np.array(one.counts, np.int64)
    sums = [int(counts[where.slice(place)].sum()) for place in range(len(where.columns))]
    if counts.max(initial=0) > one.rows or any(each != one.rows for each in sums):
        raise InvalidArgument("the counts of a column are not as many as the rows")
    for each in one.moments:
        sane = 0 <= each.count <= one.rows and each.m2 >= 0 and each.min <= each.max
        if not sane or not all(map(math.isfinite, (each.mean, each.m2, each.min, each.max))):
            raise InvalidArgument("the moments of a column are none")
    for values in one.values:
        low = min((*values.frequent.values(), values.lost, 0))
        if low < 0 or sum(values.frequent.values()) > one.rows or values.lost > one.rows:
            raise InvalidArgument("the values of a column are more than the rows")
        if max(values.registers, default=0) > 64 or any(len(text) > MOST_TEXT for text in values.frequent):
            raise InvalidArgument("the values of a column are none")


def _tensors(said: Mapping[str, JsonTensor], specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Tensors in JSON as arrays, as the signature has them; missing numbers (null) are NaN."""
    by_name = {spec.name: spec for spec in specs}
    found: dict[str, Array] = {}
    for name, tensor in said.items():
        spec = by_name.get(name)
        if spec is None or spec.datatype == "BF16":
            raise InvalidArgument("a tensor is not of the signature")
        check_form(spec, spec.datatype, tensor.shape)
        if spec.datatype == "BYTES":
            array = as_bytes(np.array(msgspec.convert(tensor.data, list[str]), object))
        else:
            kind = float if spec.datatype.startswith(("FP", "BF")) else bool if spec.datatype == "BOOL" else int
            values = msgspec.convert(tensor.data, list[kind | None])
            array = np.array([math.nan if each is None else each for each in values], NUMPY[spec.datatype])
        found[name] = array.reshape(tensor.shape)
    return found
