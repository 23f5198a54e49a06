"""Who may call a server that listens on loopback: only those who say a loopback name."""

import httpx
import msgspec
import pytest

from argosy.serving.port import check_host, loopback
from argosy.spec.address import Address
from argosy.spec.errors import PermissionDenied
from tests.serving.conftest import RunningReplica
from tests.serving.engines import identities

OURS = (
    "localhost",
    "LOCALHOST:8000",
    "localhost.",
    "a.localhost:1",
    "127.0.0.1",
    "127.8.9.1:80",
    "[::1]",
    "[::1]:8000",
)
THEIRS = (
    "",
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.nip.io:8000",
    "127.0.0.1:8000, evil.example",
    "evil.example:80:localhost",
    "localhost:80@evil.example",
    "10.0.0.1",
    "[::]",
    "0.0.0.0",
    "[::1",
)


@pytest.mark.parametrize("header", OURS)
def test_a_loopback_name_is_ours(header: str):
    check_host(header, "this server")


@pytest.mark.parametrize("header", THEIRS)
def test_any_other_name_is_refused(header: str):
    with pytest.raises(PermissionDenied, match="localhost"):
        check_host(header, "this server")


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("::", False)])
def test_what_is_listened_on(host: str, local: bool):
    assert loopback(host) is local


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/models/fp32", "/docs", "/openapi.json", "/metrics", "/v2/models/fp32/infer"]
)
def test_a_web_page_reaches_no_server_on_loopback_by_a_name_of_its_own(path: str):
    with RunningReplica(identities(), grpc=False) as one:
        for method in ("GET", "POST"):
            answer = httpx.request(method, one.url + path, headers={"host": "evil.example:8000"}, content=b"{}")
            assert (answer.status_code, "localhost" in answer.json()["error"]) == (403, True)
        assert httpx.get(one.url + "/v2", headers={"host": "localhost:1"}).status_code == 200


def test_one_that_other_machines_reach_answers_to_every_name():
    one = RunningReplica(identities(), grpc=False)
    one.config = msgspec.structs.replace(one.config, http=Address(host="0.0.0.0"))
    with one:
        url = f"http://127.0.0.1:{one.http.port}/v2"
        assert httpx.get(url, headers={"host": "models.example"}).status_code == 200
