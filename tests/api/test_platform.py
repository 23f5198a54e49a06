"""Logs of replicas that are elsewhere."""

import asyncio

from argosy.api.platform import _until


async def test_a_log_that_goes_on_ends_with_the_platform():
    ending, quiet = asyncio.Event(), asyncio.Event()

    async def said():
        yield b"one"
        ending.set()
        await quiet.wait()
        yield b"two"

    assert [part async for part in _until(said(), ending)] == [b"one"]
    await asyncio.sleep(0)


async def test_a_log_that_ends_is_told_to_its_end():
    async def said():
        yield b"one"
        yield b"two"

    assert [part async for part in _until(said(), asyncio.Event())] == [b"one", b"two"]
