from pathlib import Path

import msgspec
import pytest

from argosy.spec.errors import BadPackage, Conflict, NotFound
from argosy.spec.settings import Home, Settings, StoreSettings
from argosy.store import open_store
from argosy.store.manifest import canonical
from argosy.store.store import LINEAGE, Store
from tests.store.samples import FILES, model_lineage, model_manifest


def add(store: Store, folder: Path, by: str = "ada"):
    return store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage(by))


def test_a_push_has_a_version_a_tag_and_its_lineage(store: Store, folder: Path):
    version = add(store, folder)
    assert add(store, folder, "bob") == version
    assert (version.ref, version.size) == ("digits:1", sum(map(len, FILES.values())))
    assert store.registry.resolve(version.digest) == version
    assert store.layout.tags() == {"digits:1": version.digest}
    assert store.lineage(version.digest) == [model_lineage()]


def test_lineage_of_others_that_cannot_be_read_is_left_out(store: Store, folder: Path):
    digest = add(store, folder).digest
    late = msgspec.structs.replace(model_lineage(), pushed_at="soon")
    for data in (b"{}", b"\xff", canonical(late)):
        store.layout.attach(digest, LINEAGE, data, LINEAGE)
    assert store.lineage(digest) == [model_lineage()]


def test_a_package_is_unpacked_once_and_made_whole_again(store: Store, folder: Path):
    digest = add(store, folder).digest
    out = store.unpacked(digest)
    assert out == store.home.packages / digest.removeprefix("sha256:")
    inode = out.stat().st_ino
    assert store.unpacked(digest).stat().st_ino == inode
    (out / "profile.json").unlink()
    (out / "extra").touch()
    assert store.unpacked(digest) == out
    assert (out / "profile.json").read_bytes() == FILES["profile.json"]
    assert not (out / "extra").exists()
    assert [entry.name for entry in store.home.packages.iterdir()] == [out.name]


def altered(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


def test_an_altered_copy_is_made_anew(store: Store, folder: Path):
    digest = add(store, folder).digest
    file = store.unpacked(digest) / "profile.json"
    copied(file)
    altered(file)
    assert (store.unpacked(digest) / "profile.json").read_bytes() == FILES["profile.json"]


def copied(file: Path) -> None:
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)


def test_a_bit_altered_in_folder_and_blob_is_refused(store: Store, folder: Path):
    digest = add(store, folder).digest
    altered(store.unpacked(digest) / "profile.json")
    for _ in range(2):
        with pytest.raises(BadPackage, match=r"profile\.json"):
            store.unpacked(digest)


def test_what_is_removed_is_collected_with_its_folder(store: Store, folder: Path):
    first = add(store, folder)
    (folder / "profile.json").write_bytes(b"[]")
    second = add(store, folder)
    for version in (first, second):
        store.unpacked(version.digest)
    store.registry.set_alias("digits", "champion", 2)
    with pytest.raises(Conflict):
        store.remove("digits:2")
    store.remove("digits:1")
    assert store.layout.tags() == {"digits:2": second.digest}
    assert store.collect([first.digest], grace=0).manifests == 0
    assert store.unpacked(first.digest).is_dir()
    assert store.collect(grace=0).manifests == 2
    assert [entry.name for entry in store.home.packages.iterdir()] == [second.digest.removeprefix("sha256:")]
    with pytest.raises(NotFound):
        store.unpacked(first.digest)
    store.layout.verify(second.digest)


def test_a_tag_whose_version_is_gone_does_not_keep_a_package(store: Store, folder: Path):
    version = add(store, folder)
    store.registry.remove("digits:1")
    store.layout.tag(version.digest, "digits:1")
    assert store.collect(grace=0).manifests == 2
    assert store.layout.tags() == {}


def test_a_foreign_tag_keeps_a_package(store: Store, folder: Path):
    version = add(store, folder)
    store.layout.tag(version.digest, "mine")
    store.remove("digits:1")
    assert store.collect(grace=0).manifests == 0


def test_the_database_of_the_settings_is_used(tmp_path: Path, url: str):
    store = open_store(Home(tmp_path / "home"), Settings(store=StoreSettings(database=url, max_package_bytes=7)))
    assert store.registry.models() == []
    assert store.layout.max_package_bytes == 7
    assert not store.home.database.exists()
    store.close()
