import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argosy.spec.errors import BadPackage, InvalidArgument, NotFound, PayloadTooLarge, Unsupported
from argosy.store.layout import Layout
from tests.programs import need
from tests.store.samples import FILES, digest_of, model_manifest, write_folder

DIGEST = "sha256:f10ab2e8a01d72038de37801673c549b66253977de84ed65da4e2871539dd22f"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_same_package_has_the_same_digest_everywhere(tmp_path: Path):
    files = FILES | {"model.yaml": b"api: argosy/v1\n"}
    first = write_folder(tmp_path / "one", files)
    second = write_folder(tmp_path / "two", dict(reversed(files.items())))
    (second / "nothing").mkdir()
    for path in second.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    for folder in (first, second):
        layout = Layout(tmp_path / "stores" / folder.name)
        assert layout.put_folder(folder, manifest=model_manifest()) == DIGEST


def test_another_byte_or_name_is_another_digest(layout: Layout, folder: Path):
    digest = layout.put_folder(folder, manifest=model_manifest())
    assert layout.put_folder(folder, manifest=model_manifest("other")) != digest
    (folder / "profile.json").write_bytes(b"{ }")
    assert layout.put_folder(folder, manifest=model_manifest()) != digest


def test_the_layout_is_an_oci_layout(layout: Layout, folder: Path):
    digest = layout.put_folder(folder, manifest=model_manifest())
    assert json.loads((layout.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(layout.index.path.read_bytes())["manifests"]
    assert (entry["digest"], entry["mediaType"]) == (digest, "application/vnd.oci.image.manifest.v1+json")
    manifest = json.loads(layout.blobs.path(digest).read_bytes())
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert [layer["annotations"]["org.cncf.model.filepath"] for layer in manifest["layers"]] == sorted(FILES)
    assert "createdAt" not in layout.blobs.path(manifest["config"]["digest"]).read_text()


def test_files_and_sizes(layout: Layout, folder: Path):
    digest = layout.put_folder(folder, manifest=model_manifest())
    assert {path: item.size for path, item in layout.files(digest).items()} == {p: len(d) for p, d in FILES.items()}
    assert layout.size(digest) == sum(map(len, FILES.values()))
    assert layout.read(layout.files(digest)["profile.json"]) == b"{}"


parts = st.text(st.characters(exclude_characters="/\\", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
paths = st.lists(parts.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3).map("/".join)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(paths.map("weights/".__add__), st.binary(max_size=50), min_size=1, max_size=5))
def test_any_tree_comes_back_as_it_was(tmp_path: Path, tree: dict[str, bytes]):
    tree = {path: data for path, data in tree.items() if not any(other.startswith(path + "/") for other in tree)}
    tree["model.yaml"] = b"x"
    shutil.rmtree(tmp_path)
    layout = Layout(tmp_path / "store")
    digest = layout.put_folder(write_folder(tmp_path / "in", tree), manifest=model_manifest(weights="weights"))
    layout.verify(digest)
    assert contents(layout.unpack(digest, tmp_path / "out")) == tree


def test_one_bit_in_any_blob_is_found_and_the_file_named(layout: Layout, folder: Path, tmp_path: Path):
    digest = layout.put_folder(folder, manifest=model_manifest())
    names = {item.digest.removeprefix("sha256:"): path for path, item in layout.files(digest).items()}
    blobs = sorted(layout.blobs.folder.iterdir())
    assert len(blobs) == len(FILES) + 2
    for blob in blobs:
        good = blob.read_bytes()
        what = names.get(blob.name, "the manifest" if blob.name in digest else "the config")
        for place in (0, len(good) // 2, len(good) - 1):
            bad = bytearray(good)
            bad[place] ^= 1 << (place % 8)
            rewrite(blob, bytes(bad))
            with pytest.raises(BadPackage, match=what):
                layout.verify(digest)
            if what != "the config":
                with pytest.raises(BadPackage, match=what):
                    layout.unpack(digest, tmp_path / "out")
                assert not (tmp_path / "out").exists()
        for wrong in (good[:-1], good + b"\0", b""):
            rewrite(blob, wrong)
            with pytest.raises(BadPackage, match=what):
                layout.verify(digest)
        blob.unlink()
        with pytest.raises(BadPackage, match="missing"):
            layout.verify(digest)
        assert layout.put_folder(folder, manifest=model_manifest()) == digest
        layout.verify(digest)


def rewrite(blob: Path, data: bytes) -> None:
    blob.unlink()
    blob.write_bytes(data)


def test_pushing_again_heals_an_altered_blob(layout: Layout, folder: Path):
    digest = layout.put_folder(folder, manifest=model_manifest())
    for blob in list(layout.blobs.folder.iterdir()):
        rewrite(blob, b"?" * blob.stat().st_size)
    assert layout.put_folder(folder, manifest=model_manifest()) == digest
    layout.verify(digest)


@pytest.mark.parametrize("file", ["model.yaml", "weights/model.onnx"])
def test_a_folder_that_is_no_package(layout: Layout, folder: Path, file: str):
    (folder / file).unlink()
    with pytest.raises(BadPackage, match=file):
        layout.put_folder(folder, manifest=model_manifest())


def test_a_link_and_a_size_are_refused_and_nothing_is_stored(layout: Layout, folder: Path):
    (folder / "weights" / "link").symlink_to("model.onnx")
    with pytest.raises(BadPackage, match="symbolic link"):
        layout.put_folder(folder, manifest=model_manifest())
    (folder / "weights" / "link").unlink()
    small = Layout(layout.root, max_package_bytes=100)
    with pytest.raises(PayloadTooLarge):
        small.put_folder(folder, manifest=model_manifest())
    assert list(layout.blobs.folder.iterdir()) == []
    digest = layout.put_folder(folder, manifest=model_manifest())
    with pytest.raises(PayloadTooLarge):
        small.files(digest)


def test_a_file_that_changes_while_it_is_read(layout: Layout, folder: Path, monkeypatch: pytest.MonkeyPatch):
    real = os.readv

    def growing(handle: int, buffers: list[memoryview]) -> int:
        with (folder / "profile.json").open("ab") as file:
            file.write(b"more")
        return real(handle, buffers)

    monkeypatch.setattr(os, "readv", growing)
    with pytest.raises(BadPackage, match="changed while"):
        layout.put_folder(folder, manifest=model_manifest())
    assert list(layout.blobs.folder.iterdir()) == []
    assert list(layout.blobs.temporary.iterdir()) == []


def test_what_is_attached_is_found(layout: Layout, folder: Path):
    digest = layout.put_folder(folder, manifest=model_manifest())
    first = layout.attach(digest, "application/x.lineage", b"one", "application/json")
    second = layout.attach(digest, "application/x.signature", b"two", "text/plain")
    assert layout.attach(digest, "application/x.lineage", b"one", "application/json") == first
    found = layout.referrers(digest)
    assert [(item.digest, item.artifact_type, layout.read(item.data)) for item in found] == [
        (first, "application/x.lineage", b"one"),
        (second, "application/x.signature", b"two"),
    ]
    assert [item.digest for item in layout.referrers(digest, "application/x.signature")] == [second]
    manifest = json.loads(layout.blobs.path(second).read_bytes())
    assert manifest["subject"]["digest"] == digest
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert manifest["config"]["digest"].startswith("sha256:44136fa355b3678a")
    with pytest.raises(NotFound):
        layout.attach(digest_of(1), "a/b", b"", "a/b")
    with pytest.raises(InvalidArgument):
        layout.attach(digest, "", b"", "a/b")
    with pytest.raises(BadPackage, match="no model package"):
        layout.files(first)


def test_tags_name_one_package_each(layout: Layout, folder: Path):
    one = layout.put_folder(folder, manifest=model_manifest())
    two = layout.put_folder(folder, manifest=model_manifest("other"))
    for digest, ref in ((one, "a:1"), (one, "a:2"), (two, "a:1"), (two, "a:1")):
        layout.tag(digest, ref)
    assert layout.tags() == {"a:1": two, "a:2": one}
    assert layout.index.digests() == {one, two}
    for ref in ("a:1", "a:2", "a:2"):
        layout.untag(ref)
    assert layout.tags() == {}
    assert layout.index.digests() == {one, two}
    with pytest.raises(NotFound):
        layout.tag(digest_of(1), "x")
    with pytest.raises(InvalidArgument):
        layout.tag(one, "no good")


def test_a_layout_of_another_kind_or_broken_is_refused(layout: Layout):
    layout.index.path.write_bytes(b'{"schemaVersion":2,"manifests":')
    with pytest.raises(BadPackage, match=r"index\.json"):
        layout.files(digest_of(1))
    (layout.root / "oci-layout").write_bytes(b'{"imageLayoutVersion":"2.0.0"}')
    with pytest.raises(Unsupported):
        Layout(layout.root)


def test_skopeo_reads_and_copies_it(layout: Layout, folder: Path, tmp_path: Path):
    skopeo = need("skopeo")
    digest = layout.put_folder(folder, manifest=model_manifest())
    layout.attach(digest, "application/x.lineage", b"one", "application/json")
    layout.tag(digest, "digits:1")
    source = f"oci:{layout.root}:digits:1"
    raw = subprocess.run([skopeo, "inspect", "--raw", source], check=True, capture_output=True).stdout
    assert raw == layout.blobs.path(digest).read_bytes()
    target = tmp_path / "copy"
    subprocess.run(
        [skopeo, "--insecure-policy", "copy", "--quiet", "--preserve-digests", source, f"oci:{target}:digits:1"],
        check=True,
        capture_output=True,
    )
    copied = Layout(target)
    assert copied.tags() == {"digits:1": digest}
    copied.verify(digest)
    assert contents(copied.unpack(digest, tmp_path / "out")) == FILES
