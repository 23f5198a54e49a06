import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.targets.backoff import Ended
from argosy.targets.supervise import RELEASE, Observation, ProcessState, Slot, failure, supervise


def step(state, want, now=0.0, *seen):
    return supervise(Observation(now=now, want=want, processes=tuple(seen)), state)


def test_starts_what_is_missing():
    actions, state = step({}, 3)
    assert actions == [("start", 0), ("start", 1), ("start", 2)]
    assert step(state, 3, 1.0, *(ProcessState(slot=n) for n in range(3)))[0] == []


def test_a_crash_restarts_the_same_slot_after_the_backoff():
    _, state = step({}, 1)
    actions, state = step(state, 1, 1.0, ProcessState(slot=0, ended=Ended(now=1.0, status=1, healthy=0, reason="boom")))
    assert actions == [("reap", 0)]
    assert step(state, 1, 1.2)[0] == []
    actions, state = step(state, 1, 1.6)
    assert actions == [("start", 0)]
    assert state[0].restarts == 1


def test_a_hung_replica_is_asked_then_killed_then_replaced():
    _, state = step({}, 1)
    actions, state = step(state, 1, 10.0, ProcessState(slot=0, verdict="hung"))
    assert actions == [("terminate", 0), ("start", 1)]
    actions, state = step(state, 1, 12.5, ProcessState(slot=0, verdict="hung"), ProcessState(slot=1))
    assert actions == [("kill", 0)]


def test_a_replica_past_its_bound_is_replaced_and_the_reason_is_kept():
    _, state = step({}, 1)
    over = "it used 9 MiB of memory"
    actions, state = step(state, 1, 10.0, ProcessState(slot=0, verdict="ready", over=over))
    assert actions == [("start", 1)]
    old = ProcessState(slot=0, verdict="ready", over=over)
    actions, state = step(state, 1, 11.0, old, ProcessState(slot=1))
    assert (actions, state[0].phase) == ([], "leaving"), "it serves until another one does"
    actions, state = step(state, 1, 12.0, old, ProcessState(slot=1, verdict="ready"))
    assert (actions, state[0].phase) == ([], "draining"), "the gateway lets go of it first"
    seen = (ProcessState(slot=0, verdict="ready", over=over, released=True), ProcessState(slot=1, verdict="ready"))
    actions, state = step(state, 1, 12.5, *seen)
    assert actions == [("terminate", 0)]
    ended = Ended(now=11.0, status=0, healthy=1.0, reason="bye")
    actions, state = step(state, 1, 11.0, ProcessState(slot=0, over=over, ended=ended), ProcessState(slot=1))
    assert actions == [("reap", 0)]
    assert over in state[0].backoff.reason


def test_a_replica_whose_host_will_go_serves_until_another_does_and_its_end_is_no_failure():
    _, state = step({}, 1)
    here, there = ProcessState(slot=0, verdict="ready", moves=True), ProcessState(slot=1)
    actions, state = step(state, 1, 10.0, here)
    assert actions == [("start", 1)]
    actions, state = step(state, 1, 5000.0, here, there)
    assert (actions, state[0].phase) == ([], "leaving"), "however long that takes"
    actions, state = step(state, 1, 5001.0, here, ProcessState(slot=1, verdict="ready"))
    assert state[0].phase == "draining"
    seen = (msgspec.structs.replace(here, released=True), ProcessState(slot=1, verdict="ready"))
    assert step(state, 1, 5002.0, *seen)[0] == [("terminate", 0)]
    ended = Ended(now=5003.0, status=0, healthy=1.0, reason="bye")
    _, state = step(state, 1, 5003.0, ProcessState(slot=0, moves=True, ended=ended), seen[1])
    assert state.get(0, Slot()).backoff.failures == 0
    _, state = step({}, 1)
    actions, state = step(state, 1, 1.0, ProcessState(slot=0, moves=True))
    assert actions == [("terminate", 0), ("start", 1)], "one that does not serve yet begins elsewhere"


def test_a_replica_past_its_bound_does_not_wait_for_ever_for_another_one():
    _, state = step({}, 1)
    seen = (ProcessState(slot=0, verdict="ready", over="it used 9 MiB of memory"), ProcessState(slot=1))
    _, state = step(state, 1, 10.0, seen[0])
    _, state = step(state, 1, 39.0, *seen)
    assert state[0].phase == "leaving"
    _, state = step(state, 1, 40.0, *seen)
    assert state[0].phase == "draining"
    _, state = step({0: Slot(phase="leaving", since=10.0)}, 0, 11.0, seen[0])
    assert state[0].phase == "draining", "none is wanted any more"


def test_a_replica_past_its_time_to_start_is_stopped_at_once():
    _, state = step({}, 1)
    actions, state = step(state, 1, 10.0, ProcessState(slot=0, over="it was not ready after 9 s"))
    assert actions == [("terminate", 0), ("start", 1)]
    actions, _ = step(state, 1, 12.5, ProcessState(slot=0, over="it was not ready after 9 s"), ProcessState(slot=1))
    assert actions == [("kill", 0)]


def test_surplus_leaves_traffic_before_it_is_stopped():
    _, state = step({}, 2)
    both = (ProcessState(slot=0, verdict="ready"), ProcessState(slot=1, verdict="ready"))
    actions, state = step(state, 1, 1.0, *both)
    assert actions == []
    assert state[1].phase == "draining"
    actions, state = step(state, 1, 1.1, both[0], ProcessState(slot=1, verdict="ready", released=True))
    assert actions == [("terminate", 1)]
    actions, _ = step(state, 1, 40.0, both[0], ProcessState(slot=1, verdict="unready"))
    assert actions == [("kill", 1)]


def test_a_released_replica_answers_what_was_routed_to_it_before():
    """The time to settle counts from the release, however long the gateway took for it."""
    now, ready = 100.0, ProcessState(slot=0, verdict="ready")
    state = {0: Slot(phase="draining", since=now)}

    def after(seconds, **changes):
        one = msgspec.structs.replace(ready, **changes)
        return supervise(Observation(now=now + seconds, want=0, processes=(one,), settle=1.0), state)

    for verdict in ("ready", "unready"):
        assert after(RELEASE - 0.1, verdict=verdict) == ([], state), "a busy gateway may still send it requests"
    assert after(RELEASE)[0] == [("terminate", 0)]
    assert after(0.1, verdict="hung")[0] == [("terminate", 0)]
    actions, state = after(20.0, released=True)
    assert (actions, state[0].phase) == ([], "released")
    assert after(20.9, released=True)[0] == []
    assert after(21.0, released=True)[0] == [("terminate", 0)]


def test_the_last_one_sleeps_and_is_the_first_to_run_again():
    def look(state, want, now, *verdicts, sleeps=True, **changes):
        seen = tuple(
            ProcessState(slot=slot, verdict=each, released=True, **changes) for slot, each in enumerate(verdicts)
        )
        return supervise(Observation(now=now, want=want, processes=seen, sleeps=sleeps), state)

    state = {0: Slot(phase="running"), 1: Slot(phase="running")}
    _, state = look(state, 1, 1.0, "ready", "ready")
    actions, state = look(state, 1, 2.0, "ready", "ready")
    assert (actions, state[0].phase) == ([("terminate", 1)], "running"), "only at zero"
    state = {0: state[0]}
    _, state = look(state, 0, 3.0, "ready")
    actions, state = look(state, 0, 4.0, "ready")
    assert (actions, state[0].phase) == ([], "asleep")
    asleep = dict(state)
    assert look(state, 0, 999.0, "unready") == ([], asleep), "for as long as nobody wants it"
    actions, state = look(asleep, 2, 1000.0, "unready")
    assert (actions, state[0].phase) == ([("start", 1)], "running")
    for changes in ({"sleeps": False}, {}):
        actions, state = look(asleep, 0, 5.0, "unready" if changes else "hung", **changes)
        assert (actions, state[0].phase) == ([("terminate", 0)], "stopping"), "removed, or hung"
    actions, state = look(asleep, 0, 5.0, "unready", ended=Ended(now=5.0, status=1, healthy=9.0, reason="boom"))
    assert actions == [("reap", 0)]
    starting = {0: Slot(phase="released")}
    assert look(starting, 0, 5.0, "starting")[0] == [("terminate", 0)], "there is nothing yet that could sleep"


def test_a_refusal_is_a_failure_at_once():
    _, state = step({}, 1)
    _, state = step(state, 1, 1.0, ProcessState(slot=0, ended=Ended(now=1.0, status=7, healthy=0, reason="row 3")))
    assert "row 3" in failure(state)


class World:
    """Processes that obey: start makes one, kill and (eventually) terminate end it."""

    def __init__(self) -> None:
        self.now, self.state, self.processes = 0.0, {}, {}

    def tick(self, want: int, dt: float, fates: dict[int, str]) -> None:
        self.now += dt
        for slot, fate in fates.items():
            if self.processes.get(slot, "dead") != "dead":
                self.processes[slot] = fate
        seen = tuple(self.look(slot, fate) for slot, fate in self.processes.items())
        actions, self.state = supervise(Observation(now=self.now, want=want, processes=seen), self.state)
        for act, slot in actions:
            if act == "start":
                assert slot not in self.processes, "a slot never holds two processes"
                self.processes[slot] = "starting"
            elif act == "reap":
                del self.processes[slot]
            else:
                self.processes[slot] = "dead"

    def look(self, slot: int, fate: str) -> ProcessState:
        ended = Ended(now=self.now, status=1, healthy=0) if fate == "dead" else None
        return ProcessState(slot=slot, verdict="starting" if fate == "dead" else fate, ended=ended)  # pyright: ignore


fates = st.dictionaries(st.integers(0, 5), st.sampled_from(["ready", "dead", "hung", "unready"]))


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 20), fates), max_size=30), st.integers(0, 4))
def test_it_always_comes_to_what_is_wanted(history, want):
    world = World()
    for wanted, dt, fate in history:
        world.tick(wanted, dt, fate)
        running = [n for n, slot in world.state.items() if slot.phase == "running"]
        assert len(running) <= wanted
        assert set(running) <= set(world.processes)
    for _ in range(8):
        world.tick(want, 40.0, dict.fromkeys(world.processes, "ready"))
    assert sorted(world.processes.values()) == ["ready"] * want or want == 0
    assert len(world.processes) == want


@given(st.integers(0, 5))
def test_serving_replicas_are_the_last_to_go(want):
    state = {n: Slot(phase="running") for n in range(6)}
    seen = [ProcessState(slot=n, verdict="ready" if n % 2 else "starting") for n in range(6)]
    _, state = step(state, want, 1.0, *seen)
    kept = {n for n, slot in state.items() if slot.phase == "running"}
    assert len(kept & {1, 3, 5}) == min(want, 3)


def test_nothing_is_started_without_a_package_and_what_runs_goes_on():
    seen = Observation(now=1.0, want=2, can_start=False)
    assert supervise(seen, {}) == ([], {})
    actions, state = supervise(msgspec.structs.replace(seen, can_start=True), {})
    assert [act for act, _ in actions] == ["start", "start"]
    assert {slot.phase for slot in state.values()} == {"running"}
