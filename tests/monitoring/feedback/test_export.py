"""Labelled rows out, held against what was predicted and told."""

from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from argosy.monitoring.feedback.export import Span, export
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.store.payloads import layout
from tests.monitoring.feedback.kit import DAY, START, folder, join, label, predict, tell


def out(root: Path, name: str = "labelled.parquet", **span) -> list[dict]:
    export(folder(root), root / "payloads", root / name, Span(**span))
    return pq.read_table(root / name).to_pylist()


def test_inputs_outputs_and_labels_come_together_whether_they_were_joined_or_not(tmp_path):
    predict(tmp_path, ("a", 0, 1), ("b", 10, 1), ("c", 20, 0))
    tell(tmp_path, label("a", 1), label("nobody", 1))
    join(tmp_path)
    tell(tmp_path, label("c", "0.0"))
    rows = out(tmp_path)
    assert list(rows[0]) == [
        *("request_id", "row", "time", "version", "weight"),
        *("input.a", "output.label", "output.score", "label", "label_time"),
    ]
    assert [(row["request_id"], row["output.label"], row["label"]) for row in rows] == [("a", 1, "1"), ("c", 0, "0")]
    assert rows[0]["label_time"] == START + timedelta(days=2)


def test_of_several_labels_the_one_that_counts_is_taken_and_a_retried_request_counts_once(tmp_path):
    predict(tmp_path, ("a", 0, 1), ("a", 1, 0))
    tell(tmp_path, label("a", 3, at=5 * DAY), label("a", 4, at=3 * DAY, version=1))
    assert [(row["output.label"], row["label"]) for row in out(tmp_path)] == [(0, "4")]


def test_only_the_time_and_version_that_are_asked_for(tmp_path):
    predict(tmp_path, ("a", 0, 1), ("b", DAY, 1), ("c", 2 * DAY, 1))
    predict(tmp_path, ("b", DAY + 5, 0), version="2")
    tell(tmp_path, *(label(name, 1) for name in "abc"))
    day = timedelta(days=1)
    assert [row["request_id"] for row in out(tmp_path, since=START + day, until=START + 2 * day)] == ["b", "b"]
    assert [row["version"] for row in out(tmp_path, since=START + day, version="2")] == ["2"]
    assert out(tmp_path, version="2' OR 'a' = 'a") == []


def test_other_formats_and_what_cannot_be(tmp_path):
    predict(tmp_path, ("a", 0, 1))
    tell(tmp_path, label("a", 'x","y'))
    export(folder(tmp_path), tmp_path / "payloads", tmp_path / "l.csv")
    assert (tmp_path / "l.csv").read_text().splitlines()[0].endswith("label,label_time")
    export(folder(tmp_path), tmp_path / "payloads", tmp_path / "it's.jsonl")
    assert '"label":"x\\",\\"y"' in (tmp_path / "it's.jsonl").read_text()
    with pytest.raises(InvalidArgument, match=r"written as \.parquet"):
        export(folder(tmp_path), tmp_path / "payloads", tmp_path / "l.xlsx")
    with pytest.raises(NotFound, match="no folder"):
        export(folder(tmp_path), tmp_path / "payloads", tmp_path / "nowhere" / "l.csv")
    with pytest.raises(NotFound, match="no payload log"):
        export(folder(tmp_path), tmp_path / "elsewhere", tmp_path / "l.csv")
    with pytest.raises(NotFound, match="in that time"):
        export(folder(tmp_path), tmp_path / "payloads", tmp_path / "l.csv", Span(since=START + timedelta(days=9)))


def test_a_broken_file_is_put_aside_and_an_old_result_stays_where_nothing_can_be_written(tmp_path):
    predict(tmp_path, ("a", 0, 1))
    predict(tmp_path, ("b", DAY, 1))
    tell(tmp_path, label("a", 1), label("b", 1))
    first = layout.segments(tmp_path / "payloads", "m")[0]
    (tmp_path / "payloads" / first.key).write_bytes(b"PAR1 no more")
    found = export(folder(tmp_path), tmp_path / "payloads", tmp_path / "l.parquet")
    assert (found.rows, [each.key for each in found.broken]) == (1, [first.key])
    before = (tmp_path / "l.parquet").read_bytes()
    with pytest.raises(NotFound):
        export(folder(tmp_path), tmp_path / "payloads", tmp_path / "l.parquet", Span(until=START))
    assert (tmp_path / "l.parquet").read_bytes() == before
    assert [path.name for path in tmp_path.glob(".l.*")] == []
