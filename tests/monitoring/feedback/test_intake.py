import os

import pytest

from argosy.monitoring.feedback import intake
from argosy.monitoring.feedback import join as expiry
from argosy.monitoring.feedback.event import Label, accept
from argosy.spec.errors import InvalidArgument, RateLimited, StorageFull
from tests.monitoring.feedback.kit import folder, join, label, predict, tell
from tests.store.faults import at_call, no_space

NOW = 1.8e9


def kept(*names, key=""):
    return accept([Label(request_id=name, label=1) for name in names], NOW, key).labels


def test_a_torn_line_is_passed_over_and_ends_before_the_next(tmp_path):
    place = folder(tmp_path)
    intake.append(place, kept("a"))
    with place.journal().open("ab") as journal:
        journal.write(b'{"request_id": "to')
    intake.append(place, kept("b"))
    assert intake.seal(place) == 2
    assert not place.journal().exists()
    assert intake.seal(place) == 0


def test_a_full_disk_is_told_and_what_was_there_stays(tmp_path):
    place = folder(tmp_path)
    intake.append(place, kept("a"))
    told = 0
    for number in range(1, 15):
        try:
            with at_call(number, no_space):
                intake.append(place, kept("b"))
        except StorageFull:
            told += 1
    assert told >= 2
    assert intake.seal(place) >= 1


def test_a_crash_between_file_and_journal_counts_once(tmp_path):
    predict(tmp_path, ("a", 0, 1))
    tell(tmp_path, label("a", 1))
    journal = folder(tmp_path).journal().read_bytes()
    intake.seal(folder(tmp_path))
    folder(tmp_path).journal().write_bytes(journal)
    assert join(tmp_path).joined == 2
    assert os.listdir(folder(tmp_path).labels)


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("a.csv", "request_id,label,row\na,1,0\nb,cat,2\n,1,0\nc,,0\nd,1,-1\n", 2),
        (
            "a.jsonl",
            '{"request_id": "a", "label": true}\n{"request_id": "b", "label": false, "time": "2026-01-01"}\n',
            2,
        ),
        ("a.csv", "request_id,label,time\na,1,1767225600\nb,1,2026-01-01T00:00:00Z\nc,1,yesterday\n", 2),
    ],
)
def test_files(tmp_path, name, text, labels):
    (tmp_path / name).write_text(text)
    loaded = intake.load(folder(tmp_path), tmp_path / name, NOW)
    assert loaded.labels == labels
    assert sum(loaded.refused.values()) == text.strip().count("\n") + (name == "a.jsonl") - labels


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.txt", "x", "are read from"),
        ("a.csv", "request_id,label,colour\na,1,2\n", "unknown column 'colour'"),
        ("a.parquet", "no parquet", "cannot be read as labels"),
    ],
)
def test_files_that_are_none(tmp_path, name, text, reason):
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidArgument, match=reason):
        intake.load(folder(tmp_path), tmp_path / name, NOW)
    assert folder(tmp_path).label_files() == []


def test_labels_that_nobody_joins_are_bounded(tmp_path, monkeypatch):
    """A caller with a key tells labels of requests that nobody made, without end: what waits has a bound, and is taken
    again after a join."""
    monkeypatch.setattr(intake, "MOST_JOURNAL", 100_000)
    place, told = folder(tmp_path), []

    def tell_without_end():
        for number in range(100):
            intake.append(place, kept(*(f"{number}-{n}" for n in range(100))))
            told.append(100)

    with pytest.raises(RateLimited, match="wait to be joined") as refused:
        tell_without_end()
    assert refused.value.retry_after == intake.RETRY_SECONDS
    assert place.journal().stat().st_size <= 100_000
    assert intake.seal(place) == sum(told) > 0
    intake.append(place, kept("a"))


def test_a_journal_is_read_by_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "AT_ONCE", 10)
    place = folder(tmp_path)
    intake.append(place, kept(*map(str, range(35))))
    assert intake.seal(place) == 35
    assert len(place.label_files()) == 4


def test_each_sender_has_a_share_of_what_may_wait(tmp_path, monkeypatch):
    """However many use up all they get, and however small their parts, the next one finds room."""
    monkeypatch.setattr(intake, "MOST_JOURNAL", 200_000)
    place = folder(tmp_path)

    def tell_without_end(key: str) -> None:
        for count in range(10_000):
            intake.append(place, kept(*(f"{count}-{n}" for n in range(10)), key=key))

    sizes: list[int] = []
    for key in ("a", "b", "", "c", "d"):
        with pytest.raises(RateLimited, match="its share"):
            tell_without_end(key)
        sizes.append(place.journal(key).stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert 90_000 < sizes[0] <= 100_000
    assert all(size > 2_000 for size in sizes)
    assert sum(sizes) <= 200_000
    intake.append(place, kept("x", key="late"))
    assert intake.seal(place) > 1000
    assert {expiry.sender(name) for name in place.label_files()} == {"", "a", "b", "c", "d", "late"}
    intake.append(place, kept("a", key="a"))
