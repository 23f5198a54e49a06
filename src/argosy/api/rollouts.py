"""`/v1/endpoints/{name}/rollout`: read it, give it an order, undo it."""

import asyncio
import functools
from typing import cast, get_args

import msgspec

from argosy.api.endpoints import Written
from argosy.api.rollout_status import RolloutStatus, rollout_status
from argosy.api.route import Route, Services
from argosy.control.rollout.progress import Command
from argosy.control.rollout.table import RolloutRow
from argosy.spec.endpoint import Endpoint, check_name
from argosy.spec.errors import Conflict, NotFound
from argosy.store.ledger import Cause


async def get(services: Services, name: str) -> RolloutStatus:
    """The last rollout of an endpoint. Raises NotFound where it has had none."""
    check_name(name)

    def read() -> RolloutStatus:
        declared, last = services.state.endpoint(name), _last(services, name)
        if declared is None:
            raise NotFound(f"there is no endpoint '{name}'")
        return rollout_status(declared.endpoint, last, services.state.revisions())

    return await asyncio.to_thread(read)


def _last(services: Services, name: str) -> RolloutRow:
    last = services.controller.analysis.rollouts.last().get(name)
    if last is None:
        raise NotFound(f"endpoint '{name}' has had no rollout: what it serves was its first revision")
    return last


async def order(services: Services, name: str, order: str, query: Written) -> RolloutStatus:
    """Pause, resume, promote, abort or undo. Raises Conflict where that is not possible any more."""
    check_name(name)
    if order == "undo":
        await asyncio.to_thread(_undo, services, name, query.cause)
    elif order in get_args(Command):
        write = functools.partial(services.controller.analysis.rollouts.command, cause=query.cause)
        await asyncio.to_thread(write, name, cast("Command", order))
    else:
        raise NotFound(f"a rollout takes the orders {', '.join(get_args(Command))} and undo, not '{order[:40]}'")
    await services.controller.settled()
    return await get(services, name)


def _undo(services: Services, name: str, cause: Cause) -> None:
    """Back to the revision before: at once while the rollout goes on, or else by declaring that one."""
    last, declared = _last(services, name), services.state.endpoint(name)
    if last.progress.live:
        services.controller.analysis.rollouts.command(name, "abort", cause=cause)
        return
    if declared is None or last.progress.phase != "done" or declared.revision != last.progress.candidate:
        raise Conflict(f"the last rollout of '{name}' is {last.progress.phase}: there is nothing to undo")
    before = services.state.revisions()[last.progress.stable]
    fields: dict[str, object] = {"model": f"{before.model}:{before.version}", "runtime": before.runtime}
    endpoint: Endpoint = msgspec.structs.replace(declared.endpoint, follow=False, **fields)
    services.state.declare(endpoint, before, cause=cause, expected=declared.generation)


_ROLLOUT = "/v1/endpoints/{name}/rollout"
ROUTES = (
    Route("GET", _ROLLOUT, get, "The last rollout"),
    Route("POST", _ROLLOUT + "/{order}", order, "pause, resume, promote, abort or undo"),
)
