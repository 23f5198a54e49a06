"""Whether anything that a platform started is still there: looked for by marks, never believed."""

import asyncio
import os
from collections.abc import Iterator

import psutil

from argosy.alerting.triggers import command as commands
from argosy.jobs import runner
from argosy.spec.errors import Unavailable
from argosy.spec.settings import Home
from argosy.targets import orphans

WORDS = 100


async def ensure_gone(home: Home) -> int:
    """End what is left of a platform's processes, after its orderly end; how many there were. Raises Unavailable, which
    names them, where some live on."""
    found = await asyncio.to_thread(_left, home)
    await asyncio.to_thread(orphans.end, found, 0.0)
    if alive := await asyncio.to_thread(_left, home):
        told = ", ".join(f"process {each.pid} ({_what(each)})" for each in alive)
        raise Unavailable(f"not everything has ended: {told}; end it by hand, then run  argosy down  again")
    return len(found)


def _left(home: Home) -> list[psutil.Process]:
    """By pid, so that what two marks find counts once; without this process, should the platform have started it."""
    found = {each.pid: each for each in _of(home) if orphans.alive(each)}
    found.pop(os.getpid(), None)
    return list(found.values())


def _of(home: Home) -> Iterator[psutil.Process]:
    yield from orphans.gateways(home)
    yield from orphans.rooms(home)
    yield from orphans.recorders(home)
    yield from orphans.replicas(home)[0]
    yield from runner.processes(home).values()
    yield from commands.processes(home)
    yield from orphans.marked(home)


def _what(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:WORDS] or process.name()
    except psutil.Error:
        return "it cannot be looked at"
