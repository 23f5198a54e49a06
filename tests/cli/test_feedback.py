import msgspec
import pytest

from argosy.control.revision import revision_of
from argosy.control.state import State
from argosy.spec.endpoint import Endpoint
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Settings
from argosy.store import open_store
from tests.monitoring.feedback.kit import predict
from tests.monitoring.recorder import shop


def test_load_and_show(run, place, tmp_path):
    predict(place.root, ("a", 0, 1), ("b", 0, 1), ("c", 86400, 0))
    (tmp_path / "labels.csv").write_text("request_id,label,time\na,1,2026-01-02\nb,0,2026-01-03T10:00\nx,1,\n")
    result = run("feedback", "load", tmp_path / "labels.csv", "--endpoint", "m")
    assert (result.exit_code, result.stdout) == (0, "3 labels of m taken\n"), result.output
    for _ in range(2):
        result = run("feedback", "show", "m")
        assert result.exit_code == 0, result.output
        assert [line.split()[-1] for line in result.stdout.splitlines()] == ["ACCURACY", "0.5", "-"]
        assert "1 labels wait" in result.stderr
    shown = msgspec.json.decode(run("feedback", "show", "m", "--json").stdout)
    assert [(row["served"], row["labelled"], row["accuracy"]) for row in shown["cohorts"]] == [
        (2, 2, 0.5),
        (1, 0, None),
    ]


def test_what_cannot_be_right_is_told(run, place, tmp_path):
    (tmp_path / "l.jsonl").write_text('{"request_id": "a", "label": 1}\n{"request_id": "b", "label": 1, "time": 9e9}\n')
    result = run("feedback", "load", tmp_path / "l.jsonl", "--endpoint", "m")
    assert result.exit_code == 2
    assert "1 left out: time is in the future (as b)" in result.stderr
    assert "1 labels of m taken" in result.stdout
    assert run("feedback", "load", tmp_path / "none.csv", "--endpoint", "m").exit_code == 4
    (tmp_path / "bad.csv").write_text("id,label\na,1\n")
    assert "has no column 'request_id'" in run("feedback", "load", tmp_path / "bad.csv", "--endpoint", "m").stderr


def test_export(run, place, tmp_path):
    predict(place.root, ("a", 0, 1), ("b", 0, 1))
    (tmp_path / "labels.csv").write_text("request_id,label,time\na,0,2026-01-02\n")
    run("feedback", "load", tmp_path / "labels.csv", "--endpoint", "m")
    result = run("feedback", "export", "m", "--since", "2026-01-01", "--output", tmp_path / "rows.csv")
    assert (result.exit_code, result.stdout) == (0, f"1 labelled rows written to {tmp_path / 'rows.csv'}\n"), (
        result.output
    )
    assert run("feedback", "export", "m", "--since", "yesterday", "--output", tmp_path / "x.csv").exit_code == 2
    assert run("feedback", "export", "nobody", "--output", tmp_path / "x.csv").exit_code == 4


def test_columns_are_as_the_monitor_says(run, place, tmp_path):
    store = open_store(place, Settings())
    version = shop.push(store, tmp_path / "package")
    log = PayloadLog()
    watched = Monitor(kind="regression", decision="output.score")
    endpoint = Endpoint(name="m", model="shop:1", payload=log, monitor=watched)
    State(store.database).declare(endpoint, revision_of(endpoint, version))
    store.close()
    predict(place.root, ("a", 0, 1))
    (tmp_path / "labels.csv").write_text("request_id,label,time\na,0.5,2026-01-02\n")
    run("feedback", "load", tmp_path / "labels.csv", "--endpoint", "m")
    assert "leave these options out" in run("feedback", "show", "m", "--score", "output.score").stderr
    shown = msgspec.json.decode(run("feedback", "show", "m", "--json").stdout)
    assert shown["cohorts"][0]["mae"] == pytest.approx(0.4)
