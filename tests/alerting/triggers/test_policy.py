"""When triggers fire, held against a model that looks at the whole history at once."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.alerting.triggers.policy import TriggerState, evaluate, reason, verdict
from argosy.spec.trigger import Command, EstimatedDrop, RealisedDrop
from argosy.store.findings import Finding

RUN = Command(argv=("true",))
DROP = RealisedDrop(name="retrain", metric="auroc", run=RUN, margin=0.05, windows=2, cooldown=100.0)
GUESS = EstimatedDrop(name="retrain", metric="auroc", run=RUN, margin=0.05, domain_auc=0.7)


def window(end, value=0.7, **fields):
    detail = {"reference": 0.8, "maturity": 1.0} | fields.pop("detail", {})
    known = {"low": value - 0.02, "high": value + 0.02} if value is not None else {}
    given = {"endpoint": "flights", "version": "3", "kind": "realised", "subject": "auroc", "at": end, "rows": 2000}
    return Finding(
        **given | {"window_start": end - 10, "window_end": end, "effect": value, "detail": detail} | known | fields
    )


def test_it_fires_after_so_many_bad_windows_in_a_row_and_tells_why():
    fired, state = evaluate(DROP, [window(10)], "3", 11, TriggerState(until=0))
    assert fired is None
    fired, state = evaluate(DROP, [window(10), window(20, 0.71)], "3", 21, state)
    assert fired is not None
    assert [each.window_end for each in fired.findings] == [10, 20]
    assert fired.reason == (
        "realised auroc of version 3 is 0.710 (0.690 to 0.730) on 2,000 rows, against 0.800 with a margin of 0.05, "
        "in 2 windows in a row"
    )
    assert state == TriggerState(until=20, version="3", fired=21)


def test_a_good_window_ends_the_row_and_one_without_a_figure_does_not():
    nothing = (window(20, None), window(20, verdict="not estimable"), window(20, detail={"maturity": 0.5}))
    for each in nothing:
        assert evaluate(DROP, [window(10), each, window(30)], "3", 31, TriggerState(until=0))[0]
    assert evaluate(DROP, [window(10), window(20, 0.79), window(30)], "3", 31, TriggerState(until=0))[0] is None


def test_a_window_counts_once_its_labels_have_come_and_only_then():
    _, state = evaluate(DROP, [window(10), window(20, detail={"maturity": 0.3})], "3", 21, TriggerState(until=0))
    assert state.until == 10
    fired, state = evaluate(DROP, [window(10), window(20)], "3", 40, state)
    assert fired
    assert evaluate(DROP, [window(10), window(20)], "3", 400, state) == (None, state)


def test_it_rests_and_goes_on_counting():
    _, state = evaluate(DROP, [window(10), window(20)], "3", 21, TriggerState(until=0))
    fired, state = evaluate(DROP, [window(30), window(40)], "3", 41, state)
    assert fired is None
    assert evaluate(DROP, [window(50)], "3", 121, state, busy=True)[0] is None
    assert evaluate(DROP, [window(50)], "3", 120, state)[0] is None
    assert evaluate(DROP, [window(50)], "3", 121, state)[0]


def test_another_version_begins_a_row_of_its_own():
    _, state = evaluate(DROP, [window(10)], "3", 11, TriggerState(until=0))
    fired, state = evaluate(DROP, [window(20, version="4"), window(20)], "4", 21, state)
    assert (fired, state.version, len(state.row)) == (None, "4", 1)
    assert evaluate(DROP, [window(30), window(30, version="4")], "4", 31, state)[0]


@pytest.mark.parametrize(
    ("trigger", "finding", "said"),
    [
        (DROP, window(10, 0.75), "good"),
        (DROP, window(10, 0.74), "bad"),
        (DROP, window(10, 0.74, high=0.81), "good"),
        (DROP, window(10, 0.74, low=None, high=None), "bad"),
        (DROP, window(10, detail={"reference": None}), ""),
        (DROP, window(10, float("nan")), ""),
        (DROP, window(10, subject="f1"), ""),
        (DROP, window(10, kind="estimate"), ""),
        (GUESS, window(10, kind="estimate", detail={"domain_auc": 0.8}), "bad"),
        (GUESS, window(10, kind="estimate", detail={"domain_auc": 0.6}), "good"),
        (GUESS, window(10, kind="estimate"), "good"),
        (msgspec.structs.replace(DROP, against=0.72), window(10, 0.7), "good"),
        (msgspec.structs.replace(DROP, against=0.9), window(10, 0.8, detail={"reference": None}), "bad"),
        (msgspec.structs.replace(DROP, metric="mae"), window(10, 0.9, subject="mae", low=0.85), "bad"),
        (msgspec.structs.replace(DROP, metric="mae"), window(10, 0.83, subject="mae", low=0.82), "good"),
        (msgspec.structs.replace(DROP, metric="mae"), window(10, 0.9, subject="mae", low=0.79), "good"),
    ],
)
def test_what_a_window_says(trigger, finding, said):
    assert verdict(trigger, finding) == said


def test_an_error_is_told_with_its_margin_as_a_part():
    said = reason(msgspec.structs.replace(DROP, metric="mae"), [window(10, 0.9, subject="mae", low=None)])
    assert said == "realised mae of version 3 is 0.900 on 2,000 rows, against 0.800 with a margin of 5%"


STEPS = st.lists(
    st.tuples(st.sampled_from(["bad", "good", "young", "none", "other"]), st.booleans(), st.integers(1, 60)),
    max_size=40,
)


@given(STEPS, st.integers(1, 4), st.integers(0, 120), st.integers(1, 5))
def test_it_fires_where_the_whole_history_says_so(steps, windows, cooldown, together):
    """However many windows come at a time, each look fires at most once, and what fires is what a plain count says."""
    trigger = msgspec.structs.replace(DROP, windows=windows, cooldown=float(cooldown))
    kinds = {
        "bad": {},
        "good": {"value": 0.8},
        "young": {"detail": {"maturity": 0.1}},
        "none": {"value": None},
        "other": {"version": "2"},
    }
    found = [window(10.0 * n, **kinds[kind]) for n, (kind, _, _) in enumerate(steps, 1)]
    state, now, told, row, last = TriggerState(until=0.0), 0.0, [], 0, -1e9
    expected = []
    for at in range(0, len(steps), together):
        now += steps[at][2]
        busy = steps[at][1]
        seen = found[: at + together]
        fired, state = evaluate(trigger, seen, "3", now, state, busy=busy)
        again, same = evaluate(trigger, seen, "3", now, state, busy=True)
        assert again is None
        told += [fired.findings[-1].window_end] if fired else []
        state = same
    for at in range(0, len(steps), together):
        clock = sum(steps[each][2] for each in range(0, at + 1, together))
        once = False
        for n, (kind, _, _) in enumerate(steps[at : at + together], at + 1):
            row = {"bad": row + 1, "good": 0}.get(kind, row)
            if kind == "bad" and row >= windows and not steps[at][1] and not once and clock - last >= cooldown:
                expected.append(10.0 * n)
                row, last, once = 0, clock, True
    assert told == expected
