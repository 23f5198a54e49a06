"""Objects in a bucket of SeaweedFS, a real server of the S3 protocol; and how the addresses of others are read."""

import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.spec.errors import NotFound, PermissionDenied, Unavailable
from argosy.store import objects

MIB = 1024 * 1024


def test_what_is_put_is_read_listed_and_deleted(s3):
    key = "objects/b c=%2F é'[1]#?.csv"
    objects.put(f"{s3}/{key}", b"first")
    objects.put(f"{s3}/{key}", b"hello")
    assert objects.read(f"{s3}/{key}") == b"hello"
    assert objects.stat(f"{s3}/{key}") == (5, '"5d41402abc4b2a76b9719d911017c592"')
    assert list(objects.walk(f"{s3}/objects")) == list(objects.walk(f"{s3}/objects/")) == [f"{s3}/{key}"]
    assert f"{s3}/{key}" in objects.walk(s3)
    objects.delete(f"{s3}/{key}")
    objects.delete(f"{s3}/{key}")
    with pytest.raises(NotFound, match="nothing at s3://data/objects/"):
        objects.read(f"{s3}/{key}")
    assert list(objects.walk(f"{s3}/objects")) == []


def test_of_many_creators_one_is_told_so(s3):
    won: list[int] = []
    start = threading.Barrier(16)

    def run(number: int) -> None:
        start.wait()
        if objects.create(f"{s3}/created", f"{number}".encode()):
            won.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f"{number}".encode() for number in won] == [objects.read(f"{s3}/created")]
    assert not objects.create(f"{s3}/created", b"again")


def test_a_large_file_is_sent_in_parts_and_read_by_ranges(s3, tmp_path):
    data = os.urandom(20 * MIB + 7)
    (tmp_path / "source").write_bytes(data)
    objects.put(f"{s3}/large", tmp_path / "source")
    file = objects.ObjectFile(f"{s3}/large")
    assert file.seek(-9, os.SEEK_END) == len(data) - 9
    assert bytes(file.read(100)) == data[-9:]
    assert file.read(1) == b""
    file.seek(15 * MIB)
    assert (bytes(file.read(5)), file.tell()) == (data[15 * MIB : 15 * MIB + 5], 15 * MIB + 5)
    file.seek(0)
    assert bytes(file.read()) == data


UPLOAD = """
import resource, sys
from pathlib import Path
from argosy.store import objects
objects.put(sys.argv[1], b"warm")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
objects.put(sys.argv[1], Path(sys.argv[2]))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
def test_an_upload_takes_memory_for_some_parts_alone(s3, tmp_path):
    with (tmp_path / "source").open("wb") as file:
        file.truncate(128 * MIB)
    command = [sys.executable, "-c", UPLOAD, f"{s3}/bounded", str(tmp_path / "source")]
    grown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 96
    assert objects.stat(f"{s3}/bounded")[0] == 128 * MIB
    objects.delete(f"{s3}/bounded")


def test_an_upload_that_breaks_off_leaves_nothing(s3, tmp_path, monkeypatch):
    class Broken(io.RawIOBase):
        left = 20 * MIB

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            if self.left <= 0:
                raise OSError(5, "the disk is gone")
            self.left -= size
            return b"x" * size

        def seekable(self) -> bool:
            return True

        def seek(self, offset: int, whence: int = 0) -> int:
            return 21 * MIB if whence == 2 else offset

    monkeypatch.setattr(Path, "open", lambda *_: Broken())
    with pytest.raises(Unavailable, match="the disk is gone"):
        objects.put(f"{s3}/cut", tmp_path / "source")
    with pytest.raises(NotFound):
        objects.stat(f"{s3}/cut")


def test_a_file_that_is_not_there_is_no_object_that_is_not_there(s3, tmp_path):
    with pytest.raises(FileNotFoundError):
        objects.put(f"{s3}/none", tmp_path / "none")


def test_a_bucket_that_is_not_there_and_a_wrong_key(s3, monkeypatch):
    monkeypatch.setattr(objects, "RETRIES", 0)
    with pytest.raises(NotFound, match="s3://nowhere/x"):
        list(objects.walk("s3://nowhere/x"))
    with pytest.raises((NotFound, Unavailable), match="s3://nowhere/x"):
        objects.create("s3://nowhere/x", b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    objects.store.cache_clear()
    with pytest.raises(PermissionDenied, match="s3://data/x"):
        list(objects.walk("s3://data/x"))
    for refused in (lambda: objects.create("s3://data/x", b"1"), lambda: objects.read("s3://data/x")):
        with pytest.raises(PermissionDenied, match="s3://data/x may not be read or written"):
            refused()


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """No variable of a provider is set; the file that may hold profiles of AWS."""
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    objects.store.cache_clear()
    yield tmp_path / "credentials"
    objects.store.cache_clear()


def test_keys_come_from_a_profile_where_the_environment_has_none(weed_url, no_keys, monkeypatch):
    no_keys.write_text(
        "[default]\naws_access_key_id = nobody\naws_secret_access_key = %no\n"
        "[work]\naws_access_key_id = reader\naws_secret_access_key = secret\nregion = us-east-1\n"
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", weed_url)
    monkeypatch.setenv("AWS_PROFILE", "work")
    objects.put("s3://data/profiled", b"1")
    objects.store.cache_clear()
    monkeypatch.delenv("AWS_PROFILE")
    with pytest.raises(PermissionDenied):
        objects.read("s3://data/profiled")


def test_a_client_is_made_without_a_request(no_keys, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    kinds = [type(objects.store(f"{scheme}://place")).__name__ for scheme in ("s3", "gs", "az")]
    assert kinds == ["S3Store", "GCSStore", "AzureStore"]


def test_a_server_that_is_away(no_keys, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        monkeypatch.setattr(objects, "RETRIES", 0)
        with pytest.raises(Unavailable, match="s3://data/x"):
            objects.create("s3://data/x", b"1")
