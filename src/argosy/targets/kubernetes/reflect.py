"""A copy of the objects of one kind, kept up by a list and watches.

What to do next is a pure function, `decide`, of how the last request ended. No watch is believed for long: a
connection may be half open, a normal close may have hidden a deletion, and some servers close watches instead of
saying that their version is too old. So a silent one is given up, and all objects are listed again every few minutes.
Sources: Kubernetes API concepts ("efficient detection of changes", "streaming lists"), 1.37.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Generic, Literal, TypeVar

import msgspec

from argosy.spec.errors import ArgosyError, InvalidArgument, NotFound, PermissionDenied, Unavailable
from argosy.targets.kubernetes.client import Cluster, Expired, path_of, plural
from argosy.targets.kubernetes.objects import Object

LOG = logging.getLogger(__name__)

SILENCE = 75.0
"""Seconds without a word after which a watch is given up; bookmarks come every 60."""
WATCH = (300, 600)
"""Seconds that a watch lasts, at random, so that not all of them end at once."""
AGAIN = 300.0
"""Seconds after which the end of a watch means a new list."""
SUDDEN = 2.0
"""A watch without an event that ends within so many seconds had a version that is too old, whatever the server says."""
SLOWEST = 30.0
"""Seconds between two requests to a server that fails."""
PATIENCE = 3
"""Failures in a row after which a version is given up too."""
LONGEST = 16 * 1024 * 1024
"""Bytes of one event."""
INITIAL_END = "k8s.io/initial-events-end"

Kept = TypeVar("Kept")
Action = Literal["stream", "list", "watch"]


class Phase(msgspec.Struct, frozen=True):
    """What is known between two requests: the version from which to watch (empty: list first), whether the server
    sends lists as watches, when the last list was complete, how many requests have failed in a row."""

    version: str = ""
    streams: bool = True
    listed: float = -math.inf
    failures: int = 0


class Ended(msgspec.Struct, frozen=True):
    """How a request ended, and when: `closed` in order, `lost` on the way, `expired` by a version too old or events
    out of order, `refused` for good, `denied` to this user. `version` is the newest one of which nothing is missing."""

    how: Literal["closed", "lost", "expired", "refused", "denied"]
    action: Action
    at: float
    seconds: float = 0.0
    heard: int = 0
    version: str = ""
    listed: bool = False
    error: ArgosyError | None = None


class Event(msgspec.Struct):
    """One line of a watch."""

    type: str
    object: dict[str, Any]


class Metadata(msgspec.Struct, rename="camel"):
    """What is read of every object."""

    resource_version: str
    name: str = ""
    annotations: dict[str, str] | None = None


class Progress(msgspec.Struct):
    """How far a request has come: the newest version of which nothing is missing, the events after the initial ones,
    whether a list was complete, and until then what is in it, with versions."""

    version: str = ""
    heard: int = 0
    listed: bool = False
    initial: dict[str, tuple[str, Any]] | None = None


def decide(ended: Ended, before: Phase) -> tuple[Action, float, Phase]:
    """What to do after a request has ended, after how many seconds at most, and the phase then."""
    listing, streams, asked = ended.action == "list", before.streams, ended.error.retry_after if ended.error else None
    listed = ended.at - (0.0 if listing else ended.seconds) if ended.listed else before.listed
    failures, stale = (1 if ended.heard else before.failures + 1), ended.at - listed >= AGAIN
    if ended.how == "closed" and listing:
        failures, wait, stale = before.failures, 0.0, False
    elif ended.how == "closed" and (ended.heard or ended.seconds >= SUDDEN):
        failures, wait = 0, max(0.0, 1.0 - ended.seconds)
    else:
        wait = min(SLOWEST, 0.5 * 2.0 ** min(failures - 1, 10))
        stale = stale or ended.how != "lost" or failures >= PATIENCE
    if ended.how == "denied" and (failures > 1 or asked is None):
        wait = SLOWEST
    if ended.action == "stream" and not ended.listed:  # it may not know what it was asked for
        streams = ended.how not in ("closed", "refused") and ended.seconds < SILENCE
    version = "" if stale else ended.version or before.version
    action: Action = "watch" if version else "stream" if streams else "list"
    wait = max(wait, min(asked or 0.0, SLOWEST))
    return action, wait, Phase(version=version, streams=streams, listed=listed, failures=failures)


class Reflector(Generic[Kept]):
    """The objects of a kind with these labels in the cluster's namespace, by name, as the server had them last.

    `changed` is called in the running loop once for each batch of changes, and when `problem` changes, which says why
    the server is not heard (empty where it is). `keep` is given each object as it comes in and returns what is kept of
    it. `synced`: all objects were there once.
    """

    def __init__(
        self,
        cluster: Cluster,
        version: str,
        kind: str,
        selector: str,
        changed: Callable[[], None],
        keep: Callable[[Object], Kept],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._version, self._kind, self._selector = cluster, version, kind, selector
        self._changed, self._keep, self._sleep, self._clock = changed, keep, sleep, clock
        self._objects: dict[str, Kept] = {}
        self._versions: dict[str, str] = {}
        self._heard, self._progress = -math.inf, Progress()
        self.synced, self.problem = False, ""
        self._told: str = ""

    @property
    def objects(self) -> Mapping[str, Kept]:
        """All objects by name."""
        return self._objects

    def behind(self) -> float:
        """Seconds since the server was heard last; it says something every minute."""
        return self._clock() - self._heard

    async def run(self) -> None:
        """Keep the objects up until this is cancelled."""
        action, phase = "stream", Phase()
        while True:
            ended = await self._once(action, phase.version)
            action, wait, phase = decide(ended, phase)
            error = ended.error
            if error and (phase.failures > 1 or (ended.how == "denied" and error.retry_after is None)):
                self._tell(error.code, error.message)
            if wait:
                await self._sleep(wait * random.uniform(0.5, 1.0))

    async def _once(self, action: Action, version: str) -> Ended:
        """One request, to its end."""
        began, error, how = self._clock(), None, "closed"
        progress = self._progress = Progress(version=version, initial={} if action != "watch" else None)
        try:
            await (self._list() if action == "list" else self._watch())
        except Expired as expired:
            how, error = "expired", expired
        except PermissionDenied as denied:
            how, error = "denied", denied
        except (InvalidArgument, NotFound) as refused:
            how, error = "refused", refused
        except ArgosyError as lost:
            how, error = "lost", lost
        at = self._clock()
        return Ended(
            how=how, action=action, at=at, seconds=at - began, heard=progress.heard, version=progress.version,
            listed=progress.listed, error=error,
        )  # fmt: skip

    def _tell(self, code: str, problem: str) -> None:
        """Have users know why nothing is heard, once for each kind of trouble."""
        if code != self._told:
            LOG.log(logging.WARNING if code else logging.INFO, "%s: %s", plural(self._kind), problem or "heard again")
        changed, self._told, self.problem = problem != self.problem, code, problem
        if changed:
            self._changed()

    async def _list(self) -> None:
        version, initial = "", self._progress.initial
        assert initial is not None
        async for page, found in self._cluster.pages(self._version, self._kind, self._selector):
            self._heard, version = self._clock(), found
            for each in page:
                metadata = _metadata(each)
                initial[metadata.name] = metadata.resource_version, self._kept(metadata, each)
        if self._complete(version):
            self._changed()

    async def _watch(self) -> None:
        seconds, progress = random.randint(*WATCH), self._progress
        params = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
        params |= {"labelSelector": self._selector} if self._selector else {}
        params |= {"resourceVersion": progress.version} if progress.version else {}
        if progress.initial is not None:
            params |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        path, end = path_of(self._version, self._kind, self._cluster.namespace), self._clock() + seconds + SILENCE
        # A server that compresses a watch keeps events back until a block of them is full.
        head = {"accept-encoding": "identity"}
        async with self._cluster.stream("GET", path, params, head, silence=SILENCE) as answer:
            self._tell("", "")
            async for events in _batches(answer.aiter_bytes()):
                self._heard = self._clock()
                changed = False
                try:
                    for event in events:
                        changed = self._take(event) or changed
                finally:
                    if changed:
                        self._changed()
                if self._heard > end:
                    return

    def _take(self, event: Event) -> bool:
        """One event; whether an object is another one by it. Raises Expired, Unavailable."""
        obj, progress = event.object, self._progress
        if event.type == "ERROR":
            text = f"the watch of {plural(self._kind)} failed: {obj.get('message', 'without a reason')}"
            raise (Expired if obj.get("code") == 410 else Unavailable)(text)
        metadata = _metadata(obj)
        name, number = metadata.name, metadata.resource_version
        initial, before = progress.initial, progress.version
        if initial is not None:
            if event.type != "BOOKMARK":
                initial[name] = number, self._kept(metadata, obj)
                return False
            return (metadata.annotations or {}).get(INITIAL_END) == "true" and self._complete(number)
        if number.isdecimal() and before.isdecimal() and int(number) < int(before):
            raise Expired(f"events of {plural(self._kind)} came out of order")
        progress.version, progress.heard = number, progress.heard + 1
        if event.type == "DELETED":
            self._versions.pop(name, None)
            return self._objects.pop(name, None) is not None
        if event.type not in ("ADDED", "MODIFIED") or self._versions.get(name) == number:
            return False
        self._objects[name], self._versions[name] = self._kept(metadata, obj), number
        return True

    def _kept(self, metadata: Metadata, obj: Object) -> Kept:
        """What is kept of an object: what is there already, if it is of this version."""
        same = self._versions.get(metadata.name) == metadata.resource_version
        return self._objects[metadata.name] if same else self._keep(obj)

    def _complete(self, version: str) -> bool:
        """A list is complete: whether anything is another one by it. Raises Unavailable."""
        if not version:
            raise Unavailable("the API server sent a list without a version")
        progress, initial = self._progress, self._progress.initial or {}
        versions = {name: number for name, (number, _) in initial.items()}
        changed = versions != self._versions or not self.synced
        self._objects, self._versions = {name: kept for name, (_, kept) in initial.items()}, versions
        progress.version, progress.listed, progress.initial = version, True, None
        self.synced = True
        return changed


def _metadata(obj: Object) -> Metadata:
    """What is read of every object. Raises Unavailable."""
    try:
        return msgspec.convert(obj.get("metadata"), Metadata)
    except msgspec.ValidationError as error:
        raise Unavailable(f"the API server sent an object that is none: {error}") from None


async def _batches(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[Event]]:
    """The events of a watch as they come, all those of a chunk together. Raises Unavailable."""
    rest, clock = bytearray(), asyncio.get_running_loop().time
    end = clock() + SILENCE
    while True:
        try:
            async with asyncio.timeout_at(end):
                chunk = await anext(chunks, b"")
        except TimeoutError:
            raise Unavailable(
                f"the API server was silent for {SILENCE:.0f} s: the connection may be half open"
            ) from None
        if not chunk:
            break
        *lines, tail = chunk.split(b"\n")
        if lines:
            lines[0], rest, end = bytes(rest + lines[0]), bytearray(), clock() + SILENCE
        rest += tail
        if len(rest) > LONGEST:
            raise Unavailable(f"the API server sent an event of more than {LONGEST} bytes")
        try:
            yield [msgspec.json.decode(line, type=Event) for line in lines if line.strip()]
        except msgspec.MsgspecError as error:
            raise Unavailable(f"the API server sent an event that cannot be read: {error}") from None
    if rest:
        raise Unavailable("the API server broke off within an event")
