"""Keeps blobs and the registry: packages by digest, versions and aliases by name, API keys by hash."""

from typing import TYPE_CHECKING

from argosy.spec.settings import Home, Settings

if TYPE_CHECKING:
    from argosy.store.layout import Layout
    from argosy.store.store import Store


def open_layout(home: Home, settings: Settings) -> "Layout":
    """The packages of a home: on this machine, and in the place that several share, if there is one."""
    from argosy.store.layout import Layout

    if not settings.store.blobs:
        return Layout(home.store, settings.store.max_package_bytes)
    from argosy.store.oci.shared import SharedLayout

    return SharedLayout(home.store, settings.store.blobs, settings.store.max_package_bytes)


def open_store(home: Home, settings: Settings) -> "Store":
    """The store of a home, made if it is not there. The database library is imported now, not before."""
    from argosy.store.database import Database
    from argosy.store.signer import Signer
    from argosy.store.store import Store

    home.create()
    database = Database(settings.store.database or home.database)
    database.signer = Signer(home.ledger_key, settings.store.database and database.label)
    store = Store(home, open_layout(home, settings), database, forbid_alias_back=settings.store.forbid_alias_back)
    store.database.create()
    return store
