"""The processes that a platform started, by kind: found by what they carry, never by a number alone."""

import asyncio
import os
from itertools import chain

import psutil

from argosy.alerting.triggers import command as triggers
from argosy.control.recording import quota, recorder
from argosy.control.scaling.activation import activator
from argosy.gateway import envoy
from argosy.jobs import runner
from argosy.platform.overflow import overflow
from argosy.process import managed
from argosy.process.process import end
from argosy.spec.errors import Unavailable
from argosy.spec.settings import Home
from argosy.targets.tags import replicas

WORDS = 100


def gateways(home: Home) -> list[psutil.Process]:
    return envoy.started_in(home.gateway)


def serving(home: Home) -> list[psutil.Process]:
    """What answers requests, records or counts them: the gateway, processes beside it, replicas."""
    beside = [*activator(home).found(), *recorder(home).found(), *quota(home).found(), *overflow(home).found()]
    return [*gateways(home), *beside, *replicas(home.root)[0]]


def end_gateways(home: Home) -> int:
    """End gateways that could not be adopted. How many there were."""
    return end(gateways(home))


def end_serving(home: Home) -> int:
    """End at once what answers requests. How many processes there were."""
    return end(serving(home))


async def ensure_gone(home: Home) -> int:
    """End what is left of a platform's processes, after its orderly end; how many there were. Raises Unavailable, which
    names them, where some live on."""
    found = await asyncio.to_thread(_left, home)
    await asyncio.to_thread(end, found)
    if alive := await asyncio.to_thread(_left, home):
        names = ", ".join(f"process {each.pid} ({_what(each)})" for each in alive)
        raise Unavailable(f"not everything has ended: {names}; end it by hand, then run  argosy down  again")
    return len(found)


def _left(home: Home) -> list[psutil.Process]:
    """By pid, so that what two marks find counts once; without this process, should the platform have started it."""
    others = (runner.processes(home).values(), triggers.processes(home), managed.marked(home.root))
    found = {each.pid: each for each in chain(serving(home), *others) if managed.alive(each)}
    found.pop(os.getpid(), None)
    return list(found.values())


def _what(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:WORDS] or process.name()
    except psutil.Error:
        return "it cannot be looked at"
