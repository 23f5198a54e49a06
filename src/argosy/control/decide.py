"""What to do about one endpoint: pure, from what is declared and seen to actions and the state after them.

A new revision starts beside the one that serves and takes its traffic as its rollout says (`strategy.py`); until it has
all of it, and for as long after as was declared, the old one keeps every replica it had. Only `recreate` stops the old
one first, unless a shadow comes before it: it is for models that do not fit twice.
"""

import msgspec

from argosy.control.rollout.strategy import WHOLE, Judged, Observation, Seen, Wanted, advance, scales, shadow, weights
from argosy.store.endpoints import Serving

__all__ = [
    "WHOLE",
    "Action",
    "Judged",
    "Observation",
    "Remove",
    "Route",
    "Scale",
    "Seen",
    "Wanted",
    "decide",
    "unchanged",
]


class Scale(msgspec.Struct, frozen=True):
    """Have this many replicas of a revision."""

    revision: str
    replicas: int


class Route(msgspec.Struct, frozen=True):
    """Give the traffic to these revisions, by weight; to none of them, if there are none. Comes after every Scale.
    `shadow`: a revision that gets copies."""

    weights: tuple[tuple[str, int], ...] = ()
    shadow: str = ""


class Remove(msgspec.Struct, frozen=True):
    """Drain and stop a revision that no route leads to any more."""

    revision: str


Action = Scale | Route | Remove


def decide(seen: Observation, state: Serving) -> tuple[tuple[Action, ...], Serving]:
    """The actions, in order, and what to remember before the first of them is done."""
    if seen.wanted is None:
        return (Route(), *_removals(seen, keep=set())), Serving()
    wanted = seen.wanted
    state = advance(seen, wanted, state)
    scaled = scales(seen, wanted, state)
    stopped = state.active == wanted.revision and not wanted.replicas and not wanted.elastic
    route = Route() if stopped else unchanged(seen, state)
    keep = {revision for revision, _ in scaled}
    return (*(Scale(*each) for each in scaled), route, *_removals(seen, keep)), state


def unchanged(seen: Observation, state: Serving) -> Route:
    """The route as it is remembered, for when a decision cannot be noted and so must not be acted upon."""
    return Route(weights(seen, state), shadow(seen, state))


def _removals(seen: Observation, keep: set[str]) -> list[Remove]:
    return [Remove(revision) for revision in sorted(seen.running) if revision not in (*keep, *seen.routed)]
