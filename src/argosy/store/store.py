"""The store as other packages use it: layout, registry and keys of one home."""

import re
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from argosy.spec.package import Lineage, ModelManifest
from argosy.spec.settings import Home
from argosy.store.collect import GRACE, Collected
from argosy.store.database import Database
from argosy.store.durable import sweep
from argosy.store.keys import Keys
from argosy.store.layout import Layout
from argosy.store.manifest import canonical, check_digest
from argosy.store.registry import Registry
from argosy.store.unpack import STAGING
from argosy.store.version import Version

if TYPE_CHECKING:
    from argosy.store.authority import Authority
    from argosy.store.fleet_keys import FleetKeys
    from argosy.store.fleets import Fleets

LINEAGE = "application/vnd.argosy.lineage.v1+json"

_OURS = re.compile(r"[^:/@]+:[0-9]+")


class Store:
    """Blobs and names together, and the order in which they change."""

    def __init__(self, home: Home, layout: Layout, database: Database, *, forbid_alias_back: bool = False) -> None:
        self.home = home
        self.layout = layout
        self.database = database
        self.registry = Registry(database, forbid_back=forbid_alias_back)
        self.keys = Keys(database)

    @cached_property
    def authority(self) -> "Authority":
        """The authority of the platform, for whatever is reached by TLS."""
        from argosy.store.authority import Authority

        shared = None if self.database.sqlite else self.database
        return Authority(self.home.root / "tls" / "replicas", self.database.platform(), database=shared)

    @cached_property
    def fleets(self) -> "Fleets":
        """Fleets of devices."""
        from argosy.store.devices import Devices
        from argosy.store.fleets import Fleets

        return Fleets(Devices(self.database))

    @cached_property
    def fleet_keys(self) -> "FleetKeys":
        """The key that signs the updates of fleets."""
        from argosy.store.fleet_keys import FleetKeys

        return FleetKeys(self.home.root / "fleet.key", self.database, shared=not self.database.sqlite)

    def add(
        self,
        folder: Path,
        *,
        name: str,
        manifest: ModelManifest,
        lineage: Lineage,
        trusted: bool = False,
        hashed: Mapping[str, str] = {},
    ) -> Version:
        """Store a package folder and give it a version: blobs first, then the name. A kill between leaves only garbage.

        `trusted`: who adds it vouches for it; `hashed`: see `Layout.put_folder`. The same package under the same name
        keeps its version and its lineage. Raises what `Layout.put_folder` raises.
        """
        digest = self.layout.put_folder(folder, manifest=manifest, hashed=hashed)
        return self.enter(digest, name=name, manifest=manifest, lineage=lineage, trusted=trusted)

    def enter(
        self,
        digest: str,
        *,
        name: str,
        manifest: ModelManifest,
        lineage: Lineage,
        trusted: bool = False,
        number: int = 0,
    ) -> Version:
        """Give a package of the layout a version, as `add` does; see `Registry.register`."""
        if not self.layout.referrers(digest, LINEAGE):
            self.layout.attach(digest, LINEAGE, canonical(lineage), LINEAGE)
        else:
            self.layout.share(digest)
        size = self.layout.size(digest)
        version = self.registry.register(
            name, digest, manifest=manifest, lineage=lineage, size=size, trusted=trusted, number=number
        )
        self.layout.tag(digest, version.ref)
        return version

    def remove(self, ref: str) -> Version:
        """Forget the version `name:number`. Raises NotFound, InvalidArgument, Conflict while an alias points at it."""
        version = self.registry.remove(ref)
        self.layout.untag(version.ref)
        return version

    def unpacked(self, digest: str) -> Path:
        """See `Layout.unpacked`, in the home."""
        return self.layout.unpacked(digest, self.home.package(check_digest(digest)))

    def collect(self, in_use: Collection[str] = (), *, grace: float = GRACE) -> Collected:
        """Delete what no version, no tag and none of the digests `in_use` needs, unpacked folders as well."""
        tags = self.layout.tags()
        keep = {*self.registry.digests(), *in_use}
        for tag, digest in tags.items():
            if _OURS.fullmatch(tag) and digest not in keep:
                self.layout.untag(tag)
        collected = self.layout.collect(keep, grace=grace)
        left = {digest.removeprefix("sha256:") for digest in self.layout.index.digests()}
        for folder in self.home.packages.iterdir():
            if re.fullmatch(r"[0-9a-f]{64}", folder.name) and folder.name not in left:
                shutil.rmtree(folder, ignore_errors=True)
        sweep(self.home.packages.glob(STAGING + "*"), grace)
        return collected

    def lineage(self, digest: str) -> list[Lineage]:
        """What is attached to a package about who pushed it, when, from where; first push first. Of a package that was
        pulled it is what others say; what cannot be read is left out."""
        found: list[Lineage] = []
        for referrer in self.layout.referrers(digest, LINEAGE):
            with suppress(ValueError):
                each = msgspec.json.decode(self.layout.read(referrer.data), type=Lineage)
                datetime.fromisoformat(each.pushed_at)
                found.append(each)
        return found

    def close(self) -> None:
        """Give up the connections to the database."""
        self.database.close()
