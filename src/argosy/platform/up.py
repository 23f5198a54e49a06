"""`argosy up`: the platform in the foreground."""

import asyncio
import contextlib
import logging
import logging.handlers
import shutil
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

from argosy.api import token
from argosy.api.route import Pages, no_pages
from argosy.platform.home import prepare_process
from argosy.platform.lease import Lease, holder, keep, next_term, win
from argosy.platform.leftovers import ensure_gone
from argosy.platform.lock import WAITS, Lock
from argosy.platform.lock import holder as locked_by
from argosy.platform.platform import Platform
from argosy.platform.targets import TargetOf, local_target
from argosy.process.limit import LogLimit
from argosy.spec.errors import ArgosyError, Conflict
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.targets.launch import folder

LOG_BYTES = 16 * 1024 * 1024
WINDOW = 60.0
"""Seconds in which one message is written `ALIKE` times at most, and all of them `ALL` times."""
ALIKE = 20
ALL = 1000


@contextmanager
def written(home: Home) -> Generator[None]:
    """Write what is logged in this process to the home's `control.log`; nothing of it goes to standard error."""
    handler = logging.handlers.RotatingFileHandler(
        home.logs / "control.log", maxBytes=LOG_BYTES, backupCount=1, delay=True
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(LogLimit(ALL, WINDOW, alike=ALIKE))
    logging.getLogger().addHandler(handler)
    logging.getLogger("argosy").setLevel(logging.INFO)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


PUBLISHED = 10.0
"""Seconds between two looks at what is published in a cluster."""
STANDBY = 0.2
"""Seconds between two attempts of one that waits for the home's lock."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def up(
    home: Home,
    settings: Settings,
    *,
    report: Callable[[str], None],
    target: TargetOf = local_target,
    standby: bool = False,
    pages: Pages = no_pages,
    in_cluster: bool = False,
) -> None:
    """Run the platform until SIGINT, SIGTERM or the API's shutdown; then drain and end all of it.

    A second SIGINT ends it at once. `target` makes the place where replicas run.
    `pages` are served beside the API.
    A `standby` waits for the end of another platform on this home or this database, and takes over what it ran.
    One that is `in_cluster` publishes how it is reached as Secrets there, and ends without what runs in the cluster.
    Raises Conflict (another `up` on this home or database, a port in use), InvalidArgument, StorageFull, Unavailable.
    """
    prepare_process(home, settings)
    with await _lock(home, standby, report), written(home):
        stopping, hurry = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        _on_signals(loop, stopping, hurry)
        store = await asyncio.to_thread(open_store, home, settings)
        try:
            lease = None if store.database.sqlite else Lease(store.database, holder(home))
            if lease is None or await win(lease, stopping, standby=standby, report=report):
                term = lease.term if lease else await asyncio.to_thread(next_term, store.database, home)
                platform = Platform(home, settings, store, stopping.set, target, pages, term)
                await _lead(platform, lease, stopping, hurry, report, in_cluster)
        finally:
            store.close()
            for number in SIGNALS:
                loop.remove_signal_handler(number)


async def _lock(home: Home, standby: bool, report: Callable[[str], None]) -> Lock:
    """The home's lock, not yet entered; a standby gets it once nobody holds it."""
    if standby and (pid := locked_by(home)) is not None:
        with Lock(home, WAITS):
            report(f"standby   process {pid} leads")
            while locked_by(home) is not None:  # noqa: ASYNC110
                await asyncio.sleep(STANDBY)
    return Lock(home)


async def _lead(
    platform: Platform,
    lease: Lease | None,
    stopping: asyncio.Event,
    hurry: asyncio.Event,
    report: Callable[[str], None],
    in_cluster: bool,
) -> None:
    """From the start to the orderly end. Raises Conflict where that came because another platform leads now."""
    lost = asyncio.Event()

    def replaced() -> None:
        lost.set()
        stopping.set()

    home = platform.home
    await platform.start(report)
    keeping = asyncio.create_task(keep(lease, replaced)) if lease else None
    publishing = platform.supervisor.begin("publishing", lambda: publish(platform)) if in_cluster else None
    await stopping.wait()
    home.control.unlink(missing_ok=True)
    if publishing is not None:
        report("stopping  what runs in the cluster goes on")
        publishing.cancel()
        await platform.leave()
    else:
        report("stopping  the gateway drains, then the replicas; Ctrl-C once more ends them at once")
        await platform.stop(hurry)
    await ensure_gone(home)
    shutil.rmtree(folder(home), ignore_errors=True)
    token.path(home).unlink(missing_ok=True)
    if lease and keeping:
        keeping.cancel()
        with contextlib.suppress(ArgosyError):
            await asyncio.to_thread(lease.release)
    report("stopped")
    if lost.is_set():
        raise Conflict("another platform leads this database now, so this one has ended")


async def publish(platform: Platform, every: float = PUBLISHED) -> None:
    """Keep the Secrets by which users and gateways reach the control API as they should be, for ever."""
    from argosy.targets.kubernetes.client import Cluster
    from argosy.targets.kubernetes.platform import CONTROL, GATEWAY, PART, published

    cluster, home, last = Cluster.of(platform.settings.kubernetes), platform.home, None
    try:
        while True:
            shown = platform.certificate.path.read_text("ascii") if platform.certificate else ""
            wanted = ((CONTROL, token.ensure(home), shown), (GATEWAY, token.ensure_of(home, "gateway"), shown))
            if wanted != last:
                for owner in await cluster.list("apps/v1", "Deployment", f"{PART}={CONTROL}"):
                    owner |= {"apiVersion": "apps/v1", "kind": "Deployment"}
                    for each in wanted:
                        await cluster.apply(published(*each, owner), force=True)
                    last = wanted
            await asyncio.sleep(every)
    finally:
        await cluster.close()


def _on_signals(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event, hurry: asyncio.Event) -> None:
    def interrupted() -> None:
        (hurry if stopping.is_set() else stopping).set()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, stopping.set)
