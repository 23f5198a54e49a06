"""The admin client against answers of every shape."""

import asyncio

import pytest

from argosy.gateway import admin as module
from argosy.gateway.admin import Admin
from argosy.spec.address import Address
from argosy.spec.errors import Internal, Unavailable


async def answering(folder, answer, close=True, timeout=60.0):
    """An Admin whose other end always says this."""
    held = []
    path = str(folder / "admin.sock")

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if close:
            writer.close()
            await writer.wait_closed()
        else:
            held.append(writer)

    return await asyncio.start_unix_server(serve, path), Admin(Address(path=path), timeout=timeout), held


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
    ],
)
async def test_bodies_by_length_and_in_chunks(folder, answer):
    server, admin, _ = await answering(folder, answer)
    async with server:
        assert await admin.get("/x") == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_broken_answers_are_unavailable(folder, answer):
    server, admin, _ = await answering(folder, answer)
    async with server:
        with pytest.raises(Unavailable, match="does not answer"):
            await admin.get("/x")
        assert not await admin.alive("node")


async def test_silence_ends(folder):
    server, admin, held = await answering(folder, b"HTTP/1.1 200 OK\r\n", close=False, timeout=0.3)
    async with server:
        with pytest.raises(Unavailable, match="TimeoutError"):
            await admin.get("/x")
        held[0].close()
        await held[0].wait_closed()


async def test_nobody_there(folder):
    with pytest.raises(Unavailable):
        await Admin(Address(path=str(folder / "none.sock"))).get("/x")


async def test_an_error_is_passed_on(folder):
    server, admin, _ = await answering(folder, b"HTTP/1.1 404 X\r\ncontent-length: 3\r\n\r\nwhy")
    async with server:
        with pytest.raises(Internal, match="answered 404 to /x: why"):
            await admin.post("/x")


async def test_answers_are_bounded(folder, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_ANSWER", 4)
    for answer in (b"content-length: 5\r\n\r\nhello", b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"):
        server, admin, _ = await answering(folder, b"HTTP/1.1 200 OK\r\n" + answer)
        async with server:
            with pytest.raises(Unavailable, match="too large"):
                await admin.get("/x")


async def test_only_the_node_that_was_started_is_alive(folder):
    body = b'{"node": {"id": "mine"}}'
    server, admin, _ = await answering(folder, b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    async with server:
        assert await admin.alive("mine")
        assert not await admin.alive("other")
