"""Keys and their limits through a real Envoy."""

import hashlib
import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from argosy.gateway.keys import token_bucket
from argosy.gateway.model import Mirror, Sticky, Waiting
from argosy.spec.address import Address
from tests.gateway.kit import KEY, api_key, http, one, revision, shared


@given(rate=st.floats(0.001, 1_000_000), burst=st.none() | st.integers(1, 1_000_000))
def test_a_bucket_keeps_its_rate(rate, burst):
    bucket = token_bucket(api_key(requests_per_second=rate, burst=burst))
    interval = float(bucket["fill_interval"].removesuffix("s"))
    assert abs(bucket["tokens_per_fill"] / interval - rate) <= max(rate * 0.001, 0.0005)
    assert interval >= 0.05
    assert bucket["max_tokens"] == (burst or max(1, -(-bucket["tokens_per_fill"] // int(interval))))


async def test_only_a_known_key_gets_through_and_it_goes_no_further(gateway, replica):
    a = await replica("a")
    await gateway.start([one(a)], [api_key()])
    async with await http(gateway) as client:
        path = "/v2/models/digits/infer"
        for headers in ({}, {"authorization": "Basic x"}, {"x-api-key": "wrong"}, {"x-api-key": "x" * 1000}):
            refused = await client.post(path, content=b"x", headers=headers)
            assert (refused.status_code, list(refused.json())) == (401, ["error"])
            assert refused.headers["www-authenticate"].startswith("Bearer")
        assert a.seen == []
        for headers in ({"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, {"x-api-key": KEY}):
            assert (await client.post(path, content=b"x", headers=headers)).status_code == 200
    for request in a.seen:
        assert "authorization" not in request.headers
        assert "x-api-key" not in request.headers
        assert request.headers["x-argosy-key-id"] == "k1"


async def test_scopes_cover_endpoints(gateway, replica):
    a, b = await replica("a"), await replica("b")
    narrow = api_key("narrow", id="narrow", scopes=("digits",))
    await gateway.start([one(a), one(b, endpoint="other"), one_open(b)], [narrow, api_key()])
    async with await http(gateway, headers={"x-api-key": "narrow"}) as client:
        assert (await client.get("/v2/models/digits")).status_code == 200
        refused = await client.get("/v2/models/other")
        assert (refused.status_code, refused.json()) == (
            403,
            {"error": "key 'narrow' does not cover endpoint 'other'"},
        )
        assert (await client.get("/v2/models/other", headers={"x-api-key": KEY})).status_code == 200
        nowhere = await client.get("/v2/models/nowhere")
        assert (nowhere.status_code, nowhere.json()) == (
            403,
            {"error": "key 'narrow' does not cover endpoint 'nowhere'"},
        )
        assert (await client.get("/v2/models/nowhere", headers={"x-api-key": KEY})).status_code == 404
        assert (await client.post("/v2/repository/index")).status_code == 403
        assert (await client.post("/v2/repository/index", headers={"x-api-key": KEY})).status_code == 200


def one_open(_):
    """An endpoint without a replica, open to all."""
    return one("/tmp/nobody.sock", endpoint="open", auth=False)


OURS = {"x-argosy-key-id": "somebody", "X-Argosy-Shadow": "1"}


async def test_a_client_cannot_say_what_only_the_gateway_says(gateway, replica):
    a, b, c = await replica("a"), await replica("b"), await replica("c")
    two = (revision("r1", "1", a, weight=1), revision("r2", "2", b, weight=1))
    tester = api_key("tester", id="tester", scopes=("*:test",))
    routes = [
        shared(*two, mirror=Mirror(revision="r2", percent=0.0001), testers=True),
        shared(revision("r1", "1", weight=1), endpoint="cold", waiting=Waiting(http=Address(path=c.path))),
    ]
    paths = ["", "/infer", "/versions/1/infer", "/versions/2", "/stats"]
    for key in (None, KEY):
        for more in ({}, {"sticky": Sticky(by="cookie")}, {"sticky": Sticky(by="header", name="x-user")}):
            changed = [msgspec.structs.replace(each, auth=key is not None, **more) for each in routes]
            await (gateway.apply if gateway.process.running else gateway.start)(changed, [api_key(), tester])
            async with await http(gateway, headers=OURS | ({"x-api-key": key} if key else {})) as client:
                for path in [f"/v2/models/{name}{path}" for name in ("digits", "cold") for path in paths]:
                    assert (await client.post(path, content=b"x")).status_code in (200, 404)
                picked = {"x-api-key": "tester", "x-argosy-revision": "r1"}
                assert (await client.post("/v2/models/digits", headers=picked)).status_code == 200
    for each in a.seen + b.seen + c.seen:
        assert each.headers.get("x-argosy-key-id") in (None, "k1", "tester")
        assert "x-argosy-shadow" not in each.headers
    assert min(len(a.seen), len(b.seen), len(c.seen)) > 5


async def test_hashes_agree_with_hashlib_for_any_key(gateway, replica):
    a = await replica("a")
    rng = random.Random(7)
    lengths = [1, 54, 55, 56, 63, 64, 65, 119, 120, 128, 511, 512] + [rng.randrange(1, 512) for _ in range(60)]
    clear = ["".join(chr(rng.randrange(0x21, 0x7F)) for _ in range(size)) for size in lengths]
    keys = {hashlib.sha256(key.encode()).hexdigest(): key for key in clear}
    await gateway.start([one(a)], [api_key(key, id=f"k{n}") for n, key in enumerate(keys.values())])
    async with await http(gateway) as client:
        for number, key in enumerate(keys.values()):
            for _ in range(2):
                assert (await client.get("/v2/models/digits", headers={"x-api-key": key})).status_code == 200
                assert a.seen[-1].headers["x-argosy-key-id"] == f"k{number}"


async def test_each_of_many_keys_opens_what_is_its_own(gateway, replica):
    a = await replica("a")
    many = [api_key(str(n), id=f"n{n}", scopes=("digits", f"e{n}") if n % 2 else ()) for n in range(3000)]
    await gateway.start([one(a)], many)
    async with await http(gateway) as client:
        for n in range(0, 3000, 20):
            assert (await client.get("/v2/models/digits", headers={"x-api-key": f"{n + 1}"})).status_code == 200
            assert (await client.get("/v2/models/digits", headers={"x-api-key": f"{n}"})).status_code == 403


async def test_keys_change_without_a_new_listener(gateway, replica):
    a = await replica("a")
    await gateway.start([one(a)], [api_key()])
    async with await http(gateway, headers={"x-api-key": KEY}) as client:
        assert (await client.get("/v2/models/digits")).status_code == 200
        before = gateway.files.get("lds.json")
        await gateway.apply([one(a)], [api_key("second")])
        assert (await client.get("/v2/models/digits")).status_code == 401
        assert (await client.get("/v2/models/digits", headers={"x-api-key": "second"})).status_code == 200
        assert gateway.files.get("lds.json") == before


async def test_each_key_has_its_own_limit(gateway, replica):
    a = await replica("a")
    limited = api_key("slow", id="slow", requests_per_second=0.1, burst=3)
    await gateway.start([one(a)], [limited, api_key()])
    async with await http(gateway) as client:
        answers = [await client.get("/v2/models/digits", headers={"x-api-key": "slow"}) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].json() == {
            "error": "the rate limit of this API key, or of callers without one, is spent; see Retry-After"
        }
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
        assert answers[0].headers["x-ratelimit-limit"].startswith("3")
        free = [await client.get("/v2/models/digits", headers={"x-api-key": KEY}) for _ in range(20)]
        assert {answer.status_code for answer in free} == {200}
        assert "x-ratelimit-limit" not in free[0].headers
