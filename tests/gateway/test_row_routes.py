"""Paths for rows, below `/endpoints/NAME`, through a real Envoy: the same revisions, keys and copies as others."""

import pytest

from argosy.gateway.model import Mirror, Sticky, Waiting
from argosy.spec.address import Address
from tests.gateway.kit import KEY, api_key, http, one, revision, shared
from tests.gateway.test_mirror import until

BASE = "/endpoints/digits"
PATHS = (
    "/invocations",
    "/ping",
    "/health",
    "/version",
    "/openapi.json",
    "/docs",
    "/v1/models",
    "/v1/models/digits",
    "/v1/models/digits:predict",
)


async def test_an_endpoint_takes_rows_below_its_name(gateway, replica):
    a = await replica("a")
    await gateway.start([one(a, auth=False), one(await replica("b"), endpoint="digits.v-2", auth=False)])
    async with await http(gateway) as client:
        for path in PATHS:
            answer = await client.post(f"{BASE}{path}?x=1", content=b"x")
            assert (answer.status_code, answer.json()) == (
                200,
                {"replica": "a", "path": f"{BASE}{path}?x=1", "size": 1},
            )
            assert answer.headers["x-argosy-revision"] == "r1"
        assert (await client.get("/endpoints/digits.v-2/ping")).json()["replica"] == "b"
        assert (await client.get("/endpoints/digitsy/ping")).status_code == 404


@pytest.mark.parametrize("path", ["/endpoints/digits/../../argosy/counts", "/endpoints/../argosy/counts", "/endpoints"])
async def test_no_path_of_the_platform_is_reached_by_them(gateway, replica, path):
    a = await replica("a")
    await gateway.start([one(a)], [api_key()])
    async with await http(gateway, headers={"x-api-key": KEY}) as client:
        assert (await client.get(path)).status_code == 404
    assert a.seen == []


async def test_keys_and_their_scopes(gateway, replica):
    a = await replica("a")
    keys = [api_key(), api_key("narrow", id="n", scopes=("other",)), api_key("t", id="t", scopes=("digits:test",))]
    two = shared(revision("r1", "1", a, weight=1), revision("r2", "2", await replica("b")), auth=True, testers=True)
    await gateway.start([two], keys)
    async with await http(gateway) as client:
        for path in ("/invocations", "/docs"):
            assert (await client.post(BASE + path)).status_code == 401
            assert (await client.post(BASE + path, headers={"x-api-key": "narrow"})).status_code == 403
        assert (await client.post(f"{BASE}/ping", headers={"x-api-key": KEY})).json()["replica"] == "a"
        picked = {"x-api-key": "t", "x-argosy-revision": "r2"}
        assert (await client.post(f"{BASE}/ping", headers=picked)).json() == {
            "replica": "b",
            "path": f"{BASE}/ping",
            "size": 0,
        }
        assert (await client.post(f"{BASE}/ping", headers={**picked, "x-api-key": KEY})).status_code == 403
        assert (await client.post(f"{BASE}/ping", headers={**picked, "x-argosy-revision": "r9"})).status_code == 404


async def test_a_browser_gives_the_key_as_a_password(gateway, replica):
    """For reading, and with a header that no other site can set; below the paths of endpoints alone."""
    a = await replica("a")
    await gateway.start([one(a)], [api_key()])
    async with await http(gateway) as client:
        asked = await client.get(f"{BASE}/docs")
        assert (asked.status_code, asked.headers["www-authenticate"]) == (401, 'Basic realm="argosy"')
        assert (await client.get(f"{BASE}/openapi.json")).headers["www-authenticate"] == 'Bearer realm="argosy"'
        for user, password, status in (("", KEY, 200), ("me", KEY, 200), ("me", "wrong", 401), (KEY, "", 401)):
            assert (await client.get(f"{BASE}/docs", auth=(user, password))).status_code == status
        own = {"x-requested-with": "argosy"}
        assert (await client.post(f"{BASE}/invocations", auth=("", KEY), headers=own)).status_code == 200
        assert (await client.post(f"{BASE}/invocations", auth=("", KEY))).status_code == 401
        assert (await client.get("/v2/models/digits", auth=("", KEY))).status_code == 401
        for text in ("!", "Og", "Ogo", "A" * 5000):
            assert (await client.get(f"{BASE}/docs", headers={"authorization": f"Basic {text}"})).status_code == 401
    assert not any("authorization" in each.headers for each in a.seen)


async def test_a_shadow_gets_copies_of_rows(gateway, replica):
    a, b = await replica("a"), await replica("b")
    revisions = (revision("r1", "1", a, weight=1), revision("r2", "2", b))
    await gateway.start([shared(*revisions, mirror=Mirror(revision="r2", percent=100))])
    async with await http(gateway) as client:
        assert (await client.post(f"{BASE}/invocations", content=b"x")).json()["replica"] == "a"
        await until(lambda: b.seen)
    (kept,), (copy,) = a.seen, b.seen
    assert kept.path == copy.path == f"{BASE}/invocations"
    assert copy.headers["x-argosy-shadow"] == "1"
    assert kept.headers["x-argosy-record"] == copy.headers["x-argosy-record"] == "1"
    assert kept.headers["x-request-id"] == copy.headers["x-request-id"]


async def test_rows_wait_while_nobody_is_ready(gateway, replica):
    room = await replica("room")
    await gateway.start([shared(revision("r1", "1", weight=1), waiting=Waiting(http=Address(path=room.path)))])
    async with await http(gateway) as client:
        answer = await client.post(f"{BASE}/invocations", content=b"x")
    assert answer.json() == {"replica": "room", "path": f"{BASE}/invocations", "size": 1}
    assert room.seen[0].headers["argosy-endpoint"] == "digits"


async def test_a_cookie_is_for_the_path_it_came_by(gateway, replica):
    revisions = [revision(f"r{n}", str(n), await replica(name), weight=1) for n, name in enumerate("ab")]
    await gateway.start([shared(*revisions, sticky=Sticky(by="cookie"))])
    async with await http(gateway) as client:
        first = await client.post(f"{BASE}/ping")
        assert f"Path={BASE};" in first.headers["set-cookie"]
        for _ in range(10):
            again = await client.post(f"{BASE}/ping")
            assert again.json() == first.json()
            assert "set-cookie" not in again.headers
