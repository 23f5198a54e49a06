"""Shipping, into a folder and into SeaweedFS: a real server of the S3 protocol."""

from pathlib import Path

import pytest

from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.store.payloads import layout, ship
from tests import weed
from tests.store.payloads.kit import HOUR, NOON, record, writer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    writer(tmp_path / "log").write([record(1), record(2, time=NOON + HOUR)])
    return tmp_path / "log"


class Flaky(ship.FolderStore):
    """Takes `good` objects, then none."""

    def __init__(self, root: Path, good: int) -> None:
        super().__init__(root)
        self.good, self.calls = good, 0

    def put(self, key: str, path: Path) -> None:
        self.calls += 1
        if self.calls > self.good:
            raise Unavailable("down")
        super().put(key, path)


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
    found, store = layout.segments(root), ship.FolderStore(tmp_path / "away")
    ship.ship(root, found, store)
    (root / layout.SHIPPED / found[0].key).unlink()
    assert ship.ship(root, found, store).sent == (found[0].key,)
    assert (tmp_path / "away" / found[0].key).read_bytes() == (root / found[0].key).read_bytes()


def test_a_segment_that_retention_took_is_passed_over(root, tmp_path):
    found = layout.segments(root)
    (root / found[0].key).unlink()
    assert ship.ship(root, found, ship.FolderStore(tmp_path / "away")).sent == (found[1].key,)


def test_addresses():
    assert isinstance(ship.object_store("/mnt/away"), ship.FolderStore)
    for url in ("away", "http://host/x", "s3://"):
        with pytest.raises(InvalidArgument, match="is no object store"):
            ship.object_store(url)


def test_a_bucket(weed_url, root):
    found = layout.segments(root)
    store = ship.S3Store("data/shipped", weed.KEYS | {"AWS_ENDPOINT_URL": weed_url})
    assert ship.ship(root, found, store).sent == tuple(each.key for each in found)
    store.put(found[0].key, root / found[0].key)
    with weed.files(weed_url).open_input_file(f"data/shipped/{found[0].key}") as stream:
        assert stream.read() == (root / found[0].key).read_bytes()


def test_a_bucket_that_is_not_there_and_a_key_that_is_wrong(weed_url, root):
    found = layout.segments(root)
    for place, keys in (("nowhere", weed.KEYS), ("data", weed.KEYS | {"AWS_SECRET_ACCESS_KEY": "wrong"})):
        result = ship.ship(root, found, ship.S3Store(place, keys | {"AWS_ENDPOINT_URL": weed_url}))
        assert result.sent == ()
        assert "was not taken" in result.error
    assert ship.shipped(root) == set()
