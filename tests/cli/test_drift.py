"""`argosy drift` on what the recorder writes."""

import time

import msgspec
import pytest

from argosy.control.revision import revision_of
from argosy.control.state import State
from argosy.packaging.package import open_package
from argosy.profiles import files
from argosy.profiles.layout import layout
from argosy.profiles.recorder import Recorder
from argosy.spec.endpoint import Endpoint
from argosy.spec.settings import Settings
from argosy.store import open_store
from tests.monitoring.recorder import shop


@pytest.fixture
def package(place):
    """The shop is declared; where its package lies."""
    store = open_store(place, Settings())
    version = shop.push(store, place.root / "package")
    endpoint = Endpoint(name="shop", model="shop:1")
    State(store.database).declare(endpoint, revision_of(endpoint, version))
    store.close()
    return open_package(place.root / "package")


def record(place, package, rows, ago=120.0, layout_of=None, segments=()):
    """As the recorder does it: rows that came some seconds ago."""
    where = layout_of or layout(package.profile(), package.manifest.signature)
    recorder, now = Recorder(where, "1", segments), time.time()
    recorder.add(now - ago, rows, shop.answers(rows))
    files.write(place.profiles, "shop", recorder.take(now))


def test_what_has_drifted_is_named(run, place, package):
    rows = shop.rows(2000, seed=1)
    rows["x"][:, 0] += 30
    record(place, package, rows)
    result = run("drift", "shop")
    assert result.exit_code == 0, result.output
    verdicts = {line.split()[0]: line.rpartition("  ")[2] for line in result.stdout.splitlines()[1:]}
    assert (verdicts["age"], verdicts["income"]) == ("drift", "no drift")
    assert verdicts["email"] == "not compared"
    assert "2,000 rows of version 1" in result.stderr
    failed = run("drift", "shop", "--fail", "--json")
    told = msgspec.json.decode(failed.stdout)
    assert failed.exit_code == 11
    assert "age" in told["drifted"]
    assert "income" not in told["drifted"]
    age = next(one for one in told["columns"] if one["column"] == "age")
    assert (age["side"], age["rows"]) == ("input", 2000)
    assert age["e"] > 20
    assert age["effects"][0]["low"] > age["effects"][0]["margin"]


def test_what_is_as_it_was_does_not_fail(run, place, package):
    record(place, package, shop.rows(500, seed=2))
    record(place, package, shop.rows(500, seed=3), ago=600.0)
    result = run("drift", "shop", "--fail", "--json")
    assert result.exit_code == 0, result.output
    told = msgspec.json.decode(result.stdout)
    assert (told["rows"], told["drifted"]) == (1000, [])


def test_what_cannot_be_compared_says_why(run, place, package):
    assert "there is no endpoint 'none'" in run("drift", "none").stderr
    nothing = run("drift", "shop")
    assert (nothing.exit_code, "payload: {}" in nothing.stderr) == (4, True)
    record(place, package, shop.rows(100), ago=7200.0)
    assert run("drift", "shop").exit_code == 4
    few = run("drift", "shop", "--since", "3h")
    assert few.exit_code == 0, few.output
    record(place, package, shop.rows(5))
    few = run("drift", "shop")
    assert (few.exit_code, "only 5 rows" in few.stderr) == (5, True)


def test_another_reference_is_refused(run, place, package):
    own = package.profile()
    other = msgspec.structs.replace(own, inputs=own.inputs[:1])
    record(place, package, shop.rows(100), layout_of=layout(other, package.manifest.signature))
    result = run("drift", "shop")
    assert (result.exit_code, "another signature or reference" in result.stderr) == (5, True)


def test_a_segment_is_compared_with_its_own_past(run, place, package):
    for hour in (2, 3, 4):
        record(place, package, shop.rows(500, seed=hour), ago=hour * 3600.0, segments=("label",))
    now = shop.rows(500, seed=9)
    now["x"][now["x"][:, 0] > 40, 1] += 40_000
    record(place, package, now, segments=("label",))
    told = {}
    for segment in ("label=yes", "label=no"):
        result = run("drift", "shop", "--segment", segment, "--json")
        assert result.exit_code == 0, result.output
        told[segment] = msgspec.json.decode(result.stdout)
    assert "income" in told["label=yes"]["drifted"]
    assert told["label=no"]["drifted"] == []
    assert told["label=no"]["segment"] == "label=no"
    assert 100 < told["label=no"]["rows"] < told["label=yes"]["rows"]
    assert "with label=yes" in run("drift", "shop", "--segment", "label=yes").stderr


def test_a_segment_without_rows_or_past_says_so(run, place, package):
    record(place, package, shop.rows(500), segments=("label",))
    none = run("drift", "shop", "--segment", "label=maybe")
    assert (none.exit_code, "there are label=no, label=yes" in none.stderr) == (4, True)
    early = run("drift", "shop", "--segment", "label=yes")
    assert (early.exit_code, "before this time" in early.stderr) == (5, True)
