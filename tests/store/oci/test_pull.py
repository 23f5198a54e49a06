"""Packages out of a registry: the same package, whatever the way there."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from argosy.spec.errors import BadPackage, InvalidArgument, NotFound, StorageFull, Unavailable
from argosy.store.layout import Layout
from argosy.store.manifest import INDEX, MANIFEST
from argosy.store.oci import reference
from argosy.store.oci.client import Client
from argosy.store.oci.credentials import Credential
from argosy.store.oci.pull import pull
from argosy.store.oci.repository import Repository
from argosy.store.oci.transfers import Transfers
from argosy.store.oci.twin import publish
from tests.store.oci.fake import Fake, digest_of
from tests.store.oci.live import PASSWORD, USER, Registry
from tests.store.oci.test_client import client_of
from tests.store.samples import FILES, model_manifest, write_folder

DOCKER = "application/vnd.docker.distribution"


@pytest.fixture
def client(registry: Registry) -> Iterator[Client]:
    with Client(registry.host, ca=Path(registry.ca), credential=Credential(USER, PASSWORD)) as client:
        yield client.probe()


def test_there_and_back(client: Client, layout: Layout, package: str, moves: Transfers, tmp_path: Path):
    place = reference.parse(f"{client.host}/pull/whole:1")
    done = publish(Repository(client), place, layout, package, moves)
    assert (done.digest, done.referrers) == (package, 2)
    other = Layout(tmp_path / "other")
    assert pull(Repository(client), place, other, moves) == package
    assert other.files(package) == layout.files(package)
    other.verify(package)
    assert {each.digest for each in other.referrers(package)} == {each.digest for each in layout.referrers(package)}
    assert pull(Repository(client), reference.parse(f"{place.place}@{package}"), other, moves) == package
    assert not [path for path in moves.folder.iterdir() if not path.suffix]


def test_the_image_is_an_index_that_refers_to_the_package(
    client: Client, layout: Layout, package: str, moves: Transfers
):
    place = reference.parse(f"{client.host}/pull/image:1")
    publish(Repository(client), place, layout, package, moves)
    assert sorted(Repository(client).tags(place)) == ["1", "1-image", package.replace(":", "-")]
    kinds = [each.artifact_type for each in Repository(client).referrers(place, package)]
    assert kinds.count("application/vnd.oci.image.config.v1+json") == 2
    with pytest.raises(BadPackage, match="image for linux/amd64, linux/arm64, no model package"):
        pull(Repository(client), place.with_tag("1-image"), layout, moves)


def test_what_is_not_there(client: Client, layout: Layout, moves: Transfers):
    with pytest.raises(NotFound, match="none/manifests/1"):
        pull(Repository(client), reference.parse(f"{client.host}/pull/none:1"), layout, moves)
    with pytest.raises(InvalidArgument, match="argosy tags"):
        pull(Repository(client), reference.parse(f"{client.host}/pull/none"), layout, moves)
    with pytest.raises(NotFound):
        Repository(client).tags(reference.parse(f"{client.host}/pull/none"))


@pytest.fixture
def at(fake: Fake, layout: Layout, package: str, tmp_path: Path) -> str:
    """A reference of the package in a registry that can be told to misbehave."""
    with client_of(fake) as client:
        publish(
            Repository(client), reference.parse(f"{fake.host}/x:1"), layout, package, Transfers(tmp_path / "before")
        )
    fake.asked.clear()
    return f"{fake.host}/x:1"


def fetched(fake: Fake, at: str, into: Path, lines: list[str] | None = None) -> str:
    with client_of(fake, report=(lines if lines is not None else []).append) as client:
        return pull(Repository(client), reference.parse(at), Layout(into), Transfers(into / "moves"))


def weights(layout: Layout, package: str) -> str:
    return layout.files(package)["weights/model.onnx"].digest


def test_a_registry_that_lies_about_digests(fake: Fake, at: str, layout: Layout, package: str, tmp_path: Path):
    fake.told = "sha256:" + "0" * 64
    with pytest.raises(BadPackage, match=f"gives {package} for {at}, which should be sha256:0000"):
        fetched(fake, at, tmp_path / "one")
    fake.told = ""
    other = layout.put_folder(write_folder(tmp_path / "p", FILES | {"LICENSE": b"MIT"}), manifest=model_manifest())
    fake.manifests["x", other] = fake.manifests["x", package]
    with pytest.raises(BadPackage, match=f"which should be {other}"):
        fetched(fake, f"{fake.host}/x@{other}", tmp_path / "one")
    digest = weights(layout, package)
    for data, said in ((bytes(4096), "gives other bytes for"), (bytes(5000), "gives more than the 4096 bytes")):
        fake.given = {digest: data}
        with pytest.raises(BadPackage, match=f"{said}.*{digest}"):
            fetched(fake, at, tmp_path / "one")
        assert not (tmp_path / "one" / "moves" / digest[7:]).exists()
    assert not Layout(tmp_path / "one").index.digests()
    fake.given = {}
    assert fetched(fake, at, tmp_path / "one") == package


@pytest.mark.parametrize("ranges", [True, False])
def test_a_registry_that_cuts_off(
    fake: Fake, at: str, layout: Layout, package: str, tmp_path: Path, ranges: bool, monkeypatch
):
    big = weights(layout, package)
    fake.ranges = ranges
    fake.cut = [4096, 4096, 4096, 4096, 4096, 4096, 4096, 100, 200]
    assert fetched(fake, at, tmp_path / "one") == package
    asked = [each.headers.get("range", "") for each in fake.asked if each.path.endswith(big)]
    assert len(asked) == 3
    assert asked[0] == ""
    assert asked[1].startswith("bytes=")
    fake.cut = [0] * 100
    with pytest.raises(Unavailable, match="repeat the pull later, it goes on there"):
        fetched(fake, at, tmp_path / "two")


def test_a_part_that_is_there_is_gone_on_with(fake: Fake, at: str, layout: Layout, package: str, tmp_path: Path):
    digest, lines = weights(layout, package), list[str]()
    part = Transfers(tmp_path / "one" / "moves").part(digest)
    part.write_bytes(layout.blobs.path(digest).read_bytes()[:1000])
    assert fetched(fake, at, tmp_path / "one", lines) == package
    assert lines == [f"going on with {digest[:19]} at 1,000 of 4,096 bytes"]
    assert [each.headers["range"] for each in fake.asked if "range" in each.headers] == ["bytes=1000-"]


def test_what_is_no_package_of_argosy(fake: Fake, at: str, layout: Layout, package: str, tmp_path: Path):
    whole = json.loads(layout.blobs.path(package).read_bytes())
    layers = [each for each in whole["layers"] if each["annotations"]["org.cncf.model.filepath"] != "model.yaml"]
    evil = json.loads(json.dumps(whole))
    evil["layers"][0]["annotations"]["org.cncf.model.filepath"] = "../../etc/passwd"
    big = json.loads(json.dumps(whole))
    big["config"]["size"] = 5 * 1024 * 1024
    for manifest, said in (
        (whole | {"layers": layers}, "without model.yaml"),
        (evil, "is not allowed in a package"),
        (big, "the config .* is larger"),
        ({"schemaVersion": 1}, "no OCI image manifest"),
    ):
        fake.add("x", "bad", MANIFEST, json.dumps(manifest).encode())
        with pytest.raises(BadPackage, match=said):
            fetched(fake, f"{fake.host}/x:bad", tmp_path / "one")
    assert not [each for each in fake.asked if "/blobs/" in each.path]


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (INDEX, {"manifests": [{"platform": {"os": "linux", "architecture": "s390x"}}]}, " for linux/s390x"),
        (f"{DOCKER}.manifest.list.v2+json", {"manifests": [{}]}, ""),
        (INDEX, {"manifests": "none"}, ""),
        (MANIFEST, {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}, ""),
        (f"{DOCKER}.manifest.v2+json", {"config": {"mediaType": "application/vnd.docker.container.image.v1+json"}}, ""),
    ],
)
def test_an_image_is_no_package(fake: Fake, tmp_path: Path, kind: str, body: dict, said: str):
    about = {"mediaType": MANIFEST, "digest": digest_of(b"x"), "size": 1}
    if isinstance(body.get("manifests"), list):
        body = {"manifests": [about | each for each in body["manifests"]]}
    if "config" in body:
        body = {"config": about | body["config"], "layers": [about | {"mediaType": "x.tar+gzip"}]}
    fake.add("x", "image", kind, json.dumps({"schemaVersion": 2, "mediaType": kind} | body).encode())
    with pytest.raises(BadPackage, match=f"x:image is a container image{said}, no model package: run it with podman"):
        fetched(fake, f"{fake.host}/x:image", tmp_path / "one")
    assert not [each for each in fake.asked if "/blobs/" in each.path]


def test_what_refers_to_a_package_is_taken_within_bounds(
    fake: Fake, at: str, layout: Layout, package: str, tmp_path: Path
):
    about = {"mediaType": MANIFEST, "digest": package, "size": len(layout.blobs.path(package).read_bytes())}
    layer = {"mediaType": "text/plain", "digest": digest_of(b"x"), "size": 5 * 1024 * 1024}
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2}
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "a/b", "config": empty, "layers": [layer]}
    fake.add("x", "huge", MANIFEST, json.dumps(body | {"subject": about}).encode())
    lines: list[str] = []
    assert fetched(fake, at, tmp_path / "one", lines) == package
    assert [line.partition(": ")[2].split(" ", 1)[1] for line in lines] == ["has more than 4194304 bytes"]
    assert len(Layout(tmp_path / "one").referrers(package)) == 2


def test_two_pulls_of_one_package_at_once(fake: Fake, at: str, package: str, tmp_path: Path):
    with ThreadPoolExecutor(4) as threads:
        found = [threads.submit(fetched, fake, at, tmp_path / "one") for _ in range(4)]
        assert {each.result() for each in found} == {package}
    Layout(tmp_path / "one").verify(package)


KILLED = """
import sys
from pathlib import Path
from argosy.store.layout import Layout
from argosy.store.oci import reference
from argosy.store.oci.client import Client
from argosy.store.oci.pull import pull
from argosy.store.oci.repository import Repository
from argosy.store.oci.transfers import Transfers

at, into = sys.argv[1:]
place = reference.parse(at)
with Client(place.host) as client:
    pull(Repository(client.probe()), place, Layout(Path(into)), Transfers(Path(into, "moves")))
"""


def test_a_pull_that_is_killed_goes_on_in_the_middle_of_a_blob(
    fake: Fake, at: str, layout: Layout, package: str, tmp_path: Path
):
    held, go = threading.Event(), threading.Event()
    fake.pause = lambda: (held.set(), go.wait())
    into, blobs = tmp_path / "one", layout.files(package)
    child = subprocess.Popen([sys.executable, "-c", KILLED, at, str(into)])
    held.wait()
    first = fake.asked[-1].path.rpartition("/")[2]
    size = len(fake.blobs[first])
    while not (part := into / "moves" / first[7:]).exists() or part.stat().st_size < size // 2:
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    go.set()
    fake.pause = None
    lines: list[str] = []
    assert fetched(fake, at, into, lines) == package
    assert lines == [f"going on with {first[:19]} at {size // 2:,} of {size:,} bytes"]
    assert Layout(into).files(package) == blobs


def test_a_full_disk(fake: Fake, tmp_path: Path, layout: Layout, folder: Path):
    (folder / "weights" / "model.onnx").write_bytes(os.urandom(3_000_000))
    digest = layout.put_folder(folder, manifest=model_manifest())
    place = reference.parse(f"{fake.host}/full:1")
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here: run the tests as root")
    try:
        with client_of(fake) as client:
            publish(Repository(client), place, layout, digest, Transfers(tmp_path / "m"), image=False)
            small = Layout(disk / "store")
            before = os.statvfs(disk).f_bfree
            with pytest.raises(StorageFull, match=r"no space left on the disk of .*free some and repeat"):
                pull(Repository(client), place, small, Transfers(disk / "moves"))
            assert not small.index.digests()
            assert os.statvfs(disk).f_bfree >= before - 8
            subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
            assert pull(Repository(client), place, small, Transfers(disk / "moves")) == digest
    finally:
        with contextlib.suppress(OSError):
            subprocess.run(["umount", "-l", str(disk)], check=True)
