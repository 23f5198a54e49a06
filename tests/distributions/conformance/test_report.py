import msgspec

from argosy_conformance import Report, Result, render

RESULTS = (
    Result("health.live", "health", "GET live is 200", "passed"),
    Result("health.ready", "health", "GET ready is 200", "passed", "the body is empty"),
    Result("ids.long", "ids", "a long id", "failed", "expected 200,\n saw 500"),
    Result("data.FP16", "data", "FP16", "skipped", "no such model"),
)
REPORT = Report("http://there", "digits", RESULTS)


def test_only_failures_spoil_it():
    assert not REPORT.ok
    assert Report("http://there", None, RESULTS[:2]).ok


def test_the_grades():
    assert [result.grade for result in RESULTS] == ["strict", "accepted", "failed", "skipped"]


def test_the_table_names_each_check_once_and_adds_up():
    lines = render(REPORT).splitlines()
    assert all(sum(result.id in line for line in lines) == 1 for result in RESULTS)
    assert "        accepted: the body is empty" in lines
    assert "        expected 200, saw 500" in lines
    assert lines[-1].split() == ["total", "2", "1", "1"]


def test_it_survives_json():
    assert msgspec.json.decode(msgspec.json.encode(REPORT), type=Report) == REPORT
