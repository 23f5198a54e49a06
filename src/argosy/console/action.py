"""What can be done from the console. Each is confirmed on a form of its own, and the ledger records it as `console`."""

from typing import NamedTuple

import msgspec
from starlette.responses import Response

from argosy.api import alerts as alerts_api
from argosy.api import jobs as jobs_api
from argosy.api import rollouts
from argosy.api.alerts import Mute
from argosy.api.endpoints import Written, declare
from argosy.api.route import Services, Why
from argosy.console import endpoint, overview
from argosy.console.pages import ROOT, Console, PageRequest, see
from argosy.spec.errors import Conflict, InvalidArgument, NotFound
from argosy.spec.scaling import Scaling

ACTOR = "console"
HOURS = {"1": "an hour", "4": "4 hours", "24": "a day", "168": "a week", "0": "no longer"}


class Action(NamedTuple):
    """An action as its form words it; `danger` where it takes something away from users."""

    title: str
    text: str
    button: str
    danger: bool = False


_ALL = "It gets all traffic as soon as it is ready, whatever the guard says."
_BACK = "The revision before the last rollout is declared again and takes the traffic by the endpoint's strategy."
ACTIONS = {
    "promote": Action("Promote the candidate", _ALL, "Promote"),
    "abort": Action(
        "Abort the rollout", "The stable revision gets all traffic back at once.", "Abort the rollout", danger=True
    ),
    "pause": Action("Pause the rollout", "It stays at this step. Evidence of harm still rolls it back.", "Pause"),
    "resume": Action("Go on with the rollout", "It goes on from the step at which it is.", "Resume"),
    "undo": Action("Roll back", _BACK, "Roll back", danger=True),
    "scale": Action("Scale", "Only the number of replicas changes; the revision stays.", "Scale"),
}


def _reason(ask: PageRequest) -> str:
    return ask.form.get("reason", "").strip()[:4000]


async def confirm(console: Console, ask: PageRequest) -> Response:
    """The form that asks. Without scripts it is a page, with them it opens in the dialog."""
    return _form(console, ask)


def _form(console: Console, ask: PageRequest, error: str = "", status: int = 200) -> Response:
    one, what = endpoint.find(console, ask), ask.path["action"]
    return console.render(
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
    if what not in ACTIONS:
        raise NotFound(f"there is nothing like '{what[:40]}' to be done")
    return ACTIONS[what]


async def perform(console: Console, ask: PageRequest) -> Response:
    """Do it, and go back to the endpoint. What cannot be done is reported on the form."""
    one, what = endpoint.find(console, ask), ask.path["action"]
    _action(what)
    try:
        if what == "scale":
            await _scale(console.services, one.name, ask)
            return see(f"{ROOT}/endpoints/{one.name}")
        await rollouts.order(console.services, one.name, what, Written(actor=ACTOR, reason=_reason(ask)))
    except (Conflict, InvalidArgument, NotFound) as error:
        return _form(console, ask, error.message, error.http)
    return see(f"{ROOT}/endpoints/{one.name}/rollout")


async def _scale(services: Services, name: str, ask: PageRequest) -> None:
    """Declare another number of replicas for the same revision: an alias that has moved meanwhile changes nothing."""
    declared = services.state.endpoint(name)
    if declared is None:
        raise NotFound(f"there is no endpoint '{name}'")
    old, revision = declared.endpoint, services.state.revisions()[declared.revision]
    if isinstance(old.replicas, Scaling):
        bounds = msgspec.structs.replace(old.replicas, min=_count(ask, "min"), max=_count(ask, "max"))
        fresh = msgspec.structs.replace(old, replicas=bounds)
    else:
        fresh = msgspec.structs.replace(old, replicas=_count(ask, "replicas"))
    query = Written(actor=ACTOR, reason=_reason(ask), generation=_count(ask, "generation"))
    await declare(services, fresh, query, version=f"{revision.model}:{revision.version}", keys=False)
    await services.controller.settled()


def _count(ask: PageRequest, field: str) -> int:
    text = ask.form.get(field, "")
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise InvalidArgument(f"{field} must be a whole number, not '{text[:20]}'")
    return int(text)


async def confirm_mute(console: Console, ask: PageRequest) -> Response:
    """The form that asks for how long."""
    one = await overview.find_alert(console, ask.query.get("id", ""))
    return console.render(ask, "mute.html", one=one, hours=HOURS)


async def mute(console: Console, ask: PageRequest) -> Response:
    """Mute an alert, and go back to the alerts."""
    one, hours = await overview.find_alert(console, ask.form.get("id", "")), ask.form.get("hours", "")
    if hours not in HOURS:
        raise InvalidArgument(f"an alert is muted for {', '.join(HOURS)} hours")
    body = Mute(alert=one.id, seconds=3600.0 * int(hours), actor=ACTOR, reason=_reason(ask))
    await alerts_api.mute(console.services, body)
    return see(f"{ROOT}/alerts")


async def confirm_cancel(console: Console, ask: PageRequest) -> Response:
    found = await jobs_api.one(console.services, ask.path["name"])
    return console.render(ask, "canceljob.html", one=found)


async def cancel(console: Console, ask: PageRequest) -> Response:
    """Cancel a job, and go back to it."""
    found = await jobs_api.cancel(console.services, ask.path["name"], Why(actor=ACTOR, reason=_reason(ask)))
    return see(f"{ROOT}/jobs/{found.name}")
