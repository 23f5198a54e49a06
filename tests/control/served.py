"""Note which revision has the traffic, as the controller does."""

from argosy.control.rollout.evidence import Evidence
from argosy.control.rollout.table import Rollouts
from argosy.control.state import State
from argosy.store.endpoints import Serving


def serve(state: State, name: str, serving: Serving) -> None:
    weights = {serving.active: 100} if serving.active and serving.held else {}
    Rollouts(state.database).note(name, serving, Evidence(), None, weights)
