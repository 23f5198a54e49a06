"""The gateway as its owner sees it: start or adopt, apply, look, stop."""

import asyncio
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

from argosy.gateway import clusters, traffic
from argosy.gateway.bootstrap import bootstrap
from argosy.gateway.descriptors import Descriptors
from argosy.gateway.envoy import Process, find
from argosy.gateway.files import XdsFiles
from argosy.gateway.listener import NAME
from argosy.gateway.model import ApiKey, EndpointRoute, GatewayConfig
from argosy.gateway.snapshot import CDS, LDS, RDS, SDS, XDS_FOLDER, Snapshot, build_snapshot
from argosy.gateway.subscriptions import Refused, Subscriptions
from argosy.gateway.xds import Resource
from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument, Unavailable

GRACE_SECONDS = 2.0
"""How long a cluster without a route stays at least: a request may have read the routes before."""


class Gateway:
    """One home's Envoy. Every method may be called again; a call that changes nothing writes nothing."""

    def __init__(self, config: GatewayConfig, binary: str | Path | None = None) -> None:
        self.config = config
        Path(config.run_dir).mkdir(parents=True, exist_ok=True, mode=0o700)
        self.process = Process(find(binary), config)
        self.descriptors = Descriptors(self.process.binary, Path(config.run_dir) / "cache")
        self.files = XdsFiles(Path(config.run_dir) / XDS_FOLDER)
        self.subscriptions = Subscriptions(self.process.admin, self.files, config.log_path)
        self._lock = asyncio.Lock()
        self._stale: set[str] = set()
        self._retired: dict[str, float] = {}

    async def start(self, endpoints: Iterable[EndpointRoute] = (), keys: Iterable[ApiKey] = ()) -> None:
        """Starts Envoy with these endpoints. Raises Conflict when the port is taken, Refused when Envoy objects,
        InvalidArgument when it cannot use the TLS files."""
        snapshot = build_snapshot(self.config, endpoints, keys)
        files = snapshot.files()
        node = f"argosy-{secrets.token_hex(8)}"
        boot = bootstrap(self.config, node)
        self.descriptors.check_all(files)
        self.descriptors.check(boot, "bootstrap", "envoy.config.bootstrap.v3.Bootstrap")
        async with self._lock:
            self.files.remove(self.files.names() - files.keys())
            for file, resources in files.items():
                self.files.write(file, resources)
            await self.process.start(boot, node)
            try:
                await self.subscriptions.confirm()
            except (Refused, Unavailable) as error:
                await self.process.kill()
                raise self._explained(error) from None

    async def adopt(self) -> bool:
        """Takes over an Envoy that an earlier controller started here. False: there is none."""
        async with self._lock:
            if not await self.process.adopt():
                return False
            self._stale = await self.subscriptions.stale()
            return True

    async def apply(self, endpoints: Iterable[EndpointRoute], keys: Iterable[ApiKey] = ()) -> bool:
        """Makes this the truth, new before old, without losing a request. False: it already was.

        Raises Refused with Envoy's message after putting back what was there before.
        """
        snapshot = build_snapshot(self.config, endpoints, keys)
        async with self._lock:
            files = snapshot.files()
            files[CDS] = self._with_old_clusters(snapshot)
            changed = self.files.changed(files)
            changed |= {file: files[file] for file in self._stale & files.keys()}
            self.descriptors.check_all(changed)
            if changed:
                await self._in_stages(changed)
                self._stale.clear()
            await self._sweep(GRACE_SECONDS)
            return bool(changed)

    async def sweep(self, grace: float = GRACE_SECONDS) -> None:
        """Removes clusters that no route leads to once nothing is in flight there, or after `drain_seconds`."""
        async with self._lock:
            await self._sweep(grace)

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

    async def stop(self, drain_seconds: float | None = None) -> None:
        """Lets what is in flight finish, then ends Envoy."""
        async with self._lock:
            await self.process.stop(self.config.drain_seconds if drain_seconds is None else drain_seconds)

    def _with_old_clusters(self, snapshot: Snapshot) -> list[Resource]:
        """The snapshot's clusters, and after them those in use before."""
        written = self.files.get(CDS)
        old = [each for each in (written.resources if written else []) if each["name"] not in snapshot.clusters]
        now = time.monotonic()
        self._retired = {each["name"]: self._retired.get(each["name"], now) for each in old}
        return sorted([*snapshot.clusters.values(), *old], key=lambda each: each["name"])

    async def _in_stages(self, changed: dict[str, list[Resource]]) -> None:
        """Hosts, clusters, then the way to them. What is new is there before anything leads to it."""
        before = {file: written.resources for file in changed if (written := self.files.get(file))}
        fresh = {file for file in changed if file not in before and file not in (CDS, RDS, LDS, SDS)}
        hosts = {file: each for file, each in changed.items() if file not in (CDS, RDS, LDS, SDS)}
        try:
            for file in fresh:
                self.files.write(file, hosts[file])
            await self.subscriptions.write({f: r for f, r in hosts.items() if f not in fresh})
            for stage in ((SDS,), (CDS,), (RDS,), (LDS,)):
                await self.subscriptions.write({file: changed[file] for file in stage if file in changed})
        except (Refused, Unavailable) as error:
            await self._put_back(before, fresh)
            raise self._explained(error) from None

    async def _put_back(self, before: dict[str, list[Resource]], fresh: set[str]) -> None:
        """The routes first, as they may lead to what goes away after them."""
        order = sorted(before, key=lambda file: (file == CDS, file))
        for file in order:
            if self.files.changed({file: before[file]}):
                await self.subscriptions.write({file: before[file]})
        self.files.remove(fresh)

    async def _sweep(self, grace: float) -> None:
        written = self.files.get(CDS)
        if written is None or not self._retired:
            return
        active = await self.process.admin.active()
        now = time.monotonic()
        gone = {
            name
            for name, since in self._retired.items()
            if now - since >= (self.config.drain_seconds if active.get(name) else grace)
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
