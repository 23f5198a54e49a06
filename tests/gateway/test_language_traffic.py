"""Requests to language models through a real Envoy: which replica, what is cut off, what is limited."""

import asyncio
import json
import math

import httpx
import msgspec
import pytest

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import Mirror, Sticky
from argosy.quota.lines import used
from argosy.spec.address import Address
from tests.gateway.kit import api_key, http
from tests.gateway.test_language import AUTH, CHAT, chat, client, engine, engine_replica, events, lines, model, version
from tests.gateway.test_quota import quota
from tests.language.fake_engine import running

__all__ = ["client", "engine", "quota"]


async def test_a_client_that_leaves_ends_the_generation_and_its_line_has_what_was_generated(gateway, client, engine):
    before = engine.told()["aborted"]
    async with client.stream("POST", CHAT, json=chat(stream=True, fake={"tokens": 2000, "each": 0.05})) as answer:
        async for line in answer.aiter_lines():
            if "w2" in line:
                break
    async with asyncio.timeout(60):
        while engine.told()["aborted"] == before:
            await asyncio.sleep(0.02)
    (line,) = await lines(gateway, 1)
    assert line["tokens"]["input"] == 12
    assert 3 <= line["tokens"]["output"] < 1000
    assert "finish" not in line["tokens"]


async def test_a_client_that_leaves_without_a_stream_has_a_line_with_its_prompt(gateway, client, engine):
    before = engine.told()
    asking = asyncio.create_task(client.post(CHAT, json=chat(fake={"delay": 30})))
    async with asyncio.timeout(60):
        while engine.told()["requests"] == before["requests"]:
            await asyncio.sleep(0.02)
        asking.cancel()
        while engine.told()["aborted"] == before["aborted"]:
            await asyncio.sleep(0.02)
    with pytest.raises(asyncio.CancelledError):
        await asking
    (line,) = await lines(gateway, 1)
    assert line["flags"] == "DC"
    assert line["tokens"]["prompt"] > 12
    assert "input" not in line["tokens"]
    found = used(json.dumps(line).encode(), {})
    assert found is not None
    assert (found.usage.aborted, found.estimated) == (1, line["tokens"]["prompt"])


async def test_a_stream_that_breaks_has_its_counts_and_no_second_try(gateway, tmp_path):
    with running(tmp_path / "e.sock") as own, running(tmp_path / "f.sock") as other:
        ups = (engine_replica(own, "a"), engine_replica(other, "b"))
        one = msgspec.structs.replace(version(own), upstreams=ups)
        await gateway.start([model(own, auth=False, revisions=(one,))])
        async with await http(gateway) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(CHAT, json=chat(stream=True, fake={"fault": "die", "after": 3, "each": 0.02}))
            (line,) = await lines(gateway, 1)
            assert (line["attempts"], line["tokens"]["output"]) == (1, 3)
            # Before the first byte the other one is tried.
            again = await client.post(CHAT, json=chat())
            assert again.status_code == 200


async def test_one_conversation_stays_with_one_replica(gateway, tmp_path):
    with running(tmp_path / "e.sock") as own, running(tmp_path / "f.sock") as other:
        ups = (engine_replica(own, "a"), engine_replica(other, "b"))
        one = msgspec.structs.replace(version(own), upstreams=ups)
        await gateway.start([model(own, auth=False, revisions=(one,))])
        places = set()
        async with await http(gateway) as client:
            for conversation in range(12):
                turns = [{"content": f"Hello {conversation}. " * 40, "role": "user"}]
                asked = set()
                for _ in range(3):
                    answer = await client.post(CHAT, json={"model": "gemma", "messages": turns})
                    asked.add(answer.headers["x-argosy-replica"])
                    turns += [answer.json()["choices"][0]["message"], {"role": "user", "content": "more"}]
                assert len(asked) == 1
                places |= asked
        assert places == {"a", "b"}


async def test_no_replica_is_503_in_openai_shape(gateway, engine):
    nobody = msgspec.structs.replace(version(engine), upstreams=())
    await gateway.start([model(engine, auth=False, revisions=(nobody,))])
    async with await http(gateway) as client:
        answer = await client.post(CHAT, json=chat())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["code"] == "service_unavailable"


async def test_the_rate_of_a_key_is_429_in_openai_shape(gateway, engine):
    await gateway.start([model(engine)], [api_key(requests_per_second=0.001, burst=1)])
    async with await http(gateway, headers=AUTH) as client:
        assert (await client.post(CHAT, json=chat())).status_code == 200
        answer = await client.post(CHAT, json=chat())
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert int(answer.headers["retry-after"]) > 0


async def test_a_caller_who_sticks_stays_with_the_revision(gateway, engine):
    two = (version(engine), version(engine, "2"))
    await gateway.start([model(engine, revisions=two, sticky=Sticky(by="cookie"), auth=False)], [api_key()])
    async with await http(gateway) as client:
        asked = [await client.post(CHAT, json=chat()) for _ in range(8)]
        assert {each.status_code for each in asked} == {200}
        assert len({each.headers["x-argosy-revision"] for each in asked}) == 1


def beside(revision, replica):
    """The revision, with this one as the process beside its engine."""
    ups = (msgspec.structs.replace(each, http=Address(path=replica.path)) for each in revision.upstreams)
    return msgspec.structs.replace(revision, upstreams=tuple(ups))


async def test_a_rollout_splits_and_in_a_shadow_both_get_copies_beside_their_engines(gateway, replica, tmp_path):
    processes = [await replica("a"), await replica("b")]
    with running(tmp_path / "e.sock") as own, running(tmp_path / "f.sock") as shadow:
        revisions = (beside(version(own), processes[0]), beside(version(shadow, "2", weight=0), processes[1]))
        mirror = Mirror(revision="r2", tokens=16)
        await gateway.start([model(own, revisions=revisions, mirror=mirror, auth=False)])
        async with await http(gateway) as client:
            ids: list[str] = []
            for number in range(4):
                answer = await client.post(CHAT, json=chat(max_tokens=number + 1, stream=number == 1))
                assert answer.headers["x-argosy-revision"] == "r1"
                ids.append(answer.headers["x-request-id"])
            async with asyncio.timeout(60):
                while any(len(each.seen) < 4 for each in processes):
                    await asyncio.sleep(0.02)
            for each in processes:
                assert sorted(one.headers["x-request-id"] for one in each.seen) == sorted(ids)
                assert {one.headers["x-argosy-shadow"] for one in each.seen} == {"16"}
                assert {one.path for one in each.seen} == {CHAT}
            assert (own.told()["requests"], shadow.told()["requests"]) == (4, 0)
            found = await gateway.stats()
            assert (found["gemma", "r1"].completed, found["gemma", "r2"].completed) == (4, 0)
            await gateway.apply([model(own, revisions=(version(own), version(shadow, "2")), auth=False)])
            asked = [await client.post(CHAT, json=chat()) for _ in range(30)]
            assert {each.headers["x-argosy-revision"] for each in asked} == {"r1", "r2"}


@pytest.mark.slow
async def test_a_stream_that_stalls_is_cut_and_has_its_counts(config, engine):
    gateway = Gateway(msgspec.structs.replace(config, body_seconds=0.3))
    try:
        await gateway.start([model(engine, auth=False, timeout=2.0)])
        async with await http(gateway) as client:
            # A whole answer may take no longer either; a stream that goes on may.
            answer = await client.post(CHAT, json=chat(fake={"delay": 30}))
            assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
            slow = await client.post(CHAT, json=chat(stream=True, fake={"tokens": 8, "each": 0.5}))
            assert len(events(slow)) == 9
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(CHAT, json=chat(stream=True, fake={"fault": "stall", "after": 2}))
            assert (await lines(gateway, 3))[-1]["tokens"]["output"] == 2
    finally:
        await gateway.stop(0.2)


async def test_tokens_are_reserved_and_refused(quota, config, engine):
    gateway = Gateway(msgspec.structs.replace(config, quota=quota.socket))
    try:
        await gateway.start([model(engine, "digits")], [api_key("one", id="k1", limits="closed"), api_key(id="free")])
        async with await http(gateway, headers={"authorization": "Bearer one"}) as client:
            good = await client.post(CHAT, json=chat("digits", max_tokens=10))
            assert (good.status_code, good.headers["x-ratelimit-limit-tokens"]) == (200, "1000")
            (line,) = await lines(gateway, 1)
            body = len(good.request.content)
            assert line["tokens"]["reserved"] == 10 + math.ceil(body / 4)
            assert line["tokens"]["lease"] == quota.server.ledger.account("k1").leases[0].id
            refused = await client.post(CHAT, json=chat("digits", max_tokens=960, stream=True))
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
            unlimited = await client.post(CHAT, json=chat("digits", max_tokens=960), headers=AUTH)
            assert "lease" not in (await lines(gateway, 3))[-1]["tokens"]
            assert unlimited.status_code == 200
            for most in ("1e308", "-1", '"a"', "null"):
                body = f'{{"model": "digits", "messages": [], "max_tokens": {most}}}'
                assert (await client.post(CHAT, content=body)).status_code == 429, most
    finally:
        await gateway.stop(0.2)
