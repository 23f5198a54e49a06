"""Packages that lie in one place for many machines: found by digest, fetched once, whole or not at all."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from argosy.packaging import lock
from argosy.spec.errors import BadPackage, InvalidArgument, NotFound, Unavailable
from argosy.spec.settings import Home, Settings, StoreSettings
from argosy.store import objects, open_store
from argosy.store.oci.credentials import Credential, save
from argosy.store.store import Store
from tests.store.oci.live import PASSWORD, USER, Registry
from tests.store.samples import FILES, model_lineage, model_manifest, write_folder

Machine = Callable[..., Store]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Opens the store of a home by its name; all of them have one database."""
    opened: list[Store] = []

    def open_home(name: str, blobs: str = "s3://models/shared") -> Store:
        found = Home(tmp_path / name)
        settings = Settings(store=StoreSettings(database=f"sqlite:///{tmp_path}/all.db", blobs=blobs))
        opened.append(open_store(found, settings))
        return opened[-1]

    yield open_home
    for each in opened:
        each.close()


def add(store: Store, folder: Path) -> str:
    return store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage()).digest


@pytest.fixture(params=["registry", "bucket"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A real registry, with TLS and a login, and a real bucket."""
    if request.param == "bucket":
        return f"{request.getfixturevalue('s3')}/shared/models"
    registry: Registry = request.getfixturevalue("registry")
    monkeypatch.setenv("SSL_CERT_FILE", registry.ca)
    save(registry.host, Credential(USER, PASSWORD), os.environ)
    return f"{registry.host}/shared/models"


def test_what_one_machine_pushes_another_one_loads(place: str, machine: Machine, folder: Path):
    one, two = machine("one", place), machine("two", place)
    digest = add(one, folder)
    assert not two.layout.index.digests()
    version = two.registry.resolve("digits:1")
    found = two.unpacked(version.digest)
    assert {str(path.relative_to(found)): path.read_bytes() for path in found.rglob("*") if path.is_file()} == FILES
    assert two.lineage(digest) == [model_lineage()]
    one.layout.attach(digest, "application/x-note", b"a note", "text/plain")
    assert [two.layout.read(each.data) for each in two.layout.referrers(digest, "application/x-note")] == [b"a note"]
    two.layout.attach(digest, "application/x-note", b"an answer", "text/plain")
    assert len(one.layout.referrers(digest, "application/x-note")) == 2


def test_a_lock_that_one_machine_resolved_is_found_by_another_one(
    memory, machine: Machine, folder: Path, tmp_path: Path
):
    digest = add(machine("one"), folder)
    machine("two")
    for name in ("one", "two"):
        Home(tmp_path / name).config.write_text("store: {blobs: 's3://models/shared'}\n")
    text = "small==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n"
    lock.attach(Home(tmp_path / "one"), digest, text)
    assert lock.attached(Home(tmp_path / "two"), digest, ["small"]) == [lock.Attached(text, 1)]


def test_the_tag_there_names_the_version(memory, machine: Machine, folder: Path):
    digest = add(machine("one"), folder)
    tags = list(objects.walk("s3://models/shared/tags"))
    assert tags == [f"s3://models/shared/tags/digits-1-{digest[7:19]}"]


def test_blobs_are_there_before_the_version(memory, machine: Machine, folder: Path, monkeypatch: pytest.MonkeyPatch):
    one = machine("one")
    put = objects.put

    def full(url: str, data: object) -> None:
        if "/blobs/" in url:
            raise Unavailable(f"{url}: the bucket takes nothing")
        put(url, data)

    with monkeypatch.context() as patch:
        patch.setattr(objects, "put", full)
        with pytest.raises(Unavailable):
            add(one, folder)
    with pytest.raises(NotFound):
        one.registry.resolve("digits")
    digest = add(one, folder)
    assert machine("two").unpacked(digest)


def test_many_processes_fetch_once(memory, machine: Machine, folder: Path, monkeypatch: pytest.MonkeyPatch):
    digest = add(machine("one"), folder)
    asked: list[str] = []
    stream = objects.stream
    monkeypatch.setattr(objects, "stream", lambda url, start=0: asked.append(url) or stream(url, start))
    stores = [machine("two") for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        found = {each.result() for each in [threads.submit(store.unpacked, digest) for store in stores]}
    assert len(found) == 1
    assert len(asked) == len(set(asked)) > 3


def test_an_altered_or_deleted_blob_is_fetched_again(memory, machine: Machine, folder: Path):
    digest = add(machine("one"), folder)
    two = machine("two")
    out = two.unpacked(digest)
    blob = two.layout.blobs.path(two.layout.files(digest)["profile.json"].digest)
    blob.chmod(0o600)
    blob.write_bytes(b"[]")  # the same inode as the unpacked file
    assert (two.unpacked(digest) / "profile.json").read_bytes() == b"{}"
    assert blob.read_bytes() == b"{}"
    blob.unlink()
    (out / "profile.json").unlink()
    assert (two.unpacked(digest) / "profile.json").read_bytes() == b"{}"


def test_without_the_bucket_what_is_here_is_used(memory, machine: Machine, folder: Path, tmp_path: Path, monkeypatch):
    one, two, three = machine("one"), machine("two"), machine("three")
    digest = add(one, folder)
    two.unpacked(digest)

    def away(*_: object, **__: object) -> None:
        raise Unavailable("s3://models: no route to host")

    for name in ("stat", "read", "walk", "stream", "put"):
        monkeypatch.setattr(objects, name, away)
    assert two.unpacked(digest)
    assert two.lineage(digest) == [model_lineage()]
    with pytest.raises(Unavailable, match="no route to host"):
        three.unpacked(digest)
    blob = two.layout.blobs.path(two.layout.files(digest)["profile.json"].digest)
    blob.chmod(0o600)
    blob.write_bytes(b"[]")
    with pytest.raises(BadPackage, match="altered"):
        two.unpacked(digest)


def test_what_was_pushed_before_there_was_a_place_is_pushed_again(memory, machine: Machine, folder: Path):
    digest = add(machine("one", ""), folder)
    with pytest.raises(NotFound, match=r"store nor s3://models/shared holds the package.*push it again"):
        machine("two").unpacked(digest)
    assert add(machine("one"), folder) == digest
    assert machine("two").unpacked(digest)


@pytest.mark.parametrize("place", ["s3://models", "models", "registry.example/models:1", "s3://models/a@sha256:1"])
def test_a_place_that_is_none(machine: Machine, place: str):
    with pytest.raises(InvalidArgument, match=r"^store\.blobs: '"):
        machine("one", place)


KILLED = """
import os, signal, sys
from pathlib import Path
from argosy.spec.settings import Home, Settings, StoreSettings
from argosy.store import open_store
from argosy.store.oci.pull import Partial

home, database, blobs, digest = sys.argv[1:]
add = Partial.add

def dying(self, data):
    add(self, data[:1_000_000])
    if self.offset > 500_000:
        os.kill(os.getpid(), signal.SIGKILL)

Partial.add = dying
open_store(Home(Path(home)), Settings(store=StoreSettings(database=database, blobs=blobs))).unpacked(digest)
"""


def test_a_fetch_that_is_killed_goes_on(s3: str, machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    blobs = f"{s3}/shared/killed"
    large = FILES | {"weights/model.onnx": bytes(range(256)) * 8192}
    digest = add(machine("one", blobs), write_folder(tmp_path / "large", large))
    words = [sys.executable, "-c", KILLED, str(tmp_path / "two"), f"sqlite:///{tmp_path}/all.db", blobs, digest]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    two = machine("two", blobs)
    assert not two.layout.index.digests()
    with caplog.at_level("INFO"):
        found = two.unpacked(digest)
    assert (found / "weights" / "model.onnx").read_bytes() == large["weights/model.onnx"]
    assert any(line.endswith(" at 1,000,000 of 2,097,152 bytes") for line in caplog.messages)
