"""What a device has to tell and could not yet: on disk, durable, and bounded, the oldest thrown away and counted.

    000000000017.events.z       one batch of one kind, in the order in which they came
    report                      the report that is being sent, until it was acknowledged

A report is written before it is sent and repeated as it is, so that a number always means the same content, and what
it holds is deleted from the batches only then.
"""

import contextlib
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from argosy_edge import durable
from argosy_edge.clock import Clock
from argosy_edge.profile import Placed
from argosy_edge.wire import AgentReport, DeviceEvent

LIMIT = 32 * 1024 * 1024
"""Bytes of all batches."""
EVENTS, PROFILES, PAYLOADS = 200, 64, 1000
"""The most of each in one report, as `AgentReport` has it."""
REPORT = 768 * 1024
"""Bytes of what one report holds, about: a batch more is not begun."""
BATCH = 4 * 1024 * 1024
"""Bytes of one batch as it is read: what is larger is no batch of ours."""

Kind = Literal["events", "profiles", "payloads"]
_FIRST: tuple[Kind, ...] = ("payloads", "profiles", "events")
"""What is thrown away first."""
_MOST: dict[Kind, int] = {"events": EVENTS, "profiles": PROFILES, "payloads": PAYLOADS}


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """One request: inputs and outputs by name as tensors of the Open Inference Protocol, and how long it took."""

    boot: int
    after: float
    at: float
    version: str
    id: str
    milliseconds: float
    inputs: dict[str, Any]
    outputs: dict[str, Any]

    def of(self, clock: Clock) -> dict[str, Any]:
        """As a report has it, with the time as well as it is known by now."""
        row = msgspec.structs.asdict(self)
        return {**row, "at": clock.place(row.pop("boot"), row.pop("after"), self.at)}


_TYPES: dict[Kind, Any] = {
    "events": msgspec.json.Decoder(list[DeviceEvent]),
    "profiles": msgspec.json.Decoder(list[Placed]),
    "payloads": msgspec.json.Decoder(list[Payload]),
}


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The last report, `acknowledged` or not, and the batches that it holds."""

    number: int = 0
    acknowledged: bool = True
    batches: tuple[str, ...] = ()
    report: AgentReport | None = None


class Spool:
    """In one folder, of one process. Nothing raises for a full disk: what finds no place is `lost`."""

    def __init__(self, folder: Path, clock: Clock, limit: int = LIMIT) -> None:
        self._folder, self._clock, self._limit = folder, clock, limit
        self._lock = threading.Lock()
        self.lost = 0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.z"))}
        self._next = max((int(name.split(".")[0]) for name in self._sizes), default=0) + 1
        self._sent = Sent()
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            self._sent = msgspec.json.decode((folder / "report").read_bytes(), type=Sent)
        for name in self._sent.batches:
            self._delete(name)

    def put(self, kind: Kind, items: Sequence[DeviceEvent | Placed | Payload]) -> None:
        """Keep these until they were sent. When this returns they outlive a power cut, or are counted as lost."""
        with self._lock:
            for start in range(0, len(items), _MOST[kind]):
                self._put(kind, items[start : start + _MOST[kind]])

    def lose(self, count: int) -> None:
        """So many found no place before they came here."""
        with self._lock:
            self.lost += count

    def _put(self, kind: Kind, items: Sequence[DeviceEvent | Placed | Payload]) -> None:
        body = msgspec.json.encode(items)
        data = zlib.compress(body)
        if len(body) > REPORT and len(items) > 1:
            self._put(kind, items[: len(items) // 2])
            self._put(kind, items[len(items) // 2 :])
            return
        if len(body) > REPORT or len(data) > self._limit:
            self.lost += len(items)
            return
        name, self._next = f"{self._next:012d}.{kind}.z", self._next + 1
        while sum(self._sizes.values()) + len(data) > self._limit and self._drop():
            pass
        for _ in range(2):  # Of a disk that others have filled, one batch is enough to see whether that helps.
            try:
                durable.write(self._folder / name, data)
            except OSError:
                if self._drop():
                    continue
            else:
                self._sizes[name] = len(data)
                return
            break
        self.lost += len(items)

    def _drop(self) -> bool:
        """Throw the oldest away, payloads first, events last. Whether there was one."""
        for kind in _FIRST:
            for name in sorted(self._sizes):
                if name.split(".")[1] == kind:
                    self.lost += len(self._read(name)) or 1
                    self._delete(name)
                    return True
        return False

    def _delete(self, name: str) -> None:
        self._sizes.pop(name, None)
        with contextlib.suppress(OSError):
            (self._folder / name).unlink(missing_ok=True)

    def _read(self, name: str) -> list[Any]:
        """What a batch holds; nothing where it is broken."""
        try:
            data = (self._folder / name).read_bytes()
            body = zlib.decompressobj().decompress(data, BATCH)
            return _TYPES[_kind(name)].decode(body)
        except (OSError, zlib.error, msgspec.MsgspecError, UnicodeDecodeError, KeyError):
            return []

    @property
    def waiting(self) -> bool:
        """Whether there is something to send besides what the device is doing."""
        with self._lock:
            return bool(self._sizes) or not self._sent.acknowledged

    @property
    def pending(self) -> bool:
        """Whether the last report was not acknowledged, and comes again."""
        with self._lock:
            return not self._sent.acknowledged and self._sent.report is not None

    def report(self, present: AgentReport) -> AgentReport:
        """The next report: the one before where that was not acknowledged, else `present` with as much as it may hold
        of what waits. Call it after a session, when the time is known."""
        with self._lock:
            if not self._sent.acknowledged and self._sent.report is not None:
                return self._sent.report
            found, batches = self._gather()
            report = msgspec.structs.replace(
                present,
                number=self._sent.number + 1,
                events=tuple(self._event(one) for one in found["events"]),
                profiles=tuple(one.of(self._clock) for one in found["profiles"]),
                payloads=tuple(one.of(self._clock) for one in found["payloads"]),
                lost=self.lost,
            )
            sent = Sent(number=report.number, acknowledged=False, batches=tuple(batches), report=report)
            try:
                durable.write(self._folder / "report", msgspec.json.encode(sent))
            except OSError:  # Without what waits: that stays on the disk until it can be told apart from this.
                report = msgspec.structs.replace(report, events=(), profiles=(), payloads=(), lost=0)
                self._sent = msgspec.structs.replace(sent, report=report, batches=())
                return report
            self._sent, self.lost = sent, 0
            for name in batches:
                self._delete(name)
            return report

    def _gather(self) -> tuple[dict[Kind, list[Any]], list[str]]:
        """As many of the oldest batches as a report may hold, events first."""
        found: dict[Kind, list[Any]] = {"events": [], "profiles": [], "payloads": []}
        batches: list[str] = []
        left = REPORT
        for kind in reversed(_FIRST):
            for name in sorted(name for name in self._sizes if _kind(name) == kind):
                items = self._read(name)
                size = len(msgspec.json.encode(items))
                if size > left or len(found[kind]) + len(items) > _MOST[kind]:
                    break
                if not items:
                    self.lost += 1
                found[kind] += items
                batches.append(name)
                left -= size
        return found, batches

    def _event(self, one: DeviceEvent) -> DeviceEvent:
        return msgspec.structs.replace(one, at=self._clock.place(one.boot, one.after, one.at))

    def acknowledged(self, number: int) -> bool:
        """The platform has all until this number. Whether that is the last report."""
        with self._lock:
            if number < self._sent.number:
                return False
            self._sent = Sent(number=number)
            with contextlib.suppress(OSError):
                durable.write(self._folder / "report", msgspec.json.encode(self._sent))
            return True


def _kind(name: str) -> Kind:
    kind = name.split(".")[1]
    return kind if kind in _MOST else "events"
