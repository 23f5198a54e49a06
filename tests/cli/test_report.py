"""`argosy report`, without a platform."""

import msgspec

from tests.cli.test_drift import package, record  # noqa: F401
from tests.monitoring.recorder import shop


def test_a_page_and_the_same_as_json(run, place, package, tmp_path):  # noqa: F811
    rows = shop.rows(500, seed=1)
    rows["x"][:, 0] += 30
    record(place, package, rows)
    path = tmp_path / "shop.html"
    result = run("report", "shop", "--since", "1h", "--html", str(path), "--json")
    assert result.exit_code == 0, result.output
    told = msgspec.json.decode(result.stdout)
    assert (told["endpoint"], told["model"], told["version"], told["rows"]) == ("shop", "shop", "1", 500)
    age = next(each for each in told["columns"] if each["column"] == "age")
    assert age["drifted"]
    assert sum(age["distribution"]["current"]) == 500
    assert path.read_text().startswith("<!doctype html>")
    assert str(path) in result.stderr


def test_it_asks_where_to(run, place, package):  # noqa: F811
    result = run("report", "shop")
    assert (result.exit_code, "--html" in result.stderr) == (2, True)
    assert run("report", "none", "--json").exit_code == 4
    missing = run("report", "shop", "--html", "/nowhere/at/all.html")
    assert missing.exit_code == 4
    assert "/nowhere" in missing.stderr
