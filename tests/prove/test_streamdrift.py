import numpy as np
import pytest

from prove import streamdrift
from prove.streamdrift import DETECTORS, NaiveBayes, draw, judge, run


@pytest.mark.parametrize("name", [name for name in DETECTORS if "River" not in name])
@pytest.mark.parametrize("kind", ["Sine1", "Mixed"])
def test_reversed_concepts_are_found_soon(kind, name):
    found = run(kind, name, 1, 12_000, 4000)
    assert found.found == 2
    assert found.false == 0
    assert np.mean(found.delays) <= 60
    assert found.accuracy > 0.8


def test_streams_are_balanced_noisy_and_reversed():
    rows, labels = draw("Sine1", 0, 10_000, 5000)
    below = np.array([y <= np.sin(x) for x, y in rows])
    same = below == np.array(labels)
    assert below.mean() == pytest.approx(0.5, abs=0.03)
    assert same[:5000].mean() == pytest.approx(0.9, abs=0.02)
    assert same[5050:].mean() == pytest.approx(0.1, abs=0.02)


def test_alarms_are_judged_by_the_change_they_follow():
    outcome = judge([19_999, 20_030, 20_100, 40_249, 60_250], 100_000, 20_000, 0.8)
    assert (outcome.found, outcome.false, outcome.delays) == (2, 3, (30, 249))


def test_the_model_learns():
    rng = np.random.default_rng(0)
    model = NaiveBayes(1)
    assert model.probability([0.0]) == 0.5
    for value in rng.standard_normal(400):
        model.learn([float(value) + 2], 1)
        model.learn([float(value) - 2], 0)
    assert model.probability([2.0]) > 0.99
    assert model.probability([-900.0]) < 1e-9


def test_the_table_goes_between_the_markers(tmp_path, monkeypatch):
    document = tmp_path / "drift.md"
    document.write_text(f"before\n{streamdrift.BEGIN}\nold\n{streamdrift.END}\nafter\n")
    monkeypatch.setattr(streamdrift, "DOCUMENT", document)
    streamdrift.write("new")
    assert document.read_text() == f"before\n{streamdrift.BEGIN}\nnew\n{streamdrift.END}\nafter\n"
