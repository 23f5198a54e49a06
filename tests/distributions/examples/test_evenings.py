import zipfile

import numpy as np
import pandas as pd
import pytest

from argosy_examples import evenings, retrain

pytest.importorskip("lightgbm")


@pytest.fixture
def folder(tmp_path):
    """A year of two hundred flights: in the evening the late ones are those that fly far, in the morning none is."""
    rng = np.random.default_rng(0)
    lines = ["year,month,day,hour,sched_arr_time,distance,arr_delay,carrier,origin,dest"]
    for number in range(400):
        hour, far = (6, 19, 15)[number % 3], rng.random() < 0.5
        delay = "" if number % 50 == 0 else 60 if hour == 19 and far else -3
        lines.append(f"2013,1,{1 + number % 28},{hour},{hour}30,{2000 if far else 200},{delay},UA,EWR,IAH")
    with zipfile.ZipFile(tmp_path / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", "\n".join(lines))
    (tmp_path / "weather.csv").write_text(
        "origin,year,month,day,hour,temp,humid,wind_speed,wind_gust,precip,pressure,visib\nEWR,2013,1,1,6,39,59,10,,0,1012,10\n"
    )
    return tmp_path


def test_no_flight_is_in_two_parts_and_evenings_are_rare_in_the_reference(folder, monkeypatch):
    monkeypatch.setattr(evenings, "TRAINED", 60)
    monkeypatch.setattr(evenings, "REFERENCE", 40)
    found = evenings.prepare(folder, folder)
    trained, reference = pd.read_parquet(found.trained), pd.read_parquet(found.reference)
    assert (len(trained), len(reference)) == (60, 40)
    assert list(trained.columns) == list(reference.columns) == [*evenings.COLUMNS, "label"]
    assert set(trained["hour"]) == {6}
    assert (reference["hour"] == 19).sum() == 10
    assert not trained.index.intersection(reference.index).any()
    everything = evenings.table(folder)
    assert len(everything) == 392
    assert everything["label"].sum() == ((everything["hour"] == 19) & (everything["distance"] == 2000)).sum()
    rest = len(found.mornings.late) + len(found.evenings.late)
    assert rest == (everything["hour"] != 15).sum() - 100
    assert set(found.mornings.inputs[:, 2]) == {6.0}
    assert set(found.evenings.inputs[:, 2]) == {19.0}
    assert 0 < found.evenings.late.mean() < 1
    assert found.mornings.late.sum() == 0
    assert np.isnan(found.mornings.inputs).any()


def test_exported_rows_are_those_of_the_model(folder, monkeypatch, tmp_path):
    rows = evenings.table(folder)
    exported = rows.rename(columns={name: f"input.{name}" for name in evenings.COLUMNS})
    exported["label"] = exported["label"].astype(str)
    found = retrain.labelled(exported.assign(request_id="a", **{"output.probability": 0.5}))
    pd.testing.assert_frame_equal(found, rows)
    evenings.train(found, tmp_path / "model.txt", tmp_path / "sample.parquet")
    import lightgbm

    model = lightgbm.Booster(model_file=tmp_path / "model.txt")
    assert tuple(model.feature_name()) == evenings.COLUMNS
    assert tuple(pd.read_parquet(tmp_path / "sample.parquet").columns) == evenings.COLUMNS
