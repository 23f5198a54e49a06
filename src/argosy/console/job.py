"""The page of batch jobs, and cancelling one."""

import time

from starlette.responses import RedirectResponse, Response

from argosy.api import jobs as api
from argosy.api.jobs import JobStatus, Why
from argosy.api.route import Call
from argosy.console.action import ACTOR, Action
from argosy.console.pages import HEADERS, ROOT, Ask, Desk

CANCEL = Action(
    title="Cancel the job",
    text="What runs commits what it has and ends; its schedule is over. What was written stays, and can be resumed.",
    button="Cancel the job",
    danger=True,
)
RUNS = 20


async def page(desk: Desk, ask: Ask) -> Response:
    """Every job with its last run: how far it is, what it has cost so far, when it runs again."""
    found = await api.every(Call(services=desk.services, path={}))
    return desk.render(ask, "jobs.html", jobs=found, now=time.time())


async def one(desk: Desk, ask: Ask) -> Response:
    """One job: what it does, and its last runs."""
    return desk.render(ask, "job.html", one=await _find(desk, ask), runs=RUNS, now=time.time())


async def confirm(desk: Desk, ask: Ask) -> Response:
    """The form that asks."""
    return desk.render(ask, "canceljob.html", one=await _find(desk, ask), action=CANCEL)


async def cancel(desk: Desk, ask: Ask) -> Response:
    """Cancel it, and go back to it."""
    found = await _find(desk, ask)
    why = Why(actor=ACTOR, reason=ask.form.get("reason", "")[:4000])
    await api.cancel(Call(services=desk.services, path={"name": found.name}, body=why))
    return RedirectResponse(f"{ROOT}/jobs/{found.name}", 303, HEADERS)


async def _find(desk: Desk, ask: Ask) -> JobStatus:
    return await api.one(Call(services=desk.services, path={"name": ask.path["name"]}))
