"""The reflector against a server in memory that does whatever servers have been seen to do."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from argosy.spec.errors import InvalidArgument, PermissionDenied, Unavailable
from argosy.targets.kubernetes import reflect
from argosy.targets.kubernetes.client import Expired
from argosy.targets.kubernetes.reflect import Ended, Phase, Reflector, decide

NAMES = ("a", "b", "c")


class Done(Exception):
    """The test has seen enough."""


class Fault:
    """What happens to one request: nothing, or `what` after so many lines."""

    def __init__(self, what: str = "", after: int = 0) -> None:
        self.what, self.after = what, after

    def __repr__(self) -> str:
        return f"Fault({self.what!r}, {self.after})"


class Server:
    """A server with a history of changes, of which `changes` are still to come, one with each line of a watch. The
    requests meet `faults` in their order; later ones meet none. Time is `now`, which waiting moves on."""

    namespace = "test"

    def __init__(self, changes: list[tuple[str, bool]], faults: list[Fault], streams: bool = True) -> None:
        self.changes, self.faults, self.streams = list(changes), list(faults), streams
        self.now, self.number, self.requests, self.quiet = 0.0, 100, [], 0
        self.objects: dict[str, dict] = {}
        self.history: list[tuple[int, str, dict]] = []
        self.rested: Callable[[], None] = lambda: None
        """Called where a client that has read all that was sent knows everything."""

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now

    def change(self) -> None:
        """The next change happens: an object is set, or deleted if it is there."""
        if not self.changes:
            return
        name, deleted = self.changes.pop(0)
        self.number += 1
        obj = {"metadata": {"name": name, "resourceVersion": str(self.number)}}
        if deleted and name not in self.objects:
            return
        kind = "DELETED" if deleted else "MODIFIED" if name in self.objects else "ADDED"
        self.history.append((self.number, kind, obj))
        if deleted:
            del self.objects[name]
        else:
            self.objects[name] = obj

    def versions(self) -> dict[str, str]:
        return {name: obj["metadata"]["resourceVersion"] for name, obj in self.objects.items()}

    def _fault(self, action: str) -> Fault:
        self.requests.append(action)
        assert len(self.requests) < 200, "it does not come to rest"
        fault = self.faults.pop(0) if self.faults else Fault()
        if fault.what == "410":
            raise Expired("too old")
        if fault.what == "503":
            raise Unavailable("busy")
        if fault.what == "401":
            raise PermissionDenied("who?", retry_after=0.0)
        if fault.what == "403":
            raise PermissionDenied("no")
        return fault

    async def pages(self, version: str, kind: str, selector: str):
        fault = self._fault("list")
        found, number = list(self.objects.values()), str(self.number)
        yield found[:1], number
        self.change()
        if fault.what in ("lost", "410 event", "garbage"):
            raise Expired("too old") if fault.what == "410 event" else Unavailable("lost")
        yield found[1:], number

    @contextlib.asynccontextmanager
    async def stream(self, method: str, path: str, params: dict[str, str], headers: dict[str, str], silence: float):
        streamed = "sendInitialEvents" in params
        fault = self._fault("stream" if streamed else "watch")
        if streamed and not self.streams:
            raise InvalidArgument("sendInitialEvents is forbidden")
        if "resourceVersion" in params and fault.what == "forgotten":
            raise Expired("too old")

        class Answer:
            aiter_bytes = staticmethod(lambda: self._bytes(params, streamed, fault))

        yield Answer()

    async def _bytes(self, params: dict[str, str], streamed: bool, fault: Fault) -> AsyncIterator[bytes]:
        count, held = 0, b""
        async for kind, obj in self._events(params, streamed, end=self.now + int(params["timeoutSeconds"])):
            line = json.dumps({"type": kind, "object": obj}).encode() + b"\n"
            if count == fault.after:
                match fault.what:
                    case "lost":
                        raise Unavailable("lost")
                    case "close":
                        return
                    case "garbage":
                        yield b'{"type": "ADDED", "object": \n'
                        count += 1
                        continue
                    case "cut":
                        yield line[:-3]
                        return
                    case "410 event":
                        yield b'{"type": "ERROR", "object": {"code": 410}}\n'
                    case "twice":
                        yield line
                    case "hole" if kind != "BOOKMARK":
                        continue
                    case "swap" if kind != "BOOKMARK":
                        held = line
                        count += 1
                        self.change()
                        continue
            count += 1
            yield line + held
            held = b""
            self.change()

    async def _events(self, params: dict[str, str], streamed: bool, end: float):
        if streamed:
            at, initial = self.number, list(self.objects.values())
            for obj in initial:
                yield "ADDED", obj
            metadata = {"resourceVersion": str(at), "annotations": {reflect.INITIAL_END: "true"}}
            yield "BOOKMARK", {"metadata": metadata}
        else:
            at = int(params["resourceVersion"])
        while self.now < end:
            while later := [each for each in self.history if each[0] > at]:
                number, kind, obj = later[0]
                metadata = obj["metadata"] | {"resourceVersion": str(number)}
                yield kind, obj | {"metadata": metadata}
                at = number
            self.now += 60.0
            yield "BOOKMARK", {"metadata": {"resourceVersion": str(at)}}
            if at == self.number and not self.changes:
                self.rested()
        if not self.changes and not self.faults:
            self.quiet += 1
            if self.quiet > 2:
                raise Done


FAULTS = (
    "410",
    "503",
    "401",
    "403",
    "forgotten",
    "lost",
    "close",
    "garbage",
    "cut",
    "410 event",
    "twice",
    "hole",
    "swap",
)
faults = st.lists(st.builds(Fault, st.sampled_from(FAULTS), st.integers(0, 4)), max_size=8)
changes = st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=12)


@settings(max_examples=300)
@given(changes, faults, st.booleans())
@example([("a", False), ("a", True)], [Fault("hole", 2)], True)
@example([("a", False), ("b", False), ("a", True)], [Fault(), Fault("swap", 0)], False)
@example([("a", False), ("a", True), ("b", False)], [Fault("swap", 1)], True)
@example([("a", False), ("b", False), ("a", True)], [Fault("410 event", 2), Fault("lost", 1)], True)
@example([("a", False), ("b", False)], [Fault("garbage", 1)], True)
@example([("a", False), ("a", False), ("a", True)], [Fault("swap", 1)], True)
def test_whatever_the_server_does_the_copy_becomes_what_it_has(changes, faults, streams):
    server, calls = Server(changes, faults, streams), []
    reflector = Reflector(
        server, "v1", "Pod", "", lambda: calls.append(1), dict, sleep=server.sleep, clock=server.clock
    )

    def check() -> None:
        found = {name: obj["metadata"]["resourceVersion"] for name, obj in reflector.objects.items()}
        assert found == server.versions()

    if not any(fault.what == "hole" for fault in faults):
        server.rested = check  # else only the next list can help
    with pytest.raises(Done):
        asyncio.run(reflector.run())
    check()
    assert (reflector.synced, reflector.problem) == (True, "")
    assert reflector.behind() < 61
    assert calls


ended = st.builds(
    Ended,
    how=st.sampled_from(("closed", "lost", "expired", "refused", "denied")),
    action=st.sampled_from(("stream", "list", "watch")),
    at=st.floats(1000, 2000),
    seconds=st.floats(0, 700),
    heard=st.integers(0, 3),
    version=st.sampled_from(("", "7")),
    listed=st.booleans(),
    error=st.sampled_from((None, Unavailable("x", retry_after=3600.0), PermissionDenied("x", retry_after=0.0))),
)
phases = st.builds(Phase, st.sampled_from(("", "5")), st.booleans(), st.floats(0, 1000), st.integers(0, 40))


@given(ended, phases)
def test_no_version_is_gone_on_from_that_the_server_has_forgotten(ended, before):
    action, wait, phase = decide(ended, before)
    assert (action == "watch") == bool(phase.version)
    assert 0 <= wait <= reflect.SLOWEST
    if ended.how in ("expired", "refused", "denied"):
        assert not phase.version
    if phase.version:
        assert ended.at - phase.listed < reflect.AGAIN or ended.action == "list"
    if ended.how != "closed" or ended.action != "list":
        assert wait + ended.seconds > 0, "no server is asked without a pause"


@pytest.mark.parametrize("how", ["closed", "lost", "expired", "refused", "denied"])
def test_a_server_that_always_fails_is_asked_less_and_less(how):
    phase, waits, action = Phase(version="5", listed=100.0), [], "watch"
    for number in range(12):
        ended = Ended(how=how, action=action, at=100.0 + number, seconds=0.1)
        action, wait, phase = decide(ended, phase)
        waits.append(wait)
        if action == "list":  # which goes well
            action, _, phase = decide(Ended(how="closed", action="list", at=100.0, listed=True, version="6"), phase)
    assert waits == sorted(waits)
    assert waits[-1] == reflect.SLOWEST


@pytest.mark.parametrize(
    ("how", "seconds", "heard", "then"),
    [
        ("closed", 1.0, 0, "stream"),
        ("closed", 1.0, 2, "watch"),
        ("closed", 100.0, 0, "watch"),
        ("closed", 301.0, 9, "stream"),
        ("lost", 1.0, 0, "watch"),
        ("lost", 301.0, 5, "stream"),
        ("expired", 50.0, 5, "stream"),
    ],
)
def test_the_end_of_a_watch(how, seconds, heard, then):
    ended = Ended(how=how, action="watch", at=1000.0, seconds=seconds, heard=heard, version="9")
    action, _, phase = decide(ended, Phase(version="5", listed=1000.0 - seconds))
    assert action == then
    assert phase.version == ("9" if action == "watch" else "")


def test_a_server_that_does_not_stream_lists_is_asked_for_pages():
    for how, seconds in (("refused", 0.1), ("closed", 0.1), ("lost", reflect.SILENCE)):
        action, _, phase = decide(Ended(how=how, action="stream", at=9.0, seconds=seconds), Phase())
        assert (action, phase.streams) == ("list", False)
    assert decide(Ended(how="lost", action="stream", at=9.0, seconds=1.0), Phase())[0] == "stream"
