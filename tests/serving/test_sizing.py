from hypothesis import given
from hypothesis import strategies as st

from argosy.serving.sizing import PATIENCE, begin, choose, observe


def run(cost, queued, limit=64, calls=40):
    """The sizes chosen, call after call, by an engine that takes `cost(rows)` ns."""
    state, chosen = begin(limit), []
    for _ in range(calls):
        rows = min(choose(queued, limit, state), queued)
        state = observe(rows, int(cost(rows)), state)
        chosen.append(rows)
    return chosen, state


def test_fixed_cost_takes_all():
    chosen, _ = run(lambda rows: 1_000_000, queued=64)
    assert chosen[-1] == 64


def test_takes_all_that_waits_when_more_is_better():
    chosen, _ = run(lambda rows: 1_000_000 + rows, queued=50)
    assert chosen[-1] == 50


def test_finds_the_cheapest_size():
    per_row = {1: 3.9, 2: 3.7, 4: 3.6, 8: 3.8, 16: 4.2, 32: 4.5, 64: 4.6}
    chosen, _ = run(lambda rows: rows * per_row[rows] * 1e6, queued=64)
    assert max(set(chosen), key=chosen.count) == 4


def test_equal_costs_prefer_fewer_calls():
    chosen, _ = run(lambda rows: rows * 1000, queued=32, limit=32)
    assert chosen[-1] == 32


def test_learns_again_after_a_change():
    state = begin(8)
    for _ in range(500):
        rows = choose(8, 8, state)
        state = observe(rows, rows * 1000 * (1 if rows == 1 else 2), state)
    assert max(cost.calls for cost in state.costs) == state.costs[0].calls
    for _ in range(20 * PATIENCE[1]):
        state = observe(choose(8, 8, state), 1000, state)
    assert max(cost.calls for cost in state.costs) == state.costs[3].calls


@given(st.integers(1, 200), st.integers(1, 100), st.lists(st.tuples(st.integers(1, 128), st.integers(1, 10**9))))
def test_always_between_one_and_the_limit(queued, limit, calls):
    state = begin(limit)
    for rows, ns in calls:
        state = observe(rows, ns, state)
        assert 1 <= choose(queued, limit, state) <= limit
