import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.monitoring.drift.detector import evaluate, start
from argosy.monitoring.drift.effect import Margins
from argosy.monitoring.eprocess import WINDOWS_PER_ALARM, e_bh, mixture, named
from tests.monitoring.drift.tables import Table


def watch(table: Table, windows, **options):
    state = start(table.where, table.reference)
    looks = []
    for window in windows:
        found, state = evaluate(table.where, state, window, table.reference, **options)
        looks.append(found)
    return looks, state


@pytest.mark.parametrize(
    ("n", "shift", "rows"), [(100, 0.5, 300), (300, 0.5, 300), (5000, 0.1, 10_000), (1000, 0.1, 6000)]
)
def test_a_shift_is_found_and_blamed_on_its_column(n, shift, rows):
    table = Table(np.random.default_rng(7), m=50_000, normal=20)
    quiet = [table.window(n) for _ in range(10)]
    looks, _ = watch(table, [*quiet, *(table.window(n, shift=shift, of=3) for _ in range(rows // n))])
    alarms = [(place, one) for place, found in enumerate(looks) for one in found.alarms]
    assert [one.column for _, one in alarms] == ["n3"]
    place, one = alarms[0]
    assert place >= 10
    assert one.effects[0].name == "shift"
    assert one.effects[0].low > 0.05
    assert one.run_length >= WINDOWS_PER_ALARM
    assert looks[place].findings[0] == one


@pytest.mark.parametrize(("change", "effect"), [({"missing": 0.05}, "missing"), ({"scale": 1.5}, "shift")])
def test_other_changes_are_found(change, effect):
    table = Table(np.random.default_rng(8))
    looks, _ = watch(
        table, [*(table.window(300) for _ in range(5)), *(table.window(300, of=1, **change) for _ in range(8))]
    )
    alarms = [one for found in looks for one in found.alarms]
    assert [one.column for one in alarms] == ["n1"]
    assert effect in [one.name for one in alarms[0].effects if one.material]


def test_a_new_category_is_found():
    table = Table(np.random.default_rng(9))
    windows = [table.window(200) for _ in range(5)]
    for window in windows[3:]:
        window[4, 8] += 30
    looks, _ = watch(table, windows)
    assert [one.column for found in looks for one in found.alarms] == ["c0"]


@pytest.mark.slow
def test_columns_that_are_copies_of_one_another_raise_no_more_alarms():
    alarms = 0
    for seed in range(2):
        table = Table(np.random.default_rng(seed), normal=1, categories=0)
        for name in ("scores", "tilts", "rare", "weights", "where", "real"):
            object.__setattr__(table.where, name, np.repeat(getattr(table.where, name), 20, axis=0))
        object.__setattr__(table.where, "columns", table.where.columns * 20)
        reference = np.repeat(table.reference, 20, axis=0)
        state = start(table.where, reference)
        for _ in range(120):
            window = np.repeat(table.window(100)[:1], 20, axis=0)
            found, state = evaluate(table.where, state, window, reference)
            alarms += bool(found.alarms)
    assert alarms <= 1


def test_evidence_without_a_material_effect_raises_no_alarm():
    table = Table(np.random.default_rng(10), m=200_000, normal=2)
    windows = [table.window(20_000, shift=0.03 * (index > 3)) for index in range(30)]
    looks, _ = watch(table, windows)
    assert any(found.run_length >= WINDOWS_PER_ALARM for found in looks)
    assert not any(found.alarms for found in looks)
    looks, _ = watch(table, windows, margins=Margins(shift=0.01))
    assert any(found.alarms for found in looks)


def test_a_drifted_column_alarms_once_and_recovers():
    table = Table(np.random.default_rng(11))
    windows = [table.window(500, shift=1.0 * (5 <= index < 25)) for index in range(40)]
    looks, _ = watch(table, windows)
    state = [next(one.drifted for one in found.findings if one.column == "n0") for found in looks]
    alarms = [index for index, found in enumerate(looks) if found.alarms]
    assert alarms == [5]
    assert all(state[5:25])
    assert not state[35]


def test_windows_without_rows_change_nothing():
    table = Table(np.random.default_rng(12))
    _, before = watch(table, [table.window(100)])
    found, after = evaluate(table.where, before, np.zeros(table.reference.shape), table.reference)
    assert (found.run_length, found.findings) == (0.0, ())
    for name in ("base", "evidence", "sums", "recent", "looks"):
        assert np.array_equal(getattr(before, name), getattr(after, name))


@pytest.mark.parametrize("n", [1, 1_000_000])
def test_windows_of_one_row_and_of_a_million(n):
    table = Table(np.random.default_rng(13), m=1_000_000)
    looks, _ = watch(table, [table.window(n) for _ in range(20)])
    assert not any(found.alarms for found in looks)
    looks, _ = watch(table, [table.window(n, shift=4.0) for _ in range(20)])
    assert [one.column for found in looks for one in found.alarms] == ["n0"]


def test_constant_and_missing_references_are_watched():
    table = Table(np.random.default_rng(14))
    table.reference[0] = 0
    table.reference[0, 23] = 1000
    looks, _ = watch(table, [table.window(100)])
    assert [one.column for one in looks[0].alarms] == ["n0"]


def test_a_season_is_compared_with_its_own_hour():
    table = Table(np.random.default_rng(15), normal=3)
    state, alarms = start(table.where, table.reference), 0
    seasons = {hour: sum(table.window(500, shift=np.sin(hour / 4)) for _ in range(4)) for hour in range(24)}
    for hour in range(72):
        base = seasons[hour % 24]
        found, state = evaluate(table.where, state, table.window(500, shift=np.sin(hour % 24 / 4)), base, base=base)
        alarms += bool(found.alarms)
    assert alarms == 0
    found, state = evaluate(table.where, state, table.window(500, shift=np.sin(0) + 1), seasons[0], base=seasons[0])
    assert [one.column for one in found.alarms] == ["n0"]


@given(st.lists(st.floats(-5, 30), min_size=1, max_size=30))
def test_named_columns_are_those_of_e_bh(logs):
    columns = np.array(logs)
    found = named(columns, 100.0).tolist()
    assert bool(found) == bool(mixture(columns) >= np.log(100))
    assert e_bh(columns, 100.0).tolist() in ([], found)
    if found:
        k = max((k for k in range(1, len(logs) + 1) if np.sort(columns)[-k] >= np.log(len(logs) * 100 / k)), default=1)
        assert len(found) == k
        assert columns[found].min() >= np.sort(columns)[-k]
