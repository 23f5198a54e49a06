"""From a registry to a version of the store."""

from typing import TYPE_CHECKING

from argosy.packaging.lineage import lineage_from
from argosy.packaging.package import open_package

if TYPE_CHECKING:
    from argosy.store.oci.client import Client
    from argosy.store.oci.reference import Reference
    from argosy.store.oci.transfers import Transfers
    from argosy.store.store import Store
    from argosy.store.version import Version


def pull(
    store: "Store", client: "Client", reference: "Reference", transfers: "Transfers", *, name: str = "", trust: bool
) -> "Version":
    """Fetch a package with what refers to it, and register it under `name`, or under its own.

    What the registry says of who made it vouches for nothing: only with `trust` may it run code of its author, and it
    is the caller who vouches then. Raises what `store.oci.pull.pull` raises, and BadPackage for a broken model.yaml.
    """
    from argosy.store.oci.pull import pull as fetch

    digest = fetch(client, reference, store.layout, transfers)
    manifest = open_package(store.unpacked(digest)).manifest
    here = lineage_from(f"{reference.place}@{digest}")
    trusted = trust and manifest.scan.verdict != "data-only"
    return store.enter(digest, name=name or manifest.name, manifest=manifest, lineage=here, trusted=trusted)
