"""Looks at performance: what is estimated, what comes true, and what both say of each other."""

import shutil
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from argosy.monitoring.performance import evaluate
from argosy.monitoring.performance import rows as log
from argosy.monitoring.performance.roles import roles
from tests.monitoring.performance.live.conftest import world
from tests.monitoring.performance.live.kit import HOUR, LOG, START, Watch, answers, of, record, tell


@pytest.fixture(autouse=True)
def _answered(home, references):
    """The reference is scored already."""
    shutil.copytree(references, home.root / "references")


@pytest.fixture
def watch(home, package, version, held_out):
    return Watch(home, package, version, held_out)


def accuracy(package, rows):
    return float(((answers(package, rows) >= 0.5) == rows["bought"]).mean())


@pytest.mark.slow
def test_an_estimate_is_what_labels_say_later(home, package, watch):
    rows = world(2000, seed=5)
    ids = record(home, package, rows, 0)
    done = watch.evaluate(HOUR + 60)
    (estimated,) = of(done, "estimate", "accuracy", 0)
    assert estimated.low < accuracy(package, rows) < estimated.high
    assert estimated.effect == pytest.approx(accuracy(package, rows), abs=0.02)
    assert (estimated.verdict, estimated.rows, estimated.version) == ("as expected", 2000, "1")
    assert estimated.detail["reference"] == pytest.approx(accuracy(package, world(2000, seed=2)))
    assert 0.4 < estimated.detail["domain_auc"] < 0.6
    assert {each.subject for each in done.findings} == {"accuracy", "precision", "recall", "f1", "auroc"}
    assert not of(done, "realised", "accuracy")

    tell(home, ids, rows["bought"], 2 * HOUR)
    done = watch.evaluate(30 * HOUR)
    (realised,) = of(done, "realised", "accuracy", 0)
    assert realised.effect == accuracy(package, rows)
    assert (realised.rows, realised.detail["labelled"], realised.detail["served"]) == (2000, 2000, 2000)
    assert realised.detail["maturity"] == 1.0
    (same,) = of(done, "reconcile", "accuracy", 0)
    assert same.verdict == "agrees"
    assert same.effect == pytest.approx(realised.effect - estimated.effect)
    assert not watch.evaluate(31 * HOUR).findings


@pytest.mark.slow
def test_labels_are_few_at_first_and_count_once_when_there_are_enough(home, package, watch):
    rows = world(1000, seed=6)
    for day in range(3):
        ids = record(home, package, rows, day * 24 * HOUR, name=f"d{day}")
        tell(home, ids[:500], rows["bought"][:500], day * 24 * HOUR + HOUR)
        tell(home, ids[500:], rows["bought"][500:], day * 24 * HOUR + 20 * HOUR)
    watch.evaluate(72 * HOUR)
    ids = record(home, package, rows, 80 * HOUR, name="now")
    tell(home, ids[:500], rows["bought"][:500], 81 * HOUR)
    (early,) = of(watch.evaluate(82 * HOUR), "realised", "accuracy", 80)
    assert early.detail["maturity"] < 0.8
    assert (early.rows, early.detail["served"]) == (500, 1000)
    assert START // HOUR + 80 in watch.states["1"].waiting
    (later,) = of(watch.evaluate(110 * HOUR), "realised", "accuracy", 80)
    assert later.detail["maturity"] > 0.8
    assert START // HOUR + 80 in watch.states["1"].counted
    assert not watch.evaluate(111 * HOUR).findings


def test_a_fall_is_estimated_before_there_are_labels(home, package, watch):
    record(home, package, world(2000, seed=7), 0)
    rows = world(2000, seed=8)
    rows["age"], rows["income"] = rows["age"] * 0.2, rows["income"] * 0.2
    record(home, package, rows, HOUR)
    done = watch.evaluate(2 * HOUR + 60)
    assert of(done, "estimate", "accuracy", 0)[0].verdict == "as expected"
    (low,) = of(done, "estimate", "accuracy", 1)
    assert low.verdict == "fell"
    assert low.effect < low.detail["reference"] - 0.1
    assert low.detail["domain_auc"] > 0.7
    assert watch.states["1"].estimated.fallen
    record(home, package, world(2000, seed=9), 2 * HOUR)
    assert of(watch.evaluate(3 * HOUR + 60), "estimate", "accuracy")[0].verdict == "as expected"
    assert not watch.states["1"].estimated.fallen


def test_what_no_estimate_sees_shows_in_the_labels(home, package, watch):
    for hour in range(2):
        rows = world(2000, seed=10 + hour)
        ids = record(home, package, rows, hour * HOUR)
        tell(home, ids, 1 - rows["bought"], hour * HOUR + HOUR / 2 + 100)
    done = watch.evaluate(30 * HOUR)
    assert {each.verdict for each in of(done, "estimate", "accuracy")} == {"as expected"}
    assert {each.verdict for each in of(done, "realised", "accuracy")} == {"fell"}
    assert {each.verdict for each in of(done, "reconcile", "accuracy")} == {"the estimate was too good"}
    assert watch.states["1"].differ
    assert watch.states["1"].realised.fallen


def test_another_place_is_not_estimated(home, package, watch):
    rows = world(500, seed=12)
    rows["age"] += 20
    record(home, package, rows, 0)
    (none,) = watch.evaluate(HOUR + 60).findings
    assert none.verdict.startswith("not estimable:")
    assert "the reference has next to none" in none.verdict
    assert (none.effect, none.subject) == (None, "accuracy")


def test_windows_that_say_nothing(home, package, watch):
    record(home, package, world(1, seed=13), 0)
    record(home, package, world(100, seed=14), HOUR, probability=np.full(100, np.nan))
    half = np.where(np.arange(100) % 2, 0.5, np.nan)
    record(home, package, world(100, seed=15), 2 * HOUR, probability=half)
    found = {each.window_start: each for each in watch.evaluate(3 * HOUR + 60).findings if each.subject == "accuracy"}
    verdicts = [found[START + hour * HOUR].verdict for hour in range(3)]
    assert verdicts[0] == "not estimable: 1 rows are too few; 30 are the least"
    assert verdicts[1] == "not estimable: none of the 100 predictions is a finite number or a known class"
    assert not verdicts[2].startswith("not")


def test_without_a_reference_labels_alone_tell(home, package, version):
    watch = Watch(home, package, version, None)
    rows = world(300, seed=16)
    ids = record(home, package, rows, 0)
    assert watch.evaluate(HOUR + 60).findings == ()
    tell(home, ids, rows["bought"], HOUR)
    (found,) = of(watch.evaluate(9 * HOUR), "realised", "accuracy", 0)
    assert (found.verdict, found.effect) == ("measured", accuracy(package, rows))
    assert "reference" not in found.detail


def test_a_late_correction_is_told_and_changes_no_evidence(home, package, watch):
    rows = world(1000, seed=17)
    ids = record(home, package, rows, 0)
    tell(home, ids, rows["bought"], HOUR)
    watch.evaluate(30 * HOUR)
    before = watch.states["1"]
    tell(home, ids, 1 - rows["bought"], 31 * HOUR)
    (found,) = of(watch.evaluate(32 * HOUR), "realised", "accuracy", 0)
    assert found.effect == pytest.approx(1 - accuracy(package, rows))
    assert watch.states["1"].realised == before.realised
    assert watch.states["1"].counted == before.counted


def test_many_windows_are_looked_at_in_turns(home, package, version, held_out):
    watch = Watch(home, package, version, held_out, every=10)
    record(home, package, world(1000, seed=18), 0)
    first = watch.evaluate(HOUR)
    assert first.more
    assert len({each.window_end for each in first.findings}) == 100
    second = watch.evaluate(HOUR)
    assert not second.more
    ends = {each.window_end for done in (first, second) for each in done.findings}
    assert len(ends) == 180
    assert not watch.evaluate(HOUR).findings


def test_truth_waits_for_the_estimate(home, package, version, held_out, monkeypatch):
    monkeypatch.setattr(evaluate, "MOST_WINDOWS", 20)
    watch, rows = Watch(home, package, version, held_out, every=50), world(3600, seed=29)
    tell(home, record(home, package, rows, 0), rows["bought"], HOUR)
    first, second = watch.evaluate(30 * HOUR), watch.evaluate(30 * HOUR)
    for done, count in ((first, 20), (second, 16)):
        assert len(of(done, "estimate", "accuracy")) == len(of(done, "reconcile", "accuracy")) == count
    assert len(watch.states["1"].counted) == 36
    assert not watch.states["1"].waiting


def test_a_changed_monitor_begins_anew_and_does_not_go_back(home, package, version, held_out):
    watch = Watch(home, package, version, held_out)
    record(home, package, world(500, seed=19), 0)
    watch.evaluate(HOUR + 60)
    other = Watch(home, package, version, held_out, margin=0.2)
    other.states = dict(watch.states)
    assert not other.evaluate(HOUR + 120).findings
    assert other.states["1"].basis != watch.states["1"].basis
    assert other.states["1"].guesses == {}


def test_a_log_without_the_column_says_so(home, package, version, held_out):
    record(home, package, world(500, seed=20), 0)
    for path in home.payloads.rglob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["input.income"]), path)
    watch = Watch(home, package, version, held_out)
    (found,) = watch.evaluate(HOUR + 60).findings
    assert found.verdict == "not estimable: the log of 'shop' version 1 has no column 'input.income'"


def test_numbers_have_errors(home, package, version, held_out):
    given = {"kind": "regression", "decision": "output.probability"}
    watch = Watch(home, package, version, held_out, **given)
    rows = world(1500, seed=21)
    ids = record(home, package, rows, 0)
    (estimated,) = of(watch.evaluate(HOUR + 60), "estimate", "mae", 0)
    tell(home, ids, rows["bought"], 2 * HOUR)
    done = watch.evaluate(30 * HOUR)
    (realised,) = of(done, "realised", "mae", 0)
    assert realised.effect == pytest.approx(np.abs(answers(package, rows) - rows["bought"]).mean())
    assert estimated.low < realised.effect < estimated.high
    assert of(done, "reconcile", "mae", 0)[0].verdict == "agrees"
    assert {each.subject for each in done.findings} == {"mae", "rmse"}


def test_errors_that_labels_alone_show(home, package, version, held_out):
    watch = Watch(home, package, version, held_out, kind="regression", decision="output.probability")
    rows = world(1500, seed=22)
    tell(home, record(home, package, rows, 0), 1 - rows["bought"], HOUR)
    done = watch.evaluate(30 * HOUR)
    assert of(done, "estimate", "mae", 0)[0].verdict == "as expected"
    assert of(done, "realised", "mae", 0)[0].verdict == "fell"
    assert of(done, "reconcile", "mae", 0)[0].verdict == "the estimate was too good"


def test_each_version_is_judged_by_the_reference_as_it_answers_it(home, package, version, held_out):
    watch = Watch(home, package, version, held_out)
    rows = world(500, seed=23)
    tell(home, record(home, package, rows, 0), rows["bought"], HOUR)
    record(home, package, rows, 0, version="2", probability=1 - answers(package, rows))
    done = watch.evaluate(30 * HOUR, versions=("1", "2"))
    one, two = (
        [each for each in of(done, "realised", "accuracy", 0) if each.version == number] for number in ("1", "2")
    )
    assert one[0].effect == pytest.approx(1 - two[0].effect)
    assert set(watch.states) == {"1", "2"}
    assert len(list((home.root / "references").glob("*.scored"))) == 1


def test_neither_zone_nor_daylight_saving_nor_a_fast_clock_matters(home, package, version, held_out, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        spring = 31 + 28 + 7
        watch, rows = Watch(home, package, version, held_out), world(200, seed=24)
        hours = [spring * 24 + hour for hour in (5, 6, 7, 8)]
        for hour in hours:
            ids = record(home, package, rows, hour * HOUR, name="spring")
            tell(home, ids, rows["bought"], hour * HOUR - 200)
        done = watch.evaluate((hours[-1] + 30) * HOUR)
        for kind in ("estimate", "realised"):
            starts = [each.window_start for each in of(done, kind, "accuracy")]
            assert starts == [START + hour * HOUR for hour in hours], kind
        assert {each.rows for each in of(done, "realised", "accuracy")} == {200}
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_broken_file_is_put_aside_and_the_rest_is_judged(home, package, watch):
    record(home, package, world(500, seed=25), 0)
    watch.evaluate(60)
    record(home, package, world(500, seed=26), HOUR)
    broken = max(home.payloads.rglob("hour=*01/*.parquet"))
    broken.write_bytes(broken.read_bytes()[:-100])
    done = watch.evaluate(2 * HOUR + 60)
    assert [each.window_start for each in of(done, "estimate", "accuracy")] == [START]
    assert len(list((home.payloads / ".quarantine").rglob("*.parquet"))) == 1


def test_of_more_rows_than_fit_the_same_share_is_read(home, package, watch, monkeypatch):
    record(home, package, world(3000, seed=27), 0)
    monkeypatch.setattr(log, "MOST_ROWS", 1000)
    with log.opened(home.payloads, "shop", "1", watch_roles(watch), HOUR, START, START + HOUR) as opened:
        assert opened is not None
        ((place, count),) = opened.counts(START // HOUR, START // HOUR + 1).items()
        first, second = (opened.window(place, count, {}) for _ in range(2))
    assert count == 3000
    assert 800 < first.total <= 1000
    assert first.features.tolist() == second.features.tolist()
    (found,) = of(watch.evaluate(HOUR + 60), "estimate", "accuracy", 0)
    assert (found.rows, found.verdict) == (3000, "as expected")


def watch_roles(watch):
    return roles(watch.monitor, watch.package.manifest.signature, LOG)


def test_labels_that_cannot_be_joined_hold_up_no_estimate(home, package, watch):
    record(home, package, world(500, seed=28), 0)
    for path in home.payloads.rglob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.rename_columns([n.replace("probability", "chance") for n in table.column_names]), path)
    record(home, package, world(500, seed=28), HOUR, version="2")
    done = watch.evaluate(2 * HOUR + 60)
    assert {each.verdict.split(":")[0] for each in done.findings} == {"not estimable"}
    for path in home.payloads.rglob("version=2/*/*.parquet"):
        path.unlink()
    (home.root / "feedback").rename(home.root / "old")
    done = watch.evaluate(3 * HOUR + 60)
    (realised,) = [each for each in done.findings if each.kind == "realised"]
    assert realised.verdict.startswith("not joined: the log of 'shop' has no column 'output.probability'")
