"""A revision picked by a header, for those who may."""

import pytest

from tests.gateway.grpc_kit import infer, served, status, with_client
from tests.gateway.kit import KEY, api_key, http, revision, shared

INFER = "/v2/models/digits/infer"
TESTER = api_key("tester", id="tester", scopes=("digits:test",))
EVERYWHERE = api_key("everywhere", id="everywhere", scopes=("*:test",))
OTHER = api_key("other", id="other", scopes=("other:test", "digits"))


@pytest.fixture(params=[True, False])
def auth(request):
    """Whether the endpoint needs a key otherwise."""
    return request.param


async def test_only_testers_pick(gateway, replica, auth):
    a, b = await replica("a"), await replica("b")
    revisions = (revision("r1", "1", a, weight=100), revision("r2", "2", b))
    await gateway.start([shared(*revisions, auth=auth, testers=True)], [api_key(), TESTER, EVERYWHERE, OTHER])
    async with await http(gateway) as client:

        async def ask(key, picked, path=INFER):
            headers = {"x-argosy-revision": picked} | ({"x-api-key": key} if key else {})
            return await client.post(path, content=b"x", headers=headers)

        for key in ("tester", "everywhere"):
            for picked, who in (("r1", "a"), ("r2", "b")):
                answer = await ask(key, picked)
                assert (answer.status_code, answer.json()["replica"]) == (200, who)
                assert answer.headers["x-argosy-revision"] == picked
        assert b.seen[-1].headers["x-argosy-key-id"] == "everywhere"
        missing = await ask("tester", "r3")
        assert missing.json() == {"error": "endpoint 'digits' has no such revision; it has: r1, r2"}
        assert missing.status_code == 404
        answered = len(a.seen) + len(b.seen)
        for key, code in ((None, 401), ("wrong", 401), (KEY, 403), ("other", 403)):
            for picked in ("r1", "r2", "r3"):
                for path in (INFER, "/v2/models/digits", "/v2/models/digits/versions/1/infer"):
                    assert (await ask(key, picked, path)).status_code == code
        said = (await ask(KEY, "r2")).json()["error"]
        assert said == (
            "key 'k1' may not pick a revision of endpoint 'digits': "
            "give it the scope 'digits:test', or leave x-argosy-revision out"
        )
        assert len(a.seen) + len(b.seen) == answered
        plain = await client.post(INFER, content=b"x", headers={"x-api-key": "tester"})
        assert plain.json()["replica"] == "a"
    assert not any("x-argosy-revision" in each.headers for each in a.seen + b.seen)


async def test_where_testers_are_not_let_in_the_header_does_nothing(gateway, replica):
    a, b = await replica("a"), await replica("b")
    await gateway.start([shared(revision("r1", "1", a, weight=100), revision("r2", "2", b))])
    async with await http(gateway) as client:
        assert (await client.post(INFER, headers={"x-argosy-revision": "r2"})).json()["replica"] == "a"
    assert "x-argosy-revision" not in a.seen[0].headers


async def test_a_tester_s_scope_covers_no_other_endpoint(gateway, replica):
    a, b = await replica("a"), await replica("b")
    both = [
        shared(revision("r1", "1", a, weight=1), auth=True, testers=True),
        shared(revision("r1", "1", b, weight=1), endpoint="other", auth=True, testers=True),
    ]
    await gateway.start(both, [TESTER])
    async with await http(gateway, headers={"x-api-key": "tester"}) as client:
        for headers in ({}, {"x-argosy-revision": "r1"}):
            assert (await client.get("/v2/models/digits", headers=headers)).status_code == 200
            assert (await client.get("/v2/models/other", headers=headers)).status_code == 403


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_testers_pick_over_grpc(gateway, grpc_replica, auth):
    a, b = grpc_replica("a"), grpc_replica("b")
    await gateway.start([served("digits", a, b, auth=auth, testers=True)], [api_key(), TESTER])

    def use(client):
        def picked(key, name):
            return {"x-argosy-revision": name} | ({"x-api-key": key} if key else {})

        assert infer(client, "digits", headers=picked("tester", "r2")) == "b"
        assert status(infer, client, "digits", headers=picked("tester", "r3")) == (
            "StatusCode.NOT_FOUND",
            "endpoint 'digits' has no such revision; it has: r1, r2",
        )
        for key, code in ((None, "UNAUTHENTICATED"), (KEY, "PERMISSION_DENIED")):
            for name in ("r2", "r3"):
                assert status(infer, client, "digits", headers=picked(key, name))[0] == f"StatusCode.{code}"

    await with_client(gateway, use)
    assert [each.get("x-argosy-revision") for each in a.metadata + b.metadata] == [None]
