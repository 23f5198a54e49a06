"""How a node gets a package."""

from pathlib import Path

import msgspec
import pytest

import argosy
from argosy.spec.errors import InvalidArgument
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.targets.ray.place import package
from argosy.targets.ray.target import ports
from tests.platform.packages import push
from tests.targets.ray.test_observe import report


def spec(**more):
    return msgspec.structs.replace(report("waiting").spec, version=argosy.__version__, **more)


def test_from_the_files_of_the_platform_where_the_node_sees_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "node"))
    store = open_store(Home(tmp_path / "h"), Settings())
    digest = push(store, tmp_path / "p", 3.0).digest
    folder = store.unpacked(digest)
    store.close()
    found = package(spec(folder=str(folder), trusted=True))
    assert (found.folder, found.trusted, found.packages) == (folder, True, None)


def test_what_to_set_where_it_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "node"))
    with pytest.raises(InvalidArgument, match=r"does not see the files of the platform \(/no/such\): set store\.blobs"):
        package(spec(folder="/no/such"))


def test_another_argosy_is_refused():
    with pytest.raises(InvalidArgument, match=r"have Argosy .*, the platform 0\.0\.9: install the same on all"):
        package(msgspec.structs.replace(spec(), version="0.0.9"))


def test_from_where_all_machines_find_it(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blobs = f"{s3}/ray-place"
    monkeypatch.setenv("ARGOSY_STORE_BLOBS", blobs)  # it is set by what is tried, which the test takes back
    settings = msgspec.convert({"store": {"blobs": blobs}}, Settings)
    store = open_store(Home(tmp_path / "h"), settings)
    digest = push(store, tmp_path / "p", 3.0).digest
    store.close()
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "node"))
    revision = msgspec.structs.replace(spec().revision, digest=digest)
    found = package(spec(blobs=blobs, revision=revision))
    assert found.folder == Home(tmp_path / "node").package(digest)
    assert (found.folder / "model.yaml").is_file()


@pytest.mark.parametrize(
    "text", ["", "20000", "20000-20000", "20999-20000", "80-90", "1-70000", "a-b", "2000-3000-4000"]
)
def test_ports_are_a_range(text: str):
    assert ports("20000-20999") == (20000, 20999)
    with pytest.raises(InvalidArgument, match=r"ray\.ports must be FIRST-LAST"):
        ports(text)
