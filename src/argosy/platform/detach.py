"""`argosy up -d`: the platform in the background, once it is known to be well."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from argosy.platform.home import prepare
from argosy.platform.lock import holder
from argosy.process import launch
from argosy.process.process import Process, spawn
from argosy.process.tail import last_words
from argosy.spec.errors import ArgosyError, Conflict, Internal, Unavailable, table
from argosy.spec.settings import Home, RunFile, Settings
from argosy.spec.strict import stored
from argosy.targets.log import size

START_SECONDS = 60.0


async def detach(
    home: Home,
    settings: Settings,
    *,
    report: Callable[[str], None],
    standby: bool = False,
    module: str = "argosy.platform",
) -> RunFile:
    """Start `up` in a session of its own and wait until it answers. Raises what `up` raised, from its log.

    A `standby` is waited for until it answers or waits itself: then it has no URL yet. `module` is what runs `up`.
    """
    prepare(home, settings)
    if not standby and (pid := holder(home)) is not None:
        raise Conflict(f"a platform already runs on {home.root}, in process {pid}: use it, or end it by  argosy down")
    log = home.logs / ("standby.out.log" if standby else "control.out.log")
    start = size(log)
    options = ["--standby"] if standby else []
    child = launch.ours(module, *options, folder=home.root, more={"ARGOSY_HOME": str(home.root)})
    process = spawn(child.command, child.environ, log)
    try:
        async with asyncio.timeout(START_SECONDS):
            while (found := announced(home, process.pid) or _waiting(process, log, start)) is None:
                if process.ended():
                    raise _reason(last_words(log, start), process)
                await asyncio.sleep(0.05)
    except TimeoutError:
        process.terminate()
        raise Unavailable(f"the platform did not come up in {START_SECONDS:g} s; see {log}") from None
    report(f"running   in process {found.pid}, control {found.url}" if found.url else last_words(log, start))
    return found


def announced(home: Home, pid: int) -> RunFile | None:
    """What process `pid` has written into `run/control.json`; None as long as it has not."""
    found = stored(home.control, RunFile)
    return found if found and found.pid == pid else None


def _waiting(process: Process, log: Path, start: int) -> RunFile | None:
    """A standby that has said so."""
    if not last_words(log, start).startswith("standby ") or process.ended():
        return None
    return RunFile(url="", pid=process.pid, started=process.started)


def _reason(line: str, process: Process) -> ArgosyError:
    code, _, message = line.partition(": ")
    kind = table().get(code, Internal)
    return kind(message if code in table() else f"the platform ended with status {process.status}: {line}")
