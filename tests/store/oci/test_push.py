"""Packages into a registry: what is sent, what is not sent again, and what others read there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.spec.errors import BadPackage, Unauthenticated, Unavailable
from argosy.store.layout import Layout
from argosy.store.manifest import MANIFEST, Descriptor
from argosy.store.oci import reference
from argosy.store.oci.client import Client
from argosy.store.oci.credentials import Credential
from argosy.store.oci.push import Folder, push
from argosy.store.oci.repository import Repository
from argosy.store.oci.transfers import Transfers
from tests.store.oci.fake import Fake
from tests.store.oci.live import PASSWORD, USER, Registry
from tests.store.oci.test_client import client_of
from tests.store.samples import model_manifest


@pytest.fixture
def client(registry: Registry) -> Iterator[Client]:
    with Client(registry.host, ca=Path(registry.ca), credential=Credential(USER, PASSWORD)) as client:
        yield client.probe()


@pytest.fixture
def root(layout: Layout, folder: Path) -> Descriptor:
    return layout.descriptor(layout.put_folder(folder, manifest=model_manifest()))


def test_what_is_there_is_not_sent_and_other_repositories_mount(
    client: Client, layout: Layout, root: Descriptor, tmp_path: Path
):
    first = reference.parse(f"{client.host}/push/first:1")
    moves = Transfers(tmp_path / "moves")
    pushed = push(Repository(client), first, root, Folder(layout.root), moves)
    assert (pushed.digest, pushed.sent, pushed.there) == (root.digest, 8, 0)
    assert push(Repository(client), first, root, Folder(layout.root), moves).there == 8
    other = reference.parse(f"{client.host}/push/other:1")
    assert push(Repository(client), other, root, Folder(layout.root), moves).sent == 0
    found = client.ask("GET", "push/other/manifests/1", ("repository:push/other:pull",), headers={"Accept": MANIFEST})
    assert found.data == layout.blobs.path(root.digest).read_bytes()


def test_chunks(client: Client, layout: Layout, root: Descriptor, tmp_path: Path):
    lines: list[str] = []
    client.report = lines.append
    place = reference.parse(f"{client.host}/push/chunks:1")
    moves = Transfers(tmp_path / "moves")
    push(Repository(client, chunk=1000), place, root, Folder(layout.root), moves)
    assert [line.partition(": ")[2] for line in lines if line.endswith("of 4,096 bytes")] == [
        f"{count:,} of 4,096 bytes" for count in (1000, 2000, 3000, 4000, 4096)
    ]
    assert moves.upload(place.place, layout.files(root.digest)["weights/model.onnx"].digest) is None


def test_an_altered_blob_is_not_pushed(client: Client, layout: Layout, root: Descriptor, tmp_path: Path):
    path = layout.blobs.path(layout.files(root.digest)["weights/model.onnx"].digest)
    path.chmod(0o600)
    path.write_bytes(b"short")
    place = reference.parse(f"{client.host}/push/altered:1")
    with pytest.raises(BadPackage, match="shorter than it was"):
        push(Repository(client), place, root, Folder(layout.root), Transfers(tmp_path / "moves"))


def test_logins_and_authorities(registry: Registry):
    for credential in (None, Credential(USER, "wrong")):
        with (
            Client(registry.host, ca=Path(registry.ca), credential=credential) as client,
            pytest.raises(Unauthenticated, match="argosy registry login"),
        ):
            client.probe().ask("GET", "")
    with Client(registry.host) as client, pytest.raises(Unavailable, match="--ca FILE or SSL_CERT_FILE"):
        client.probe()


def test_a_blob_that_is_said_to_lie_elsewhere_is_there(fake: Fake, layout: Layout, root: Descriptor, moves: Transfers):
    with client_of(fake) as client:
        place = reference.parse(f"{fake.host}/push/x:1")
        push(Repository(client), place, root, Folder(layout.root), moves)
        fake.elsewhere = "http://127.0.0.1:1"
        assert push(Repository(client), place, root, Folder(layout.root), moves).there == 8
