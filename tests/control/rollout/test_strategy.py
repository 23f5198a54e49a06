"""Rollouts, simulated whole: replicas that start, fail and end while guards judge, people order and clocks jump."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.control.decide import Remove, Route, Scale, decide
from argosy.control.rollout.progress import command
from argosy.control.rollout.strategy import Observation, Wanted
from argosy.spec.address import Address
from argosy.spec.errors import Conflict
from argosy.spec.guard import Advice
from argosy.spec.revision import Replica, RevisionStatus
from argosy.spec.rollout import Rollout, Shadow, Step
from argosy.store.endpoints import WENT_BACK, Serving

CANARY = Rollout(strategy="canary", steps=(Step(weight=5, requests=10), Step(weight=50, seconds=3.0)), keep_warm=10.0)


def status(ready: int = 0, failed: str = "", replaced: int = 0, trouble: str = "") -> RevisionStatus:
    """A revision with so many replicas, all of them ready."""
    one = Replica(id="d-0", endpoint="d", revision="r", phase="ready", http=Address(), started=0.0)
    return RevisionStatus(replicas=(one,) * ready, failed=failed, replaced=replaced, trouble=trouble)


class World:
    """A target and a gateway that do as they are told, each step a little; five requests a step for each percent."""

    def __init__(self, broken: frozenset[str] = frozenset()) -> None:
        self.broken, self.state = broken, Serving()
        self.want: dict[str, int] = {}
        self.ready: dict[str, int] = {}
        self.weights: tuple[tuple[str, int], ...] = ()
        self.now = 1000.0
        self.exposed: dict[int, int] = {}
        self.guard = Advice()
        self.comparison = Advice()
        self.shadow = ""
        self.replaced: dict[str, int] = {}
        self.cached: tuple[float, float] | None = None

    def step(self, wanted: Wanted | None, gateway_works: bool = True, seconds: float = 1.0) -> None:
        self.now += seconds
        running = {r: self.seen(r, n) for r, n in self.ready.items()}
        routed = frozenset([*(revision for revision, _ in self.weights), *([self.shadow] if self.shadow else [])])
        number = self.state.rollout.number if self.state.rollout else 0
        exposed = self.exposed.get(number, 0)
        seen = Observation(
            wanted=wanted,
            running=running,
            routed=routed,
            now=self.now,
            guard=self.guard,
            comparison=self.comparison,
            exposed=exposed,
            cached=self.cached,
        )
        before, was = dict(self.ready), self.state
        actions, self.state = decide(seen, self.state)
        self.check_scales(actions, was)
        for action in actions:
            if isinstance(action, Scale):
                self.want[action.revision] = action.replicas
                self.ready.setdefault(action.revision, 0)
                self.ready[action.revision] = min(self.ready[action.revision], action.replicas)
            elif isinstance(action, Route):
                self.check_route(action, running)
                if gateway_works:
                    self.weights, self.shadow = action.weights, action.shadow
            else:
                assert action.revision not in routed, "nothing that has traffic is stopped"
                self.want.pop(action.revision, None)
                del self.ready[action.revision]
        self.check(wanted, before, was, gateway_works)
        if self.state.rollout:
            share = dict(self.weights).get(self.state.rollout.candidate, 0)
            number = self.state.rollout.number
            self.exposed[number] = self.exposed.get(number, 0) + share

    def seen(self, revision: str, ready: int) -> RevisionStatus:
        failed, replaced = "no" if revision in self.broken else "", self.replaced.get(revision, 0)
        return status(ready, failed=failed, replaced=replaced, trouble=f"end {replaced}")

    def check_scales(self, actions: tuple[Scale | Route | Remove, ...], was: Serving) -> None:
        """Until promoted and past `keep_warm`, the stable revision has what it had: going back needs no new process."""
        rollout = self.state.rollout
        if rollout and rollout.live and rollout.stable in self.ready:
            assert Scale(rollout.stable, rollout.held) in actions or self.recreates
        if rollout and was.rollout and was.rollout.live and rollout.phase in WENT_BACK and not self.recreates:
            assert self.state.active == rollout.stable
            assert self.want.get(rollout.stable, 0) >= was.rollout.held

    recreates = False

    def check_route(self, route: Route, running: dict[str, RevisionStatus]) -> None:
        assert sum(weight for _, weight in route.weights) in (0, 100)
        if route.shadow:
            assert running[route.shadow].ready, "only the ready get copies"
            assert route.shadow not in dict(route.weights), "no caller sees a shadow's answer"
        if len(route.weights) > 1:
            assert all(running[revision].ready for revision, _ in route.weights), "only the ready share"

    def check(self, wanted: Wanted | None, before: dict[str, int], was: Serving, gateway_works: bool) -> None:
        """Who serves goes on with all it had until another is as strong, or until it is declared smaller itself."""
        assert not {self.shadow, *(revision for revision, _ in self.weights)} & self.broken
        if rollout := self.state.rollout:
            before_users = rollout.phase in ("starting", "shadowing")
            assert not (before_users and rollout.weight), "no share before the shadow is over"
            assert rollout.phase == "shadowing" or not (self.shadow == rollout.candidate and gateway_works)
        old, new, rollout = was.active, self.state.active, self.state.rollout
        if wanted is None or self.recreates or old is None or new is None:
            return
        if old == new:
            least = wanted.replicas if new == wanted.revision else min(was.held, self.state.held)
            assert self.ready.get(new, 0) >= min(before.get(new, 0), least)
        elif not (rollout and rollout.phase in WENT_BACK):
            assert self.ready.get(new, 0) >= wanted.replicas or not before.get(old, 0)

    def grow(self) -> None:
        for revision, want in self.want.items():
            if revision not in self.broken and self.ready[revision] < want:
                self.ready[revision] += 1

    def run(self, wanted: Wanted, steps: int) -> "World":
        for _ in range(steps):
            self.step(wanted)
            self.grow()
        return self


def serving(policy: Rollout = CANARY, guarded: bool = False) -> tuple[World, Wanted]:
    """A world in which a serves with two replicas, and the declaration of b."""
    world = World().run(Wanted(revision="a", replicas=2, generation=1), 4)
    assert world.weights == (("a", 100),)
    return world, Wanted(revision="b", replicas=2, generation=2, policy=policy, guarded=guarded)


def test_a_canary_goes_step_by_step_and_keeps_the_old_one_warm():
    world, b = serving()
    seen: list[int] = []
    for _ in range(30):
        world.run(b, 1)
        if (share := dict(world.weights).get("b", 0)) not in seen:
            seen.append(share)
    assert seen == [0, 5, 50, 100]
    assert world.state.rollout
    assert world.state.rollout.phase == "done"
    assert world.ready == {"b": 2}


def test_a_guard_that_is_not_sure_holds_and_one_that_alarms_goes_back_without_a_new_process():
    world, b = serving(guarded=True)
    world.run(b, 30)
    assert world.weights == (("a", 95), ("b", 5))
    world.guard = Advice(verdict="pause", reason="the metric stopped arriving")
    world.run(b, 3)
    assert world.state.rollout
    assert world.state.rollout.reason == "the metric stopped arriving"
    world.guard = Advice(verdict="rollback", reason="errors got worse")
    world.step(b)
    assert world.weights == (("a", 100),)
    assert world.ready["a"] == 2
    world.guard = Advice()
    world.run(b, 10)
    assert (world.ready, world.state.rollout.phase) == ({"a": 2}, "rolled-back")
    again = msgspec.structs.replace(b, generation=3)
    world.run(again, 5)
    assert world.weights == (("a", 95), ("b", 5)), "declared anew, it is tried anew"


def test_an_alarm_while_the_old_one_is_warm_switches_back_at_once():
    world, b = serving(Rollout(strategy="blue-green", keep_warm=60.0), guarded=True)
    world.run(b, 5)
    assert world.weights == (("b", 100),)
    assert world.ready == {"a": 2, "b": 2}
    world.guard = Advice(verdict="rollback", reason="error rate")
    world.step(b)
    assert world.weights == (("a", 100),)


def test_a_candidate_that_does_not_become_ready_is_rolled_back():
    world = World(broken=frozenset("x")).run(Wanted(revision="a", replicas=1, generation=1), 3)
    world.run(Wanted(revision="x", replicas=1, generation=2, policy=CANARY), 4)
    assert world.state.rollout
    assert (world.state.rollout.phase, world.ready, world.weights) == ("rolled-back", {"a": 1}, (("a", 100),))


def test_a_candidate_whose_replicas_must_be_replaced_again_and_again_is_rolled_back():
    world, b = serving()
    world.replaced["a"] = 7
    world.run(b, 3)
    world.replaced |= {"b": 2}
    world.run(b, 5)
    assert world.state.rollout
    assert world.state.rollout.live, "one request can end two, here as there"
    world.replaced["b"] = 3
    world.step(b)
    assert (world.state.rollout.phase, world.weights) == ("rolled-back", (("a", 100),))
    assert world.state.rollout.reason == "its replicas had to be replaced 3 times (the stable's: 0); the last: end 3"


def test_a_step_counts_from_the_last_replacement():
    world, b = serving()
    world.run(b, 4)
    assert world.state.rollout
    assert world.state.rollout.served == 5
    world.replaced["b"] = 1
    world.step(b)
    assert (world.state.rollout.served, world.state.rollout.spent) == (0, 0.0)
    world.step(b)
    assert world.weights == (("a", 95), ("b", 5))
    world.step(b)
    assert world.weights == (("a", 50), ("b", 50))


def test_a_machine_that_ends_replicas_of_both_blames_no_candidate_and_a_new_controller_counts_on():
    world, b = serving()
    world.run(b, 3)
    world.replaced |= {"a": 2, "b": 2}
    world.step(b)
    world.replaced = {}
    world.step(b)
    world.replaced |= {"a": 3, "b": 3}
    world.step(b)
    assert world.state.rollout
    assert (world.state.rollout.live, world.state.rollout.replaced) == (True, (5, 5))
    world.replaced["b"] = 6
    world.step(b)
    assert not world.state.rollout.live


def test_recreate_stops_the_old_one_first():
    world, b = serving(Rollout(strategy="recreate"))
    world.recreates = True
    world.step(b)
    assert world.want == {"a": 0, "b": 0}
    world.run(b, 5)
    assert (world.weights, world.ready) == ((("b", 100),), {"b": 2})


def test_rolling_with_a_guard_stays_at_half_until_it_is_sure():
    world, b = serving(Rollout(), guarded=True)
    world.run(b, 10)
    assert world.weights == (("a", 50), ("b", 50))
    world.guard = Advice(verdict="advance", reason="proven")
    world.run(b, 3)
    assert world.weights == (("b", 100),)


def order(world: World, what: str) -> bool:
    assert world.state.rollout
    try:
        world.state = msgspec.structs.replace(world.state, rollout=command(world.state.rollout, what))  # pyright: ignore
    except Conflict:
        return False
    return True


@pytest.mark.parametrize(("first", "second", "winner"), [("promote", "abort", "b"), ("abort", "promote", "a")])
def test_of_a_promotion_and_an_abort_the_first_wins(first: str, second: str, winner: str):
    world, b = serving(guarded=True)
    world.run(b, 5)
    assert order(world, first)
    assert not order(world, second)
    world.run(b, 20)
    assert world.weights == ((winner, 100),)


def test_a_paused_rollout_waits_and_still_goes_back():
    world, b = serving()
    world.run(b, 3)
    assert order(world, "pause")
    world.run(b, 20)
    assert world.weights == (("a", 95), ("b", 5))
    assert order(world, "resume")
    world.run(b, 1)
    assert world.weights == (("a", 50), ("b", 50))


def test_a_jump_of_the_clock_passes_no_step():
    world, b = serving(Rollout(strategy="canary", steps=(Step(weight=5, seconds=60.0),)))
    world.run(b, 4)
    world.step(b, seconds=86400.0)
    world.step(b, seconds=-86400.0)
    assert world.weights == (("a", 95), ("b", 5))


def test_the_stable_revision_declared_again_ends_the_rollout():
    world, b = serving()
    world.run(b, 4)
    world.run(Wanted(revision="a", replicas=2, generation=3), 3)
    assert world.state.rollout
    assert (world.state.rollout.phase, world.ready) == ("superseded", {"a": 2})


def shadowed(policy: Rollout) -> Rollout:
    return msgspec.structs.replace(policy, shadow=Shadow())


policies = st.sampled_from(
    [
        Rollout(),
        Rollout(keep_warm=2.0),
        Rollout(strategy="blue-green", keep_warm=3.0),
        CANARY,
        Rollout(strategy="canary", steps=(Step(weight=10),)),
        shadowed(Rollout()),
        shadowed(CANARY),
        shadowed(Rollout(strategy="blue-green", keep_warm=3.0)),
    ]
)
declarations = st.builds(
    Wanted,
    revision=st.sampled_from("abcx"),
    replicas=st.integers(1, 4),
    policy=policies,
    guarded=st.booleans(),
    elastic=st.booleans(),
)
judgements = st.sampled_from(["hold", "advance", "pause", "rollback"]).map(lambda v: Advice(verdict=v))  # pyright: ignore
orders = st.sampled_from(["", "", "pause", "resume", "promote", "abort"])
events = st.tuples(judgements, judgements, orders, st.booleans(), st.floats(-5, 20))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(declarations, st.lists(events, max_size=8)), min_size=1, max_size=8))
def test_the_invariants_hold_through_every_history(history):
    world = World(broken=frozenset("x"))
    for generation, (wanted, steps) in enumerate(history):
        wanted = msgspec.structs.replace(wanted, generation=generation)
        for judged, compared, what, works, seconds in steps:
            world.guard, world.comparison = judged, compared
            world.step(wanted, works, seconds)
            world.grow()
            if what and world.state.rollout:
                order(world, what)
    last = msgspec.structs.replace(history[-1][0], generation=99, policy=Rollout(), guarded=False)
    world.guard = Advice()
    if world.state.rollout and world.state.rollout.live:
        order(world, "resume")
    world.run(last, 30)
    rollout = world.state.rollout
    aborted = rollout and rollout.phase in WENT_BACK and rollout.candidate == last.revision
    if last.revision not in world.broken and not aborted:
        assert world.ready == {last.revision: last.replicas}
        assert world.weights == ((last.revision, 100),)
    for _ in range(3):
        world.step(None)
    assert world.ready == {}
    assert world.weights == ()
