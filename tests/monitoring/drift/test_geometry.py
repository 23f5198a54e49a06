import numpy as np
import pytest

from argosy.monitoring.drift.geometry import geometry, ordered
from argosy.profiles.cells import Column
from argosy.profiles.layout import Layout
from tests.monitoring.drift.tables import Table, column


def test_a_tilt_is_a_move_of_a_normal_column():
    table = Table(np.random.default_rng(0), m=200_000)
    window = table.window(4_000_000, shift=0.25)[0]
    place = list(np.round(np.log(np.abs(table.where.tilts[0]).max(axis=-1)), 6))
    assert len(place) == 12
    shares = table.reference[0] / table.reference[0].sum()
    tilted = shares * np.exp(table.where.tilts[0, 1])
    inner = slice(1, 19)
    assert (tilted / tilted.sum())[inner] == pytest.approx((window / window.sum())[inner], rel=0.05)


def test_scores_are_those_of_a_normal_in_order():
    table = Table(np.random.default_rng(0))
    scores = table.where.scores[0][ordered(table.where.columns[0])]
    assert (np.diff(scores) > 0).all()
    shares = table.reference[0] / table.reference[0].sum()
    assert shares @ table.where.scores[0] == pytest.approx(0, abs=0.01)
    assert shares @ table.where.scores[0] ** 2 == pytest.approx(1, abs=0.03)


def test_weights_sum_to_one_and_go_where_there_is_something_to_move():
    constant = column("k", (3.0,), 1)
    category = Column(side="input", tensor="c", datatype="BYTES", name="c", kind="categories", known=("a",))
    where = geometry(Layout([column("n"), constant, category]), np.array([5, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 10, 0, 0]))
    assert where.weights.sum(axis=-1) == pytest.approx([1, 1, 1])
    assert not where.weights[2, :12].any()
    assert where.weights[0, :12].all()


def test_columns_without_bins_are_left_out():
    where = geometry(
        Layout(
            [
                column("n"),
                Column(
                    **{f: getattr(column("m"), f) for f in column("m").__struct_fields__}
                    | {"detailed": False, "edges": ()}
                ),
            ]
        ),
        np.zeros(11, int),
    )
    assert [one.name for one in where.columns] == ["n"]


def test_counts_are_spread_and_padded():
    table = Table(np.random.default_rng(0), m=100)
    assert table.reference.sum(axis=-1).tolist() == [100] * 5
    assert not table.reference[~table.where.real].any()
