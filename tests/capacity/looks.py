from typing import Any

from argosy.capacity.policy import Observation


def look(**changes: Any) -> Observation:
    """A quiet endpoint of one ready replica with 8 slots, with changes."""
    plain: dict[str, Any] = {
        "now": 0.0,
        "arrivals": 0,
        "in_flight": 0,
        "queue": 0,
        "service_time": 1.0,
        "concurrency": 8,
        "cold_start": 60.0,
        "ready": 1,
        "starting": 0,
    }
    return Observation(**(plain | changes))
