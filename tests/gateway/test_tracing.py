"""The gateway's spans, and the context it hands on."""

import asyncio
import json
import os
from pathlib import Path

import msgspec
import pytest

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import EndpointRoute, RevisionRoute, Upstream
from argosy.gateway.snapshot import build_snapshot
from argosy.gateway.tracing import Collector as Sink
from argosy.process import envoy
from argosy.spec.address import Address
from argosy.spec.errors import InvalidArgument
from tests.gateway.kit import http, one
from tests.gateway.snapshot_kit import static, validate
from tests.language.conftest import start_fake
from tests.otlp import Collector

__all__ = ["start_fake"]
INFER = "/v2/models/digits/infer"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


@pytest.fixture
async def traced(config, collector):
    """Starts a gateway whose spans go to the collector."""
    made: list[Gateway] = []

    async def start(*endpoints, **given):
        sink = Sink(**{"url": f"{collector.url}/v1/traces", "share": 0.0, "headers": {"x-tenant": "50%"}} | given)
        made.append(Gateway(msgspec.structs.replace(config, collector=sink)))
        await made[0].start(endpoints)
        return made[0]

    yield start
    for each in made:
        await each.stop(0.5)


async def test_a_caller_s_trace_goes_on(traced, replica, collector):
    a = await replica("a")
    gateway = await traced(one(a, auth=False))
    headers = {"traceparent": SAMPLED, "tracestate": "vendor=x", "x-request-id": "6fa459ea-ee8a-3ca4-894e-db77e160355e"}
    async with await http(gateway) as client:
        assert (await client.post(INFER, content=b"x", headers=headers)).status_code == 200
    await asyncio.to_thread(collector.wait, lambda: len(collector.of(TRACE)) == 2)
    server, attempt = sorted(collector.of(TRACE), key=lambda span: span.start)
    assert server.parent == PARENT
    assert attempt.parent == server.id
    assert server.service == "argosy-gateway"
    seen = {key: server.attributes[f"argosy.{key}"] for key in ("endpoint", "version", "revision", "replica")}
    assert seen == {"endpoint": "digits", "version": "1", "revision": "r1", "replica": "a"}
    handed = a.seen[-1].headers
    assert handed["traceparent"] == f"00-{TRACE}-{attempt.id}-01"
    assert handed["tracestate"] == "vendor=x"
    assert handed["x-request-id"] == headers["x-request-id"]
    assert (collector.headers[0][""], collector.headers[0]["x-tenant"]) == ("/v1/traces", "50%")
    log = Path(gateway.config.access_log_path)
    await asyncio.to_thread(collector.wait, lambda: log.read_text().endswith("\n"))
    line = json.loads(log.read_text().splitlines()[-1])
    assert line["trace_id"] == TRACE


async def test_an_answer_of_a_language_model_says_what_it_used(traced, collector, start_fake):
    up = Upstream(replica="a", http=Address(path="/tmp/nobody.sock"), engine=Address(path=start_fake().path))
    of = RevisionRoute(revision="r1", version="1", weight=1, language=True, upstreams=(up,))
    gateway = await traced(EndpointRoute(endpoint="gemma", revisions=(of,), auth=False))
    body = {"model": "gemma", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3, "stream": True}
    async with await http(gateway) as client:
        answer = await client.post("/v1/chat/completions", json=body, headers={"traceparent": SAMPLED})
        assert answer.status_code == 200
    await asyncio.to_thread(collector.wait, lambda: len(collector.of(TRACE)) == 2)
    server = min(collector.of(TRACE), key=lambda span: span.start)
    seen = {key: value for key, value in server.attributes.items() if key.startswith("gen_ai.")}
    assert seen["gen_ai.usage.output_tokens"] == "3"
    assert seen["gen_ai.response.finish_reasons"] == "length"
    assert int(seen["gen_ai.usage.input_tokens"]) > 1
    assert seen["gen_ai.request.max_tokens"] == "3"


async def test_what_nobody_sampled_leaves_nothing(traced, replica, collector):
    a = await replica("a")
    gateway = await traced(one(a, auth=False))
    async with await http(gateway) as client:
        await client.post(INFER, content=b"x", headers={"traceparent": UNSAMPLED})
        await client.post(INFER, content=b"x")
        await client.post(INFER, content=b"x", headers={"x-client-trace-id": "1", "x-envoy-force-trace": "1"})
        await client.post(INFER, content=b"x", headers={"traceparent": f"00-{'1' * 32}-{PARENT}-01"})
    await asyncio.to_thread(collector.wait, lambda: len(collector.spans) >= 2)
    assert {span.trace for span in collector.spans} == {"1" * 32}
    assert all(request.headers["traceparent"].endswith("-00") for request in a.seen[:3])


async def test_a_share_of_what_comes_without_a_trace_begins_one(traced, replica, collector):
    gateway = await traced(one(await replica("a"), auth=False), share=0.5)
    async with await http(gateway) as client:
        for _ in range(60):
            await client.post(INFER, content=b"x")
    await asyncio.to_thread(collector.wait, lambda: len({span.trace for span in collector.spans}) >= 10)
    await asyncio.sleep(2.5)
    assert len({span.trace for span in collector.spans}) <= 50


async def test_callers_may_be_left_out(traced, replica, collector):
    a = await replica("a")
    gateway = await traced(one(a, auth=False), share=1.0, callers=False)
    async with await http(gateway) as client:
        await client.post(INFER, content=b"x", headers={"traceparent": SAMPLED, "tracestate": "vendor=x"})
    await asyncio.to_thread(collector.wait, lambda: len(collector.spans) == 2)
    assert not collector.of(TRACE)
    assert "tracestate" not in a.seen[0].headers or not a.seen[0].headers["tracestate"]


async def test_a_broken_context_is_traced_by_nobody_and_answered(traced, replica, collector):
    a = await replica("a")
    gateway = await traced(one(a, auth=False), share=1.0)
    async with await http(gateway) as client:
        for broken in ("00-xyz", f"00-{'0' * 32}-{PARENT}-01", "x" * 5000):
            assert (await client.post(INFER, content=b"x", headers={"traceparent": broken})).status_code == 200
        await client.post(INFER, content=b"x", headers={"traceparent": SAMPLED})
    await asyncio.to_thread(collector.wait, lambda: len(collector.spans) == 2)
    assert {span.trace for span in collector.spans} == {TRACE}


async def test_a_collector_that_hangs_or_is_gone_delays_nothing(traced, replica, collector):
    collector.hang = True
    gateway = await traced(one(await replica("a"), auth=False), share=1.0)
    async with await http(gateway) as client:
        while not collector.headers:
            assert (await client.post(INFER, content=b"x")).status_code == 200
        for _ in range(300):
            assert (await client.post(INFER, content=b"x")).status_code == 200
        assert not collector.released.is_set(), "all were answered while the collector had answered nothing"
        collector.close()
        for _ in range(300):
            assert (await client.post(INFER, content=b"x")).status_code == 200
    assert collector.spans == []


async def test_without_a_collector_a_context_is_passed_on(gateway, replica):
    a = await replica("a")
    await gateway.start([one(a, auth=False)])
    async with await http(gateway) as client:
        await client.post(INFER, content=b"x", headers={"traceparent": SAMPLED})
    assert a.seen[0].headers["traceparent"] == SAMPLED


async def test_envoy_validates_a_collector_with_tls(config, folder):
    sink = Sink(url="https://collector.example.org/v1/traces", share=0.1, headers={"authorization": "Bearer x"})
    config = msgspec.structs.replace(config, collector=sink)
    await validate(envoy.find(), static(config, build_snapshot(config, ())), folder / "run")


def test_tls_needs_roots(monkeypatch):
    from argosy.gateway import tracing

    monkeypatch.setenv("SSL_CERT_FILE", os.devnull + "/none")
    sink = Sink(url="https://collector.example.org/v1/traces", share=0.1)
    with pytest.raises(InvalidArgument, match="certificates to trust"):
        tracing.cluster(sink)


async def test_an_adopted_gateway_follows_a_collector_that_was_set_since(config, replica, collector):
    a = await replica("a")
    first = Gateway(config)
    await first.start([one(a, auth=False)])
    sink = Sink(url=f"{collector.url}/v1/traces", share=0.0)
    second = Gateway(msgspec.structs.replace(config, collector=sink))
    try:
        assert await second.adopt()
        await second.apply([one(a, auth=False)])
        async with await http(second) as client:
            await client.post(INFER, content=b"x")
            await client.post(INFER, content=b"x", headers={"traceparent": SAMPLED})
        await asyncio.to_thread(collector.wait, lambda: len(collector.spans) == 2)
        assert {span.trace for span in collector.spans} == {TRACE}

        third = Gateway(msgspec.structs.replace(config, collector=msgspec.structs.replace(sink, share=1.0)))
        assert await third.adopt()
        await third.apply([one(a, auth=False)])
        async with await http(third) as client:
            await client.post(INFER, content=b"x")
        await asyncio.to_thread(collector.wait, lambda: len(collector.spans) == 4)
    finally:
        await second.process.adopt()
        await second.stop(0.5)
