"""Places on a disk and in a bucket of SeaweedFS: the same words, the same errors."""

import os
import threading
from pathlib import Path

import pytest

from argosy.batch import place as places
from argosy.batch.place import Place, place
from argosy.spec.errors import InvalidArgument, NotFound, PermissionDenied, StorageFull, Unavailable


@pytest.fixture(params=["disk", "bucket"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return place(str(tmp_path) if request.param == "disk" else f"{request.getfixturevalue('s3')}/{tmp_path.name}")


def test_what_is_put_is_read_listed_and_deleted(folder, tmp_path):
    one, two = folder.join("a/b c=ü&1.txt"), folder.join("a/two")
    one.parent.make_folder()
    one.put(b"first")
    one.put(b"hello")
    (tmp_path / "source").write_bytes(b"x" * 100_000)
    two.put(tmp_path / "source")
    assert (one.read(), two.read()) == (b"hello", b"x" * 100_000)
    assert one.exists()
    assert sorted(folder.join("a").walk()) == sorted((one, two))
    with two.open() as file:
        assert (file.size(), file.get_stream(99_998, 9).read()) == (100_000, b"xx")
    one.delete()
    one.delete()
    assert not one.exists()
    assert list(folder.join("nothing").walk()) == []


def test_of_many_creators_one_is_told_so(folder):
    spot, won = folder.join("entry"), []
    start = threading.Barrier(8)

    def run(number: int) -> None:
        start.wait()
        if spot.create(f"{number}".encode()):
            won.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f"{number}".encode() for number in won] == [spot.read()]
    assert not spot.create(b"again")


def test_without_keys_to_sign_with_a_second_start_is_still_told(s3, monkeypatch):
    spot = place(f"{s3}/unsigned/entry")
    monkeypatch.setattr(places.signed, "can_create", lambda: False)
    assert spot.create(b"one")
    assert not spot.create(b"two")
    assert spot.read() == b"one"


def test_a_change_shows_in_the_stamp(folder):
    spot = folder.join("file")
    spot.put(b"12345")
    before = spot.stamp()
    assert before == spot.stamp()
    spot.put(b"54321")
    assert before.size == spot.stamp().size
    assert before != spot.stamp()


def test_what_is_not_there_is_named(folder):
    spot = folder.join("none")
    for ask in (spot.read, spot.open, spot.stamp):
        with pytest.raises(NotFound, match=f"nothing at {spot}"):
            ask()


def test_a_bucket_that_is_not_there_and_a_wrong_key(s3, monkeypatch):
    with pytest.raises((NotFound, Unavailable), match="s3://nowhere/x"):
        place("s3://nowhere/x").put(b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    places.files.cache_clear()
    with pytest.raises(PermissionDenied, match="s3://data/x"):
        list(place("s3://data/x").walk())
    with pytest.raises(Unavailable, match="403"):
        place("s3://data/x").create(b"1")


def test_an_upload_that_breaks_off_leaves_nothing(s3, tmp_path, monkeypatch):
    def broken(source: Path):
        yield b"x" * 10
        raise OSError(5, "the disk is gone")

    monkeypatch.setattr(places, "_chunks", broken)
    (tmp_path / "source").write_bytes(b"x" * 20)
    with pytest.raises(Unavailable, match="the disk is gone"):
        place(f"{s3}/cut").put(tmp_path / "source")
    assert not place(f"{s3}/cut").exists()


def test_moving_and_a_full_disk(tmp_path, monkeypatch):
    here = place(str(tmp_path))
    here.join("a").put(b"1")
    here.join("a").move(here.join("deep/b"))
    assert here.join("deep/b").read() == b"1"

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull):
        here.join("deep/b").put(b"2")
    assert here.join("deep/b").read() == b"1"
    assert [one.name for one in here.walk()] == ["b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("gs://b/x", "not in gs://"), ("s3:///x", "no bucket"), ("", "empty"), ("http://h/x", "not in http://")],
)
def test_addresses_that_mean_nothing(text, said):
    with pytest.raises(InvalidArgument, match=said):
        place(text)


def test_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place("in/x.parquet").url == str(tmp_path / "in/x.parquet")
    assert place("file:///data/x").url == "/data/x"
    assert place("s3://b//x/").url == "s3://b/x"
    assert (place("s3://b/x/y").name, place("s3://b/x/y").parent.url) == ("y", "s3://b/x")
