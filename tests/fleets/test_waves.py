"""The policy of waves: what it promises, for whatever devices do."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.edge.wire import Arm
from argosy.fleets.waves import WaveObservation, WaveState, answers_guard, chosen, counts, decide, ordered
from argosy.serving.counts import Counts
from argosy.spec.errors import Conflict
from argosy.spec.fleet import Deployment, DeviceTrial, Wave
from prove.fleetmodel import BAD, GOOD, FleetModel, Version, run

DECLARED = Deployment(fleet="f", model="m:1", waves=(Wave(devices=20), Wave(share=0.5), Wave()), seconds=100)
NOW = 1e9


def after(observed: WaveObservation, state: WaveState = WaveState(), declared: Deployment = DECLARED) -> WaveState:  # noqa: B008
    """The state after the same observation, again and again for a long time."""
    for step in range(20):
        _, state = decide(declared, msgspec.structs.replace(observed, now=NOW + 50 * step), state)
    return state


def devices(matching: int = 200, assigned: int = 20, **others: int) -> WaveObservation:
    return WaveObservation(now=NOW, matching=matching, assigned=assigned, **others)


def test_the_next_wave_begins_when_all_minimums_are_reached() -> None:
    enough = devices(begun=20, committed=20)
    _, state = decide(DECLARED, enough, WaveState())
    assert (state.wave, state.reason) == (0, "the wave lasts 100 s more")
    _, state = decide(DECLARED, msgspec.structs.replace(enough, now=NOW + 50), state)
    assert state.wave == 0
    decision, state = decide(DECLARED, msgspec.structs.replace(enough, now=NOW + 100), state)
    assert (state.wave, state.before, decision.allowed) == (1, (20, 20), 100)


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        (devices(begun=20, committed=19), "19 of at least 20 devices of this wave have committed"),
        (devices(assigned=0), "0 of at least 20"),
        (devices(begun=20, committed=19, failed=1, silent=0), ""),
        (devices(begun=30, assigned=30, committed=20, quiet=9), "9 devices that are at it have not been heard of"),
        (devices(begun=20, committed=5, failed=1), "1 of 20 devices that took it failed; more of them are awaited"),
    ],
)
def test_what_a_wave_waits_for(observed: WaveObservation, reason: str) -> None:
    state = after(observed)
    if not reason:  # all are through, and no more failed than may
        assert state.wave == 1
        return
    assert (state.wave, state.phase) == (0, "running")
    assert state.reason.startswith(reason)


def test_evidence_against_its_devices_stops_it() -> None:
    state = after(devices(begun=20, committed=12, failed=8))
    assert state.phase == "stopped"
    assert state.reason == "8 of 20 devices that took it failed, surely more than 0.05 of them"


def test_silent_devices_are_held_against_those_without_it() -> None:
    outage = devices(begun=20, committed=12, failed=8, silent=8, others=180, away=72)
    assert after(outage).phase != "stopped"
    assert after(msgspec.structs.replace(outage, away=2)).phase == "stopped"


def test_failures_of_too_few_devices_are_for_a_person() -> None:
    few = devices(matching=200, assigned=20, begun=20, committed=18, failed=2)
    state = after(few)
    assert (state.wave, state.paused) == (0, True)
    assert state.reason.endswith("of too few to be sure. Resume or abort")
    assert after(few, ordered("resume", 2, state)).wave == 1


def test_a_wave_that_failed_by_half_is_stopped() -> None:
    tiny = msgspec.structs.replace(DECLARED, waves=(Wave(devices=1), Wave()))
    state = after(devices(matching=3, assigned=1, begun=1, failed=1), declared=tiny)
    assert (state.wave, state.phase) == (0, "stopped")


def test_what_a_person_let_through_is_excused_and_later_failures_are_not() -> None:
    state = ordered("resume", 2, after(devices(begun=20, committed=18, failed=2)))
    state = after(devices(assigned=100, begun=100, committed=80, failed=20), state)
    assert state.phase == "stopped"


def test_answers_of_all_devices_together_stop_what_none_of_them_sees() -> None:
    state = WaveState()
    for step in range(60):
        told = WaveObservation(
            now=NOW + step,
            matching=200,
            assigned=20,
            begun=20,
            candidate=Counts(requests=100, errors=8),
            stable=Counts(requests=100, errors=1),
        )
        _, state = decide(DECLARED, told, state)
    assert state.phase == "stopped"
    assert state.reason.startswith("worse than the version before on the same devices: errors got worse")


@pytest.mark.parametrize(("slower", "cells", "stopped"), [(2.0, 1, False), (2.0, 2, True), (4.0, 2, False)])
def test_latency_counts_where_it_is_longer_than_the_trial_allows(slower: float, cells: int, stopped: bool) -> None:
    declared = msgspec.structs.replace(DECLARED, trial=DeviceTrial(slower=slower))
    before = Arm(requests=200, latency=(0, 100, 100))
    now = Arm(requests=200, latency=(*[0] * (1 + cells), 100, 100))
    state = WaveState()
    for step in range(30):
        told = devices(begun=20)
        told = msgspec.structs.replace(told, now=NOW + step, candidate=counts(now), stable=counts(before))
        _, state = decide(declared, told, state)
    assert (state.phase == "stopped") is stopped
    assert not stopped or state.reason.endswith(f"its answers take more than {slower:g} times as long")


@pytest.mark.parametrize("slower", [1.0, 1.5, 2.0, 3.0, 100.0, 1000.0])
def test_every_trial_makes_a_guard(slower: float) -> None:
    trial = DeviceTrial(slower=slower, errors=0.49)
    assert answers_guard(msgspec.structs.replace(DECLARED, trial=trial)).alpha == DECLARED.stop.alpha / 2


def test_the_last_wave_is_done_although_some_are_offline() -> None:
    state = after(devices(matching=10, assigned=9, begun=9, committed=9, offline=1), WaveState(wave=2))
    assert (state.phase, state.reason) == ("done", "9 devices have it; 1 are offline and get it when they are back")
    decision, _ = decide(DECLARED, devices(matching=10, assigned=9, begun=9, committed=9), state)
    assert decision.allowed == 10


def test_nothing_is_done_while_nobody_has_it() -> None:
    assert after(devices(matching=10, assigned=0, offline=10), WaveState(wave=2)).phase == "running"


def test_time_in_which_nobody_looked_counts_for_a_minute() -> None:
    _, state = decide(DECLARED, devices(), WaveState())
    _, state = decide(DECLARED, msgspec.structs.replace(devices(), now=NOW + 86400), state)
    assert state.spent == 60
    _, state = decide(DECLARED, msgspec.structs.replace(devices(), now=NOW), state)
    assert state.spent == 60


def test_orders() -> None:
    paused = ordered("pause", 0, WaveState())
    assert decide(DECLARED, devices(begun=20, committed=20), paused)[0].allowed == 0
    assert decide(DECLARED, devices(begun=20, failed=20), paused)[1].phase == "stopped"
    assert ordered("resume", 0, paused) == WaveState()
    aborted = ordered("abort", 0, WaveState())
    assert aborted.phase == "aborted"
    assert ordered("abort", 0, msgspec.structs.replace(aborted, phase="stopped")).phase == "aborted"
    with pytest.raises(Conflict, match="is aborted, so that there is nothing to resume"):
        ordered("resume", 0, aborted)
    with pytest.raises(Conflict, match="is not paused"):
        ordered("resume", 0, WaveState())


def test_each_deployment_draws_another_order() -> None:
    names = [f"d{each}" for each in range(100)]
    assert chosen("f", 1, names, 5) == chosen("f", 1, reversed(names), 5)
    assert chosen("f", 1, names, 5) == chosen("f", 1, names, 9)[:5]
    assert chosen("f", 1, names, 5) != chosen("f", 2, names, 5)
    assert chosen("f", 1, names, -3) == []


steps = st.lists(
    st.tuples(
        st.integers(0, 90), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 3), st.booleans()
    ),
    max_size=40,
)


@given(steps, st.sampled_from(["", "pause", "resume"]))
def test_whatever_devices_do(told: list[tuple[int, int, int, int, int, bool]], order: str) -> None:
    """It only goes forward, never allows more than the wave, and nothing starts again what was stopped."""
    state, now, assigned = WaveState(), NOW, 0
    for seconds, begun, committed, failed, silent, ordering in told:
        now += seconds
        begun = min(begun, assigned)
        committed = min(committed, begun)
        failed = min(failed, begun - committed)
        before = state
        if ordering and order and before.open:
            with contextlib.suppress(Conflict):
                state = ordered("pause" if order == "pause" else "resume", failed, state)
        observed = WaveObservation(
            now=now,
            matching=40,
            assigned=assigned,
            begun=begun,
            committed=committed,
            failed=failed,
            silent=min(silent, failed),
        )
        decision, state = decide(DECLARED, observed, state)
        assert state.wave in (before.wave, before.wave + 1)
        assert before.open or state.phase == before.phase
        assert decision.allowed <= DECLARED.waves[state.wave].size(40)
        if not state.open or state.paused:
            assert decision.allowed == 0
        if state.wave > before.wave:
            assert committed
            assert failed - state.excused <= DECLARED.stop.failures * (committed + failed)
        assigned = max(assigned, decision.allowed)


@given(st.integers(1, 2000), st.integers(0, 2**31), st.sampled_from(["rolled_back", "silent"]))
def test_a_version_that_no_device_takes_never_passes_its_first_wave(size: int, seed: int, how: str) -> None:
    found = run(FleetModel(Deployment(fleet="f", model="m:1"), Version(**{how: 1.0}), seed, size), longest=3 * 3600)
    assert not found.broken
    assert set(found.waves) <= {0}
    assert found.committed == 0
    assert found.exposed <= max(1, -(-size // 100))


@pytest.mark.parametrize("version", [GOOD, *BAD.values()], ids=["good", *(name.split(":")[0][:20] for name in BAD)])
def test_a_run_of_500_devices(version: Version) -> None:
    declared = Deployment(fleet="f", model="m:1", waves=(Wave(share=0.2), Wave()), seconds=300)
    found = run(FleetModel(declared, version, 3, 500))
    assert not found.broken
    assert (found.state.phase, found.state.wave) == (("done", 1) if version == GOOD else ("stopped", 0))
