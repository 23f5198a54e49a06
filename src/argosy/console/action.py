"""What can be done from the console. Each is confirmed on a form of its own, and the ledger has it as `console`."""

import asyncio

import msgspec
from starlette.responses import RedirectResponse, Response

from argosy.api import rollouts
from argosy.api.endpoints import Written
from argosy.api.route import Call, Services
from argosy.console import endpoint
from argosy.console.pages import HEADERS, ROOT, Ask, Desk
from argosy.control.admission import check_possible
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import Conflict, InvalidArgument, NotFound
from argosy.spec.scaling import Scaling
from argosy.store.ledger import Cause
from argosy.targets.base import Capacity

ACTOR = "console"


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """An action as its form words it; `danger` where it takes something away from users."""

    title: str
    text: str
    button: str
    danger: bool = False


ORDERS = {
    "promote": Action(
        title="Promote the candidate",
        text="It gets all traffic as soon as it is ready, whatever the guard says.",
        button="Promote",
    ),
    "abort": Action(
        title="Abort the rollout",
        text="The stable revision gets all traffic back at once.",
        button="Abort the rollout",
        danger=True,
    ),
    "pause": Action(
        title="Pause the rollout",
        text="It stays at this step. Evidence of harm still rolls it back.",
        button="Pause",
    ),
    "resume": Action(title="Go on with the rollout", text="It goes on from the step at which it is.", button="Resume"),
    "undo": Action(
        title="Roll back",
        text="The revision before the last rollout is declared again and takes the traffic by the endpoint's strategy.",
        button="Roll back",
        danger=True,
    ),
}
SCALE = Action(title="Scale", text="Only the number of replicas changes; the revision stays.", button="Scale")


async def confirm(desk: Desk, ask: Ask) -> Response:
    """The form that asks. Without scripts it is a page, with them it opens in the dialog."""
    return _form(desk, ask)


def _form(desk: Desk, ask: Ask, error: str = "", status: int = 200) -> Response:
    one, what = endpoint.find(desk, ask), ask.path["action"]
    return desk.render(
        ask,
        "confirm.html",
        status,
        one=one,
        what=what,
        action=_action(what),
        error=error,
        scaling=one.endpoint.replicas if isinstance(one.endpoint.replicas, Scaling) else None,
        target=f"{ROOT}/endpoints/{one.name}/do/{what}",
        back=f"{ROOT}/endpoints/{one.name}",
    )


def _action(what: str) -> Action:
    if what == "scale":
        return SCALE
    if what in ORDERS:
        return ORDERS[what]
    raise NotFound(f"there is nothing like '{what[:40]}' to be done")


async def perform(desk: Desk, ask: Ask) -> Response:
    """Do it, and go back to the endpoint. What cannot be done is told on the form."""
    one, what = endpoint.find(desk, ask), ask.path["action"]
    _action(what)
    reason = ask.form.get("reason", "").strip()
    try:
        if what == "scale":
            there = await desk.services.controller.target.capacity()
            await asyncio.to_thread(_scale, desk.services, one.name, ask, reason, there)
            await desk.services.controller.settled()
        else:
            query = Written(actor=ACTOR, reason=reason)
            await rollouts.order(Call(services=desk.services, path={"name": one.name, "order": what}, query=query))
    except (Conflict, InvalidArgument, NotFound) as error:
        return _form(desk, ask, error.message, error.http)
    tail = "" if what == "scale" else "/rollout"
    return RedirectResponse(f"{ROOT}/endpoints/{one.name}{tail}", 303, HEADERS)


def _scale(services: Services, name: str, ask: Ask, reason: str, there: Capacity) -> None:
    """Declare another number of replicas for the same revision: an alias that has moved meanwhile changes nothing."""
    declared = services.state.endpoint(name)
    if declared is None:
        raise NotFound(f"there is no endpoint '{name}'")
    old = declared.endpoint
    wanted: int | Scaling
    if isinstance(old.replicas, Scaling):
        wanted = msgspec.structs.replace(old.replicas, min=_count(ask, "min"), max=_count(ask, "max"))
    else:
        wanted = _count(ask, "replicas")
    fresh: Endpoint = msgspec.structs.replace(old, replicas=wanted)
    check_possible(fresh, [each.endpoint for each in services.state.endpoints()], services.settings, there)
    revision = services.state.revisions()[declared.revision]
    cause = Cause(actor=ACTOR, reason=Written(reason=reason).reason)
    services.state.declare(fresh, revision, cause=cause, expected=_count(ask, "generation"))


def _count(ask: Ask, field: str) -> int:
    text = ask.form.get(field, "")
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise InvalidArgument(f"{field} must be a whole number, not '{text[:20]}'")
    return int(text)
