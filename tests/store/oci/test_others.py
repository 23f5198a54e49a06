"""skopeo, oras and podman read what is pushed, and what they write is pulled."""

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from argosy.store.index import IndexFile, tag_of
from argosy.store.layout import Layout
from argosy.store.manifest import Descriptor
from argosy.store.oci import reference
from argosy.store.oci.client import Client
from argosy.store.oci.credentials import Credential, save
from argosy.store.oci.pull import pull
from argosy.store.oci.push import Folder, push
from argosy.store.oci.repository import Repository
from argosy.store.oci.transfers import Transfers
from argosy.store.oci.twin import Twin, publish
from tests.programs import need
from tests.store.oci.live import PASSWORD, USER, Registry
from tests.store.samples import FILES

pytestmark = pytest.mark.slow


@pytest.fixture
def place(registry: Registry, layout: Layout, package: str, moves: Transfers, nobody: Path) -> str:
    """Where a package was pushed to. The login lies in the file that all of these programs read."""
    name = f"{registry.host}/others/digits"
    save(registry.host, Credential(USER, PASSWORD), os.environ)
    with Client(registry.host, ca=Path(registry.ca)) as client:
        publish(Repository(client.probe()), reference.parse(f"{name}:1"), layout, package, moves)
    return name


@pytest.fixture
def call(registry: Registry, nobody: Path, tmp_path: Path) -> Callable[..., str]:
    """Run a program with the authority of the registry, and the login."""
    shutil.copy(registry.ca, tmp_path / "ca.crt")
    environ = os.environ | {"SSL_CERT_FILE": registry.ca, "REGISTRY_AUTH_FILE": str(nobody / "config.json")}

    def run(*words: object) -> str:
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=environ, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def in_layout(folder: Path, name: str = "") -> Descriptor:
    """The manifest or index of a layout that another tool wrote: the one that is tagged `name`, or the only one."""
    (found,) = [each for each in IndexFile(folder, folder / ".lock").entries() if not name or tag_of(each) == name]
    return found


def pulled(registry: Registry, name: str, into: Path) -> str:
    with Client(registry.host, ca=Path(registry.ca)) as client:
        return pull(Repository(client.probe()), reference.parse(name), Layout(into), Transfers(into / "moves"))


def test_skopeo(registry: Registry, place: str, package: str, layout: Layout, tmp_path: Path, call):
    skopeo = need("skopeo")
    raw = call(skopeo, "inspect", "--raw", f"docker://{place}:1")
    assert raw.encode() == layout.blobs.path(package).read_bytes()
    call(skopeo, "copy", f"docker://{place}:1", f"oci:{tmp_path}/copied:x")
    assert in_layout(tmp_path / "copied", "x").digest == package
    call(skopeo, "copy", f"oci:{tmp_path}/copied:x", f"docker://{place}-by-skopeo:7")
    assert pulled(registry, f"{place}-by-skopeo:7", tmp_path / "new") == package

    call(skopeo, "copy", "--all", "--preserve-digests", f"docker://{place}:1-image", f"oci:{tmp_path}/image:x")
    root = in_layout(tmp_path / "image", "x")
    assert root.digest == Twin(layout.blobs, layout.files(package), layout.descriptor(package)).root.digest
    inspected = json.loads(call(skopeo, "inspect", "--override-arch", "arm64", f"docker://{place}:1-image"))
    assert (inspected["Architecture"], len(inspected["Layers"])) == ("arm64", 2)
    found = {}
    for digest in inspected["Layers"]:
        with tarfile.open(tmp_path / "image" / "blobs" / "sha256" / digest[7:]) as tar:
            for entry in tar:
                assert (entry.uid, entry.gid, entry.mtime, entry.uname) == (0, 0, 0, "")
                if file := tar.extractfile(entry):
                    found[entry.name.removeprefix("models/")] = file.read()
    assert found == FILES


def test_any_layout_is_pushed(registry: Registry, place: str, moves: Transfers, tmp_path: Path, call):
    skopeo = need("skopeo")
    call(skopeo, "copy", "--all", "--preserve-digests", f"docker://{place}:1-image", f"oci:{tmp_path}/image:x")
    with Client(registry.host, ca=Path(registry.ca)) as client:
        root = in_layout(tmp_path / "image")
        push(Repository(client.probe()), reference.parse(f"{place}-again:2"), root, Folder(tmp_path / "image"), moves)
    assert len(json.loads(call(skopeo, "inspect", "--raw", f"docker://{place}-again:2"))["manifests"]) == 2


def test_oras(registry: Registry, place: str, package: str, tmp_path: Path, call):
    if not (oras := shutil.which("oras") or shutil.which(Path.home() / "go" / "bin" / "oras")):
        pytest.skip("oras is not installed: go install oras.land/oras/cmd/oras@v1.2.3")
    flags = ["--ca-file", registry.ca, "--plain-http=false"]
    assert json.loads(call(oras, "manifest", "fetch", *flags, "--descriptor", f"{place}:1"))["digest"] == package
    tree = call(oras, "discover", *flags, "--format", "json", f"{place}:1")
    assert "application/x-note" in tree
    both = ["--from-ca-file", registry.ca, "--from-plain-http=false", "--to-ca-file", registry.ca]
    call(oras, "cp", "-r", *both, "--to-plain-http=false", f"{place}:1", f"{place}-by-oras:3")
    assert pulled(registry, f"{place}-by-oras:3", tmp_path / "new") == package
    kinds = [each.artifact_type for each in Layout(tmp_path / "new").referrers(package)]
    assert "application/x-note" in kinds


def test_podman(registry: Registry, place: str, tmp_path: Path, call):
    if not (podman := shutil.which("podman")):
        pytest.skip("podman is not installed: apt-get install --no-install-recommends podman")
    flags = ["--root", tmp_path / "root", "--runroot", tmp_path / "runroot", "--storage-driver", "vfs"]
    call(podman, *flags, "pull", "--cert-dir", tmp_path, f"{place}:1-image")
    name = call(podman, *flags, "create", f"{place}:1-image", "none").strip()
    call(podman, *flags, "cp", f"{name}:/models/model.yaml", tmp_path / "model.yaml")
    assert (tmp_path / "model.yaml").read_bytes() == FILES["model.yaml"]
