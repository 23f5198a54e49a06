"""Other people's scaling policies, as they are, to measure ours against. Sources: their code and documentation."""

from argosy.capacity.policy import Decision, Observation


def toward(want: int, observed: Observation, reason: str) -> Decision:
    """The decision that makes `want` replicas of those there are, loading ones given up first, as Kubernetes does."""
    excess = observed.total - want
    if excess <= 0:
        return Decision(start=-excess, reason=reason)
    cancel = min(excess, observed.starting)
    return Decision(stop=excess - cancel, cancel=cancel, reason=reason)
