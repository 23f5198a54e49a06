import numpy as np

from argosy.monitoring.drift.compare import compare
from argosy.monitoring.drift.geometry import geometry
from argosy.profiles.layout import Layout
from tests.monitoring.drift.tables import Table


def test_a_window_without_drift_names_no_column():
    table = Table(np.random.default_rng(0), normal=6)
    named = sum(any(one.drifted for one in compare(table.where, table.reference, table.window(300))) for _ in range(20))
    assert named <= 2


def test_a_moved_column_comes_first_with_all_that_is_known_of_it():
    table = Table(np.random.default_rng(1), normal=6)
    first, *rest = compare(table.where, table.reference, table.window(500, shift=0.5, of=2))
    assert (first.column, first.rows, first.drifted) == ("n2", 500, True)
    assert first.e > 1e6
    assert {one.name for one in first.statistics} == {"PSI", "JS", "chi2", "G", "Linf", "KS", "W1"}
    assert first.effects[0].name == "shift"
    assert not any(one.drifted for one in rest)


def test_without_columns_or_rows_nothing_has_drifted():
    assert compare(geometry(Layout([]), np.zeros(0, np.int64)), np.zeros((0, 0)), np.zeros((0, 0))) == ()
    table = Table(np.random.default_rng(2))
    found = compare(table.where, table.reference, np.zeros(table.reference.shape))
    assert [one.drifted for one in found] == [False] * 5
    assert [one.rows for one in found] == [0] * 5
