"""The gateway as its owner sees it: start or adopt, apply, look, stop."""

import asyncio
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from argosy.gateway import clusters, traffic
from argosy.gateway.bootstrap import bootstrap
from argosy.gateway.envoy import Process
from argosy.gateway.files import XdsFiles
from argosy.gateway.listener import NAME
from argosy.gateway.memo import Memo
from argosy.gateway.model import ApiKey, EndpointRoute, GatewayConfig
from argosy.gateway.peers import behind
from argosy.gateway.snapshot import CDS, LDS, RDS, SDS, XDS_FOLDER, EndpointClusters, Snapshot, build_snapshot
from argosy.gateway.subscriptions import Refused, Subscriptions
from argosy.process.envoy import Files, Resource, find
from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument, Unavailable
from argosy.store.durable import keep

GRACE_SECONDS = 2.0
"""How long a cluster without a route stays at least: a request may have read the routes before."""


class Gateway:
    """One home's Envoy. Every method may be called again; a call that changes nothing writes nothing."""

    def __init__(self, config: GatewayConfig, binary: str | Path | None = None) -> None:
        self.config = config
        Path(config.run_dir).mkdir(parents=True, exist_ok=True, mode=0o700)
        self.process = Process(find(binary), config)
        self.files = XdsFiles(Path(config.run_dir) / XDS_FOLDER)
        self.subscriptions = Subscriptions(self.process.admin, self.files, config.log_path)
        self._lock = asyncio.Lock()
        self._stale: set[str] = set()
        self._retired: dict[str, float] = {}
        self._memo: Memo[EndpointClusters] = Memo()

    async def start(self, endpoints: Iterable[EndpointRoute] = (), keys: Iterable[ApiKey] = ()) -> None:
        """Starts Envoy with these endpoints. Raises Conflict when the port is taken, Refused when Envoy objects,
        InvalidArgument when it cannot use the TLS files."""
        snapshot = build_snapshot(self.config, endpoints, keys, self._memo)
        files = snapshot.files()
        async with self._lock:
            if await self.process.adopt():
                raise Conflict(f"a gateway already runs in {self.config.run_dir}: adopt it or stop it")
            _write(snapshot.callers)
            self.files.remove(self.files.names() - files.keys())
            for file, resources in files.items():
                self.files.write(file, resources)
            try:
                await self._run()
            except (Refused, Unavailable) as error:
                raise self._explained(error) from None

    async def resume(self) -> bool:
        """Starts Envoy with the routes, keys and clusters of the last one, which is gone. False: there are none, or
        this Envoy does not take them."""
        async with self._lock:
            if await self.process.adopt():
                raise Conflict(f"a gateway already runs in {self.config.run_dir}: adopt it or stop it")
            if not {CDS, RDS} <= self.files.names() or not await self._start_as_it_lies():
                return False
            self._stale = await self.subscriptions.stale()
            return True

    async def adopt(self) -> bool:
        """Takes over an Envoy that an earlier controller started here. False: there is none (any more).

        One that was started with other settings, which Envoy reads only then, is followed by one with these and the
        same routes. False also where that one cannot start.
        """
        async with self._lock:
            if not await self.process.adopt():
                return False
            if not self.process.started_with(bootstrap(self.config, "")):
                await self.process.stop(self.config.drain_seconds)
                if not await self._start_as_it_lies():
                    return False
            self._stale = await self.subscriptions.stale()
            return True

    async def apply(self, endpoints: Iterable[EndpointRoute], keys: Iterable[ApiKey] = ()) -> bool:
        """Applies this, new before old, without losing a request. False: nothing changed. Raises Refused with Envoy's
        message after putting back what was there before."""
        snapshot = build_snapshot(self.config, endpoints, keys, self._memo)
        async with self._lock:
            files = snapshot.files()
            files[CDS] = self._with_old_clusters(snapshot)
            changed = self.files.changed(files)
            changed |= {file: files[file] for file in self._stale & files.keys()}
            if changed:
                _write(snapshot.callers)
                await self._in_stages(changed)
                self._stale.clear()
            await self._sweep(GRACE_SECONDS)
            return bool(changed)

    async def sweep(self, grace: float = GRACE_SECONDS) -> None:
        """Removes clusters that no route leads to once nothing is in flight there, or after `drain_seconds`."""
        async with self._lock:
            await self._sweep(grace)

    @property
    def runs(self) -> bool:
        """Whether the process of Envoy is there."""
        return self.process.alive()

    @property
    def settled(self) -> bool:
        """What was applied is in use when `apply` returns."""
        return True

    async def url(self) -> str:
        """Where this machine reaches it."""
        host, port = await self.address()
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        return f"{'https' if self.config.tls else 'http'}://{host}:{port}"

    async def statistics(self, pattern: str) -> dict[str, float]:
        """Envoy's own statistics whose names match. Raises Unavailable."""
        return await self.process.admin.stats(pattern)

    async def address(self) -> tuple[str, int]:
        """The host and port it listens on."""
        found = await self.process.admin.addresses()
        if NAME not in found:
            raise Unavailable("the gateway listens nowhere yet")
        return found[NAME]

    async def stats(self) -> dict[tuple[str, str], traffic.Traffic]:
        """(endpoint, revision) → what was counted."""
        return await traffic.traffic(self.process.admin)

    async def alive(self) -> bool:
        """Whether Envoy runs and its administration answers."""
        running = self.process.running
        return running is not None and self.process.alive() and await self.process.admin.alive(running.node)

    async def rotate_log(self, most: int) -> None:
        """Have Envoy begin its access log anew once it has more than so many bytes: no line is lost to who reads it."""
        path = Path(self.config.access_log_path)
        old = path.with_name(path.name + ".1")
        if not self.process.alive() or not path.exists() or path.stat().st_size <= most:
            return
        path.replace(old)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        try:
            await self.process.admin.post("/reopen_logs")
        except ArgosyError:
            old.replace(path)

    async def stop(self, drain_seconds: float | None = None) -> None:
        """Lets what is in flight finish, then ends Envoy."""
        async with self._lock:
            await self.process.stop(self.config.drain_seconds if drain_seconds is None else drain_seconds)

    async def _run(self) -> None:
        """Starts Envoy with the files that lie there, and ends it where it does not take them."""
        node = f"argosy-{secrets.token_hex(8)}"
        log_end = self.subscriptions.log_end()
        try:
            await self.process.start(bootstrap(self.config, node), node)
            await self.subscriptions.confirm(log_end)
        except ArgosyError:
            await self.process.kill()
            raise

    async def _start_as_it_lies(self) -> bool:
        """Routes and clusters are the files that lie there; listener and certificate follow from the settings. False:
        Envoy refuses them, or does not start."""
        files = build_snapshot(self.config, (), ()).files()
        for file in files.keys() & {LDS, SDS}:
            self.files.write(file, files[file])
        try:
            await self._run()
        except ArgosyError:
            return False
        return True

    def _with_old_clusters(self, snapshot: Snapshot) -> list[Resource]:
        """The snapshot's clusters, and after them those in use before."""
        written = self.files.get(CDS)
        old = [each for each in (written.resources if written else []) if each["name"] not in snapshot.clusters]
        now = time.monotonic()
        self._retired = {each["name"]: self._retired.get(each["name"], now) for each in old}
        return sorted([*snapshot.clusters.values(), *old], key=lambda each: each["name"])

    async def _in_stages(self, changed: Files) -> None:
        # A controller that was killed may have left the hosts of a cluster which Envoy was never told of: nobody reads
        # them, so they are as new as if they were not there.
        told = self.files.get(CDS)
        read = {clusters.eds_file(each["name"]) for each in (told.resources if told else [])}
        read |= {CDS, RDS, LDS, SDS}
        before = {file: written.resources for file in changed if file in read and (written := self.files.get(file))}
        fresh = changed.keys() - before.keys() - {CDS, RDS, LDS}
        try:
            for file in fresh:
                self.files.write(file, changed[file])
            for stage in stages(before, changed):
                await self.subscriptions.write(stage)
        except (Refused, Unavailable) as error:
            await self._put_back(before, fresh)
            raise self._explained(error) from None

    async def _put_back(self, before: Files, fresh: set[str]) -> None:
        """What was there, in the same order; written also when nobody is there to read it."""
        for stage in stages(before, before):
            changed = self.files.changed(stage)
            try:
                await self.subscriptions.write(changed)
            except (Refused, Unavailable):
                for file, resources in self.files.changed(changed).items():
                    self.files.write(file, resources)
        self.files.remove(fresh)

    async def _sweep(self, grace: float) -> None:
        written = self.files.get(CDS)
        if written is None or not self._retired:
            return
        active = await self.process.admin.active()
        groups = [[each["name"], *behind(each)] for each in written.resources]
        busy = {name for group in groups if any(map(active.get, group)) for name in group}
        now = time.monotonic()
        gone = {
            name
            for name, since in self._retired.items()
            if now - since >= (self.config.drain_seconds if name in busy else grace)
        }
        if gone:
            left = [each for each in written.resources if each["name"] not in gone]
            await self.subscriptions.write({CDS: left})
            self.files.remove(clusters.eds_file(name) for name in gone)
            for name in gone:
                del self._retired[name]

    def _explained(self, error: Refused | Unavailable) -> ArgosyError:
        """The same in terms of a setting, where a setting is the cause."""
        if SDS in error.message and self.config.tls:
            tls = self.config.tls
            return InvalidArgument(f"gateway TLS: {tls.certificate} and {tls.key} cannot be used. {error.message}")
        if "Address already in use" not in error.message:
            return error
        where = f"{self.config.host}:{self.config.port}"
        return Conflict(
            f"the gateway's port is taken: {where}. Stop what listens there, or set gateway.port to another"
        )


def _write(callers: dict[str, Resource]) -> None:
    for path, written in callers.items():
        keep(Path(path), msgspec.json.encode(written))


def stages(before: Files, changed: Files) -> Iterator[Files]:
    """`changed` in parts, each of which must be in use before the next is written: new hosts, certificates, clusters,
    routes, listener, clusters that only lose hosts. Without files that are new: nobody reads them yet."""
    hosts = {file: each for file, each in changed.items() if file in before and file not in (CDS, RDS, LDS, SDS)}
    shrinking = {file for file, each in hosts.items() if _ready(each) < _ready(before[file])}
    yield {file: each for file, each in hosts.items() if file not in shrinking}
    if SDS in changed and SDS in before:
        yield {SDS: changed[SDS]}
    for file in (CDS, RDS, LDS):
        if file in changed:
            yield {file: changed[file]}
    yield {file: hosts[file] for file in sorted(shrinking)}


def _ready(resources: list[Resource]) -> set[str]:
    return {
        str(host["endpoint"]["address"])
        for assignment in resources
        for locality in assignment["endpoints"]
        for host in locality["lb_endpoints"]
        if host["health_status"] == "HEALTHY"
    }
