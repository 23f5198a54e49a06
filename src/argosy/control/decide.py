"""What to do about one endpoint: pure, from what is declared and seen to actions and the state after them.

A new revision starts beside the one that serves. It takes over when it is ready, and only then the old one goes; until
then, and if it never becomes ready, the old one keeps every replica it had.
"""

from collections.abc import Mapping

import msgspec

WHOLE = 100
"""What the weights of a route add up to, if it has any."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A revision as its target sees it."""

    ready: int = 0
    failed: str = ""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration: this revision, this many replicas."""

    revision: str
    replicas: int


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """`wanted` None: the endpoint was deleted. `routed`: the revisions in the snapshot the gateway confirmed."""

    wanted: Wanted | None
    running: Mapping[str, Seen] = {}
    routed: frozenset[str] = frozenset()


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered, durably: the revision that has the traffic, and how many replicas it keeps until replaced."""

    active: str | None = None
    held: int = 0


class Scale(msgspec.Struct, frozen=True):
    """Have this many replicas of a revision."""

    revision: str
    replicas: int


class Route(msgspec.Struct, frozen=True):
    """Give the traffic to these revisions, by weight; to none of them, if there are none. Comes after every Scale."""

    weights: tuple[tuple[str, int], ...] = ()


class Remove(msgspec.Struct, frozen=True):
    """Drain and stop a revision that no route leads to any more."""

    revision: str


Action = Scale | Route | Remove


def decide(seen: Observation, state: Serving) -> tuple[tuple[Action, ...], Serving]:
    """The actions, in order, and what to remember before the first of them is done."""
    if seen.wanted is None:
        return (Route(), *_removals(seen, keep=())), Serving()
    wanted, state = seen.wanted, _serving(seen, seen.wanted, state)
    actions: list[Action] = []
    if state.active is not None and state.active != wanted.revision:
        actions.append(Scale(state.active, state.held))
    actions.append(Scale(wanted.revision, wanted.replicas))
    stopped = state.active == wanted.revision and not wanted.replicas
    actions.append(Route() if stopped else unchanged(state))
    actions += _removals(seen, keep=(wanted.revision, state.active))
    return tuple(actions), state


def unchanged(state: Serving) -> Route:
    """The route as it is remembered, for when a decision cannot be noted and so must not be acted upon."""
    return Route(((state.active, WHOLE),)) if state.active else Route()


def _serving(seen: Observation, wanted: Wanted, state: Serving) -> Serving:
    if state.active == wanted.revision or _takes_over(seen, wanted, state):
        return Serving(active=wanted.revision, held=wanted.replicas)
    return state


def _takes_over(seen: Observation, wanted: Wanted, state: Serving) -> bool:
    """At full strength; or with any, where nothing serves now; or at once, where nothing shall serve."""
    ready = seen.running.get(wanted.revision, Seen()).ready
    serving = seen.running.get(state.active, Seen()).ready if state.active else 0
    return ready >= wanted.replicas or (ready > 0 and not serving)


def _removals(seen: Observation, keep: tuple[str | None, ...]) -> list[Remove]:
    return [Remove(revision) for revision in sorted(seen.running) if revision not in (*keep, *seen.routed)]
