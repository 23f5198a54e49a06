"""The page of alerts, and muting one."""

import asyncio
import time

from starlette.responses import RedirectResponse, Response

from argosy.console.action import ACTOR, Action
from argosy.console.data import Alert
from argosy.console.pages import HEADERS, ROOT, Ask, Desk
from argosy.spec.errors import InvalidArgument, NotFound

HOURS = {"1": "an hour", "4": "4 hours", "24": "a day", "168": "a week", "0": "no longer"}
MUTE = Action(title="Mute an alert", text="It goes on, but no sink is told of it until then.", button="Mute")


async def page(desk: Desk, ask: Ask) -> Response:
    """Alerts: those that fire first, then the muted, then what is over."""
    found = await asyncio.to_thread(desk.data.alerts)
    order = {"firing": 0, "muted": 1}
    rows = sorted(found, key=lambda each: (order.get(each.state, 2), -each.since))
    return desk.render(ask, "alerts.html", alerts=rows, now=time.time())


async def confirm(desk: Desk, ask: Ask) -> Response:
    """The form that asks for how long."""
    return desk.render(ask, "mute.html", one=await _find(desk, ask.query.get("id", "")), action=MUTE, hours=HOURS)


async def mute(desk: Desk, ask: Ask) -> Response:
    """Mute it, and go back to the alerts."""
    one, hours = await _find(desk, ask.form.get("id", "")), ask.form.get("hours", "")
    if hours not in HOURS:
        raise InvalidArgument(f"an alert is muted for {', '.join(HOURS)} hours")
    until, reason = time.time() + 3600 * int(hours), ask.form.get("reason", "")[:4000]
    await asyncio.to_thread(desk.data.mute, one.id, until, ACTOR, reason)
    return RedirectResponse(f"{ROOT}/alerts", 303, HEADERS)


async def _find(desk: Desk, name: str) -> Alert:
    found = await asyncio.to_thread(desk.data.alerts)
    if one := next((each for each in found if each.id == name), None):
        return one
    raise NotFound("this alert is not there any more")
