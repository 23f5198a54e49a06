"""REST through a real Envoy: routes, versions, answers of the gateway's own."""

import json
from collections import Counter
from pathlib import Path

from argosy.gateway.model import EndpointRoute, Upstream
from argosy.spec.address import Address
from tests.gateway.kit import KEY, api_key, http, one, revision


async def test_an_endpoint_answers_below_its_name(gateway, replica):
    a = await replica("a")
    await gateway.start([one(a, auth=False)])
    async with await http(gateway) as client:
        for path in ("/v2/models/digits", "/v2/models/digits/ready", "/v2/models/digits/infer?x=1"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["path"]) == (200, path)
            assert answer.headers["x-argosy-replica"] == "a"
            assert answer.headers["x-argosy-revision"] == "r1"
        assert (await client.get("/v2/models/digitsy")).status_code == 404


async def test_versions_go_to_their_revision_and_the_rest_by_weight(gateway, replica):
    a, b, c = await replica("a"), await replica("b"), await replica("c")
    revisions = (revision("r1", "1", a, weight=3), revision("r2", "2", b, weight=1), revision("r3", "3", c))
    await gateway.start([EndpointRoute(endpoint="digits", revisions=revisions, auth=False)])
    async with await http(gateway) as client:
        for version, who in (("1", "a"), ("2", "b"), ("3", "c")):
            answer = await client.post(f"/v2/models/digits/versions/{version}/infer", content=b"x")
            assert answer.json()["replica"] == who
        missing = await client.get("/v2/models/digits/versions/4/infer")
        assert (missing.status_code, missing.json()) == (
            404,
            {"error": "endpoint 'digits' does not serve this version; it serves: 1, 2, 3"},
        )
        answers = [(await client.post("/v2/models/digits/infer", content=b"x")).json() for _ in range(200)]
        shares = Counter(answer["replica"] for answer in answers)
        assert shares["c"] == 0
        assert 20 < shares["b"] < 90


async def test_what_the_gateway_says_by_itself(gateway, replica):
    a = await replica("a")
    draining = Upstream(replica="d", http=Address(path="/tmp/nobody.sock"), state="draining")
    await gateway.start([one(a), one(draining, endpoint="slow")], [api_key()])
    async with await http(gateway) as client:
        assert (await client.get("/v2/health/live")).json() == {"live": True}
        for path in ("/v2/", "/v2/health/live/", "/v2/health/ready/"):
            assert (await client.get(path)).json() == (await client.get(path[:-1])).json()
        ready = await client.get("/v2/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"ready": False})
        assert (await client.get("/v2")).json()["name"] == "argosy"
        assert (await client.get("/v2/repository/index")).status_code == 405
        assert (await client.post("/v2/repository/index")).status_code == 401
        index = await client.post("/v2/repository/index", headers={"x-api-key": KEY}, json={})
        assert [(row["name"], row["version"], row["state"]) for row in index.json()] == [
            ("digits", "1", "READY"),
            ("slow", "1", "UNAVAILABLE"),
        ]
        load = await client.post("/v2/repository/models/digits/load", headers={"x-api-key": KEY})
        assert (load.status_code, "error" in load.json()) == (501, True)
        assert "error" in (await client.get("/else")).json()
        await gateway.apply([one(a)], [api_key()])
        assert (await client.get("/v2/health/ready")).status_code == 200
    assert a.seen == []


async def test_an_endpoint_without_ready_replicas_says_so(gateway, replica):
    await gateway.start(
        [
            EndpointRoute(endpoint="none", auth=False),
            EndpointRoute(endpoint="empty", revisions=(revision("r1", "1", weight=1),), auth=False),
        ]
    )
    async with await http(gateway) as client:
        none = await client.get("/v2/models/none/infer")
        assert (none.status_code, none.json()["error"]) == (503, "endpoint 'none' has no revision that takes traffic")
        empty = await client.get("/v2/models/empty/infer")
        assert (empty.status_code, empty.headers["retry-after"]) == (503, "1")
        assert empty.json() == {"error": "no replica of this endpoint is ready; try again shortly"}


async def test_request_ids_are_kept_given_back_and_logged(gateway, replica, config):
    a = await replica("a")
    await gateway.start([one(a)], [api_key()])
    async with await http(gateway, headers={"authorization": f"Bearer {KEY}"}) as client:
        kept = await client.post("/v2/models/digits/infer", content=b"12345", headers={"x-request-id": "mine"})
        made = await client.get("/v2/models/digits")
    assert kept.headers["x-request-id"] == "mine"
    assert len(made.headers["x-request-id"]) == 36
    await gateway.stop(1)
    line = json.loads(Path(config.access_log_path).read_text().splitlines()[0])
    expected = {
        "request_id": "mine",
        "method": "POST",
        "path": "/v2/models/digits/infer",
        "status": 200,
        "endpoint": "digits",
        "version": "1",
        "revision": "r1",
        "replica": "a",
        "key": "k1",
        "attempts": 1,
        "bytes_in": 5,
    }
    assert {name: line[name] for name in expected} == expected
    assert all(isinstance(line[name], int) for name in ("ms", "upstream_ms", "first_byte_ms", "bytes_out"))
