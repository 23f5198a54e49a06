"""The reflector over connections that break, fall silent or lie."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from argosy.targets.kubernetes import reflect
from argosy.targets.kubernetes.client import Cluster
from argosy.targets.kubernetes.kubeconfig import Access, Server, User
from argosy.targets.kubernetes.reflect import Reflector
from tests.targets.kubernetes.hostile import Answers, Cut, Hostile, Request, answer, chunk, event, refusal, start

END = event("BOOKMARK", "", 10, annotations={reflect.INITIAL_END: "true"})


@contextlib.asynccontextmanager
async def following(
    answers: Answers, changed: Callable[[], None] = lambda: None
) -> AsyncIterator[tuple[Reflector, Hostile, list[float]]]:
    """A reflector that waits for nobody, while it runs; its server; what it would have waited."""
    server, waits = await Hostile(answers).open(), list[float]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    access = Access(Server(server=server.url), User(folder=Path()), "test", "user 'u'", "FILE")
    cluster = Cluster(lambda: access, sleep=sleep)
    reflector = Reflector(cluster, "v1", "Pod", "of=test", changed, dict, sleep=sleep)
    task = asyncio.create_task(reflector.run())
    try:
        yield reflector, server, waits
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await cluster.close()
        await server.close()


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not check():
            await asyncio.sleep(0.005)


def names(reflector: Reflector) -> set[str]:
    return set(reflector.objects)


def watches(*scripts: list[bytes | type[Cut] | float]) -> Answers:
    """What each watch sends, streamed or not; a number is so many seconds of silence, which in the beginning comes
    before the head; the end of a script is the end of the answer. Those that follow send all objects, `a` and `b`, and
    wait."""
    left = list(scripts)

    async def answers(request: Request) -> AsyncIterator[bytes]:
        assert request.query["labelSelector"] == "of=test"
        assert request.query["watch"] == request.query["allowWatchBookmarks"] == "true"
        assert 300 <= int(request.query["timeoutSeconds"]) <= 600
        assert request.headers["accept-encoding"] == "identity"
        script = left.pop(0) if left else [event("ADDED", "a", 8), event("ADDED", "b", 9), END, 60.0]
        for part in script if script[:1] == [60.0] else [start(), *script]:
            if isinstance(part, float):
                await asyncio.sleep(part)
            elif isinstance(part, bytes):
                yield part
            else:
                raise Cut
        yield chunk(b"")

    return answers


BROKEN = {
    "cut": [event("ADDED", "a", 8), END, event("ADDED", "x", 12), Cut],
    "within an event": [END, event("ADDED", "x", 12)[:40], Cut],
    "a line without end": [END, chunk(b'{"type": "ADD')],
    "garbage": [END, chunk(b"{]\n"), 60.0],
    "text": [END, chunk(b'"ADDED"\n'), 60.0],
    "no object": [END, chunk(b'{"type": "ADDED", "object": 3}\n'), 60.0],
    "no metadata": [END, chunk(b'{"type": "ADDED", "object": {"metadata": []}}\n'), 60.0],
    "no version": [END, chunk(b'{"type": "ADDED", "object": {"metadata": {"name": "x"}}}\n'), 60.0],
    "odd annotations": [event("BOOKMARK", "", 10, annotations=[1]), 60.0],
    "error": [END, chunk(b'{"type": "ERROR", "object": {"code": 500, "message": "etcd"}}\n'), 60.0],
    "expired": [END, chunk(b'{"type": "ERROR", "object": {"code": 410, "message": "too old"}}\n'), 60.0],
    "out of order": [END, event("ADDED", "x", 12), event("ADDED", "y", 11), 60.0],
    "half open": [END, event("ADDED", "x", 12), 60.0],
    "half open at once": [b"", 60.0],
    "no answer": [60.0],
    "drip": [END, *(part for _ in range(100) for part in (chunk(b" "), 0.02))],
    "without an end of the list": [event("ADDED", "x", 12), 60.0],
    "huge": [END, chunk(b" " * 70000), 60.0],
    "closed at once": [END],
    "no list": [],
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=[*BROKEN])
async def test_a_watch_that_ends_badly_is_made_again(script, monkeypatch):
    """Where only a list helps, this is one; where the version holds, a watch goes on, and these send the same here."""
    monkeypatch.setattr(reflect, "SILENCE", 0.2)
    monkeypatch.setattr(reflect, "LONGEST", 65536)
    asked = list[str]()

    async def answers(request: Request) -> AsyncIterator[bytes]:
        if "watch" not in request.query:
            items = [{"metadata": {"name": name, "resourceVersion": "8"}} for name in "ab"]
            yield answer(200, {"items": items, "metadata": {"resourceVersion": "20"}})
            return
        asked.append(request.query.get("resourceVersion", ""))
        async for part in watching(request) if len(asked) == 1 else again(request):
            yield part

    async def again(request: Request) -> AsyncIterator[bytes]:
        yield start()
        if request.query.get("sendInitialEvents"):
            yield (
                event("ADDED", "a", 8)
                + event("ADDED", "b", 9)
                + event("BOOKMARK", "", 20, annotations={reflect.INITIAL_END: "true"})
            )
        elif int(request.query["resourceVersion"]) < 20:
            yield event("ADDED", "a", 13) + event("ADDED", "b", 14) + event("DELETED", "x", 15)
        while True:
            yield event("BOOKMARK", "", 30)
            await asyncio.sleep(0.05)

    watching = watches(script)
    async with following(answers) as (reflector, _, waits):
        await until(lambda: names(reflector) == {"a", "b"})
        assert waits[0] <= 0.5
        await until(lambda: not reflector.problem)


async def test_events_that_come_together_are_told_once():
    sizes = list[int]()

    async def answers(request: Request) -> AsyncIterator[bytes]:
        yield start() + event("ADDED", "a", 1) + END
        await asyncio.sleep(0.05)
        objects = [{"metadata": {"name": f"p{number}", "resourceVersion": str(number)}} for number in range(11, 21)]
        lines = [json.dumps({"type": "ADDED", "object": each}).encode() + b"\n" for each in objects]
        yield chunk(b"".join(lines))
        await asyncio.sleep(60)

    async with following(answers, lambda: sizes.append(len(reflector.objects))) as (reflector, _, _):
        await until(lambda: len(reflector.objects) == 11)
    assert sizes == [1, 11]


async def test_lists_in_pages_where_they_are_not_streamed():
    async def answers(request: Request) -> AsyncIterator[bytes]:
        if "sendInitialEvents" in request.query:
            yield refusal(422, "sendInitialEvents: Forbidden: unless the WatchList feature gate is enabled", "Invalid")
        elif "watch" in request.query:
            assert request.query["resourceVersion"] == "20"
            yield start() + event("MODIFIED", "a", 21)
            await asyncio.sleep(60)
        else:
            items = [{"metadata": {"name": "a", "resourceVersion": "8"}}]
            yield answer(200, {"items": items, "metadata": {"resourceVersion": "20"}})

    async with following(answers) as (reflector, server, _):
        await until(lambda: reflector.synced and reflector.objects["a"]["metadata"]["resourceVersion"] == "21")
        assert len(server.seen) == 3
        assert reflector.problem == ""


async def test_rights_that_are_lacking_are_told_once_until_they_come(caplog):
    caplog.set_level(logging.INFO)
    allowed = list[int]()

    async def answers(request: Request) -> AsyncIterator[bytes]:
        if not allowed:
            yield refusal(403, 'pods is forbidden: User "u" cannot watch resource "pods"', "Forbidden")
            return
        async for part in watches()(request):
            yield part

    async with following(answers) as (reflector, server, waits):
        await until(lambda: len(server.seen) > 5)
        assert 'cannot watch resource "pods"' in reflector.problem
        assert min(waits) >= reflect.SLOWEST / 2
        assert not reflector.synced
        allowed.append(1)
        await until(lambda: names(reflector) == {"a", "b"})
        assert reflector.problem == ""
    assert [record.levelname for record in caplog.records if record.name == reflect.__name__] == ["WARNING", "INFO"]


async def test_a_server_that_is_gone_for_a_while():
    server = await Hostile(watches([event("ADDED", "a", 8), END, 60.0])).open()
    port = int(server.url.rpartition(":")[2])
    tried = asyncio.Event()
    waits = list[float]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 12:
            tried.set()
            await asyncio.sleep(0.01)

    access = Access(Server(server=server.url), User(folder=Path()), "test", "user 'u'", "FILE")
    cluster = Cluster(lambda: access, sleep=sleep)
    reflector = Reflector(cluster, "v1", "Pod", "of=test", lambda: None, dict, sleep=sleep)
    task = asyncio.create_task(reflector.run())
    await until(lambda: names(reflector) == {"a"})
    await server.close()
    await tried.wait()
    assert "cannot be reached" in reflector.problem
    assert names(reflector) == {"a"}, "what was known stays"
    assert max(waits) <= reflect.SLOWEST
    server = await Hostile(watches()).open(port)
    await until(lambda: names(reflector) == {"a", "b"} and not reflector.problem)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await cluster.close()
    await server.close()
