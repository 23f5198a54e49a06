"""Which endpoints there are is nobody's to learn who has no key for them: names that exist and names that do not are
answered alike."""

import asyncio
import http.client

import grpc
import msgspec
import pytest
from tritonclient.grpc import service_pb2

from argosy.gateway.model import Sticky
from tests.gateway import kit
from tests.gateway.grpc_kit import GrpcReplica, served
from tests.gateway.kit import KEY, api_key, one, revision, shared

METADATA = ((), (("argosy-endpoint", "{}"),), (("argosy-version", "9"),), (("x-argosy-revision", "r1"),))
NOT_COMPARED = {"date", "x-request-id", "content-length"}
THERE, NOWHERE = "digits", "nobody"


def without_name(text, name):
    return text.replace(name, "NAME")


PATHS = [
    "/v2/models/{}",
    "/v2/models/{}/",
    "/v2/models/{}/ready",
    "/v2/models/{}/infer",
    "/v2/models/{}/versions/1",
    "/v2/models/{}/versions/9/infer",
    "/v2/models/{}/feedback",
    "/v2/models/{}/config?x=1",
    "/v2//models//{}/infer",
    "/v2/./models/{}/infer",
    "/v2/x/../models/{}/infer",
    "/v2/%6dodels/{}/infer",
    "/v2/models/{}%2finfer",
    "/v1/models/{}:predict",
    "/endpoints/{}",
    "/endpoints/{}/invocations",
    "/endpoints/{}/v1/models/{}:predict",
    "/endpoints/{}/docs",
    "/endpoints/{}/v2/models/{}",
    "/{}",
]
HEADERS = [
    {},
    {"x-api-key": "of-nobody"},
    {"x-api-key": "narrow"},
    {"authorization": "Bearer of-nobody"},
    {"x-argosy-revision": "r1"},
    {"x-argosy-key-id": "k1"},
    {"host": "digits"},
    {"content-type": "application/grpc-web"},
    {"content-type": "application/grpc"},
    {"connection": "upgrade", "upgrade": "websocket"},
    {"argosy-endpoint": "{}"},
    {"argosy-endpoint": "{}", "content-type": "application/grpc"},
    {"cookie": "argosy-caller=x"},
]


@pytest.mark.parametrize("more", [{}, {"sticky": Sticky(by="cookie")}, {"testers": True}])
async def test_rest_answers_alike(config, gateway, replica, more):
    a, b = await replica("a"), await replica("b")
    two = shared(revision("r1", "1", a, weight=1), revision("r2", "2", b, weight=1), **more, auth=True)
    keys = [api_key(), api_key("narrow", id="n", scopes=("other",))]
    await gateway.start([two, one("/tmp/none.sock", endpoint="open", auth=False)], keys)
    host, port = await gateway.address()

    def ask(method, path, headers, name):
        connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.putrequest(method, path.replace("{}", name), skip_host="host" in headers, skip_accept_encoding=True)
        for header, value in headers.items():
            connection.putheader(header, value.format(name))
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        told = sorted((k.lower(), v) for k, v in answer.getheaders() if k.lower() not in NOT_COMPARED)
        return answer.status, without_name(body, name), without_name(repr(told), name)

    asked = [(method, path, {}) for method in ("GET", "POST", "OPTIONS") for path in PATHS]
    asked += [(method, path, headers) for method in ("GET", "POST") for path in PATHS[3:5] for headers in HEADERS]
    for each in asked:
        answers = [await asyncio.to_thread(ask, *each, name) for name in (THERE, NOWHERE)]
        assert answers[0] == answers[1], each
    assert a.seen == b.seen == []


async def test_the_index_is_for_keys_that_cover_all(gateway, replica):
    keys = [api_key(), api_key("narrow", id="n", scopes=("digits",))]
    await gateway.start([one(await replica("a"))], keys)
    async with await kit.http(gateway) as client:
        found = [
            (await client.post("/v2/repository/index", headers={"x-api-key": key} if key else {})).status_code
            for key in ("", "narrow", KEY)
        ]
        assert found == [401, 403, 200]


@pytest.mark.parametrize("some_open", [False, True])
async def test_grpc_answers_alike(gateway, folder, some_open):
    a, b = GrpcReplica(folder, "a"), GrpcReplica(folder, "b")
    try:
        keys = [api_key(), api_key("narrow", id="n", scopes=("other",))]
        routes = [served(THERE, a)] + ([served("open", b, auth=False)] if some_open else [])
        await gateway.start([msgspec.structs.replace(routes[0], testers=True), *routes[1:]], keys)
        async with grpc.aio.insecure_channel("{}:{}".format(*await gateway.address())) as channel:
            for method in ("ModelInfer", "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics", "Nothing"):
                for more in (
                    (),
                    (("argosy-endpoint", "{}"),),
                    (("argosy-version", "9"),),
                    (("x-argosy-revision", "r1"),),
                ):
                    for key in ("", "of nobody", "narrow"):
                        answers = [await asked(channel, method, name, more, key) for name in (THERE, NOWHERE)]
                        assert answers[0] == answers[1], (method, more, key)
        assert a.metadata == []
    finally:
        for each in (a, b):
            each.server.stop(None).wait()
            each.pool.shutdown()


async def asked(channel, method, name, more, key):
    """Status, message and metadata of a call that fails."""
    field = "model_name" if method == "ModelInfer" else "name"
    kind = getattr(service_pb2, f"{method}Request", service_pb2.ModelReadyRequest)
    metadata = [(header, value.format(name)) for header, value in more] + ([("x-api-key", key)] if key else [])
    call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(
        kind(**{field: name}).SerializeToString(), metadata=metadata
    )
    code, details = await call.code(), await call.details()
    assert code != grpc.StatusCode.OK
    told = [*(await call.initial_metadata()), *(await call.trailing_metadata())]
    kept = sorted((k, v) for k, v in told if k not in NOT_COMPARED)
    return code, without_name(details, name), [(k, without_name(str(v), name)) for k, v in kept]


async def test_upgrades_are_refused_in_words(gateway, replica):
    a = await replica("a")
    await gateway.start([one(a)], [api_key()])
    async with await kit.http(gateway, headers={"x-api-key": KEY}) as client:
        for protocol in ("websocket", "TLS/1.2", "spdy/3.1"):
            headers = {"connection": "upgrade", "upgrade": protocol}
            answer = await client.get("/v2/models/digits", headers=headers)
            assert (answer.status_code, answer.json()) == (
                403,
                {"error": "the gateway upgrades no connection: send a plain request"},
            )
        headers = {"connection": "upgrade, http2-settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQAAP__"}
        assert (await client.get("/v2/models/digits", headers=headers)).status_code == 200
        assert (await client.request("CONNECT", "/v2/models/digits")).status_code in (400, 404)
    assert all("upgrade" not in each.headers for each in a.seen)
    assert len(a.seen) == 1
