"""The settings that a declaration may hold and this platform does not act upon yet: refused, never ignored."""

from collections.abc import Callable

from argosy.control.room import may_sleep
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument
from argosy.spec.scaling import WaitingRoom

PENDING: dict[str, Callable[[Endpoint], bool]] = {
    "waiting without replicas.min of 0": lambda endpoint: endpoint.waiting != WaitingRoom() and not may_sleep(endpoint),
    "rollout.shadow": lambda endpoint: endpoint.rollout.shadow is not None,
    "guard.metrics": lambda endpoint: endpoint.guard is not None and bool(endpoint.guard.metrics),
}
"""Setting → whether a declaration makes use of it."""


def check_honoured(endpoint: Endpoint) -> None:
    """Raises InvalidArgument, naming every setting that would have no effect here."""
    if found := [name for name, used in PENDING.items() if used(endpoint)]:
        raise InvalidArgument(
            f"endpoint '{endpoint.name}' declares what this platform does not act upon: {', '.join(found)}; "
            "leave it out"
        )
