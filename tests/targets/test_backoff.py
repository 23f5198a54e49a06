from hypothesis import given
from hypothesis import strategies as st

from argosy.targets.backoff import REFUSED, Backoff, BackoffPolicy, Ended, after, describe

ends = st.builds(
    Ended,
    now=st.floats(0, 1e6),
    status=st.sampled_from([None, 0, 1, 7, -9, -11]),
    healthy=st.floats(0, 100),
    reason=st.text(max_size=5),
)


def test_the_first_end_of_a_healthy_replica_costs_no_wait():
    delay, state = after(Ended(now=5, status=-9, healthy=60), Backoff(failures=9))
    assert delay == 0
    assert state.failures == 1


def test_a_crash_loop_doubles_up_to_the_cap():
    state, delays = Backoff(), []
    for _ in range(10):
        delay, state = after(Ended(now=0, status=1, healthy=0), state)
        delays.append(delay)
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]


def test_a_refusal_waits_long_and_says_why():
    delay, state = after(Ended(now=1, status=REFUSED, healthy=0, reason="golden row 3 differs"), Backoff())
    assert delay == BackoffPolicy().refused
    assert state.not_before == 61
    assert "golden row 3 differs" in state.reason


@given(st.lists(ends, max_size=60))
def test_the_wait_is_bounded_and_never_shrinks_without_a_healthy_while(history: list[Ended]):
    policy, state, before = BackoffPolicy(), Backoff(), (0.0, 0)
    for ended in history:
        delay, state = after(ended, state, policy)
        assert 0 <= delay <= policy.refused_cap
        same_kind = before[1] == state.refusals == 0 and ended.healthy < policy.healthy
        assert not same_kind or delay >= before[0] or ended.healthy > 0
        before = (delay, state.refusals)


def test_signals_and_statuses_are_named():
    assert describe(Ended(now=0, status=-9, healthy=0)) == "killed by signal 9"
    assert describe(Ended(now=0, status=3, healthy=0, reason="boom")) == "ended with status 3: boom"
    assert describe(Ended(now=0, status=None, healthy=0)) == "it ended"
