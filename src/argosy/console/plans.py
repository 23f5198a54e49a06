"""The page of plans: what runs where, what it costs, and what other choices would cost."""

import asyncio
from typing import Any, NamedTuple

from starlette.responses import Response

from argosy.console.pages import Console, PageRequest
from argosy.regions.placing import instead
from argosy.spec.plan import Alternative, KeptPlan, PlannedReplicas


class Choice(NamedTuple):
    """Replicas of a plan, and its alternative; `share`: of the dearest one, in percent."""

    placed: PlannedReplicas
    reason: Alternative | None
    instead: str
    share: float


async def page(console: Console, ask: PageRequest) -> Response:
    """One plan, the current one unless another is asked for, and a list of all."""
    plans = await asyncio.to_thread(console.services.plans.store.every)
    asked = [each for each in plans if str(each.number) == ask.query.get("plan")]
    current = [each for each in plans if each.state == "current"]
    chosen = next(iter((*asked, *current, *plans)), None)
    proposed = next((each for each in plans if each.state == "proposed" and each != chosen), None)
    choices, problem = _choices(chosen) if chosen else [], console.services.plans.problem
    found: dict[str, Any] = {"plans": plans, "chosen": chosen, "proposed": proposed, "choices": choices}
    return console.render(ask, "plans.html", problem=problem, **found)


def _choices(plan: KeptPlan) -> list[Choice]:
    """The dearest first."""
    reasons = {each.place: each for each in plan.plan.reasons}
    most = max((each.dearer or 0.0 for each in reasons.values()), default=0.0)
    found = list[Choice]()
    for each in sorted(plan.plan.placements, key=lambda each: -each.hourly):
        reason = reasons.get((each.model, each.variant, each.supply))
        share = 100 * (reason.dearer or 0.0) / most if reason and most else 0.0
        found.append(Choice(each, reason, instead(reason) if reason else "", share))
    return found
