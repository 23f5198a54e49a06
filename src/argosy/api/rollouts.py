"""`/v1/endpoints/{name}/rollout`: look at it, give it an order, undo it."""

import asyncio
import functools
from typing import cast, get_args

import msgspec

from argosy.api.endpoints import Written
from argosy.api.rollout_status import RolloutStatus, rollout_status
from argosy.api.route import Call, Route, Services
from argosy.control.rollout.progress import Command
from argosy.control.rollout.table import RolloutRow
from argosy.spec.endpoint import Endpoint, check_name
from argosy.spec.errors import Conflict, NotFound
from argosy.store.ledger import Cause


async def get(call: Call) -> RolloutStatus:
    """The last rollout of an endpoint. Raises NotFound where it has had none."""
    return await asyncio.to_thread(_status, call.services, check_name(call.path["name"]))


def _status(services: Services, name: str) -> RolloutStatus:
    declared, kept = services.state.endpoint(name), _kept(services, name)
    if declared is None:
        raise NotFound(f"there is no endpoint '{name}'")
    times = (kept.began, kept.ended)
    return rollout_status(declared.endpoint, kept.progress, kept.evidence, services.state.revisions(), times)


def _kept(services: Services, name: str) -> RolloutRow:
    kept = services.controller.analysis.rollouts.last().get(name)
    if kept is None:
        raise NotFound(f"endpoint '{name}' has had no rollout: what it serves was its first revision")
    return kept


async def order(call: Call) -> RolloutStatus:
    """Pause, resume, promote, abort or undo. Raises Conflict where that is not possible any more."""
    name, what = check_name(call.path["name"]), call.path["order"]
    services, cause = call.services, call.query.cause
    if what == "undo":
        await asyncio.to_thread(_undo, services, name, cause)
    elif what in get_args(Command):
        write = functools.partial(services.controller.analysis.rollouts.command, cause=cause)
        await asyncio.to_thread(write, name, cast("Command", what))
    else:
        raise NotFound(f"a rollout takes the orders {', '.join(get_args(Command))} and undo, not '{what[:40]}'")
    await services.controller.settled()
    return await asyncio.to_thread(_status, services, name)


def _undo(services: Services, name: str, cause: Cause) -> None:
    """Back to the revision before: at once while the rollout goes on, or else by declaring that one."""
    kept, declared = _kept(services, name), services.state.endpoint(name)
    if kept.progress.live:
        services.controller.analysis.rollouts.command(name, "abort", cause=cause)
        return
    if declared is None or kept.progress.phase != "done" or declared.revision != kept.progress.candidate:
        raise Conflict(f"the last rollout of '{name}' is {kept.progress.phase}: there is nothing to undo")
    before = services.state.revisions()[kept.progress.stable]
    fields: dict[str, object] = {"model": f"{before.model}:{before.version}", "runtime": before.runtime}
    endpoint: Endpoint = msgspec.structs.replace(declared.endpoint, follow=False, **fields)
    services.state.declare(endpoint, before, cause=cause, expected=declared.generation)


_ROLLOUT = "/v1/endpoints/{name}/rollout"
ROUTES = (
    Route(method="GET", path=_ROLLOUT, handler=get, summary="The last rollout", answer=RolloutStatus),
    Route(
        method="POST",
        path=_ROLLOUT + "/{order}",
        handler=order,
        summary="pause, resume, promote, abort or undo",
        query=Written,
        answer=RolloutStatus,
    ),
)
