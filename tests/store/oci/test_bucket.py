"""Packages in a bucket: the same package back, nothing of what the bucket says believed."""

import json
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from argosy.spec.errors import BadPackage, InvalidArgument, NotFound, PayloadTooLarge, Unavailable
from argosy.store import objects
from argosy.store.layout import Layout
from argosy.store.manifest import MANIFEST
from argosy.store.oci import reference
from argosy.store.oci.pull import pull
from argosy.store.oci.push import Folder, push
from argosy.store.oci.remote import opened
from argosy.store.oci.transfers import Transfers
from argosy.store.oci.twin import publish
from tests.store.samples import FILES, model_manifest

PLACE = reference.parse("s3://models/team/digits:1")


def published(layout: Layout, package: str, moves: Transfers):
    with opened(PLACE) as remote:
        return publish(remote, PLACE, layout, package, moves, image=False)


def fetched(into: Path, name: str = str(PLACE), lines: list[str] | None = None) -> str:
    place = reference.parse(name)
    with opened(place, report=(lines if lines is not None else []).append) as remote:
        return pull(remote, place, Layout(into), Transfers(into / "moves"))


def weights(layout: Layout, package: str) -> str:
    return layout.files(package)["weights/model.onnx"].digest.removeprefix("sha256:")


def test_there_and_back(memory: obstore.store.MemoryStore, layout: Layout, package: str, moves, tmp_path: Path):
    done = published(layout, package, moves)
    assert (done.digest, done.image, done.referrers, done.there) == (package, "", 2, 2)
    assert fetched(tmp_path / "one") == package
    other = Layout(tmp_path / "one")
    other.verify(package)
    assert other.files(package) == layout.files(package)
    assert {each.digest for each in other.referrers(package)} == {each.digest for each in layout.referrers(package)}
    assert fetched(tmp_path / "two", f"s3://models/team/digits@{package}") == package
    assert published(layout, package, moves).sent == 0
    with opened(PLACE) as remote:
        assert remote.tags(PLACE) == ["1"]


def test_its_blobs_are_those_of_an_image_layout(memory, layout: Layout, package: str, moves: Transfers):
    published(layout, package, moves)
    keys = {one["path"] for page in obstore.list(memory) for one in page}
    blobs = {f"team/digits/blobs/sha256/{path.name}" for path in layout.blobs.folder.iterdir()}
    assert {key for key in keys if "/blobs/" in key} == blobs
    tag = json.loads(objects.read("s3://models/team/digits/tags/1"))
    assert (tag["mediaType"], tag["digest"]) == (MANIFEST, package)


def test_what_is_not_there(memory: obstore.store.MemoryStore, layout: Layout, package: str, moves, tmp_path: Path):
    with pytest.raises(NotFound, match="there are no packages at s3://models/team/digits"):
        fetched(tmp_path / "one")
    published(layout, package, moves)
    with pytest.raises(NotFound, match=r"s3://models/team/digits has no tag '2'; there are 1"):
        fetched(tmp_path / "one", "s3://models/team/digits:2")
    with pytest.raises(InvalidArgument, match="argosy tags s3://models/team/digits"):
        fetched(tmp_path / "one", "s3://models/team/digits")
    objects.delete(f"s3://models/team/digits/blobs/sha256/{weights(layout, package)}")
    with pytest.raises(NotFound, match=weights(layout, package)):
        fetched(tmp_path / "one")
    assert published(layout, package, moves).sent == 1
    assert fetched(tmp_path / "one") == package


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (bytes(4096), BadPackage, "gives other bytes"),
        (bytes(5000), BadPackage, "gives more than the 4096 bytes"),
        (FILES["weights/model.onnx"][:100], Unavailable, "repeat the pull later"),
    ],
    ids=["other", "more", "less"],
)
def test_a_bucket_with_other_bytes(memory, layout: Layout, package: str, moves, tmp_path: Path, data, error, said):
    published(layout, package, moves)
    objects.put(f"s3://models/team/digits/blobs/sha256/{weights(layout, package)}", data)
    with pytest.raises(error, match=said):
        fetched(tmp_path / "one")
    assert not Layout(tmp_path / "one").index.digests()
    if len(data) != 4096:
        assert published(layout, package, moves).sent == 1
        assert fetched(tmp_path / "one") == package


@pytest.mark.parametrize(
    ("key", "data", "error", "said"),
    [
        ("tags/1", b"digits", BadPackage, "tags/1 is no descriptor"),
        ("tags/1", b'{"mediaType":"a/b","digest":"sha256:../../x","size":1}', BadPackage, "is no sha256 digest"),
        ("tags/1", bytes(5 * 1024 * 1024), PayloadTooLarge, "more than the 4194304 bytes"),
        ("blobs/sha256/{}", b"{}", BadPackage, "which should be sha256"),
        ("blobs/sha256/{}", bytes(5 * 1024 * 1024), PayloadTooLarge, "more than the 4194304 bytes"),
    ],
    ids=["tag", "digest of a tag", "large tag", "manifest", "large manifest"],
)
def test_documents_that_lie(memory, layout: Layout, package: str, moves, tmp_path: Path, key, data, error, said):
    published(layout, package, moves)
    objects.put(f"s3://models/team/digits/{key.format(package.removeprefix('sha256:'))}", data)
    with pytest.raises(error, match=said):
        fetched(tmp_path / "one")
    assert not Layout(tmp_path / "one").index.digests()


def test_what_breaks_off_goes_on_in_the_middle(
    memory, layout: Layout, package: str, moves, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    published(layout, package, moves)
    asked: list[int] = []
    whole = objects.stream

    def broken(url: str, start: int = 0) -> Iterator[bytes]:
        data = b"".join(whole(url, start))
        if not url.endswith(weights(layout, package)):
            yield data
            return
        asked.append(start)
        yield data[:1500]
        if len(data) > 1500:
            raise Unavailable("broken off")

    monkeypatch.setattr(objects, "stream", broken)
    assert fetched(tmp_path / "one") == package
    assert asked == [0, 1500, 3000]


def test_an_altered_blob_of_the_store_is_not_pushed(memory, layout: Layout, package: str, moves: Transfers):
    path = layout.blobs.path(layout.files(package)["weights/model.onnx"].digest)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(BadPackage, match="shorter than it was"), opened(PLACE) as remote:
        push(remote, PLACE, layout.descriptor(package), Folder(layout.root), moves)
    with pytest.raises(NotFound), opened(PLACE) as remote:
        remote.tags(PLACE)


def test_options_of_registries_are_refused(tmp_path: Path):
    for options in ({"plain_http": True}, {"ca": tmp_path / "ca.pem"}):
        with pytest.raises(InvalidArgument, match="say how a registry is reached"), opened(PLACE, **options):
            pass


def test_a_large_blob_is_sent_in_parts(s3: str, layout: Layout, folder: Path, moves: Transfers, tmp_path: Path):
    (folder / "weights" / "model.onnx").write_bytes(bytes(objects.PART + 5))
    digest = layout.put_folder(folder, manifest=model_manifest())
    place = reference.parse(f"{s3}/bucket/large:1")
    with opened(place) as remote:
        publish(remote, place, layout, digest, moves, image=False)
    assert fetched(tmp_path / "one", str(place)) == digest


def test_a_real_server(s3: str, layout: Layout, package: str, moves: Transfers, tmp_path: Path):
    place = reference.parse(f"{s3}/bucket/digits:1")
    with opened(place) as remote:
        publish(remote, place, layout, package, moves, image=False)
        assert remote.tags(place) == ["1"]
    lines: list[str] = []
    digest = layout.files(package)["weights/model.onnx"].digest
    part = Transfers(tmp_path / "one" / "moves").part(digest)
    part.write_bytes(layout.blobs.path(digest).read_bytes()[:1000])
    assert fetched(tmp_path / "one", str(place), lines) == package
    assert lines == [f"going on with {digest[:19]} at 1,000 of 4,096 bytes"]
    Layout(tmp_path / "one").verify(package)
