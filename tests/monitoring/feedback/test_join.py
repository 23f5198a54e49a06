import os
import random
import shutil
import signal
import time
from datetime import timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from argosy.monitoring.feedback import join as module
from argosy.monitoring.feedback import sql
from argosy.monitoring.feedback.cohort import performance
from argosy.monitoring.feedback.join import Prediction
from argosy.spec.errors import InvalidArgument
from argosy.store import duck
from argosy.store.payloads import compact, layout
from tests.monitoring.feedback.kit import DAY, START, folder, join, label, predict, rows, tell

NOW = START + timedelta(days=40)


def cohorts(root):
    return performance(folder(root), NOW).cohorts


def test_labels_meet_their_predictions(tmp_path):
    predict(tmp_path, ("a", 0, 1), ("b", 10, 1), ("c", DAY, 0))
    tell(tmp_path, label("a", 1), label("b", "0"), label("c", False))
    made = join(tmp_path)
    assert (made.labels, made.predictions, made.joined, made.waiting) == (3, 3, 3, 0)
    assert made.days == ("2026-01-01", "2026-01-02")
    first, second = cohorts(tmp_path)
    assert (first.start, first.served, first.labelled, first.accuracy) == (START, 2, 2, 0.5)
    assert first.matrix == {("1", "1"): 1, ("1", "0"): 1}
    assert second.accuracy == 1.0


def test_a_label_may_come_before_its_prediction(tmp_path):
    tell(tmp_path, label("late", 1), label("never", 1))
    assert join(tmp_path).waiting == 2
    predict(tmp_path, ("late", 0, 1))
    made = join(tmp_path)
    assert (made.joined, made.waiting) == (1, 1)
    assert cohorts(tmp_path)[0].labelled == 1
    assert join(tmp_path).joined == 0


def test_repeated_and_corrected(tmp_path):
    predict(tmp_path, ("a", 0, 1))
    for correction, expected in (
        (label("a", 1, at=DAY), 1.0),
        (label("a", 1, at=DAY), 1.0),
        (label("a", 0, at=2 * DAY), 0.0),
        (label("a", 1, at=DAY), 0.0),
        (label("a", 1, at=0, version=1), 1.0),
        (label("a", 0, at=9 * DAY), 1.0),
    ):
        tell(tmp_path, correction)
        join(tmp_path)
        (cohort,) = cohorts(tmp_path)
        assert (cohort.labelled, cohort.accuracy) == (1, expected)
    assert rows(folder(tmp_path)).num_rows == 1


def test_a_shadow_is_judged_by_the_same_label_and_a_retried_request_counts_once(tmp_path):
    predict(tmp_path, ("a", 0, 1))
    predict(tmp_path, ("a", 1, 0), version="2")
    predict(tmp_path, ("a", 2, 1))
    tell(tmp_path, label("a", 1))
    join(tmp_path)
    assert [(c.version, c.served, c.labelled, c.accuracy) for c in cohorts(tmp_path)] == [
        ("1", 2, 1, 1.0),
        ("2", 1, 1, 0),
    ]


def test_numbers(tmp_path):
    predict(tmp_path, ("a", 0, 3), ("b", 0, 5), ("c", 0, 5))
    tell(tmp_path, label("a", 3.5), label("b", 4), label("c", "no number"))
    join(tmp_path, Prediction(decision="output.label", kind="regression"))
    (cohort,) = cohorts(tmp_path)
    assert (cohort.labelled, cohort.mae, cohort.accuracy) == (2, 0.75, None)
    assert cohort.rmse == pytest.approx((1.25 / 2) ** 0.5)


def test_a_column_that_is_not_there(tmp_path):
    predict(tmp_path, ("a", 0, 3))
    with pytest.raises(InvalidArgument, match=r"no column 'output.lable'; it has output.label, output.score"):
        join(tmp_path, Prediction(decision="output.lable"))


def test_a_segment_cut_short_is_told_and_passed_over(tmp_path):
    predict(tmp_path, ("a", 0, 1))
    predict(tmp_path, ("b", 0, 1))
    broken = next((tmp_path / "payloads").rglob("hour=*/*.parquet"))
    broken.write_bytes(broken.read_bytes()[:-9])
    tell(tmp_path, label("a", 1), label("b", 1))
    made = join(tmp_path)
    assert (len(made.broken), made.joined, made.waiting) == (1, 1, 1)


def test_retention_of_payloads_does_not_take_what_was_joined(tmp_path):
    predict(tmp_path, ("a", 0, 1), ("b", 0, 0))
    tell(tmp_path, label("a", 1))
    join(tmp_path)
    shutil.rmtree(tmp_path / "payloads")
    tell(tmp_path, label("a", 0, at=3 * DAY), label("b", 0))
    made = join(tmp_path)
    assert (made.joined, made.waiting) == (0, 2)
    (cohort,) = cohorts(tmp_path)
    assert (cohort.served, cohort.labelled, cohort.accuracy) == (2, 1, 1.0)


NAMES = [f"r{n}" for n in range(12)]
events = st.one_of(
    st.tuples(st.just("predict"), st.sampled_from(NAMES), st.integers(0, 9), st.integers(0, 2), st.sampled_from("12")),
    st.tuples(st.just("label"), st.sampled_from(NAMES), st.integers(0, 6), st.integers(0, 2), st.integers(0, 1)),
    st.just(("join",)),
)


def feed(root, event):
    if event[0] == "predict":
        _, name, seconds, value, version = event
        predict(root, (name, int(name[1:]) * DAY / 4 + seconds, value), version=version)
    elif event[0] == "label":
        _, name, day, value, version = event
        tell(root, label(name, value, at=day * DAY, version=version))
    else:
        join(root)


@pytest.mark.slow
@settings(max_examples=10, phases=(Phase.explicit, Phase.generate))
@given(st.lists(events, max_size=14), st.randoms(use_true_random=False))
def test_steps_in_any_order_give_what_one_step_gives(tmp_path_factory, history, chance):
    root = tmp_path_factory.mktemp("x")
    shuffled = [event for event in history if event[0] != "join"]
    chance.shuffle(shuffled)
    for event in history:
        feed(root / "steps", event)
    for event in shuffled:
        feed(root / "once", event)
    join(root / "steps")
    join(root / "once")
    one, other = (performance(folder(root / way), NOW) for way in ("steps", "once"))
    assert one == other
    tables = [rows(folder(root / way)) for way in ("steps", "once")]
    assert (tables[0] is None) == (tables[1] is None)
    if tables[0] is not None:
        assert tables[0].to_pylist() == tables[1].to_pylist()


def test_files_of_a_day_are_merged(tmp_path, monkeypatch):
    monkeypatch.setattr("argosy.monitoring.feedback.join.MERGE_FILES", 3)
    predict(tmp_path, *((f"r{n}", n, 1) for n in range(8)))
    for n in range(8):
        tell(tmp_path, label(f"r{n}", n % 2))
        join(tmp_path)
    assert all(len(files) <= 3 for files in folder(tmp_path).manifest().joined.values())
    (cohort,) = cohorts(tmp_path)
    assert (cohort.labelled, cohort.accuracy) == (8, 0.5)
    assert rows(folder(tmp_path)).num_rows == 8


@pytest.mark.slow
def test_a_step_killed_at_any_moment_is_made_good_by_the_next(tmp_path):
    chance = random.Random(3)
    predict(tmp_path, *((f"r{n}", n * 600, n % 3) for n in range(400)))
    for turn in range(8):
        tell(tmp_path, *(label(f"r{n}", n % 2) for n in range(turn * 50, turn * 50 + 50)))
        child = os.fork()
        if child == 0:
            join(tmp_path)
            os._exit(0)
        time.sleep(chance.uniform(0.01, 0.25))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    join(tmp_path)
    manifest = folder(tmp_path).manifest()
    assert {f"made/{path.name}" for path in folder(tmp_path).made.iterdir()} == manifest.named()
    assert sum(c.labelled for c in cohorts(tmp_path)) == 400
    right = sum(n for one in cohorts(tmp_path) for (said, true), n in one.matrix.items() if said == true)
    assert right == sum(n % 3 == n % 2 for n in range(400))


@pytest.mark.parametrize("dies", [False, True])
def test_segments_that_were_merged_meanwhile_are_joined_once(tmp_path, dies: bool):
    log = tmp_path / "payloads"
    for number in range(6):
        predict(tmp_path, (f"p{number}", number, 1))
        if number == 3:
            tell(tmp_path, label("p0", 1), label("p5", 1))
            assert (join(tmp_path).predictions, join(tmp_path).predictions) == (4, 0)
    (small,) = compact.due(layout.segments(log), NOW, timedelta())
    before = len(layout.segments(log))
    if dies:
        child = os.fork()
        if child == 0:
            compact.exchange = lambda *_: os._exit(9)
            compact.hour(log, small, folder(tmp_path))
        os.waitpid(child, 0)
        assert len(layout.segments(log)) == before
    else:
        assert compact.hour(log, small, folder(tmp_path)) == 4
        assert len(layout.segments(log)) == 2
    tell(tmp_path, label("p1", 0))
    made = join(tmp_path)
    assert (made.predictions, made.joined, made.waiting) == (2, 2, 0)
    (cohort,) = cohorts(tmp_path)
    assert (cohort.served, cohort.labelled, cohort.accuracy) == (6, 3, pytest.approx(2 / 3))
    assert join(tmp_path).predictions == 0


def test_a_score_may_be_the_decision(tmp_path):
    predict(tmp_path, ("a", 0, 7), ("b", 0, 4))
    tell(tmp_path, label("a", "yes"), label("b", "yes"))
    told = Prediction(score="output.score", threshold=0.5, classes=("no", "yes"), positive="yes")
    join(tmp_path, told)
    assert cohorts(tmp_path)[0].matrix == {("yes", "yes"): 1, ("no", "yes"): 1}


def test_of_a_list_of_scores_the_highest_decides():
    with duck.opened() as connection:
        said = sql.highest("s", ("a", "it's", "c"))
        values = "(VALUES ([0.1, 0.7, 0.2]), ([0.5, 0.5, 0]), ([NULL, 1, 0]), (['nan'::DOUBLE, 1, 0]), (NULL)) t(s)"
        found = connection.execute(f"SELECT {said} FROM (SELECT s::DOUBLE[] AS s FROM {values})").fetchall()
        assert [each for (each,) in found] == ["it's", "a", "it's", None, None]
        beyond = sql.beyond("s", 0.5, "it's", "other")
        rows = "(VALUES (0.5), (0.49), ('nan'::DOUBLE), (NULL)) t(s)"
        found = connection.execute(f"SELECT {beyond} FROM {rows}").fetchall()
        assert [each for (each,) in found] == ["it's", "other", None, None]


def test_of_labels_that_wait_the_newest_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    predict(tmp_path, ("known", 0, 1))
    for number in range(4):
        tell(tmp_path, label(f"unknown-{number}", 1), at=40 * DAY + number)
    found = join(tmp_path)
    assert (found.waiting, found.expired) == (3, 1)
    predict(tmp_path, ("unknown-0", 1, 1), ("unknown-3", 2, 1))
    assert join(tmp_path).joined == 1
    tell(tmp_path, label("known", 1), at=41 * DAY)
    assert join(tmp_path).joined == 1


def test_who_floods_what_waits_crowds_out_himself_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    predict(tmp_path, ("known", 0, 1))
    tell(tmp_path, label("early", 1), label("earlier", 1), at=39 * DAY, key="honest")
    tell(tmp_path, *(label(f"unknown-{n}", 1) for n in range(50)), at=40 * DAY, key="flood")
    found = join(tmp_path)
    assert (found.waiting, found.expired) == (10, 42)
    tell(tmp_path, *(label(f"more-{n}", 1) for n in range(50)), at=40 * DAY + 1, key="flood")
    assert join(tmp_path).waiting == 10
    predict(tmp_path, ("early", 1, 1), ("earlier", 2, 1), ("more-7", 3, 1))
    assert join(tmp_path).joined in (2, 3)


def test_what_earlier_versions_wrote_of_labels_is_read(tmp_path):
    """Files without the sender's key: as they came, waiting and joined, alone and beside new ones."""
    predict(tmp_path, ("a", 0, 1))
    tell(tmp_path, label("a", 1), label("b", 1))
    folder(tmp_path).journal().write_bytes(folder(tmp_path).journal().read_bytes().replace(b',"key":""', b""))
    join(tmp_path)
    for path in folder(tmp_path).root.glob("*/*.parquet"):
        table = parquet.read_table(path)
        if "key" in table.column_names:
            parquet.write_table(table.drop_columns(["key"]), path)
    tell(tmp_path, label("c", 1), key="k")
    predict(tmp_path, ("b", 2, 1))
    assert (join(tmp_path).waiting, join(tmp_path).joined) == (1, 0)
    predict(tmp_path, ("c", 3, 1), ("a", 4, 2), version="2")
    assert join(tmp_path).waiting == 0
