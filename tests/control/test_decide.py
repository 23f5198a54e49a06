"""The decisions about one endpoint, simulated whole: replicas that start, fail and end while declarations change."""

from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.control.decide import Observation, Remove, Route, Scale, Seen, Serving, Wanted, decide


def test_the_first_revision_takes_traffic_when_one_replica_is_ready():
    wanted = Wanted(revision="a", replicas=2)
    actions, state = decide(Observation(wanted=wanted), Serving())
    assert actions == (Scale("a", 2), Route())
    actions, state = decide(Observation(wanted=wanted, running={"a": Seen(ready=1)}), state)
    assert actions == (Scale("a", 2), Route((("a", 100),)))
    assert state == Serving(active="a", held=2)


def test_a_new_revision_takes_over_at_full_strength_and_then_the_old_one_goes():
    wanted, state = Wanted(revision="b", replicas=2), Serving(active="a", held=3)
    half = Observation(wanted=wanted, running={"a": Seen(ready=3), "b": Seen(ready=1)}, routed=frozenset("a"))
    actions, state = decide(half, state)
    assert actions == (Scale("a", 3), Scale("b", 2), Route((("a", 100),)))
    full = Observation(wanted=wanted, running={"a": Seen(ready=3), "b": Seen(ready=2)}, routed=frozenset("a"))
    actions, state = decide(full, state)
    assert actions == (Scale("b", 2), Route((("b", 100),)))
    gone = Observation(wanted=wanted, running=full.running, routed=frozenset("b"))
    assert decide(gone, state)[0] == (Scale("b", 2), Route((("b", 100),)), Remove("a"))


def test_a_failed_revision_never_takes_over():
    seen = Observation(
        wanted=Wanted(revision="b", replicas=1),
        running={"a": Seen(ready=1), "b": Seen(failed="golden example 3")},
        routed=frozenset("a"),
    )
    actions, state = decide(seen, Serving(active="a", held=1))
    assert Route((("a", 100),)) in actions
    assert state.active == "a"


def test_a_deleted_endpoint_loses_its_route_before_its_replicas():
    actions, _ = decide(Observation(wanted=None, running={"a": Seen(ready=1)}, routed=frozenset("a")), Serving())
    assert actions == (Route(),)
    assert decide(Observation(wanted=None, running={"a": Seen(ready=1)}), Serving())[0] == (Route(), Remove("a"))


def test_no_replicas_means_no_traffic_at_once():
    seen = Observation(wanted=Wanted(revision="a", replicas=0), running={"a": Seen(ready=2)}, routed=frozenset("a"))
    actions, _ = decide(seen, Serving(active="a", held=2))
    assert actions == (Scale("a", 0), Route())


class World:
    """A target and a gateway that do as they are told, each step a little."""

    def __init__(self, broken: frozenset[str]) -> None:
        self.broken, self.state = broken, Serving()
        self.want: dict[str, int] = {}
        self.ready: dict[str, int] = {}
        self.weights: tuple[tuple[str, int], ...] = ()
        self.floor = 0

    def step(self, wanted: Wanted | None, gateway_works: bool = True) -> None:
        running = {r: Seen(ready=n, failed="no" if r in self.broken else "") for r, n in self.ready.items()}
        routed = frozenset(revision for revision, _ in self.weights)
        seen = Observation(wanted=wanted, running=running, routed=routed)
        before = self.capacity()
        actions, self.state = decide(seen, self.state)
        assert decide(seen, self.state) == (actions, self.state), "asked again, it says the same"
        for action in actions:
            if isinstance(action, Scale):
                self.want[action.revision] = action.replicas
                self.ready.setdefault(action.revision, 0)
                self.ready[action.revision] = min(self.ready[action.revision], action.replicas)
            elif isinstance(action, Route):
                self.weights = action.weights if gateway_works else self.weights
            else:
                assert action.revision not in routed, "nothing that has traffic is stopped"
                self.want.pop(action.revision, None)
                del self.ready[action.revision]
        self.check(wanted, before)
        if wanted is not None:
            self.floor = wanted.replicas if gateway_works else min(self.floor, wanted.replicas)

    def check(self, wanted: Wanted | None, before: int) -> None:
        assert sum(weight for _, weight in self.weights) in (0, 100)
        if wanted is not None:
            assert self.capacity() >= min(before, self.floor, wanted.replicas), "it only falls to what is declared"
        assert not {revision for revision, _ in self.weights} & self.broken

    def capacity(self) -> int:
        return sum(self.ready.get(revision, 0) for revision, _ in self.weights)

    def grow(self) -> None:
        for revision, want in self.want.items():
            if revision not in self.broken and self.ready[revision] < want:
                self.ready[revision] += 1


declarations = st.one_of(
    st.builds(Wanted, revision=st.sampled_from("abc"), replicas=st.integers(1, 4)),
    st.builds(Wanted, revision=st.sampled_from("abcx"), replicas=st.integers(1, 4)),
)


@settings(max_examples=300)
@given(st.lists(st.tuples(declarations, st.integers(0, 6), st.booleans()), min_size=1, max_size=12))
def test_capacity_weights_and_failed_revisions_hold_through_every_change(history):
    world = World(broken=frozenset("x"))
    for wanted, steps, works in history:
        for _ in range(steps):
            world.step(wanted, works)
            world.grow()
    last = history[-1][0]
    for _ in range(12):
        world.step(last)
        world.grow()
    world.step(last)
    if last.revision not in world.broken:
        assert world.ready == {last.revision: last.replicas}
        assert world.weights == ((last.revision, 100),)
    for _ in range(3):
        world.step(None)
    assert world.ready == {}
    assert world.weights == ()
