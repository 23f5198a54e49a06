"""Endpoints that follow an alias: when it moves, they are declared anew with the version it points at now."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from argosy.control.revision import revision_of
from argosy.control.state import State
from argosy.process.repeat import repeat
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import Conflict, NotFound
from argosy.store import ledger
from argosy.store.endpoints import Declared
from argosy.store.ledger import Cause
from argosy.store.registry import Registry
from argosy.store.version import Version

LOG = logging.getLogger(__name__)

PERIOD = 2.0
"""Seconds between two checks of the aliases."""


def follow(state: State, registry: Registry) -> list[str]:
    """Declare anew what follows an alias that has moved; the names of those endpoints.

    An alias that is gone leaves its endpoints as they are. Whoever moved it, and why, is the cause in the ledger.
    Raises what the database raises.
    """
    moved: list[str] = []
    for declared in state.endpoints():
        if declared.endpoint.follow:
            with contextlib.suppress(NotFound):
                if _again(state, declared, registry.resolve(declared.endpoint.model)):
                    moved.append(declared.endpoint.name)
    return moved


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
    what = f"{endpoint.model} moved {'back ' if back else ''}to {version.ref}"
    if move is None:
        return Cause(reason=what)
    return Cause(actor=move.actor, reason=f"{what}: {move.reason}" if move.reason else what)


async def keep_following(state: State, registry: Registry, wake: Callable[[], None]) -> None:
    """Check every two seconds, until cancelled: aliases are also moved without this process."""

    async def look() -> None:
        if await asyncio.to_thread(follow, state, registry):
            wake()

    await repeat(look, PERIOD, "following aliases", LOG)
