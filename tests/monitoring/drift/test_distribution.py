import numpy as np

from argosy.monitoring.drift.distribution import distribution, readable, spelled
from argosy.profiles.cells import Column
from tests.monitoring.drift.tables import column


def counts(*values: int) -> np.ndarray:
    return np.array(values, float)


def texts(known: list[str], complete: bool = True) -> Column:
    return Column(
        side="input", tensor="c", datatype="BYTES", name="c", kind="categories", known=tuple(known), complete=complete
    )


def test_numbers_go_from_left_to_right_with_what_is_apart_behind():
    where = column("age", (18.0, 40.0, 80.0))
    found = distribution(where, counts(5, 5, 0, 0, 0, 0), counts(2, 3, 1, 4, 0, 6))
    assert found is not None
    assert found.labels == ("below 18", "18 to 40", "40 to 80", "above 80", "missing")
    assert found.current == (1, 2, 3, 4, 6)
    assert found.reference == (0, 5, 5, 0, 0)


def test_bins_are_at_most_thirty_and_lose_no_row():
    rng = np.random.default_rng(0)
    many = column("x", tuple(float(edge) for edge in range(500)))
    before, now = rng.integers(0, 9, many.cells).astype(float), rng.integers(1, 9, many.cells).astype(float)
    found = distribution(many, before, now)
    assert found is not None
    assert len(found.labels) <= 30
    assert (sum(found.reference), sum(found.current)) == (before.sum(), now.sum())
    wide = texts([f"v{place}" for place in range(50)])
    before, now = rng.integers(1, 9, wide.cells).astype(float), rng.integers(1, 9, wide.cells).astype(float)
    found = distribution(wide, before, now)
    assert found is not None
    assert len(found.labels) == 30
    assert found.labels[-3:] == ("23 others", "unseen", "missing")
    assert (sum(found.reference), sum(found.current)) == (before.sum(), now.sum())


def test_without_rows_there_is_nothing_to_show():
    where = column("age")
    assert distribution(where, counts(0, 0, 0, 0, 0, 0), counts(1, 1, 0, 0, 0, 0)) is None
    assert distribution(where, counts(1, 1, 0, 0, 0, 0), counts(0, 0, 0, 0, 0, 0)) is None


def test_a_closed_column_names_no_value():
    before, now = counts(5, 5, 0, 0, 1, 0), counts(2, 3, 1, 4, 0, 6)
    found = distribution(column("age", (18.0, 40.0, 80.0)), before, now, closed=True)
    assert found is not None
    assert found.labels == ("below", "bin 2", "bin 3", "above", "infinite", "missing")
    shown = distribution(texts(["ada@example.org"]), counts(5, 0, 0), counts(1, 0, 0), closed=True)
    assert shown is not None
    assert shown.labels == ("bin 1",)


def test_one_value_and_no_bins_have_names():
    one = column("x", (7.0,))
    found = distribution(one, counts(9, 0, 0, 0, 0), counts(8, 1, 0, 0, 0))
    assert found is not None
    assert found.labels == ("below 7", "7")
    assert found.current == (1, 8)


def test_edges_that_differ_little_are_told_apart():
    assert spelled([1.0, 2.5]) == ["1", "2.5"]
    assert spelled([0.00001, 14223.0, 2e18]) == ["1e-05", "14,220", "2e+18"]
    assert len(set(spelled([1767225600.0, 1767225601.0, 1767225602.5]))) == 3


def test_hostile_values_are_printable_and_short():
    assert readable("a\x1b[31m\0b") == "a?[31m?b"
    assert readable("x" * 10_000) == "x" * 39 + "…"
    found = distribution(texts(["\x00\n<b>", "y" * 100]), counts(1, 1, 0, 0), counts(1, 1, 0, 0))
    assert found is not None
    assert found.labels == ("??<b>", "y" * 39 + "…")


def test_a_bin_of_one_value_is_named_by_it():
    found = distribution(column("grade", (1.0, 2.0, 2.0)), counts(4, 5, 0, 0, 0, 0), counts(1, 8, 0, 0, 0, 0))
    assert found is not None
    assert found.labels == ("1 to 2", "2")
