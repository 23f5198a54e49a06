import zipfile

import numpy as np
import pytest

from argosy_examples import flights

pytest.importorskip("sklearn")

FLIGHTS = """month,day,hour,minute,sched_arr_time,dep_delay,distance,carrier,origin,dest,arr_delay,tailnum
1,1,5,15,819,2,1400,UA,EWR,IAH,11,N1
1,1,5,29,830,40,1416,AA,LGA,IAH,16,N2
1,1,6,0,830,,1416,AA,LGA,IAH,,N2
1,1,7,0,900,-3,700,UA,EWR,ORD,-5,
"""
WEATHER = """origin,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib
EWR,1,1,5,39.0,26.0,59.3,270,10.3,,0.0,1012.0,10
LGA,1,1,5,40.0,26.0,59.3,,10.3,20.5,0.0,1011.0,10
"""
PLANES = "tailnum,year,seats\nN1,2004,55\nN2,,182\n"


@pytest.fixture
def folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", FLIGHTS)
    (tmp_path / "weather.csv").write_text(WEATHER)
    (tmp_path / "planes.csv").write_text(PLANES)
    return tmp_path


def test_the_table_joins_what_is_known_and_leaves_gaps(folder, monkeypatch):
    monkeypatch.setattr(flights, "ROWS", 3)
    rows, late = flights.table(folder)
    assert tuple(rows.columns) == flights.COLUMNS
    assert set(rows.dtypes.astype(str)) == {"float64"}
    by_distance = rows.assign(late=late).set_index("distance")
    assert by_distance["late"].to_dict() == {1400: False, 1416: True, 700: False}
    first, second, third = (by_distance.loc[distance] for distance in (1400, 1416, 700))
    assert (first["carrier"], first["origin"], first["dest"]) == (1, 0, 0)
    assert (second["carrier"], second["origin"], second["dest"]) == (0, 1, 0)
    assert third["dest"] == 1
    assert (first["plane_year"], first["seats"], first["temp"]) == (2004, 55, 39)
    assert np.isnan([first["wind_gust"], second["wind_dir"], second["plane_year"], third["temp"], third["seats"]]).all()
    assert second["wind_gust"] == 20.5


def test_the_score_tells_ranking_from_guessing():
    late = np.array([True, False, False, True])
    best = flights.score(np.array([0.9, 0.1, 0.2, 0.8]), late)
    assert (best.value, best.good) == (1.0, True)
    assert "accuracy 1.000, always 'on time' gives 0.500" in best.note
    assert not flights.score(np.full(4, 0.5), late).good
