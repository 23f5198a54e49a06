"""A fixed number of replicas: what every policy has to beat."""

import msgspec

from argosy.capacity.policy import Decision, Observation
from argosy_simulators.baselines import toward


class Static(msgspec.Struct, frozen=True):
    """Always `replicas`."""

    replicas: int
    interval: float = 60.0

    def begin(self) -> None:
        """No state."""

    def decide(self, observed: Observation, state: None) -> tuple[Decision, None]:
        """Start what is missing, stop what is over."""
        return toward(self.replicas, observed, f"always {self.replicas}"), state
