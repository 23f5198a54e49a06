"""`argosy up`: the platform in the foreground."""

import asyncio
import logging
import logging.handlers
import signal
from collections.abc import Callable, Sequence

from argosy.control import token
from argosy.control.announce import control_file
from argosy.control.lock import Lock
from argosy.control.place import prepare
from argosy.control.platform import Platform
from argosy.control.strays import sweep
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.targets.launch import COMMAND, folder

LOG_BYTES = 16 * 1024 * 1024
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def up(
    home: Home, settings: Settings, *, report: Callable[[str], None], command: Sequence[str] = COMMAND
) -> None:
    """Run the platform until SIGINT, SIGTERM or the API's shutdown; then drain and end all of it.

    A second SIGINT ends it at once. `command` starts a replica, with its configuration file as the last argument.
    Raises Conflict (another `up` on this home, a port in use), InvalidArgument, StorageFull, Unavailable.
    """
    prepare(home, settings)
    with Lock(home):
        stopping, hurry = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        _on_signals(loop, stopping, hurry)
        handler = _log_to(home)
        store = await asyncio.to_thread(open_store, home, settings)
        try:
            platform = Platform(home, settings, store, stopping.set, command)
            await platform.start(report)
            await stopping.wait()
            report("stopping  the gateway drains, then the replicas; Ctrl-C once more ends them at once")
            control_file(home).unlink(missing_ok=True)
            await platform.stop(hurry)
            sweep(folder(home))
            token.path(home).unlink(missing_ok=True)
            report("stopped")
        finally:
            store.close()
            for number in SIGNALS:
                loop.remove_signal_handler(number)
            logging.getLogger("argosy").removeHandler(handler)
            handler.close()


def _on_signals(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event, hurry: asyncio.Event) -> None:
    def interrupted() -> None:
        (hurry if stopping.is_set() else stopping).set()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, stopping.set)


def _log_to(home: Home) -> logging.Handler:
    handler = logging.handlers.RotatingFileHandler(
        home.logs / "control.log", maxBytes=LOG_BYTES, backupCount=1, delay=True
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("argosy")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return handler
