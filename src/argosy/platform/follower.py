"""`argosy gateway`: a gateway that follows a controller elsewhere. It has an Envoy and an activator of its own, routes
by the controller's snapshots, and goes on by the last one while the controller is away."""

import asyncio
import contextlib
import functools
import hashlib
import logging
import secrets
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import msgspec

from argosy.api.feedback import Answered, Labels
from argosy.api.labels import LabelServer
from argosy.client.control import ControlClient
from argosy.control.leases import HELD, LEASE, GatewayReport, GatewaySnapshot, GatewayTraffic
from argosy.control.scaling.activation import Activator
from argosy.gateway.gateway import Gateway
from argosy.gateway.model import check_token
from argosy.platform import leftovers
from argosy.platform.home import gateway_config, prepare_process
from argosy.platform.lock import Lock
from argosy.platform.supervisor import ACCESS_LOG_BYTES, HOUSEKEEPING, Supervisor, rotate_logs, watch_gateway
from argosy.platform.up import written
from argosy.serving.port import take
from argosy.spec.errors import ArgosyError, Conflict
from argosy.spec.settings import Home, Settings
from argosy.spec.strict import stored
from argosy.store.durable import keep, say

LOG = logging.getLogger(__name__)
TIMEOUT = HELD + 3.0
AGAIN = 0.5
"""Seconds between two attempts to reach the controller."""
RETRIED = 5.0
"""Seconds after which a snapshot that Envoy refused is given to it again."""


async def follow(home: Home, settings: Settings, name: str, *, report: Callable[[str], None]) -> None:
    """Run a gateway until SIGINT or SIGTERM, then let what is in flight finish, and end all of it. Raises Conflict
    (another one on this home, or with this name; a port in use), InvalidArgument, Unavailable."""
    check_token(name, "--name")
    prepare_process(home, settings)
    with Lock(home), written(home):
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stopping.set)
        follower = Follower(home, settings, name, stopping)
        report(f"control   {follower.client.url}, as gateway '{name}'")
        await follower.start(report)
        await stopping.wait()
        report("stopping  what is in flight is answered first")
        await follower.stop()
        if follower.replaced is not None:
            raise follower.replaced


class Follower:
    """A gateway's side. `stopping` is set where another gateway bears its name, which is then `replaced`."""

    def __init__(self, home: Home, settings: Settings, name: str, stopping: asyncio.Event) -> None:
        self.home, self.settings, self._stopping = home, settings, stopping
        self.replaced: Conflict | None = None
        self.client = ControlClient(timeout=TIMEOUT)
        found = gateway_config(home, settings.gateway, settings.tracing)
        self.config = msgspec.structs.replace(found, batches=False, devices="")  # they are where the controller is
        self.gateway = Gateway(self.config, settings.gateway.envoy or None)
        self.activator = Activator(home, self._demanded)
        self.labels = LabelServer(home, self._labels)
        self._path, self._run = f"/v1/gateways/{quote(name, safe='')}", secrets.token_hex(8)
        self._number, self._refused, self._url = 0, "", ""
        self._record = home.run / "followed.json"
        self._term = self._recorded()
        self._snapshot = GatewaySnapshot(term=0)
        self._applied = (0, 0)
        self._fresh = asyncio.Event()
        self._waiting: dict[str, int] = {}
        self._tasks: list[asyncio.Task[Any]] = []
        self._asked, self._trouble, self._report = 0.0, "", print

    def _recorded(self) -> int:
        """The term of the last controller that it followed."""
        return stored(self._record, int) or 0

    async def start(self, report: Callable[[str], None]) -> None:
        """Adopt what runs, or begin by the last routes, where there are any; and follow."""
        self._report = report
        if not await self.gateway.adopt():
            await asyncio.to_thread(leftovers.end_gateways, self.home)
            take(self.config.host, self.config.port, "gateway.port").close()
            await self.gateway.resume()
        await self.activator.start()
        if self.gateway.runs:
            await self._note_url("goes on by its last routes")
        supervisor = Supervisor()
        self.labels.task = supervisor.begin("labels", self.labels.run)
        work: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "follower": self._follow,
            "snapshots": self._apply_all,
            "demand": self._demand,
            "housekeeping": self._maintain,
            "watchdog": functools.partial(watch_gateway, self.gateway, self._fresh.set),
        }
        self._tasks = [supervisor.begin(name, each) for name, each in work.items()]

    async def stop(self) -> None:
        """Drain, and follow meanwhile; then tell the controller, and end everything."""
        await self.gateway.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(ArgosyError):
            await asyncio.to_thread(self.client.delete, self._path, run=self._run)
        await self.labels.stop()
        await self.activator.stop()
        await leftovers.ensure_gone(self.home)

    async def _follow(self) -> None:
        """Report and take snapshots, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time()
            if await self._say(hold=HELD, traffic=True):
                self._asked = asked
            else:
                await asyncio.sleep(AGAIN)
            if self._applied == self._snapshot.version and self._snapshot.number:
                await self._keep()

    async def _keep(self) -> None:
        """What there is to do where nothing has changed."""
        if not self.gateway.runs:
            self._fresh.set()
            return
        with contextlib.suppress(ArgosyError):
            await self.gateway.sweep()

    async def _say(self, *, hold: float = 0.0, traffic: bool = False) -> bool:
        """Report, and take the snapshot that is answered. False: the controller cannot be reached, or refuses."""
        counted = await self._traffic() if traffic else None
        self._number += 1
        running = self.gateway.process.running
        report = GatewayReport(
            run=self._run,
            number=self._number,
            has=self._snapshot.version,
            applied=self._applied,
            refused=self._refused[:4000],
            url=self._url,
            envoy=running.node if running else "",
            traffic=counted,
            waiting=self._waiting,
            hold=hold,
        )
        try:
            answer = await asyncio.to_thread(self.client.post, self._path, report)
        except Conflict as error:
            self.replaced = error
            self._stopping.set()
            return False
        except ArgosyError as error:
            self._away(error)
            return False
        if self._trouble:
            LOG.warning("the controller answers again")
        self._trouble = ""
        if answer is not None:
            self._take(answer)
        return True

    def _away(self, error: ArgosyError) -> None:
        """Say so once; where a lease is over, that requests may be sent to replicas that are gone."""
        since = asyncio.get_running_loop().time() - self._asked
        over = since > LEASE and self._asked > 0
        text = f"{error.message}; it goes on by what it has" + (", and is waited for no longer" if over else "")
        if text != self._trouble:
            LOG.warning("%s", text)
            self._report(f"away      {text}")
        self._trouble = text
        with contextlib.suppress(ArgosyError):
            self.client = ControlClient(timeout=TIMEOUT)  # what its certificate is verified by may be another now

    async def _traffic(self) -> tuple[GatewayTraffic, ...] | None:
        if not self.gateway.runs:
            return ()
        try:
            return tuple(GatewayTraffic(*key, counted) for key, counted in (await self.gateway.stats()).items())
        except ArgosyError:
            return None

    def _take(self, answer: Any) -> None:
        """A snapshot, unless it is of an earlier controller than one that was followed."""
        folders = {folder: str(self._folder(folder)) for folder in answer["files"]}
        found = msgspec.convert(moved(answer, folders), GatewaySnapshot)
        if found.term < self._term:
            self._away(
                Conflict(f"a controller of term {found.term} answers, and one of term {self._term} was followed")
            )
        elif found.version > self._snapshot.version:
            if found.term > self._term:
                self._term = found.term
                say(self._record, msgspec.json.encode(self._term))
            self._snapshot = found
            self._fresh.set()

    def _folder(self, of: str) -> Path:
        """Where certificates lie here, that lie in the folder `of` beside the controller."""
        return self.home.root / "tls" / "followed" / hashlib.sha256(of.encode()).hexdigest()[:12]

    async def _apply_all(self) -> None:
        """Apply each snapshot, and confirm it at once."""
        loop = asyncio.get_running_loop()
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            snapshot = self._snapshot
            if not snapshot.number:
                continue
            try:
                await self._apply(snapshot)
                self._refused, self._applied = "", snapshot.version
            except (ArgosyError, OSError) as error:
                self._refused = error.message if isinstance(error, ArgosyError) else str(error)
                LOG.error("snapshot %d of term %d is not in use: %s", snapshot.number, snapshot.term, self._refused)
                loop.call_later(RETRIED, self._fresh.set)
            await self._say()

    async def _apply(self, snapshot: GatewaySnapshot) -> None:
        for folder, files in snapshot.files.items():
            place = self._folder(folder)
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, text in files.items():
                keep(place / name, text.encode())
        routes = self.activator.want(snapshot.endpoints, snapshot.activated)
        if self.gateway.runs:
            await self.gateway.apply(routes, snapshot.keys)
        elif not self._stopping.is_set():
            await self.gateway.start(routes, snapshot.keys)
            await self._note_url("follows")

    async def _note_url(self, what: str) -> None:
        self._url = await self.gateway.url()
        self._report(f"gateway   {self._url} {what}")

    def _demanded(self, waiting: dict[str, int]) -> None:
        self._waiting = waiting

    async def _demand(self) -> None:
        """Tell at once that requests wait, five times a second as long as they do."""
        while True:
            if self._waiting:
                await self._say()
                self._waiting = {}
            await asyncio.sleep(0.05)

    async def _labels(self, name: str, labels: Labels, key: str) -> Answered:
        """Pass labels on to the controller."""
        path = f"/v1/labels/{quote(name, safe='')}"
        post = functools.partial(self.client.post, path, labels, key=key)
        return msgspec.convert(await asyncio.to_thread(post), Answered)

    async def _maintain(self) -> None:
        while True:
            await asyncio.to_thread(rotate_logs, self.home, self.config)
            await self.gateway.rotate_log(ACCESS_LOG_BYTES)
            await asyncio.sleep(HOUSEKEEPING)


def moved(value: Any, folders: Mapping[str, str]) -> Any:
    """JSON in which identities look for their files in other folders. Pure."""
    if isinstance(value, list):
        return [moved(each, folders) for each in cast("list[Any]", value)]
    if isinstance(value, dict):
        found = {key: moved(each, folders) for key, each in cast("dict[str, Any]", value).items()}
        if isinstance(found.get("files"), str):
            found["files"] = folders.get(found["files"], found["files"])
        return found
    return value
