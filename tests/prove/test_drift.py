import numpy as np
import pytest

from prove import drift
from prove.drift import Found, Quiet, power, quiet, seasonal
from prove.driftpicture import svg
from prove.driftstreams import evidently, model


def test_without_drift_no_alarm_where_evidently_flags_most_columns():
    found = quiet(100, 1, looks=60)
    assert found.alarms == 0
    assert found.columns > 0.5


def test_half_a_standard_deviation_is_found_within_300_rows():
    found = [power(0.5, 300, 100, seed).rows for seed in range(2)]
    assert None not in found


def test_a_tenth_is_found_within_5000_rows():
    assert sum(power(0.1, 5000, 1000, seed).rows is not None for seed in range(2)) >= 1


def test_a_swing_of_the_day_raises_no_alarm():
    assert seasonal(300, 3, looks=30) == 0


def test_rows_are_counted_once_and_as_the_reference_was():
    one = model(2)
    window = one.count(one.rows(20_000))
    assert (window.sum(axis=-1) == 20_000).all()
    assert window / 20_000 == pytest.approx(one.reference / 50_000, abs=0.02)
    assert window[0, 23] == pytest.approx(1000, rel=0.2)


def test_evidently_s_rule_flags_a_large_move():
    one = model(3)
    flagged = evidently(one, one.rows(5000, 0.3))
    assert flagged[1]
    assert flagged.sum() <= 3


def test_a_missed_target_is_marked_and_the_picture_drawn():
    rows = [
        drift.quiet_row([Quiet(100, 3, 0.7, 1.0)]),
        drift.power_row([Found(0.1, 100, 900, True), Found(0.1, 100, None, False)], 5000),
        drift.season_row([0, 1]),
    ]
    text = drift.table(rows, 1.0)
    assert "| ≤ 1 (missed) | **3.00** (3 in 1; at most" in text
    assert "| ≥ 90 % (missed) | **50%** of 2, median after 900 rows | 50% of looks" in text
    assert "**0.50**" in text
    picture = svg(
        [Quiet(100, 0, 0.7, 1.0), Quiet(5000, 1, 0.0, 0.0)], [Found(0.1, 100, 900, True), Found(0.5, 100, 200, True)]
    )
    assert picture.startswith("<svg")
    assert np.char.count(picture, "<polyline") == 4


def test_the_figures_go_between_the_markers(tmp_path, monkeypatch):
    document = tmp_path / "drift.md"
    document.write_text(f"before\n{drift.BEGIN}\nold\n{drift.END}\nafter\n")
    monkeypatch.setattr(drift, "DOCUMENT", document)
    drift.write("new")
    assert document.read_text() == f"before\n{drift.BEGIN}\nnew\n{drift.END}\nafter\n"
