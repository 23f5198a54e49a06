"""Places on a disk and in a bucket of SeaweedFS: the same words, the same errors."""

import os
import threading
from pathlib import Path

import pytest

from argosy.batch.place import Place, place
from argosy.spec.errors import InvalidArgument, NotFound, StorageFull


@pytest.fixture(params=["disk", "bucket"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return place(str(tmp_path) if request.param == "disk" else f"{request.getfixturevalue('s3')}/{tmp_path.name}")


def test_what_is_put_is_read_listed_and_deleted(folder):
    one, two = folder.join("a/b c=ü&1.txt"), folder.join("a/two")
    one.put(b"first")
    one.put(b"hello")
    two.put(b"x" * 100_000)
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


def test_a_full_disk(tmp_path, monkeypatch):
    here = place(str(tmp_path))
    here.join("deep/b").put(b"1")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull):
        here.join("deep/b").put(b"2")
    assert here.join("deep/b").read() == b"1"
    assert [one.name for one in here.walk()] == ["b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("s3:///x", "no bucket"), ("az://", "no bucket"), ("", "empty"), ("http://h/x", "not in http://")],
)
def test_addresses_that_mean_nothing(text, said):
    with pytest.raises(InvalidArgument, match=said):
        place(text)


def test_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place("in/x.parquet").url == str(tmp_path / "in/x.parquet")
    assert place("file:///data/x").url == "/data/x"
    assert [place(f"{scheme}://b//x/").url for scheme in ("s3", "gs", "az")] == ["s3://b/x", "gs://b/x", "az://b/x"]
    assert all(place(f"{scheme}://b/x").remote for scheme in ("s3", "gs", "az"))
    assert place("s3://b/x/y").name == "y"
