import numpy as np
import pytest

from argosy.monitoring.drift.effect import Margins, effects
from argosy.profiles.cells import Column
from tests.monitoring.drift.tables import KNOWN, Table

MARGINS = Margins()


def of(table: Table, window, place: int = 0):
    found = effects(
        table.where.columns[place], table.where.scores[place], table.reference[place], window[place], MARGINS
    )
    return {effect.name: effect for effect in found}


@pytest.mark.parametrize(("n", "shift"), [(100, 0.0), (100, 0.5), (1000, 0.0), (1000, 0.1), (5000, 0.1), (5000, 0.03)])
def test_the_interval_holds_the_shift(n, shift):
    table = Table(np.random.default_rng(n), m=20_000, normal=1, categories=0)
    found = [of(table, table.window(n, shift=shift))["shift"] for _ in range(300)]
    assert np.mean([effect.low <= shift for effect in found]) >= 0.92
    assert np.mean([effect.high >= 0.95 * shift for effect in found]) >= 0.92
    if shift >= 0.1 and n >= 1000:
        assert np.median([effect.value for effect in found]) == pytest.approx(shift, rel=0.1)


def test_the_shape_without_drift_is_about_nothing():
    table = Table(np.random.default_rng(1), normal=1)
    for place in (0, 1):
        found = [of(table, table.window(200), place)["shape"] for _ in range(200)]
        assert np.mean([effect.low > 0 for effect in found]) <= 0.08
        assert np.mean([effect.material for effect in found]) <= 0.02


def test_missing_and_outside_rows_are_effects_of_their_own():
    table = Table(np.random.default_rng(2), normal=1)
    window = table.window(1000, missing=0.1)
    assert of(table, window)["missing"].value == pytest.approx(0.1, abs=0.03)
    assert of(table, window)["missing"].material
    assert not of(table, window)["outside"].material
    window[0, 20:23] += [50, 100, 200]
    assert of(table, window)["outside"].material


def test_an_unseen_value_is_told_only_where_all_are_listed():
    scores, reference, current = np.zeros(10), np.array([100.0] * 8 + [0, 0]), np.array([10.0] * 8 + [40, 0])
    for complete, names in ((True, {"shape", "missing", "unseen"}), (False, {"shape", "missing"})):
        one = Column(
            side="input", tensor="c", datatype="BYTES", name="c", kind="categories", known=KNOWN, complete=complete
        )
        assert {effect.name for effect in effects(one, scores, reference, current, MARGINS)} == names


def test_one_row_proves_nothing_and_none_say_nothing():
    table = Table(np.random.default_rng(3))
    assert not any(effect.material for effect in of(table, table.window(1)).values() if effect.name == "shift")
    assert of(table, np.zeros(table.reference.shape)) == {}


def test_a_window_of_nothing_but_missing_values():
    table = Table(np.random.default_rng(4))
    found = of(table, table.window(100, missing=1.0))
    assert found["missing"].value == 1
    assert "shift" not in found


def test_a_reference_of_nothing_but_missing_values():
    table = Table(np.random.default_rng(5))
    table.reference[0] = 0
    table.reference[0, 23] = 500
    assert of(table, table.window(100))["missing"].material
