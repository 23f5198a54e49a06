"""Endpoints that follow an alias: when it moves, they are declared anew with the version it points at now."""

import asyncio
import logging
from collections.abc import Callable

from argosy.control.revision import revision_of
from argosy.control.state import State
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import ArgosyError, Conflict, NotFound
from argosy.store import ledger
from argosy.store.endpoints import Declared
from argosy.store.ledger import Cause
from argosy.store.registry import Registry
from argosy.store.version import Version

LOG = logging.getLogger(__name__)

LOOK_SECONDS = 2.0


def follow(state: State, registry: Registry) -> list[str]:
    """Declare anew what follows an alias that has moved; the names of those endpoints.

    An alias that is gone leaves its endpoints as they are. Whoever moved it, and why, is the cause in the ledger.
    Raises what the database raises.
    """
    moved: list[str] = []
    for declared in state.endpoints():
        version = _pointed(registry, declared.endpoint) if declared.endpoint.follow else None
        if version is not None and _again(state, declared, version):
            moved.append(declared.endpoint.name)
    return moved


def _pointed(registry: Registry, endpoint: Endpoint) -> Version | None:
    try:
        return registry.resolve(endpoint.model)
    except NotFound:
        return None


def _again(state: State, declared: Declared, version: Version) -> bool:
    """Whether it was declared anew. A declaration that came between wins: it was resolved later than this one."""
    endpoint = declared.endpoint
    revision = revision_of(endpoint, version)
    if revision.id == declared.revision:
        return False
    try:
        state.declare(endpoint, revision, cause=_cause(state, endpoint, version), expected=declared.generation)
    except Conflict:
        return False
    return True


def _cause(state: State, endpoint: Endpoint, version: Version) -> Cause:
    with state.database.read() as connection:
        move = ledger.latest(connection, endpoint.model, ("alias",))
    back = move is not None and move.body.get("back") and move.body["version"] == version.ref
    told = f"{endpoint.model} moved {'back ' if back else ''}to {version.ref}"
    if move is None:
        return Cause(reason=told)
    return Cause(actor=move.actor, reason=f"{told}: {move.reason}" if move.reason else told)


async def keep_following(state: State, registry: Registry, wake: Callable[[], None]) -> None:
    """Look every two seconds, until cancelled: aliases are also moved without this process."""
    while True:
        try:
            if await asyncio.to_thread(follow, state, registry):
                wake()
        except ArgosyError as error:
            LOG.warning("aliases cannot be followed now: %s", error.message)
        await asyncio.sleep(LOOK_SECONDS)
