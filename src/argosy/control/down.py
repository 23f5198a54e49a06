"""`argosy down`: end everything of a home. Its database, store and logs stay."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

from argosy.control import recording, room, strays, token
from argosy.control.announce import control_file
from argosy.control.jobs import runner
from argosy.control.lock import LEADS, WAITS, Lock, holder
from argosy.control.place import gateway_config, labels_socket
from argosy.control.triggers import command as commands
from argosy.spec.errors import ArgosyError, Unavailable
from argosy.spec.settings import Home, Settings
from argosy.targets.launch import folder

PATIENCE = 90.0


async def down(home: Home, settings: Settings, *, report: Callable[[str], None], patience: float = PATIENCE) -> bool:
    """Drain and end all of it: by its controller, or, where that is dead, by the marks of its processes. Whoever waits
    for the controller's end, to take over, is ended first.

    False: nothing was running. Raises Unavailable when it has not ended after `patience` seconds.
    """
    if not home.run.is_dir():
        return False
    if (waiting := holder(home, WAITS)) is not None:
        report(f"stopping  the standby in process {waiting}")
        await _ask(home, waiting, WAITS, patience)
    if (pid := holder(home)) is not None:
        report(f"stopping  the platform in process {pid}")
        await _ask(home, pid, LEADS, patience)
        return True
    with Lock(home, signed=False):
        return await _clean(home, settings, report)


async def _ask(home: Home, pid: int, lock: str, patience: float) -> None:
    """SIGTERM means the same as the API's shutdown, and needs neither its token nor its port."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(patience):
            while holder(home, lock) == pid:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise Unavailable(f"process {pid} still drains after {patience:g} s; see {home.logs}/control.log") from None


async def _clean(home: Home, settings: Settings, report: Callable[[str], None]) -> bool:
    gateway_ended = await _end_gateway(home, settings)
    await asyncio.to_thread(strays.end, list(runner.processes(home).values()), runner.DRAIN)
    await asyncio.to_thread(room.clear, home)
    await asyncio.to_thread(recording.clear, home)
    await asyncio.to_thread(commands.end, home)
    processes, drain = await asyncio.to_thread(strays.replicas, home)
    await asyncio.to_thread(strays.end, processes, drain)
    left = control_file(home).exists()
    control_file(home).unlink(missing_ok=True)
    token.path(home).unlink(missing_ok=True)
    labels_socket(home).unlink(missing_ok=True)
    strays.sweep(folder(home))
    if gateway_ended or processes:
        report(f"stopped   {len(processes)} processes of replicas, and the gateway" if gateway_ended else "stopped")
    return gateway_ended or bool(processes) or left


async def _end_gateway(home: Home, settings: Settings) -> bool:
    """Drained where it can be reached; what is left of it is killed."""
    from argosy.gateway.gateway import Gateway

    ended = False
    with contextlib.suppress(ArgosyError):
        gateway = Gateway(gateway_config(home, settings.gateway), settings.gateway.envoy or None)
        if ended := await gateway.adopt():
            await gateway.stop()
    return bool(await asyncio.to_thread(strays.end_strays, home)) or ended
