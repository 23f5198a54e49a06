"""The activator's socket by itself: what never becomes a request is ended, and files are left."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from argosy.activator import server
from argosy.activator.server import Activator, http_socket

Ask = Callable[[bytes], Awaitable[bytes]]
WHOLE = b"GET /v2 HTTP/1.1\r\nargosy-endpoint: digits\r\n\r\n"


@pytest.fixture
async def activator(tmp_path: Path) -> AsyncIterator[Activator]:
    one = Activator(tmp_path)
    loop = asyncio.get_running_loop()
    async with await loop.create_unix_server(one._protocol, str(http_socket(tmp_path))):
        yield one


async def ask(activator: Activator, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(http_socket(activator.run_dir)))
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


@pytest.mark.parametrize("data", [b"", b"G", WHOLE[:-1], b"x" * 200_000])
async def test_what_never_becomes_a_head_is_ended(activator: Activator, data: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.1)
    assert await ask(activator, data) == b""
    assert activator._open == 0


async def test_whoever_comes_when_no_files_are_left_is_told_so(activator: Activator):
    assert b"this endpoint has no replica" in await ask(activator, WHOLE)
    activator._most = 0
    assert b"503 " in (found := await ask(activator, WHOLE))
    assert b"too many requests wait" in found
    assert activator._open == 0


async def test_clients_of_language_models_are_refused_in_their_shape(activator: Activator):
    asked = WHOLE.replace(b"GET /v2", b"POST /v1/chat/completions")
    assert b'{"error": {"message": "' in (found := await ask(activator, asked))
    assert b'"code": "service_unavailable"' in found
    predict = WHOLE.replace(b"GET /v2", b"POST /v1/models/digits:predict")
    assert b'{"error": "' in await ask(activator, predict)
