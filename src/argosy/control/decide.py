"""What to do about one endpoint: from what is declared and observed to actions and the state after them. Pure.

A new revision starts beside the one that serves and takes its traffic as its rollout says (`strategy.py`); until it has
all of it, and for as long after as was declared, the old one keeps every replica it had. Only `recreate` stops the old
one first, unless a shadow comes before it: it is for models that do not fit twice.
"""

import msgspec

from argosy.control.rollout.strategy import Observation, advance, scales, shadow, weights
from argosy.store.endpoints import Serving


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


def decide(observed: Observation, state: Serving) -> tuple[tuple[Action, ...], Serving]:
    """The actions, in order, and what to remember before the first of them is done."""
    if observed.wanted is None:
        return (Route(), *_removals(observed, keep=set())), Serving()
    wanted = observed.wanted
    state = advance(observed, wanted, state)
    scaled = scales(observed, wanted, state)
    stopped = state.active == wanted.revision and not wanted.replicas and not wanted.elastic
    route = Route() if stopped else unchanged(observed, state)
    keep = {revision for revision, _ in scaled}
    return (*(Scale(*each) for each in scaled), route, *_removals(observed, keep)), state


def unchanged(observed: Observation, state: Serving) -> Route:
    """The route as it is stored: for a decision that could not be written, and so must not be acted upon."""
    return Route(weights(observed, state), shadow(observed, state))


def _removals(observed: Observation, keep: set[str]) -> list[Remove]:
    return [Remove(revision) for revision in sorted(observed.running) if revision not in (*keep, *observed.routed)]
