"""The controller's listener by itself: it comes back, it ends what does not end, it goes on without files."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from argosy.api.application import read_body
from argosy.api.server import ApiServer
from argosy.platform.supervisor import Supervisor
from argosy.serving.eviction import ConnectionLimits
from argosy.spec.settings import ControlSettings
from argosy.targets.backoff import BackoffPolicy

WHOLE = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


async def echo(request: Request) -> Response:
    return Response(await read_body(request))


async def endless(_: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)

    return StreamingResponse(chunks())


APP = Starlette(
    routes=[Route("/", hello), Route("/echo", echo, methods=["POST"]), Route("/endless", endless, methods=["GET"])]
)


class Serving:
    def __init__(self, server: ApiServer) -> None:
        self.server, self.port = server, int(server.listen().rpartition(":")[2])
        self.supervisor = Supervisor(BackoffPolicy(first=0.001))
        server.task = self.supervisor.begin("api", server.run)

    async def ask(self, *parts: bytes) -> bytes:
        """All that is answered to these, sent one after the other, until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        found = b""
        try:
            for part in parts:
                writer.write(part)
            while more := await asyncio.wait_for(reader.read(65536), 60):
                found += more
        except ConnectionError:
            pass
        finally:
            writer.close()
        return found

    async def well(self) -> None:
        assert b"hello" in await self.ask(WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.01)


@pytest.fixture
async def serving() -> AsyncIterator[Callable[..., Serving]]:
    begun: list[Serving] = []

    def begin(**limits: float) -> Serving:
        server = ApiServer(APP, ControlSettings(port=0))
        server.limits = ConnectionLimits(**limits)  # pyright: ignore
        begun.append(Serving(server))
        return begun[-1]

    yield begin
    for each in begun:
        await each.server.stop()
        assert not each.server.connections


@pytest.mark.parametrize("how", ["closed", "shut down", "its file closed"])
async def test_a_listener_that_is_lost_comes_back_at_its_port(serving: Callable[..., Serving], how: str):
    one = serving()
    await one.well()
    bound = one.server.bound
    assert bound is not None
    if how == "closed":
        bound.close()
    elif how == "shut down":
        bound.shutdown(socket.SHUT_RDWR)
    else:
        os.close(bound.fileno())
    await one.until(lambda: one.supervisor.restarts["api"] and one.server.bound not in (None, bound))
    await one.well()
    if how == "its file closed":
        bound.detach()


async def test_what_takes_too_long_is_ended(serving: Callable[..., Serving]):
    one = serving(head=0.2, whole=0.3, idle=0.4, unread=0.3)
    assert await one.ask() == b""
    assert await one.ask(b"GET / HTTP/1.1\r\n") == b""
    assert b"hello" in await one.ask(WHOLE), "and then it is idle"
    assert b"hello" in await one.ask(WHOLE + b"GET / HT")
    await one.ask(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab")
    answered = await one.ask(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab")
    assert b"405" in answered, "answered before its body has come"
    _, writer = await asyncio.open_connection("127.0.0.1", one.port, limit=1)
    writer.write(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
    await one.until(lambda: not one.server.connections)
    writer.close()
    await one.well()


async def test_requests_sent_ahead_are_answered_and_bounded(serving: Callable[..., Serving]):
    one = serving(idle=0.5)
    assert (await one.ask(WHOLE * 20)).count(b"hello") == 20
    post = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab"
    assert (await one.ask(post * 100_000)).count(b"200 OK") < 100_000
    await one.well()


async def test_without_files_nobody_comes_in_and_then_they_do(
    serving: Callable[..., Serving], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    one = serving()
    waiting = asyncio.create_task(one.ask())
    await one.until(lambda: one.server.connections)
    accept, failures = socket.socket.accept, 3

    def full(bound: socket.socket) -> Any:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(bound)

    monkeypatch.setattr(socket.socket, "accept", full)
    await one.well()
    assert await waiting == b"", "who had asked for nothing gave a file back"
    assert [each.message for each in caplog.records] == ["nobody can be let in: Too many open files"] * 3


async def test_a_body_may_come_in_chunks_but_not_in_crumbs(serving: Callable[..., Serving]):
    one = serving(idle=0.5)
    head = b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    assert b"200 OK" in await one.ask(head + b"3\r\nabc\r\n" * 300 + b"0\r\n\r\n")
    assert b"200 OK" not in await one.ask(head + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n")
    for _ in range(3):
        assert (await one.ask(head.replace(b"/echo", b"/") + b"1\r\nx\r\n" * 5000)).count(b"HTTP/1.1") <= 1
    await one.well()


async def test_garbage_is_refused(serving: Callable[..., Serving]):
    one = serving(head=0.5, idle=0.5)
    for garbage in (
        b"\x16\x03\x01" * 200,
        b"\x00" * 100_000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        assert not (await one.ask(garbage)).startswith(b"HTTP/1.1 2")
    assert not (await one.ask(b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 100_000)).startswith(b"HTTP/1.1 2")
    await one.well()
