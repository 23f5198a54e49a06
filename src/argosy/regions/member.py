"""A platform as a region of another one: the order that it follows, and the packages that come with it."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from argosy.packaging.package import open_package
from argosy.regions.shares import Spend, over, spends
from argosy.regions.wire import RegionEndpoint, RegionOrder, SentPackage
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import BadPackage, Conflict, InvalidArgument, NotFound, PayloadTooLarge
from argosy.spec.package import Lineage
from argosy.spec.region import Peer
from argosy.spec.settings import Home
from argosy.store import keys
from argosy.store.durable import storage
from argosy.store.keys import KeyRecord
from argosy.store.manifest import check_digest, parse
from argosy.store.regions import RegionStore
from argosy.store.store import Store
from argosy.store.usage import TokenLedger

ACTOR = "region/"
"""What precedes the holder in the name of who declares for it."""
MEASURED = 60.0
"""Seconds between two measurements of how far the peers are."""
NOTED = 60.0
"""Seconds between two writings of when the holder was heard."""
NOTHING = RegionOrder(holder="", term=0, region="")


class Member:
    """`name` is the region; empty: this platform is none."""

    def __init__(self, home: Home, store: Store, name: str, *, trust: bool = False) -> None:
        self.name, self._store, self._trust = name, store, trust
        self.table = RegionStore(store.database)
        self.order = NOTHING
        self.problems: dict[str, str] = {}
        self.lock = asyncio.Lock()
        self._layout = store.layout
        self._rtt: dict[tuple[str, int], float] = {}
        self._measured = self._heard = self._noted = 0.0

    def load(self) -> None:
        """Go on with the last order."""
        data, self._heard = self.table.order()
        if data:
            self.order = msgspec.json.decode(data, type=RegionOrder)

    @property
    def held(self) -> dict[str, Endpoint]:
        """The endpoints that the holder has placed here, by name."""
        return {each.endpoint.name: each.endpoint for each in self.order.endpoints}

    @property
    def actor(self) -> str:
        """Who declares what the order says."""
        return ACTOR + self.order.holder

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The other regions, as far away as was measured from here."""
        return tuple(
            msgspec.structs.replace(each, rtt=self._rtt.get((each.host, each.port), each.rtt))
            for each in self.order.peers
        )

    def check(self, order: RegionOrder) -> None:
        """Raises Conflict for an order of another holder, or of an earlier term of it; InvalidArgument for that of
        another region."""
        if not self.name or order.region != self.name:
            raise InvalidArgument(f"this is region '{self.name}', not '{order.region[:63]}'")
        if self.order.holder not in ("", order.holder):
            raise Conflict(f"region '{self.name}' is held by another platform: run  argosy regions leave  there first")
        if order.term < self.order.term:
            raise Conflict(f"a later holder (term {self.order.term}) has given orders: this one is of {order.term}")

    def missing(self, order: RegionOrder) -> dict[str, str]:
        """The packages of an order that are not here, digests by `name:number`."""
        found: dict[str, str] = {}
        for ref, digest in {ref: it for each in order.endpoints for ref, it in each.packages.items()}.items():
            try:
                there = self._store.registry.resolve(ref).digest
            except NotFound:
                there = ""
            if there != digest:
                found[ref] = digest
        return found

    def follow(self, order: RegionOrder) -> None:
        """Write an order down, with its keys."""
        now = time.time()
        if order == self.order and now - self._noted < NOTED:
            self._heard = now
            return
        before = {each.id for each in self.order.keys}
        if order.keys != self.order.keys:
            with self._store.database.begin() as connection:
                keys.settle(connection, order.keys, before)
        self.table.follow(msgspec.json.encode(order) if order != NOTHING else b"", now)
        self.order, self._heard, self._noted = order, now, now

    def keys(self, records: Sequence[KeyRecord]) -> Sequence[KeyRecord]:
        """Those of this platform; once the lease of the order is over, the holder's spend nothing more."""
        held = {each.id: each for each in self.order.keys if each.limits is not None}
        return over(records, held) if held and time.time() - self._heard > self.order.lease else records

    def limits(self, key: str) -> bool:
        """Whether it is a key of the holder with limits, of which this region has a share."""
        return any(each.id == key and each.limits is not None for each in self.order.keys)

    def spent(self) -> dict[str, dict[str, Spend]]:
        """What the holder's keys have used here of each limit."""
        ledger = TokenLedger(self._store.database, lambda _: None)
        limited = [each.id for each in self.order.keys if each.limits is not None]
        return {id: spends(ledger.account(id), int(time.time())) for id in limited}

    async def measure(self) -> None:
        """How far the peers are, once a minute, by the time that a connection takes."""
        if time.monotonic() - self._measured < MEASURED:
            return
        self._measured = time.monotonic()
        await asyncio.gather(*(self._time(each) for each in self.order.peers))

    async def _time(self, peer: Peer) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(5.0):
                _, writer = await asyncio.open_connection(peer.host, peer.port)
        except OSError:
            return
        self._rtt[peer.host, peer.port] = round(time.monotonic() - began, 4)
        writer.close()

    def _part(self, digest: str) -> Path:
        """Where a blob lies that has come whole, until its package has."""
        return self._layout.transfers.part(digest).with_suffix(".sent")

    async def receive(self, digest: str, chunks: AsyncIterator[bytes]) -> None:
        """Take a blob in. Raises BadPackage for another content, PayloadTooLarge, StorageFull."""
        path, hasher, size = self._part(check_digest(digest)), hashlib.sha256(), 0
        scratch = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
        try:
            with storage(path), scratch.open("wb") as out:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > self._layout.max_package_bytes:
                        raise PayloadTooLarge(f"the blob is over {self._layout.max_package_bytes} bytes")
                    hasher.update(chunk)
                    await asyncio.to_thread(out.write, chunk)
            if f"sha256:{hasher.hexdigest()}" != digest:
                raise BadPackage(f"what came is not the blob {digest}")
            scratch.rename(path)
        finally:
            scratch.unlink(missing_ok=True)

    def adopt(self, name: str, number: int, sent: SentPackage, lineage: Lineage) -> list[str]:
        """Register a package; the blobs that are not here, if it cannot be yet. Raises BadPackage, Conflict."""
        with suppress(NotFound):
            if (there := self._store.registry.resolve(f"{name}:{number}")).digest != sent.digest:
                raise Conflict(f"{there.ref} is another package in region '{self.name}': push it there by another name")
        digests: list[str] = []
        with self._layout.transfers.adopting():
            manifests = [parse(data, "what was sent") for data in sent.manifests]
            blobs = {blob.digest for each in manifests for blob in (each.config, *each.layers)}
            parts = {each: path for each in blobs if (path := self._part(each)).exists()}
            if lacking := [each for each in blobs if each not in parts and not self._layout.blobs.path(each).exists()]:
                return lacking
            digests += [self._layout.adopt(data, parts) for data in sent.manifests]
        if sent.digest not in digests:
            raise BadPackage(f"the manifest of {sent.digest} was not sent")
        manifest = open_package(self._store.unpacked(sent.digest)).manifest
        trusted = sent.trusted and self._trust and manifest.scan.verdict != "data-only"
        self._store.enter(sent.digest, name=name, manifest=manifest, lineage=lineage, trusted=trusted, number=number)
        return []

    def report_of(self, endpoints: Mapping[str, RegionEndpoint]) -> dict[str, RegionEndpoint]:
        """With those that could not be declared."""
        lost = {name: RegionEndpoint(state="failed", problem=why) for name, why in self.problems.items()}
        return lost | {
            name: msgspec.structs.replace(each, problem=self.problems.get(name, "")) for name, each in endpoints.items()
        }
