"""One trace from a client through the gateway into the engine, and a platform that asks for what it has not."""

import os
from collections.abc import Callable, Iterator

import httpx
import msgspec
import numpy as np
import pytest
import tritonclient.grpc as triton

from argosy.platform.home import gateway_config
from argosy.spec.errors import InvalidArgument, MissingExtra
from argosy.spec.settings import Home, Settings
from argosy.spec.tracing import Tracing
from argosy.store.store import Store
from tests.otlp import Collector, Span
from tests.platform.packages import push
from tests.platform.up import Up, until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def chain(spans: list[Span]) -> list[str]:
    """Service and name of every span, the client's child first, each a child of one before."""
    by_id = {span.id: span for span in spans}
    (top,) = [span for span in spans if span.parent == PARENT]
    assert all(span.parent in by_id for span in spans if span is not top)
    found, begun = [top], {top.id}
    while len(found) < len(spans):
        found += sorted(
            (span for span in spans if span.parent in begun and span not in found), key=lambda span: span.name
        )
        begun = {span.id for span in found}
    return [f"{span.service} {span.name.split()[0]}" for span in found]


@pytest.mark.slow
def test_a_request_is_seen_from_its_client_into_the_engine(
    home: Home, store: Store, start: Callable[..., Up], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLECTOR_TOKEN", "Bearer x")
    home.config.write_text(
        f"control: {{port: 0}}\ngateway: {{port: 0}}\n"
        f"tracing: {{url: '{collector.url}', share: 0, headers: {{authorization: $COLLECTOR_TOKEN}}}}\n"
    )
    push(store, home.root / "p", 2.0)
    platform = start().ready()
    deployed = platform.call("PUT", "/v1/endpoints/digits", {"model": "digits:1"}, wait=60)
    revision = deployed["endpoint"]["revision"]
    key = {"authorization": f"Bearer {deployed['key']}"}
    with httpx.Client(headers=key) as client:
        for header in ({}, {"traceparent": SAMPLED[:-1] + "0"}):
            assert client.post(deployed["url"], json=BODY, headers=header).status_code == 200
        sent = {"traceparent": SAMPLED, "x-request-id": "q1"}
        assert client.post(deployed["url"], json=BODY, headers=sent).status_code == 200
        collector.wait(lambda: len(collector.of(TRACE)) == 6)
        assert {span.trace for span in collector.spans} == {TRACE}
        assert chain(collector.spans) == [
            "argosy-gateway ingress",
            "argosy-gateway router",
            "argosy-replica request",
            "argosy-replica batch",
            "argosy-replica queue",
            "argosy-replica run",
        ]
        request = next(span for span in collector.spans if span.name == "request")
        names = ("model", "version", "revision", "request_id", "rows")
        told = [request.attributes[f"argosy.{name}"] for name in names]
        assert told == ["digits", "1", revision, "q1", 1]
        assert str(request.attributes["argosy.replica"]).startswith("digits-")
        assert {each["authorization"] for each in collector.headers} == {"Bearer x"}

        collector.spans.clear()
        host = httpx.URL(deployed["url"])
        grpc = triton.InferenceServerClient(f"{host.host}:{host.port}")
        tensor = triton.InferInput("x", [2, 4], "FP32")
        tensor.set_data_from_numpy(np.ones((2, 4), "f4"))
        grpc.infer("digits", [tensor], headers=key | {"traceparent": SAMPLED})
        grpc.close()
        collector.wait(lambda: len(collector.of(TRACE)) == 6)
        assert chain(collector.spans)[2] == "argosy-replica request"

        collector.hang = True
        for _ in range(300):
            assert client.post(deployed["url"], json=BODY, headers={"traceparent": SAMPLED}).status_code == 200
        assert not collector.released.is_set(), "all were answered while the collector had answered nothing"
    until(lambda: f'"trace_id":"{TRACE}"' in (home.logs / "gateway.access.log").read_text())
    assert platform.stop() == 0


def test_a_secret_that_is_not_there_and_an_extra_that_is_not_installed_are_told_at_the_start(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracing = Tracing(url="http://127.0.0.1:4318", headers={"authorization": "$NO_SUCH_VARIABLE"})
    settings = msgspec.structs.replace(Settings(), tracing=tracing)
    with pytest.raises(InvalidArgument, match="the variable NO_SUCH_VARIABLE is not set"):
        gateway_config(home, settings.gateway, settings.tracing)
    assert "NO_SUCH_VARIABLE" not in os.environ

    def missing(module: str, extra: str, need: str) -> None:
        raise MissingExtra.named(extra, need)

    monkeypatch.setattr("argosy.platform.home.require", missing)
    with pytest.raises(MissingExtra, match="tracing"):
        gateway_config(home, settings.gateway, settings.tracing)
