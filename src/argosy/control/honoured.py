"""The settings that a declaration may hold and this platform does not act upon yet: refused, never ignored."""

from collections.abc import Callable

from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument
from argosy.spec.scaling import Scaling, WaitingRoom

PENDING: dict[str, Callable[[Endpoint], bool]] = {
    "replicas.min of 0": lambda endpoint: isinstance(endpoint.replicas, Scaling) and not endpoint.replicas.min,
    "waiting": lambda endpoint: endpoint.waiting != WaitingRoom(),
    "rollout.strategy other than rolling": lambda endpoint: endpoint.rollout.strategy != "rolling",
    "rollout.keep_warm": lambda endpoint: endpoint.rollout.keep_warm > 0,
    "rollout.shadow": lambda endpoint: endpoint.rollout.shadow is not None,
    "rollout.sticky": lambda endpoint: endpoint.rollout.sticky is not None,
    "rollout.testers": lambda endpoint: endpoint.rollout.testers,
    "guard": lambda endpoint: endpoint.guard is not None,
}
"""Setting → whether a declaration makes use of it."""


def check_honoured(endpoint: Endpoint) -> None:
    """Raises InvalidArgument, naming every setting that would have no effect here."""
    if found := [name for name, used in PENDING.items() if used(endpoint)]:
        raise InvalidArgument(
            f"endpoint '{endpoint.name}' declares what this platform does not act upon: {', '.join(found)}; "
            "leave it out"
        )
