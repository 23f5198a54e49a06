from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from argosy.store.payloads import layout, ship
from argosy.store.payloads.layout import Segment
from tests.store.payloads.kit import HOUR, NOON, record, writer

NOW = datetime(2026, 2, 10, 12, tzinfo=UTC)


def made(age_hours: int, size: int = 10) -> Segment:
    hour = NOW - timedelta(hours=age_hours)
    return Segment(hour, f"k{age_hours}-{size}", "digits", "1", size)


def test_by_age():
    old, young = made(24 * 30 + 1), made(24 * 30)
    assert ship.decide([young, old], NOW, days=30, size=100).remove == (old,)


def test_by_size_the_oldest_first_and_never_the_last():
    found = [made(3), made(2), made(1)]
    assert ship.decide(found, NOW, days=30, size=20).remove == (found[0],)
    assert ship.decide(found, NOW, days=30, size=1).remove == tuple(found[:2])


def test_age_waits_for_the_object_store_and_size_does_not():
    old, older = made(24 * 31, 5), made(24 * 32, 5)
    decision = ship.decide([old, older], NOW, days=30, size=100, shipped={older.key})
    assert (decision.remove, decision.lost) == ((older,), ())
    decision = ship.decide([old, older, made(1, 5)], NOW, days=30, size=5, shipped={older.key})
    assert (decision.remove, decision.lost) == ((older, old), (old,))


@given(st.lists(st.tuples(st.integers(1, 2000), st.integers(1, 100)), unique=True), st.integers(1, 500))
def test_what_stays_fits_and_is_the_newest(pairs, size):
    found = [made(age, bytes_) for age, bytes_ in pairs]
    removed = set(ship.decide(found, NOW, days=30, size=size).remove)
    kept = [each for each in found if each not in removed]
    assert sum(each.size for each in kept) <= size or len(kept) <= 1
    assert not removed or not kept or max(removed) < min(kept)


def test_empty_folders_go_too(tmp_path):
    writer(tmp_path).write([record(1), record(2, time=NOON + HOUR)])
    first, second = layout.segments(tmp_path)
    ship.remove(tmp_path, [first, first])
    assert layout.segments(tmp_path) == [second]
    assert not (tmp_path / first.key).parent.exists()
    ship.remove(tmp_path, [second])
    assert layout.endpoints(tmp_path) == []
