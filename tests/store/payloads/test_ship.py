"""Shipping, into a folder and into SeaweedFS: a real server of the S3 protocol."""

from pathlib import Path

import pytest

from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.store import objects
from argosy.store.payloads import layout, ship
from tests.store.payloads.kit import HOUR, NOON, record, writer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    writer(tmp_path / "log").write([record(1), record(2, time=NOON + HOUR)])
    return tmp_path / "log"


class Flaky:
    """Takes `good` files, then none."""

    def __init__(self, root: Path, good: int) -> None:
        self._put, self.good, self.calls = ship.destination(str(root)), good, 0

    def __call__(self, key: str, path: Path) -> None:
        self.calls += 1
        if self.calls > self.good:
            raise Unavailable("down")
        self._put(key, path)


def test_each_segment_is_sent_once(root, tmp_path):
    found, store = layout.segments(root), Flaky(tmp_path / "away", 9)
    assert ship.ship(root, found, store).sent == tuple(each.key for each in found)
    assert ship.ship(root, found, store).sent == ()
    assert store.calls == 2
    assert ship.shipped(root) == {each.key for each in found}
    assert [each.key for each in layout.segments(tmp_path / "away")] == [each.key for each in found]


def test_a_store_that_fails_is_asked_again_later(root, tmp_path):
    found = layout.segments(root)
    first = ship.ship(root, found, Flaky(tmp_path / "away", 1))
    assert (first.sent, first.left, first.error) == ((found[0].key,), 1, "down")
    assert ship.ship(root, found, Flaky(tmp_path / "away", 1)).sent == (found[1].key,)


def test_a_crash_before_the_mark_sends_the_same_again(root, tmp_path):
    found, store = layout.segments(root), ship.destination(str(tmp_path / "away"))
    ship.ship(root, found, store)
    (root / layout.SHIPPED / found[0].key).unlink()
    assert ship.ship(root, found, store).sent == (found[0].key,)
    assert (tmp_path / "away" / found[0].key).read_bytes() == (root / found[0].key).read_bytes()


def test_a_segment_that_retention_took_is_passed_over(root, tmp_path):
    found = layout.segments(root)
    (root / found[0].key).unlink()
    assert ship.ship(root, found, ship.destination(str(tmp_path / "away"))).sent == (found[1].key,)


def test_addresses(root, tmp_path):
    found = layout.segments(root)[0]
    ship.destination(f"file://{tmp_path}/away")(found.key, root / found.key)
    assert (tmp_path / "away" / found.key).read_bytes() == (root / found.key).read_bytes()
    for url in ("away", "http://host/x", "s3://", "gs://"):
        with pytest.raises(InvalidArgument, match="is no object store"):
            ship.destination(url)


def test_a_bucket(s3, root):
    found, put = layout.segments(root), ship.destination(f"{s3}/shipped/")
    assert ship.ship(root, found, put).sent == tuple(each.key for each in found)
    put(found[0].key, root / found[0].key)
    assert objects.read(f"{s3}/shipped/{found[0].key}") == (root / found[0].key).read_bytes()


def test_a_segment_that_retention_took_is_passed_over_for_a_bucket(s3, root):
    found = layout.segments(root)
    (root / found[0].key).unlink()
    assert ship.ship(root, found, ship.destination(f"{s3}/retained")).sent == (found[1].key,)


def test_a_bucket_that_is_not_there_and_a_key_that_is_wrong(s3, root, monkeypatch):
    def refused(url: str) -> str:
        result = ship.ship(root, layout.segments(root), ship.destination(url))
        assert result.sent == ()
        return result.error

    monkeypatch.setattr(objects, "RETRIES", 0)
    assert "s3://ship-nowhere/" in refused("s3://ship-nowhere")
    objects.store.cache_clear()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "may not be read or written" in refused(s3)
    assert ship.shipped(root) == set()
