"""Sticky callers: the property as arithmetic, and through a real Envoy."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.gateway.model import Sticky
from argosy.gateway.targets import STICKY_LENGTH, sticky_parts
from argosy.spec.address import Address
from tests.gateway.grpc_kit import infer, with_client
from tests.gateway.kit import api_key, http, revision, shared
from tests.gateway.test_weights import near

INFER = "/v2/models/digits/infer"
STEPS = (5, 25, 50, 100)

weight_lists = st.lists(st.integers(0, 1_000_000), min_size=1, max_size=6).filter(any)


def spans(weights):
    """Each part's beginning and end."""
    lengths = sticky_parts(weights)
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    return list(zip([0, *ends], ends, strict=False))


@given(weight_lists)
def test_parts_are_the_whole_and_proportional(weights):
    lengths = sticky_parts(weights)
    assert sum(lengths) == STICKY_LENGTH
    for weight, length in zip(weights, lengths, strict=True):
        assert abs(length - STICKY_LENGTH * weight / sum(weights)) <= 1


@given(weights=st.lists(st.integers(0, 100), min_size=2, max_size=6).filter(any), data=st.data())
def test_the_only_one_that_grows_keeps_every_caller(weights, data):
    grows = data.draw(st.integers(0, len(weights) - 1))
    taken = [0 if n == grows else data.draw(st.integers(0, weight)) for n, weight in enumerate(weights)]
    later = [weight - less for weight, less in zip(weights, taken, strict=True)]
    later[grows] += sum(taken)
    before, after = spans(weights)[grows], spans(later)[grows]
    assert after[0] <= before[0] <= before[1] <= after[1]


def route(stable, candidate, weight, sticky, **fields):
    """`candidate` sorts before `stable` by id, which must not matter."""
    revisions = (revision("r2", "1", stable, weight=100 - weight), revision("r1", "2", candidate, weight=weight))
    return [shared(*revisions, sticky=sticky, **fields)]


async def follow(gateway, make, ask, callers):
    """Raises the weight step by step; every caller asks twice at each. Returns how many saw the candidate at first."""
    had: set[int] = set()
    first = 0
    for step in STEPS:
        await gateway.apply(*make(step))
        now = set()
        for caller in range(callers):
            answers = {await ask(caller) for _ in range(2)}
            assert len(answers) == 1
            if answers == {"b"}:
                now.add(caller)
        assert had <= now
        assert near(len(now), callers * step / 100, callers * step / 100 * (1 - step / 100))
        first = first or len(now)
        had = now
    assert len(had) == callers
    return first


@pytest.fixture(params=["new first", "new last"])
def order(request):
    """Which of two revisions the endpoint names first."""
    return request.param


@pytest.mark.slow
async def test_by_header_nobody_goes_back(gateway, replica, order):
    a, b = await replica("a"), await replica("b")
    sticky = Sticky(by="header", name="x-user")

    def make(weight):
        if order == "new first":
            return (route(a, b, weight, sticky),)
        return (shared_reversed(a, b, weight, sticky),)

    await gateway.start(*make(0))
    async with await http(gateway) as client:

        async def ask(caller):
            return (await client.post(INFER, headers={"x-user": f"user-{caller}"})).json()["replica"]

        await follow(gateway, make, ask, 80)
        await gateway.apply(*make(50))
        assert {(await client.post(INFER)).json()["replica"] for _ in range(50)} == {"a", "b"}


def shared_reversed(stable, candidate, weight, sticky):
    """The new revision's id after the old one's."""
    revisions = (revision("r3", "2", candidate, weight=weight), revision("r2", "1", stable, weight=100 - weight))
    return [shared(*revisions, sticky=sticky)]


@pytest.mark.slow
async def test_by_key_nobody_goes_back(gateway, replica):
    a, b = await replica("a"), await replica("b")
    keys = [api_key(f"key-{n}", id=f"k{n}") for n in range(200)]

    def make(weight):
        return route(a, b, weight, Sticky(by="key"), auth=True), keys

    await gateway.start(*make(0))
    async with await http(gateway) as client:

        async def ask(caller):
            return (await client.post(INFER, headers={"x-api-key": f"key-{caller}"})).json()["replica"]

        await follow(gateway, make, ask, 80)
        await gateway.apply(*make(50))
        assert (await client.post(INFER)).status_code == 401
        spoofed = {"x-argosy-key-id": "k1", "x-api-key": "key-2"}
        assert {(await client.post(INFER, headers=spoofed)).json()["replica"] for _ in range(10)} == {await ask(2)}


async def test_by_cookie_nobody_goes_back(gateway, replica):
    a, b = await replica("a"), await replica("b")

    def make(weight):
        return (route(a, b, weight, Sticky(by="cookie")),)

    await gateway.start(*make(5))
    host, port = await gateway.address()
    base = f"http://{host}:{port}"
    transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=4))
    jars = [httpx.Cookies() for _ in range(200)]
    async with httpx.AsyncClient(base_url=base, transport=transport) as client:

        async def ask(caller):
            client.cookies = jars[caller]
            answer = await client.post(INFER)
            jars[caller] = httpx.Cookies(client.cookies)
            return answer.json()["replica"]

        await follow(gateway, make, ask, 80)


async def test_the_cookie_is_given_once_and_only_where_it_matters(gateway, replica):
    a, b = await replica("a"), await replica("b")
    sticky = Sticky(by="cookie", name="which-one", seconds=60)
    await gateway.start([*route(a, b, 50, sticky), shared(revision("r1", "1"), endpoint="other")])
    async with await http(gateway, headers={"cookie": "theme=dark; xwhich-one=no"}) as client:
        first = await client.post(INFER, headers={"x-request-id": "mine; Domain=evil"})
        (cookie,) = first.headers.get_list("set-cookie")
        assert cookie == ("which-one=mine--Domain-evil; Path=/v2/models/digits; Max-Age=60; HttpOnly; SameSite=Lax")
        sent = (a.seen + b.seen)[0].headers["cookie"]
        assert sent == "theme=dark; xwhich-one=no; which-one=mine--Domain-evil"
        again = await client.post(INFER, headers={"cookie": "a=b; which-one=mine--Domain-evil"})
        assert "set-cookie" not in again.headers
        assert again.json()["replica"] == first.json()["replica"]
        await gateway.apply(route(a, b, 0, sticky))
        assert "set-cookie" not in (await client.post(INFER)).headers


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_grpc_callers_stay_too(gateway, grpc_replica):
    a, b = grpc_replica("a"), grpc_replica("b")
    ups = [revision_of(each, n) for n, each in enumerate((a, b), 1)]
    keys = [api_key(f"key-{n}", id=f"k{n}") for n in range(20)]
    await gateway.start([shared(*ups, sticky=Sticky(by="key"), auth=True)], keys)

    def use(client):
        seen = set()
        for n in range(20):
            who = {infer(client, "digits", headers={"x-api-key": f"key-{n}"}) for _ in range(5)}
            assert len(who) == 1
            seen |= who
        assert seen == {"a", "b"}

    await with_client(gateway, use)


def revision_of(replica, number):
    """A revision of one gRPC replica with half of the traffic."""
    from argosy.gateway.model import Upstream

    up = Upstream(replica=replica.name, http=Address(path=f"{replica.path}.http"), grpc=Address(path=replica.path))
    return revision(f"r{number}", str(number), up, weight=50)
