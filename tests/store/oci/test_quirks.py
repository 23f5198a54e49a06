"""Each row of the table, against a registry that behaves so."""

from collections.abc import Iterator

import pytest

from argosy.spec.errors import NotFound, PermissionDenied
from argosy.store.layout import Layout
from argosy.store.oci import quirks, reference
from argosy.store.oci.client import Client
from argosy.store.oci.pull import pull
from argosy.store.oci.quirks import ECR, GAR, GHCR, HARBOR, Quirks
from argosy.store.oci.repository import Repository
from argosy.store.oci.transfers import Transfers
from argosy.store.oci.twin import publish
from argosy.store.oci.upload import CHUNK
from tests.store.oci.fake import Fake
from tests.store.oci.test_client import client_of


@pytest.fixture
def client(fake: Fake) -> Iterator[Client]:
    with client_of(fake) as client:
        yield client


@pytest.mark.parametrize(
    ("host", "row"),
    [
        ("123456789012.dkr.ecr.eu-west-1.cloud.example", ECR),
        ("123456789012.dkr.ecr-fips.us-east-1.cloud.example", ECR),
        ("europe-docker.pkg.example", GAR),
        ("ghcr.example", GHCR),
        ("harbor.example", HARBOR),
        ("hub.harbor.example:8443", HARBOR),
        ("registry.example", Quirks()),
        ("localhost:5000", Quirks()),
    ],
)
def test_rows_are_found_by_host(host: str, row: Quirks):
    assert quirks.of(host) == row


def test_ghcr_takes_small_chunks_and_has_no_referrers(
    client: Client, fake: Fake, layout: Layout, package: str, moves: Transfers, tmp_path
):
    assert (GHCR.most_patch, GHCR.referrers) == (4 * 1024 * 1024, False)
    fake.most_patch, fake.referrers = 500, False
    client.quirks = Quirks(most_patch=500, referrers=False)
    place = reference.parse(f"{fake.host}/models/digits:1")
    publish(Repository(client, chunk=1000), place, layout, package, moves)
    assert max(len(each.body) for each in fake.sent("PATCH")) == 500
    assert max(len(each.body) for each in fake.sent("PUT") if "/uploads/" in each.path) <= 1000
    other = Layout(tmp_path / "other")
    assert pull(Repository(client), place, other, moves) == package
    assert len(other.referrers(package)) == 2
    assert not [each for each in fake.asked if "/referrers/" in each.path]


def test_ecr_makes_no_repository(client: Client, fake: Fake, layout: Layout, package: str, moves: Transfers):
    client.quirks, fake.unmade = ECR, True
    with pytest.raises(NotFound, match="create-repository --repository-name models/digits"):
        publish(Repository(client), reference.parse(f"{fake.host}/models/digits:1"), layout, package, moves)


def test_gar_and_others_say_what_to_log_in_with(client: Client, fake: Fake):
    client.quirks = GAR
    fake.busy = [(403, {})]
    with pytest.raises(PermissionDenied, match=r"may not do this; the user is oauth2accesstoken"):
        client.ask("GET", "x/manifests/1")


def test_harbor_is_found_by_its_challenge(fake: Fake, layout: Layout, package: str, moves: Transfers):
    fake.bearer, fake.service = True, "harbor-registry"
    fake.unmade = True
    with client_of(fake) as client:
        assert client.quirks == HARBOR
        with pytest.raises(NotFound, match="must be made in Harbor"):
            publish(Repository(client), reference.parse(f"{fake.host}/models/digits:1"), layout, package, moves)


def test_referrers_come_in_pages(client: Client, fake: Fake, layout: Layout, package: str, moves: Transfers):
    place = reference.parse(f"{fake.host}/models/digits:1")
    publish(Repository(client), place, layout, package, moves)
    assert len(Repository(client).referrers(place, package)) == 4
    assert not [name for _, name in fake.manifests if name.startswith("sha256-")]


def test_one_request_up_to_64_mib():
    assert CHUNK == 64 * 1024 * 1024
