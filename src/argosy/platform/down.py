"""`argosy down`: end everything of a home. Its database, store and logs stay."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable

from argosy.alerting.triggers import command as commands
from argosy.api import token
from argosy.control.recording import quota, recorder
from argosy.control.scaling.activation import activator
from argosy.jobs import runner
from argosy.platform.home import gateway_config
from argosy.platform.leftovers import end_gateways, ensure_gone
from argosy.platform.lock import LEADS, WAITS, Lock, holder
from argosy.platform.overflow import overflow
from argosy.process.process import KILLED, end
from argosy.spec.errors import ArgosyError, Unavailable
from argosy.spec.settings import Home, Settings
from argosy.targets.launch import folder
from argosy.targets.tags import replicas

PATIENCE = 60.0
"""Seconds for a controller's orderly end, beside those that its replicas may take to drain."""


async def down(home: Home, settings: Settings, *, report: Callable[[str], None], patience: float | None = None) -> bool:
    """Drain and end all of it: by its controller, or, where that is dead or has not ended after `patience` seconds, by
    the marks of its processes. Whoever waits for the controller's end, to take over, is ended first.

    False: nothing was running. Raises Unavailable, which names them, where processes live on.
    """
    if not home.run.is_dir():
        return False
    if patience is None:
        patience = PATIENCE + (await asyncio.to_thread(replicas, home.root))[1]
    if (waiting := holder(home, WAITS)) is not None:
        report(f"stopping  the standby in process {waiting}")
        await _end(home, waiting, WAITS, patience, report)
    if (pid := holder(home)) is not None:
        report(f"stopping  the platform in process {pid}")
        await _end(home, pid, LEADS, patience, report)
    with Lock(home, signed=False):
        found = await _clean(home, settings)
        left = await ensure_gone(home)
    return pid is not None or found or bool(left)


async def _end(home: Home, pid: int, lock: str, patience: float, report: Callable[[str], None]) -> None:
    """SIGTERM means the same as the API's shutdown, and needs neither its token nor its port. One that was stopped goes
    on, to read it. Raises Unavailable where even SIGKILL does not end it."""
    _signal(pid, signal.SIGTERM)
    _signal(pid, signal.SIGCONT)
    if await _released(home, pid, lock, patience):
        return
    report(f"stopping  process {pid} has not ended after {patience:g} s, and is killed; see {home.logs}/control.log")
    _signal(pid, signal.SIGKILL)
    if not await _released(home, pid, lock, KILLED):
        raise Unavailable(
            f"process {pid}, the platform's controller, does not end: end it by hand, then run this again"
        )


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def _released(home: Home, pid: int, lock: str, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while holder(home, lock) == pid:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            return True
    return False


async def _clean(home: Home, settings: Settings) -> bool:
    gateway_ended = await _end_gateway(home, settings)
    await asyncio.to_thread(end, list(runner.processes(home).values()), runner.DRAIN)
    await activator(home).stop()
    await recorder(home).stop()
    await quota(home).stop()
    await overflow(home).stop()
    await asyncio.to_thread(commands.end, home)
    processes, drain = await asyncio.to_thread(replicas, home.root)
    await asyncio.to_thread(end, processes, drain)
    left = home.control.exists()
    home.control.unlink(missing_ok=True)
    token.path(home).unlink(missing_ok=True)
    home.labels.unlink(missing_ok=True)
    home.devices.unlink(missing_ok=True)
    home.slots.unlink(missing_ok=True)
    shutil.rmtree(folder(home), ignore_errors=True)
    return gateway_ended or bool(processes) or left


async def _end_gateway(home: Home, settings: Settings) -> bool:
    """Drained where it can be reached; what is left of it is killed."""
    from argosy.gateway.gateway import Gateway

    ended = False
    with contextlib.suppress(ArgosyError):
        gateway = Gateway(gateway_config(home, settings.gateway), settings.gateway.envoy or None)
        if ended := await gateway.adopt():
            await gateway.stop()
    return bool(await asyncio.to_thread(end_gateways, home)) or ended
