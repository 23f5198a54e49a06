"""Sampled requests leave spans, REST and gRPC; others leave nothing, and a collector in trouble delays nobody."""

import concurrent.futures
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from argosy.protocol import grpc as wire
from argosy.protocol.rest import Request
from argosy.serving import trace, tracer
from argosy.spec.endpoint import Runtime
from argosy.spec.tensor import Tensor
from argosy.spec.tracing import Tracing
from prove.grpcmessages import encode_request
from tests.otlp import Collector, Span
from tests.serving.engines import Identity

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
CONTEXT = {"traceparent": SAMPLED, "tracestate": "vendor=x", "x-request-id": "q1"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture
def start(run_replica: Any, collector: Collector) -> Iterator[Callable[..., Any]]:
    with tempfile.TemporaryDirectory() as folder:

        def begin(engine: Identity, **options: Any) -> Any:
            tracing = Tracing(url=collector.url)
            return run_replica({"floats": engine}, folder=Path(folder), tracing=tracing, **options)

        yield begin


def opened(replica: Any) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=replica.http.path), base_url="http://replica")


def ask(client: httpx.Client, *values: float, **headers: str) -> httpx.Response:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(values), 1], "data": list(values)}]}
    return client.post("/v2/models/floats/infer", json=body, headers=headers, timeout=30)


def by_name(spans: list[Span]) -> dict[str, Span]:
    assert len({span.name for span in spans}) == len(spans)
    return {span.name: span for span in spans}


@pytest.mark.parametrize("inline", [True, False])
def test_a_sampled_request_leaves_its_queue_batch_and_run(start: Any, collector: Collector, inline: bool) -> None:
    with opened(start(Identity(shape=(-1, 1)), inline=inline)) as client:
        before = time.time_ns()
        assert ask(client, 1.0, 2.0, **CONTEXT).status_code == 200
        after = time.time_ns()
        collector.wait(lambda: len(collector.of(TRACE)) == 4)
    found = by_name(collector.spans)
    request, queue, batch, run = (found[name] for name in ("request", "queue", "batch", "run"))
    assert (request.parent, queue.parent, batch.parent, run.parent) == (PARENT, request.id, request.id, batch.id)
    assert before <= request.start <= queue.start <= queue.end == batch.start <= run.start
    assert run.start <= run.end <= batch.end <= request.end <= after
    assert request.service == "argosy-replica"
    told = {key: request.attributes[f"argosy.{key}"] for key in ("model", "version", "replica", "rows", "request_id")}
    assert told == {"model": "floats", "version": "1", "replica": "local", "rows": 2, "request_id": "q1"}
    assert (batch.attributes["argosy.batch.rows"], batch.attributes["argosy.batch.requests"]) == (2, 1)
    assert batch.attributes["argosy.batch.reason"] == "idle"
    assert {span.state for span in collector.spans} == {"vendor=x"}
    assert {span.status for span in collector.spans} == {0}


def test_a_grpc_call_is_traced_by_its_metadata(start: Any, collector: Collector) -> None:
    replica = start(Identity(shape=(-1, 1)))
    message = encode_request("floats", "", Request([Tensor("x", "FP32", np.ones((3, 1), "f4"))]))
    with grpc.insecure_channel(f"unix:{replica.grpc.path}") as channel:
        call = channel.unary_unary(f"/{wire.SERVICE}/ModelInfer")
        call(message.SerializeToString(), metadata=tuple(CONTEXT.items()), timeout=60)
        collector.wait(lambda: len(collector.of(TRACE)) == 4)
        message.inputs[0].datatype = "NOPE"
        with pytest.raises(grpc.RpcError):
            call(message.SerializeToString(), metadata=(("traceparent", SAMPLED),), timeout=60)
        collector.wait(lambda: len(collector.of(TRACE)) == 5)
    assert by_name(collector.spans[:4])["request"].attributes["argosy.rows"] == 3
    assert (collector.spans[4].name, collector.spans[4].status) == ("request", 2)


def test_rows_are_traced_as_tensors_are(start: Any, collector: Collector) -> None:
    with opened(start(Identity(shape=(-1, 1)))) as client:
        for path, key, status in (("/invocations", "instances", 200), ("/v1/models/floats:predict", "bad", 400)):
            answer = client.post(path, json={key: [[1.0], [2.0]]}, headers=CONTEXT)
            assert answer.status_code == status
        collector.wait(lambda: len(collector.of(TRACE)) == 5)
    requests = [span for span in collector.spans if span.name == "request"]
    assert {(span.attributes["argosy.rows"], span.status) for span in requests} == {(2, 0), (0, 2)}


def test_what_is_not_sampled_leaves_nothing(start: Any, collector: Collector) -> None:
    with opened(start(Identity(shape=(-1, 1)))) as client:
        for value in (SAMPLED[:-1] + "0", "00-xyz-01", "x" * 80, SAMPLED.replace(TRACE, "0" * 32), f"ff{SAMPLED[2:]}"):
            assert ask(client, 1.0, traceparent=value).status_code == 200
        assert ask(client, 1.0).status_code == 200
        ask(client, 1.0, traceparent=SAMPLED.replace(TRACE, "1" * 32))
        collector.wait(lambda: len(collector.spans) == 4)
    assert {span.trace for span in collector.spans} == {"1" * 32}


def test_errors_are_told(start: Any, collector: Collector) -> None:
    with opened(start(Identity(shape=(-1, 1)))) as client:
        assert ask(client, -1.0, **CONTEXT).status_code == 500
        collector.wait(lambda: len(collector.spans) == 4)
        found = by_name(collector.spans)
        assert {name: span.status for name, span in found.items()} == {"request": 2, "queue": 0, "batch": 2, "run": 2}
        assert "-1 is not for me" in found["run"].message
        assert found["request"].attributes["error.type"] == "internal"
        collector.spans.clear()
        assert client.post("/v2/models/floats/infer", content=b"{", headers=CONTEXT).status_code == 400
        assert client.post("/v2/models/floats/infer", json={"inputs": []}, headers=CONTEXT).status_code == 400
        collector.wait(lambda: len(collector.spans) == 2)
    assert {(span.name, span.status, span.attributes["error.type"]) for span in collector.spans} == {
        ("request", 2, "invalid_argument")
    }


def test_a_batch_that_is_shared_tells_with_whom(start: Any, collector: Collector) -> None:
    engine = Identity(shape=(-1, 1))
    replica = start(engine, inline=False, runtime=Runtime(max_queue_delay=0.05))
    engine.gate.clear()
    traces = [f"{number:032x}" for number in (1, 2, 3)]
    with opened(replica) as client, concurrent.futures.ThreadPoolExecutor(5) as pool:
        first = pool.submit(ask, client, 0.0)
        while not engine.calls:
            time.sleep(0.01)
        rest = [pool.submit(ask, client, 1.0, traceparent=SAMPLED.replace(TRACE, each)) for each in traces]
        rest.append(pool.submit(ask, client, 1.0))
        model = replica.replica.plane.get("floats")
        while model.batcher.queued < 4:
            time.sleep(0.01)
        engine.gate.set()
        assert {each.result().status_code for each in (first, *rest)} == {200}
        collector.wait(lambda: len(collector.spans) == 12)
    requests = {span.trace: span.id for span in collector.spans if span.name == "request"}
    for batch in (span for span in collector.spans if span.name == "batch"):
        assert batch.attributes["argosy.batch.requests"] == 4
        assert dict(batch.links) == {trace: id for trace, id in requests.items() if trace != batch.trace}


def test_a_request_of_many_rows_has_every_batch(start: Any, collector: Collector) -> None:
    with opened(start(Identity(shape=(-1, 1)), inline=False)) as client:
        assert ask(client, *map(float, range(150)), **CONTEXT).status_code == 200
        collector.wait(lambda: len(collector.spans) == 10)
    rows = [span.attributes["argosy.batch.rows"] for span in collector.spans if span.name == "batch"]
    assert sorted(rows) == [22, 64, 64]


def test_a_collector_that_hangs_delays_nobody_and_what_waits_too_long_is_counted(
    start: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracer, "MOST", 50)
    collector.hang = True
    replica = start(Identity(shape=(-1, 1)))
    with opened(replica) as client:
        for _ in range(tracer.AT_ONCE + 100):
            assert ask(client, 1.0, **CONTEXT).status_code == 200
        assert not collector.released.is_set(), "all were answered while the collector had answered nothing"
        metrics = client.get("/metrics").text
        dropped = next(line for line in metrics.splitlines() if line.startswith("argosy_traces_dropped_total"))
        assert float(dropped.split()[1]) >= 50
    replica.stop()
    assert not replica._thread.is_alive()
    assert not collector.released.is_set(), "it ended although the collector hung"


def test_what_waits_is_sent_at_the_end(start: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer, "CLOSE_SECONDS", 60.0)
    replica = start(Identity(shape=(-1, 1)))
    with opened(replica) as client:
        assert ask(client, 1.0, **CONTEXT).status_code == 200
    replica.stop()
    assert len(collector.of(TRACE)) == 4


def test_a_context_is_read_as_w3c_says() -> None:
    def read(value: str) -> trace.TraceContext | None:
        return trace.begin({b"traceparent": value.encode("latin-1")})

    found = read(SAMPLED)
    assert found is not None
    assert (found.trace, found.parent) == (TRACE, PARENT)
    assert read(f"cc-{TRACE}-{PARENT}-03-what-the-future-brings") is not None
    for bad in ("", SAMPLED.upper(), SAMPLED[:-3], f"{SAMPLED}x", f"{SAMPLED}, {SAMPLED}", f"00-{TRACE}-{'0' * 16}-01"):
        assert read(bad) is None, bad
