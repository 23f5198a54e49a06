"""A region: the orders and packages that it takes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from argosy.packaging.lineage import lineage_from
from argosy.regions.member import Member
from argosy.regions.wire import PlacedEndpoint, RegionOrder, SentPackage
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import BadPackage, Conflict, InvalidArgument
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.store.manifest import MAX_DOCUMENT
from argosy.store.store import Store
from argosy.store.version import Version
from tests.platform.packages import push, push_class

ORDER = RegionOrder(holder="h", term=2, region="west")
LINEAGE = lineage_from("test")


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    found = [open_store(Home(tmp_path / name).create(), Settings()) for name in ("holder", "west")]
    yield found[0], found[1]
    for each in found:
        each.close()


def sent(store: Store, version: Version) -> SentPackage:
    layout = store.layout
    names = (version.digest, *(each.digest for each in layout.referrers(version.digest)))
    manifests = tuple(layout.blobs.read(layout.descriptor(each), MAX_DOCUMENT, "it") for each in names)
    return SentPackage(digest=version.digest, manifests=manifests, trusted=store.registry.trusted(version.digest))


def give(member: Member, store: Store, version: Version) -> None:
    """What the holder does."""
    package = sent(store, version)
    for blob in member.adopt(version.name, version.number, package, LINEAGE):
        asyncio.run(member.receive(blob, chunks(store.layout.blobs.path(blob).read_bytes())))
    assert member.adopt(version.name, version.number, package, LINEAGE) == []


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 100):
        yield data[at : at + 100]


def test_a_package_keeps_its_number_and_lineage_and_is_sent_once(stores, tmp_path):
    holder, west = stores
    push(holder, tmp_path / "p1", 3.0)
    version = push(holder, tmp_path / "p2", 5.0)
    member = Member(west.home, west, "west")
    placed = PlacedEndpoint(endpoint=Endpoint(name="a", model="digits:2"), packages={"digits:2": version.digest})
    order = msgspec.structs.replace(ORDER, endpoints=(placed,))
    assert member.missing(order) == {"digits:2": version.digest}
    give(member, holder, version)
    assert member.missing(order) == {}
    assert west.registry.resolve("digits:2").digest == version.digest
    assert west.lineage(version.digest) == holder.lineage(version.digest)
    assert not list(west.layout.transfers.folder.glob("*.sent"))


def test_another_package_of_the_number_is_a_conflict_before_anything_is_sent(stores, tmp_path):
    holder, west = stores
    push(west, tmp_path / "own", 7.0)
    version = push(holder, tmp_path / "p", 3.0)
    with pytest.raises(Conflict, match="digits:1 is another package in region 'west'"):
        Member(west.home, west, "west").adopt("digits", 1, sent(holder, version), LINEAGE)


def test_a_blob_of_another_content_is_refused(stores):
    member = Member(stores[1].home, stores[1], "west")
    with pytest.raises(BadPackage, match="is not the blob"):
        asyncio.run(member.receive("sha256:" + "0" * 64, chunks(b"something else")))
    assert not [each for each in stores[1].layout.transfers.folder.iterdir() if each.suffix != ".lock"]


@pytest.mark.parametrize("trust", [False, True])
def test_code_of_its_author_is_trusted_where_the_region_says_so(stores, tmp_path, trust):
    holder, west = stores
    source = "class Model:\n    pass\n"
    version = push_class(holder, tmp_path / "p", source, np.zeros((1, 2), np.float32), np.zeros(1, np.int64), name="c")
    give(Member(west.home, west, "west", trust=trust), holder, version)
    assert west.registry.trusted(version.digest) is trust


def test_orders_of_another_holder_region_or_term_are_refused(stores):
    member = Member(stores[1].home, stores[1], "west")
    member.check(ORDER)
    member.follow(ORDER)
    again = Member(stores[1].home, stores[1], "west")
    again.load()
    for change, error, why in (
        ({"holder": "other"}, Conflict, "held by another"),
        ({"term": 1}, Conflict, "a later holder"),
        ({"region": "east"}, InvalidArgument, "this is region 'west'"),
    ):
        with pytest.raises(error, match=why):
            again.check(msgspec.structs.replace(ORDER, **change))
