"""Every method that takes a name, with a real replica behind: without a key, all names get one answer."""

import asyncio
import contextlib

import grpc
import httpx
import msgspec
import pytest
from grpc_health.v1 import health_pb2
from tritonclient.grpc import service_pb2

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import Upstream
from argosy.spec.address import Address
from attack.http2 import END_STREAM, HEADERS, Connection
from tests.gateway.kit import api_key
from tests.gateway.test_attack import replica as replica
from tests.gateway.test_attack import route

THERE, NOWHERE = "digits", "nobody"
NAMES = ("name", "model_name", "repository_name", "service")
NOT_COMPARED = {"date", "x-request-id"}
SERVICE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
REPLICA = "digits-r1-x7"
"""A replica is called by its endpoint."""


@pytest.fixture
async def gateway(folder, config, replica):
    """An endpoint with a key."""
    made = Gateway(config)
    there = route(folder)
    ups = (
        Upstream(replica=REPLICA, http=Address(path=f"{folder}/http.sock"), grpc=Address(path=f"{folder}/grpc.sock")),
    )
    revisions = (msgspec.structs.replace(there.revisions[0], upstreams=ups),)
    await made.start([msgspec.structs.replace(there, revisions=revisions)], [api_key()])
    yield made
    await made.stop(0.2)


def requests(name):
    """Method → a message in which every field that takes a name has this one."""
    for method in SERVICE.methods:
        kind = getattr(service_pb2, method.input_type.name)
        fields = {field: name for field in NAMES if field in method.input_type.fields_by_name}
        yield f"/{SERVICE.full_name}/{method.name}", kind(**fields).SerializeToString()
    for method in ("Check", "Watch", "List"):
        yield f"/grpc.health.v1.Health/{method}", health_pb2.HealthCheckRequest(service=name).SerializeToString()
    for version in ("v1", "v1alpha"):
        by_symbol = b"\x22" + bytes([len(name)]) + name.encode()
        yield f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo", by_symbol


def told(channel, method, message, metadata):
    """All that a caller sees: messages, status, and every header. Not by grpc.aio, which now and then says
    INTERNAL where the server ends a stream that is still written to."""
    call = channel.stream_stream(method)(iter([message]), metadata=metadata, timeout=60)
    answers = []
    with contextlib.suppress(grpc.RpcError):
        answers.extend(call)
    headers = [*call.initial_metadata(), *call.trailing_metadata()]
    kept = sorted((k, str(v)) for k, v in headers if k not in NOT_COMPARED)
    return answers, call.code(), call.details(), kept


@pytest.mark.parametrize("key", ["", "of nobody"])
async def test_grpc_methods_tell_no_names(gateway, key):
    await asyncio.to_thread(ask_all, await gateway.address(), (("x-api-key", key),) if key else ())


def ask_all(address, more):
    with grpc.insecure_channel("{}:{}".format(*address)) as channel:
        for (method, there), (_, nowhere) in zip(requests(THERE), requests(NOWHERE), strict=True):
            for header in ((), ("argosy-endpoint",), ("argosy-endpoint", "argosy-version")):
                answers = [
                    told(channel, method, message, (*((each, name) for each in header), *more))
                    for message, name in ((there, THERE), (nowhere, NOWHERE))
                ]
                assert answers[0] == answers[1], (method, header)
                text = repr(answers[0])
                assert THERE not in text, (method, text)
                assert "envoy" not in text, (method, text)
                assert "x-argosy-server" not in text, (method, text)


async def test_rest_paths_tell_no_names(gateway):
    below = ("", "/ready", "/infer", "/config", "/stats", "/feedback", "/versions/1", "/versions/1/infer", "/x", "/%2f")
    paths = ["/v2/models/{}" + each for each in below]
    paths += ["/v2/repository/models/{}/load", "/v2/repository/models/{}/unload", "/v1/models/{}", "/v2/health/{}"]
    host, port = await gateway.address()
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=60, trust_env=False) as client:
        for path in paths:
            for method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS"):
                answers = [await client.request(method, path.format(name)) for name in (THERE, NOWHERE)]
                seen = [
                    (
                        each.status_code,
                        each.text,
                        [(k, v) for k, v in each.headers.multi_items() if k not in NOT_COMPARED],
                    )
                    for each in answers
                ]
                assert seen[0] == seen[1], (method, path)
                assert THERE not in repr(seen), (method, path)
                assert "x-envoy" not in repr(seen), (method, path)


async def test_refusals_over_http2_say_why_in_a_header(gateway):
    """And end with their head, so that nobody can make them stay by taking no body."""
    connection = await asyncio.to_thread(Connection, await gateway.address(), window=0)
    head = [(":method", "GET"), (":scheme", "http"), (":authority", "a")]
    more = [
        [],
        [("x-api-key", "x")],
        [("content-type", "application/grpc-web")],
        [("content-type", "application/grpcx")],
    ]
    paths = ("/v2/models/digits", "/v2/models/nobody", "/nothing", "/v2/models/a%2fb", "/v2/repository/models/a/load")
    asked = {connection.open([*head, (":path", path), *each], end=True) for path in paths for each in more}
    ended = set()

    def end():
        for kind, flags, stream, _ in connection.frames(60.0):
            if kind == HEADERS and flags & END_STREAM:
                ended.add(stream)
            if ended == asked:
                return

    try:
        await asyncio.to_thread(end)
        assert ended == asked
    finally:
        connection.close()
