"""OpenAI's API through a real Envoy, with a fake engine behind: who gets in, where a request goes, what is counted."""

import asyncio
import itertools
import json
import random
import re
from pathlib import Path

import msgspec
import pytest

from argosy.gateway.model import EndpointRoute, RevisionRoute, Upstream
from argosy.spec.address import Address
from tests.gateway.kit import KEY, api_key, http, one
from tests.language.fake_engine import running

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Hello"}]
NUMBERS = itertools.count()
AUTH = {"authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """One instant engine for all tests of this file."""
    with running(tmp_path_factory.mktemp("e") / "e.sock") as fake:
        yield fake


def engine_replica(engine, name="a"):
    """The replica of an engine: its own HTTP is nowhere."""
    own = Address(path=f"/tmp/nobody-{next(NUMBERS)}.sock")
    return Upstream(replica=name, http=own, engine=Address(path=engine.path))


def version(engine, number="1", weight=1):
    ups = (engine_replica(engine, f"r{number}"),)
    return RevisionRoute(revision=f"r{number}", version=number, weight=weight, language=True, upstreams=ups)


def model(engine, name="gemma", **fields):
    return EndpointRoute(**{"endpoint": name, "revisions": (version(engine),)} | fields)


def chat(name="gemma", **fields):
    return {"model": name, "messages": MESSAGES, **fields}


async def lines(gateway, count):
    """The access log, once it has so many lines."""
    path = Path(gateway.config.access_log_path)
    async with asyncio.timeout(60):
        while len(found := [json.loads(each) for each in path.read_bytes().rpartition(b"\n")[0].splitlines()]) < count:
            await asyncio.sleep(0.05)
    return found


@pytest.fixture
async def client(gateway, engine):
    """Of a gateway with two models and two keys."""
    keys = [
        api_key(),
        api_key("narrow", id="narrow", scopes=("gemma",)),
        api_key("test", id="t", scopes=("gemma:test",)),
    ]
    first = msgspec.structs.replace(version(engine), adapters={"poet": "poet", "clerk": 1})
    second = msgspec.structs.replace(version(engine, "2", weight=0), adapters={"poet": "poet-2"})
    gemma = model(engine, revisions=(first, second), testers=True)
    await gateway.start([gemma, model(engine, "other"), model(engine, "open", auth=False)], keys)
    async with await http(gateway, headers=AUTH) as client:
        yield client


def events(answer):
    """The events of a stream, without the last one, which is no JSON."""
    *found, done = [each.removeprefix("data: ") for each in answer.text.split("\n\n") if each]
    assert done == "[DONE]"
    return [json.loads(each) for each in found]


async def test_the_body_names_the_endpoint_and_the_log_has_its_tokens(gateway, client, engine):
    usage = (await client.post(CHAT, json=chat(max_tokens=3))).json()["usage"]
    streamed = await client.post(CHAT, json=chat("other", max_tokens=5, stream=True))
    assert streamed.headers["content-type"] == "text/event-stream"
    first, second = await lines(gateway, 2)
    counts = {"input": usage["prompt_tokens"], "output": 3, "finish": "length", "asked": 3, "stream": False}
    assert first["tokens"].items() >= counts.items()
    assert second["tokens"].items() >= {**counts, "output": 5, "asked": 5, "stream": True}.items()
    assert (first["endpoint"], second["endpoint"]) == ("gemma", "other")
    assert first["tokens"]["affinity"] == second["tokens"]["affinity"]


async def test_refusals_are_told_by_how_they_begin(gateway, engine):
    declared = ("I’m sorry", "Ich kann Ihnen dafür nicht")
    await gateway.start([model(engine, "careful", refusals=declared), model(engine, "other")], [api_key()])
    cases = [
        ("", 0),
        ("\n i'M Sorry, but ", 1),
        ("I’m sorry", 1),
        ("ich kann Ihnen dafür nicht helfen ", 1),
        ("I’m so ", 0),
        ("Well, I’m sorry ", 0),
        ('"I’m sorry" ', 0),
        ("No. " * 300, 0),
    ]
    asked = []
    async with await http(gateway, headers=AUTH) as client:
        for (said, refused), stream, explain in itertools.product(cases, (False, True), ("0", "1")):
            body = chat("careful", stream=stream, fake={"said": said, "batch": 3})
            assert (await client.post(CHAT, json=body, headers={"x-argosy-explain": explain})).status_code == 200
            asked.append((said, stream, refused))
        assert (await client.post("/v1/completions", json=body | {"prompt": "a", "stream": False})).status_code == 200
        asked.append((said, False, 0))
        assert (await client.post(CHAT, json=chat("other"))).status_code == 200
    *found, other = await lines(gateway, len(asked) + 1)
    for line, (said, stream, refused) in zip(found, asked, strict=True):
        assert line["tokens"].items() >= {"refused": refused, "finish": "stop", "output": 16}.items(), (said, stream)
    assert "refused" not in other["tokens"]


async def test_a_stream_has_only_what_was_asked_for(client, engine):
    for asked, usages, timings in (
        ({}, 0, 0),
        ({"stream_options": {"include_usage": True}}, 1, 0),
        ({"stream_options": {"include_usage": False, "other": 1}}, 0, 0),
        ({"stream_options": None}, 0, 0),
        ({"stream_options": {"include_usage": True, "continuous_usage_stats": True}}, 5, 0),
        ({"timings_per_token": True}, 0, 4),
        ({"timings_per_token": False}, 0, 0),
    ):
        found = events(await client.post(CHAT, json=chat(max_tokens=3, stream=True, **asked)))
        assert sum("usage" in each for each in found) == usages, asked
        assert sum("timings" in each for each in found) == timings, asked
        text = "".join(each["choices"][0]["delta"].get("content", "") for each in found if each["choices"])
        assert text == "w0 w1 w2"
        sent = engine.told()["seen"][-1]["body"]
        assert sent["timings_per_token"] is True
        assert sent["stream_options"].items() >= {"include_usage": True, "continuous_usage_stats": True}.items()
        assert sent["stream_options"].get("other") == (asked.get("stream_options") or {}).get("other")


def odd(draw, depth=0):
    """Some JSON value."""
    kind = draw.randrange(7 if depth < 3 else 5)
    if kind == 0:
        return draw.choice([None, True, False, -1.5e9, 0])
    if kind < 5:
        return "".join(draw.choice('ab{}[]",:\\\n\té€ ') for _ in range(draw.randrange(12)))
    if kind == 5:
        return [odd(draw, depth + 1) for _ in range(draw.randrange(4))]
    return {odd_key(draw): odd(draw, depth + 1) for _ in range(draw.randrange(4))}


def odd_key(draw):
    return draw.choice(["model", "stream", 'a"b', "c\\\\", "{", "messages", "é", ""]) + draw.choice(["", "_"])


async def test_what_is_not_ours_reaches_the_engine_as_it_was_sent(client, engine):
    draw = random.Random(16)
    for number in range(80):
        about = {odd_key(draw) + "_": odd(draw) for _ in range(draw.randrange(5))}
        body = list({**about, **chat(stream=bool(number % 2))}.items())
        draw.shuffle(body)
        text = json.dumps(dict(body), ensure_ascii=bool(number % 3), indent=draw.choice([None, 1]))
        answer = await client.post(CHAT, content=draw.choice(["", " \n"]) + text + draw.choice(["", "\r\n"]))
        assert answer.status_code == 200, text
        sent = engine.told()["seen"][-1]["body"]
        added = ("lora", *(("timings_per_token", "stream_options") if number % 2 else ()))
        assert {name: sent[name] for name in sent if name not in added} == dict(body)


async def test_who_may_ask_what(client):
    async def status(name, key):
        headers = {"authorization": f"Bearer {key}"} if key else {"authorization": ""}
        answer = await client.post(CHAT, json=chat(name), headers=headers)
        return answer.status_code, answer.json().get("error", {}).get("code")

    assert await status("gemma", "narrow") == (200, None)
    assert await status("other", "narrow") == (403, "permission_denied")
    assert await status("nobody", "narrow") == (403, "permission_denied")
    assert await status("nobody", KEY) == (404, "model_not_found")
    assert await status("gemma", "wrong") == (401, "invalid_api_key")
    assert await status("gemma", "") == (401, "invalid_api_key")
    assert await status("nobody", "") == (401, "invalid_api_key")
    assert await status("open", "") == (200, None)
    assert await status("open", "narrow") == (200, None)
    assert await status("gemma:2", KEY) == (403, "permission_denied")
    assert await status("gemma:2", "test") == (200, None)
    assert await status("gemma:3", "test") == (404, "model_not_found")
    assert await status("other:1", KEY) == (404, "model_not_found")


async def test_a_caller_cannot_say_what_the_gateway_reads_from_the_body(client):
    headers = {"authorization": "Bearer narrow", "x-argosy-endpoint": "other", "x-argosy-version": "2"}
    assert (await client.post(CHAT, json=chat("other"), headers=headers)).status_code == 403
    assert (await client.post(CHAT, json=chat(), headers=headers)).headers["x-argosy-revision"] == "r1"


async def test_versions_and_adapters_are_parts_of_the_name(client, engine):
    answer = await client.post(CHAT, json=chat("gemma:2"), headers={"authorization": "Bearer test"})
    assert (answer.headers["x-argosy-revision"], answer.json()["model"]) == ("r2", "gemma")
    assert (await client.post(CHAT, json=chat("gemma+poet"))).json()["model"] == "poet"
    assert (await client.post(CHAT, json=chat("gemma:2+poet"), headers={"authorization": "Bearer test"})).json()[
        "model"
    ] == "poet-2"
    assert (await client.post(CHAT, json=chat())).json()["model"] == "gemma"
    none = await client.post(CHAT, json=chat("gemma+painter"))
    assert (none.status_code, none.json()["error"]["code"]) == (404, "model_not_found")
    assert none.json()["error"]["message"].endswith(": it has clerk, poet")
    assert (await client.post(CHAT, json=chat("other+poet"))).status_code == 404


async def test_an_adapter_that_has_a_number_is_chosen_by_it(client, engine):
    def sent():
        return engine.told()["seen"][-1]["body"]

    for stream in (False, True):
        answer = await client.post(CHAT, json=chat("gemma+clerk", stream=stream))
        assert answer.status_code == 200
        assert (sent()["model"], sent()["lora"]) == ("clerk", [{"id": 1, "scale": 1}])
        await client.post(CHAT, json=chat("gemma", stream=stream))
        assert (sent()["model"], sent()["lora"]) == ("gemma", [{"id": 0, "scale": 0}])
    await client.post("/endpoints/gemma/v1/chat/completions", json={})
    assert sent() == {"model": "gemma", "lora": [{"id": 0, "scale": 0}]}
    await client.post(CHAT, json=chat("other"))
    assert "lora" not in sent()
    by_path = await client.post("/endpoints/gemma/v1/chat/completions", json=chat("gemma+clerk"))
    assert (by_path.status_code, sent()["lora"]) == (200, [{"id": 1, "scale": 1}])
    for body in ({"lora": []}, {"lora": [{"id": 0, "scale": 1}]}):
        assert (await client.post(CHAT, json=chat(**body))).status_code == 400
    hidden = json.dumps(chat("gemma"))[:-1] + ', "\\u006cora": [{"id": 1, "scale": 1}]}'
    assert (await client.post(CHAT, content=hidden)).json()["error"]["code"] == "invalid_request"


async def test_revisions_that_number_an_adapter_differently(gateway, engine):
    first = msgspec.structs.replace(version(engine), adapters={"poet": 0, "old": 1})
    second = msgspec.structs.replace(version(engine, "2", weight=3), adapters={"poet": 1})
    await gateway.start([model(engine, revisions=(first, second), auth=False)])
    asked = {"poet": set(), "old": set()}
    async with await http(gateway) as client:
        for number in range(80):
            name = "old" if number % 4 == 0 else "poet"
            answer = await client.post(CHAT, json=chat(f"gemma+{name}"))
            (lora,) = engine.told()["seen"][-1]["body"]["lora"]
            asked[name].add((answer.headers["x-argosy-revision"], lora["id"]))
    assert asked == {"poet": {("r1", 0), ("r2", 1)}, "old": {("r1", 1)}}


async def test_an_endpoint_answers_by_an_adapter_of_the_replicas_of_another(gateway, engine):
    base = msgspec.structs.replace(version(engine), adapters={"poet": "poet-1", "clerk": 1})
    poet, clerk = msgspec.structs.replace(base, version="7"), base
    verses = EndpointRoute(endpoint="verses", adapter="poet", revisions=(poet,))
    notes = EndpointRoute(endpoint="notes", adapter="clerk", revisions=(clerk,), auth=False)
    keys = [api_key(scopes=("verses",))]
    await gateway.start([model(engine, revisions=(base,)), verses, notes], keys)
    async with await http(gateway, headers=AUTH) as client:
        assert (await client.post(CHAT, json=chat("verses"))).json()["model"] == "poet-1"
        assert (await client.post(CHAT, json=chat("gemma+poet"))).status_code == 403
        assert (await client.post(CHAT, json=chat("verses+clerk"))).status_code == 404
        unnamed = await client.post("/endpoints/verses/v1/chat/completions", json={"messages": MESSAGES})
        assert unnamed.json()["model"] == "poet-1"
        assert (await client.post(CHAT, json=chat("notes"))).status_code == 200
        assert engine.told()["seen"][-1]["body"]["lora"] == [{"id": 1, "scale": 1}]
        assert (await client.get("/v1/models")).json()["models"] == ["notes", "verses"]
    first = (await lines(gateway, 1))[0]
    assert (first["endpoint"], first["version"]) == ("verses", "7")


async def test_a_path_names_the_endpoint_whatever_the_body_says(gateway, client, engine):
    for path in ("/endpoints/gemma/v1/chat/completions", "/endpoints/gemma/v1/chat/completions?a=1"):
        answer = await client.post(path, json=chat("gpt-4"))
        assert (answer.status_code, answer.json()["model"]) == (200, "gemma")
        assert engine.told()["seen"][-1]["path"] == CHAT
    no_model = await client.post("/endpoints/gemma/v1/chat/completions", json={"messages": MESSAGES})
    assert no_model.status_code == 200
    seen = engine.told()["requests"]
    for path in ("load_lora_adapter", "%6coad_lora_adapter", "unload_lora_adapter?a=1", "chat%2Fcompletions"):
        order = await client.post(f"/endpoints/gemma/v1/{path}", json={"lora_name": "a", "lora_path": "/a"})
        assert order.status_code in (400, 404), path
    assert engine.told()["requests"] == seen
    refused = await client.post("/endpoints/other/v1/completions", json={}, headers={"authorization": "Bearer narrow"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")


BAD = (
    "",
    "x",
    "[1]",
    '{"model": "gemma"',
    '{"model": "gemma",}',
    '{"model" "gemma"}',
    '{"model": "gem',
    '{"a": 1}',
    "{}",
)


async def test_a_body_that_is_no_request_is_400(client):
    for body in (*BAD, '{"model": 7}', '{"model": "gemma"} x', '{"model": {"a": [}'):
        answer = await client.post(CHAT, content=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (400, "invalid_request_error"), body
        assert error["message"]
        assert error["code"] in ("invalid_request", "missing_model")


async def test_a_body_is_bounded_in_bytes_and_in_parts(gateway, client):
    reader, writer = await asyncio.open_connection(*await gateway.address())
    head = f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\ncontent-length: 50000000\r\n\r\n"
    writer.write(head.encode() + b'{"model": "gemma", "a": "' + b"x" * (16 * 1024 * 1024))
    said = (await reader.readuntil(b"}}")).decode()
    writer.close()
    assert said.startswith("HTTP/1.1 413 ")
    assert "16777216 bytes" in said
    assert '"code":"request_too_large"' in said
    parts = await client.post(CHAT, content=b'{"model": "gemma", "a": [' + b'"",' * 600_000 + b"1]}")
    assert (parts.status_code, parts.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_long_prompt_passes(client, engine):
    text = '"\\ é\n' * 200_000
    answer = await client.post(CHAT, json={"model": "gemma", "messages": [{"role": "user", "content": text}]})
    assert answer.status_code == 200, answer.text
    assert engine.told()["seen"][-1]["body"]["messages"][0]["content"] == text


async def test_models_are_those_that_the_key_covers(client):
    async def ids(**headers):
        answer = (await client.get("/v1/models", headers=headers)).json()
        assert [each["id"] for each in answer["data"]] == answer["models"]
        return answer["models"]

    adapted = ["gemma", "gemma+clerk", "gemma+poet"]
    assert await ids() == [*adapted, "open", "other"]
    assert await ids(authorization="Bearer narrow") == [*adapted, "open"]
    assert await ids(authorization="") == ["open"]
    one = (await client.get("/v1/models/gemma")).json()
    openai = {"id": "gemma", "object": "model", "created": 0, "owned_by": "argosy"}
    assert one == {**openai, "name": "gemma", "ready": True}
    assert (await client.get("/v1/models/gemma%2Bpoet")).json()["id"] == "gemma+poet"
    assert (await client.get("/v1/models/nobody")).json()["error"]["code"] == "model_not_found"
    assert (await client.get("/v1/models/other", headers={"authorization": "Bearer narrow"})).status_code == 404
    assert (await client.get("/v1/models/gemma", headers={"authorization": ""})).status_code == 401
    assert (await client.get("/v1/nothing")).status_code == 404


async def test_a_decision_is_explained_when_asked_for(client):
    plain = await client.post(CHAT, json=chat(max_tokens=2))
    assert not {"x-argosy-decision", "x-argosy-tokens", "x-argosy-attempts"} & set(plain.headers)
    told = await client.post(CHAT, json=chat(max_tokens=2), headers={"x-argosy-explain": "1"})
    assert told.json()["choices"] == plain.json()["choices"]
    assert re.fullmatch(r"replica=r1; affinity=[01][.]\d\d; queue=0; attempts=1", told.headers["x-argosy-decision"])
    assert re.fullmatch(r"input=12; cached=\d+; output=2", told.headers["x-argosy-tokens"])
    stream = await client.post(CHAT, json=chat(max_tokens=2, stream=True), headers={"x-argosy-explain": "1"})
    assert stream.text.count(": argosy input=12; cached=") == 1


async def test_other_paths_of_the_engine(client, engine):
    completed = await client.post("/v1/completions", json={"model": "gemma", "prompt": "Hello", "max_tokens": 2})
    assert completed.json()["choices"][0]["text"] == "w0 w1"
    embedded = await client.post("/v1/embeddings", json={"model": "gemma", "input": ["a", "b"]})
    assert len(embedded.json()["data"]) == 2
    responded = await client.post("/v1/responses", json={"model": "gemma", "input": "Hello", "max_output_tokens": 2})
    assert responded.json()["object"] == "response"


async def test_an_endpoint_without_an_engine_answers_for_embeddings_itself(gateway, replica):
    a = await replica("a")
    await gateway.start([one(a, auth=False)])
    async with await http(gateway) as client:
        answer = await client.post("/v1/embeddings", json={"model": "digits", "input": "a"})
        assert answer.json()["path"] == "/v1/embeddings"
        refused = await client.post(CHAT, json=chat("digits"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
        assert not (await client.get("/v1/models")).json().get("models")


async def test_an_encoder_is_listed_and_counted_by_either_path(gateway, replica):
    a = await replica("a")
    encoder = one(a, auth=False)
    first = msgspec.structs.replace(encoder.revisions[0], encodes=True)
    await gateway.start([msgspec.structs.replace(encoder, revisions=(first,))])
    async with await http(gateway) as client:
        assert (await client.get("/v1/models")).json()["models"] == ["digits"]
        body = {"model": "digits", "input": "a"}
        for path in ("/v1/embeddings", "/endpoints/digits/v1/embeddings", "/endpoints/digits/v1/rerank"):
            answer = await client.post(path, json=body)
            assert answer.json()["path"] == path.removeprefix("/endpoints/digits")
        rows = await client.post("/endpoints/digits/invocations", json=[])
        assert rows.status_code == 200
    found = {each["path"]: each["tokens"] for each in await lines(gateway, 5)}
    assert found["/v1/embeddings"]["stream"] is False
    assert found["/v1/rerank"] is not None
    assert found["/v1/models"] is None
