"""REST through a real Envoy: routes, versions, answers of the gateway's own."""

from tests.gateway.kit import http, one


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
