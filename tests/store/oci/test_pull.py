"""Packages out of a registry: the same package, whatever the way there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.spec.errors import BadPackage, InvalidArgument, NotFound
from argosy.store.layout import Layout
from argosy.store.oci import reference
from argosy.store.oci.client import Client
from argosy.store.oci.credentials import Credential
from argosy.store.oci.pull import pull, referrers, tags
from argosy.store.oci.transfers import Transfers
from argosy.store.oci.twin import publish
from argosy.store.store import LINEAGE
from tests.store.oci.live import PASSWORD, USER, Registry
from tests.store.samples import model_manifest


@pytest.fixture
def client(registry: Registry) -> Iterator[Client]:
    with Client(registry.host, ca=Path(registry.ca), credential=Credential(USER, PASSWORD)) as client:
        yield client.probe()


@pytest.fixture
def moves(tmp_path: Path) -> Transfers:
    return Transfers(tmp_path / "moves")


@pytest.fixture
def package(layout: Layout, folder: Path) -> str:
    digest = layout.put_folder(folder, manifest=model_manifest())
    layout.attach(digest, LINEAGE, b"{}", LINEAGE)
    layout.attach(digest, "application/x-note", b"a note", "text/plain")
    return digest


def test_there_and_back(client: Client, layout: Layout, package: str, moves: Transfers, tmp_path: Path):
    place = reference.parse(f"{client.host}/pull/whole:1")
    done = publish(client, place, layout, package, moves)
    assert (done.digest, done.referrers) == (package, 2)
    other = Layout(tmp_path / "other")
    assert pull(client, place, other, moves) == package
    assert other.files(package) == layout.files(package)
    other.verify(package)
    assert {each.digest for each in other.referrers(package)} == {each.digest for each in layout.referrers(package)}
    assert pull(client, reference.parse(f"{place.place}@{package}"), other, moves) == package
    assert not [path for path in moves.folder.iterdir() if not path.suffix]


def test_the_image_is_an_index_that_refers_to_the_package(
    client: Client, layout: Layout, package: str, moves: Transfers
):
    place = reference.parse(f"{client.host}/pull/image:1")
    publish(client, place, layout, package, moves)
    assert sorted(tags(client, place)) == ["1", "1-image", package.replace(":", "-")]
    kinds = [each.artifact_type for each in referrers(client, place.repository, package)]
    assert kinds.count("application/vnd.oci.image.config.v1+json") == 2
    with pytest.raises(BadPackage, match="index of images"):
        pull(client, place.with_tag("1-image"), layout, moves)


def test_what_is_not_there(client: Client, layout: Layout, moves: Transfers):
    with pytest.raises(NotFound, match="none/manifests/1"):
        pull(client, reference.parse(f"{client.host}/pull/none:1"), layout, moves)
    with pytest.raises(InvalidArgument, match="argosy tags"):
        pull(client, reference.parse(f"{client.host}/pull/none"), layout, moves)
    with pytest.raises(NotFound):
        tags(client, reference.parse(f"{client.host}/pull/none"))
