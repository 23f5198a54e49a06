"""Requests that overflow to an external provider: who may send them, what they cost, and that no day costs more than
its budget. The provider is a stand-in behind the HTTP client."""

import asyncio
import json

import httpx
import msgspec
import pytest
from starlette.testclient import TestClient

from argosy.spec.errors import InvalidArgument
from argosy.spec.region import within
from argosy.spec.settings import Home, Settings
from argosy.spec.supply import External, SupplySettings
from argosy.store import costs, open_store
from argosy.store import offers as stored
from argosy.supply import overflow
from argosy.supply.external import OverflowConfig, cost, most, offers, peers, price
from argosy.supply.overflow import Overflow

OPENAI = External(
    url="https://models.example.org", models={"chat": "big-1"}, region="eu-west", input=2.0, output=10.0, budget=1.0,
    key="$OVERFLOW_KEY",
)  # fmt: skip
TOKEN = {"x-argosy-peer": "t" * 32}
ASKED = {"model": "chat", "messages": [], "max_tokens": 100}
USED = {"usage": {"prompt_tokens": 1000, "completion_tokens": 100}}
"""0.003 dollars."""
NOON = 20_000.5 * 86400


class There:
    """The provider."""

    def __init__(self):
        self.seen, self.answer = [], lambda request: httpx.Response(200, json={"id": "1", **USED})

    async def __call__(self, request):
        self.seen.append(request)
        return self.answer(request)


@pytest.fixture
def there(monkeypatch):
    monkeypatch.setenv("OVERFLOW_KEY", "secret")
    monkeypatch.setattr(overflow.time, "time", lambda: NOON)
    return There()


@pytest.fixture
def database(tmp_path):
    store = open_store(Home(tmp_path / "home"), Settings())
    yield store.database
    store.close()


def client(database, there, **external):
    config = OverflowConfig(port=1, tokens=dict.fromkeys(external, "t" * 32), external=external)
    app = Overflow(config, database, 10_000, httpx.MockTransport(there)).application()
    return TestClient(app, headers=TOKEN, raise_server_exceptions=False)


def spent(database):
    return stored.spent(database, int(NOON // 86400))


def test_a_request_goes_there_with_its_name_and_key_and_costs_what_it_used(database, there):
    with client(database, there, cloud=OPENAI) as gateway:
        headers = {"authorization": "Bearer the-callers", "cookie": "a=b", "x-argosy-peer-key": "k1"}
        answer = gateway.post("/v1/chat/completions", json=ASKED, headers=headers)
        assert (answer.status_code, answer.json()["id"]) == (200, "1")
        assert spent(database) == {"cloud": pytest.approx(0.02)}
    (request,) = there.seen
    assert str(request.url) == "https://models.example.org/v1/chat/completions"
    assert json.loads(request.content) == {**ASKED, "model": "big-1"}
    assert request.headers["authorization"] == "Bearer secret"
    assert not {"cookie", "x-argosy-peer", "x-argosy-peer-key"} & {*request.headers}
    assert spent(database) == {"cloud": pytest.approx(0.003)}
    (row,) = costs.read(database, 0, 2**40)
    assert (row.endpoint, row.version, row.use, row.key, row.region) == (
        "chat",
        "external/cloud",
        "requests",
        "k1",
        "eu-west",
    )
    assert (row.hour, row.requests, row.tokens, row.seconds) == (int(NOON) // 3600 * 3600, 1, 1100, 0.0)
    assert row.cost == pytest.approx(0.003)
    with database.read() as connection:
        assert costs.sums(connection, row.hour) == (0.0, 0.0)


def test_who_is_not_the_gateway_is_refused(database, there):
    with client(database, there, cloud=OPENAI) as gateway:
        for token in ("", "t" * 31, "u" * 32):
            answer = gateway.post("/v1/chat/completions", json=ASKED, headers={"x-argosy-peer": token})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
            assert gateway.get("/v2/models/chat/peer", headers={"x-argosy-peer": token}).status_code == 401
    assert there.seen == []


def test_the_gateway_hears_whether_anything_answers_and_that_there_may_be_better(database, there):
    with client(database, there, cloud=OPENAI) as gateway:
        answer = gateway.get("/v2/models/chat/peer")
        assert (answer.status_code, answer.headers["x-envoy-degraded"]) == (200, "true")
        assert gateway.get("/v2/models/other/peer").status_code == 503
        stored.spend(database, "cloud", int(NOON // 86400), 0.9999, 1.0)
        assert gateway.get("/v2/models/chat/peer").status_code == 503


def test_a_budget_that_is_spent(database, there):
    there.answer = lambda request: httpx.Response(200, json={"usage": {"prompt_tokens": 0, "completion_tokens": 100}})
    cheap = msgspec.structs.replace(OPENAI, budget=0.0105, rate=1000.0)
    with client(database, there, cloud=cheap) as gateway:
        codes = [gateway.post("/v1/chat/completions", json=ASKED).status_code for _ in range(14)]
        last = gateway.post("/v1/chat/completions", json=ASKED)
        assert codes == [200] * 10 + [503] * 4
        assert (last.json()["error"]["code"], last.headers["retry-after"]) == ("unavailable", "43200")
    assert spent(database) == {"cloud": pytest.approx(0.010)}


def test_a_process_that_is_killed_leaves_what_it_had_leased_as_spent(database, there):
    there.answer = lambda request: httpx.Response(200, json={"usage": {"prompt_tokens": 0, "completion_tokens": 100}})
    small = msgspec.structs.replace(OPENAI, budget=0.05, rate=1e9)
    killed = client(database, there, cloud=small)  # whose lifespan never ends
    done = sum(killed.post("/v1/chat/completions", json=ASKED).status_code == 200 for _ in range(3))
    with client(database, there, cloud=small) as gateway:
        done += sum(gateway.post("/v1/chat/completions", json=ASKED).status_code == 200 for _ in range(60))
    assert 45 <= done <= 50
    assert spent(database)["cloud"] <= 0.05 + 1e-9


@pytest.mark.parametrize("asked", [False, True])
def test_a_stream_is_counted_by_its_last_event_which_only_who_asked_for_it_gets(database, there, asked):
    events = [
        b'data: {"choices": [{"delta": {"content": "hi"}}], "usage": null}',
        b'data: {"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}',
        b"data: [DONE]",
    ]
    body = b"".join(event + b"\n\n" for event in events)
    there.answer = lambda request: httpx.Response(200, content=body, headers={"content-type": "text/event-stream"})
    sent = {**ASKED, "stream": True} | ({"stream_options": {"include_usage": True}} if asked else {})
    with client(database, there, cloud=OPENAI) as gateway:
        answer = gateway.post("/v1/chat/completions", json=sent)
    assert json.loads(there.seen[0].content)["stream_options"] == {"include_usage": True}
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.content.count(b"data:") == (3 if asked else 2)
    assert b"[DONE]" in answer.content
    assert spent(database) == {"cloud": pytest.approx(0.003)}


def test_an_answer_that_says_nothing_of_its_tokens_costs_all_it_could_have_and_an_error_nothing(database, there):
    there.answer = lambda request: httpx.Response(200, json={"id": "1"})
    with client(database, there, cloud=OPENAI) as gateway:
        gateway.post("/v1/chat/completions", json=ASKED)
    size = len(there.seen[0].content)
    assert spent(database) == {"cloud": pytest.approx(price(OPENAI, size, 100))}
    there.answer = lambda request: httpx.Response(429, json={"error": "slow"}, headers={"retry-after": "7"})
    with client(database, there, cloud=OPENAI) as gateway:
        answer = gateway.post("/v1/chat/completions", json=ASKED)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert spent(database) == {"cloud": pytest.approx(price(OPENAI, size, 100))}


def test_a_provider_that_does_not_answer_costs_nothing(database, there):
    def away(request):
        raise httpx.ConnectError("no route")

    there.answer = away
    with client(database, there, cloud=OPENAI) as gateway:
        answer = gateway.post("/v1/chat/completions", json=ASKED)
    assert (answer.status_code, "'cloud' does not answer: ConnectError" in answer.text) == (503, True)
    assert spent(database) == {"cloud": pytest.approx(0.0)}


def test_more_requests_a_second_than_it_takes(database, there):
    with client(database, there, cloud=msgspec.structs.replace(OPENAI, rate=2.0)) as gateway:
        codes = [gateway.post("/v1/chat/completions", json=ASKED).status_code for _ in range(4)]
    assert codes == [200, 200, 503, 503]


def test_the_open_inference_protocol(database, there):
    oip = External(url="http://127.0.0.1:9/base/", protocol="oip", models={"digits": "mnist"}, request=0.01, budget=1.0)
    with client(database, there, other=oip) as gateway:
        assert gateway.post("/v2/models/digits/infer", json={"inputs": []}).status_code == 200
        for path in ("/v2/models/chat/infer", "/v2/models/digits", "/v1/chat/completions"):
            assert gateway.post(path, json={}).status_code == 404
    assert str(there.seen[0].url) == "http://127.0.0.1:9/base/v2/models/mnist/infer"
    assert "authorization" not in there.seen[0].headers
    assert spent(database) == {"other": pytest.approx(0.01)}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b"[]", 400),
        ("/v1/chat/completions", b'{"model": "other"}', 404),
        ("/v1/chat/completions", b'{"model": "chat", "stream": true, "stream_options": 3}', 400),
        ("/v1/files", b'{"model": "chat"}', 404),
        ("/v1/chat/completions", b" " * 10_001, 413),
    ],
)
def test_what_never_leaves(database, there, path, body, status):
    with client(database, there, cloud=OPENAI) as gateway:
        assert gateway.post(path, content=body).status_code == status
    assert there.seen == []


def test_to_the_gateway_it_is_a_peer_behind_all_regions():
    unpaid = msgspec.structs.replace(OPENAI, budget=0.0)
    config = OverflowConfig(port=9, tokens={"cloud": "t" * 32, "free": ""}, external={"cloud": OPENAI, "free": unpaid})
    (peer,) = peers(config)
    assert (peer.region, peer.host, peer.port, peer.endpoints) == ("eu-west", "127.0.0.1", 9, ("chat",))
    assert peer.rank > 1_000_000
    assert peer.token == "t" * 32
    for allowed, there in (((), (peer,)), (("eu-west",), (peer,)), (("us-east",), ())):
        assert within([peer], "chat", allowed, None) == there
    assert within([peer], "other", (), None) == ()


def test_it_is_one_more_offer_with_a_price():
    (offer,) = offers({"cloud": OPENAI, "free": msgspec.structs.replace(OPENAI, budget=0.0)}, 5.0)
    assert (offer.provider, offer.instance, offer.region, offer.source) == ("cloud", "big-1", "eu-west", "declared")
    assert offer.price == pytest.approx(3600 * 10 * (1000 * 2 + 200 * 10) / 1e6)


@pytest.mark.parametrize(
    ("asked", "dollars"),
    [
        ({"max_tokens": 100}, 0.0012),
        ({"max_completion_tokens": 100, "n": 3}, 0.0032),
        ({"max_tokens": "many"}, 0.0002 + 0.04096),
        ({"max_tokens": -5}, 0.0002),
        ({}, 0.0002 + 0.04096),
    ],
)
def test_what_a_request_may_cost(asked, dollars):
    assert most(OPENAI, b" " * 100, asked) == pytest.approx(dollars)


@pytest.mark.parametrize(
    "answer", [b"", b"{", b"[DONE]", b'{"usage": null}', b"{}", b'{"usage": {"prompt_tokens": "x"}}']
)
def test_an_answer_without_usage(answer):
    assert cost(OPENAI, answer) is None


def test_usage_under_its_other_names():
    assert cost(OPENAI, b'{"usage": {"input_tokens": 1000, "output_tokens": 100}}') == (pytest.approx(0.003), 1100)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "http://example.org"}, "url must begin with https"),
        ({"url": "https://u:p@example.org"}, "hold no secret"),
        ({"protocol": "grpc"}, "protocol is"),
        ({"key": "sk-123"}, "key must name a variable"),
        ({"input": 0.0, "output": 0.0}, "set what it costs"),
        ({"models": {}}, "models must name"),
        ({"region": "EU West"}, "region 'EU West' is not valid"),
        ({"budget": float("nan")}, "budget must be finite"),
        ({"input": -1.0}, "input must be at least 0"),
    ],
)
def test_settings_that_are_refused(change, words):
    with pytest.raises(InvalidArgument, match=words):
        External(**{**msgspec.structs.asdict(OPENAI), **change})
    assert SupplySettings(external={"cloud": OPENAI}).external["cloud"].budget == 1.0
    with pytest.raises(InvalidArgument, match="'cloud' names two providers"):
        SupplySettings(external={"cloud": OPENAI}, sky=("cloud",))


async def test_an_answer_that_is_broken_off_costs_all_it_could_have(database, there):
    async def endless():
        while True:
            yield b'data: {"choices": [{"delta": {}}]}\n\n'

    config = OverflowConfig(port=1, tokens={"cloud": "t" * 32}, external={"cloud": OPENAI})
    there.answer = lambda _: httpx.Response(200, content=endless(), headers={"content-type": "text/event-stream"})
    app = Overflow(config, database, 10_000, httpx.MockTransport(there)).application()
    body = json.dumps({**ASKED, "stream": True}).encode()
    scope = {
        "type": "http", "method": "POST", "path": "/v1/chat/completions", "raw_path": b"", "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in TOKEN.items()], "asgi": {"spec_version": "2.3"},
    }  # fmt: skip
    asked = iter([{"type": "http.request", "body": body}])
    sent = []

    async def receive():
        if (message := next(asked, None)) is not None:
            return message
        while len(sent) < 5:
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)
        await asyncio.sleep(0)

    async with app.router.lifespan_context(app):
        await app(scope, receive, send)
    worst = price(OPENAI, len(there.seen[0].content), 100)
    assert spent(database) == {"cloud": pytest.approx(worst)}
    (row,) = costs.read(database, 0, 2**40)
    assert (row.cost, row.tokens) == (pytest.approx(worst), 0)
