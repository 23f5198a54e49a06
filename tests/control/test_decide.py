"""The decisions about one endpoint, one at a time; `test_strategy.py` simulates them whole."""

from argosy.control.decide import Remove, Route, Scale, decide
from argosy.control.rollout.strategy import Observation, Wanted
from argosy.store.endpoints import Serving
from tests.control.rollout.test_strategy import status


def test_the_first_revision_takes_traffic_when_one_replica_is_ready():
    wanted = Wanted(revision="a", replicas=2)
    actions, state = decide(Observation(wanted=wanted), Serving())
    assert actions == (Scale("a", 2), Route())
    actions, state = decide(Observation(wanted=wanted, running={"a": status(ready=1)}), state)
    assert actions == (Scale("a", 2), Route((("a", 100),)))
    assert state == Serving(active="a", held=2)


def test_traffic_follows_the_ready_replicas_of_a_new_revision_and_then_the_old_one_goes():
    wanted, state = Wanted(revision="b", replicas=2), Serving(active="a", held=3)
    half = Observation(wanted=wanted, running={"a": status(ready=3), "b": status(ready=1)}, routed=frozenset("a"))
    actions, state = decide(half, state)
    assert actions == (Scale("a", 3), Scale("b", 2), Route((("a", 50), ("b", 50))))
    full = Observation(wanted=wanted, running={"a": status(ready=3), "b": status(ready=2)}, routed=frozenset("a"))
    actions, state = decide(full, state)
    assert actions == (Scale("b", 2), Route((("b", 100),)))
    gone = Observation(wanted=wanted, running=full.running, routed=frozenset("b"))
    assert decide(gone, state)[0] == (Scale("b", 2), Route((("b", 100),)), Remove("a"))


def test_a_failed_revision_never_takes_over():
    seen = Observation(
        wanted=Wanted(revision="b", replicas=1),
        running={"a": status(ready=1), "b": status(failed="golden example 3")},
        routed=frozenset("a"),
    )
    actions, state = decide(seen, Serving(active="a", held=1))
    assert Route((("a", 100),)) in actions
    assert state.active == "a"


def test_a_deleted_endpoint_loses_its_route_before_its_replicas():
    actions, _ = decide(Observation(wanted=None, running={"a": status(ready=1)}, routed=frozenset("a")), Serving())
    assert actions == (Route(),)
    assert decide(Observation(wanted=None, running={"a": status(ready=1)}), Serving())[0] == (Route(), Remove("a"))


def test_no_replicas_means_no_traffic_at_once():
    seen = Observation(wanted=Wanted(revision="a", replicas=0), running={"a": status(ready=2)}, routed=frozenset("a"))
    actions, _ = decide(seen, Serving(active="a", held=2))
    assert actions == (Scale("a", 0), Route())
