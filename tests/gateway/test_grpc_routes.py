"""gRPC through a real Envoy, with tritonclient as it is: the model's name is read out of the message."""

import queue

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from tritonclient.grpc import service_pb2

from argosy.gateway.grpc_names import METHODS, SERVICE, descriptor_set
from argosy.gateway.model import EndpointRoute, RevisionRoute, Upstream
from argosy.spec.address import Address
from tests.gateway.grpc_kit import infer, served, status, with_client
from tests.gateway.kit import KEY, api_key

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_the_descriptors_fit_the_real_protocol():
    import base64

    (file,) = FileDescriptorSet.FromString(base64.b64decode(descriptor_set())).file
    assert f"{file.package}.{file.service[0].name}" == SERVICE
    assert [(field.name, field.number) for field in file.message_type[0].field] == [("name", 1), ("version", 2)]
    for method in METHODS:
        kind = "ModelInfer" if method == "ModelStreamInfer" else method
        real = getattr(service_pb2, f"{kind}Request").DESCRIPTOR
        assert [real.fields_by_number[number].name.removeprefix("model_") for number in (1, 2)] == ["name", "version"]


async def test_a_call_finds_its_endpoint_and_version_by_its_message(gateway, grpc_replica):
    a, b, other = grpc_replica("a"), grpc_replica("b"), grpc_replica("o")
    await gateway.start([served("digits", a, b, auth=False), served("other", other, auth=False)])

    def use(client):
        assert infer(client, "digits") == "a"
        assert infer(client, "digits", "2") == "b"
        assert infer(client, "other") == "o"
        assert infer(client, "other", size=10_000_000) == "o"
        assert client.is_model_ready("other")
        assert client.is_server_ready()
        assert infer(client, "digits", headers={"argosy-endpoint": "other"}) == "o"
        missing = status(infer, client, "digits", "9")
        assert missing == ("StatusCode.NOT_FOUND", "endpoint 'digits' does not serve this version")
        assert status(infer, client, "nowhere")[0] == "StatusCode.NOT_FOUND"
        assert status(infer, client, "")[0] == "StatusCode.INVALID_ARGUMENT"
        assert status(client.get_model_repository_index)[0] == "StatusCode.UNIMPLEMENTED"

    await with_client(gateway, use)


async def test_a_service_nobody_has_is_told_in_words(gateway):
    await gateway.start()
    async with grpc.aio.insecure_channel("{}:{}".format(*await gateway.address())) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/none.Service/Call")(b"")
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "there is no service of this name here",
    )


async def test_a_stream_finds_its_endpoint_by_its_first_message(gateway, grpc_replica):
    a, other = grpc_replica("a"), grpc_replica("o")
    await gateway.start([served("digits", a, auth=False), served("other", other, auth=False)])

    def use(client):
        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put(error or result.get_response().id))
        tensor = triton.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 4), np.float32))
        said = []
        for _ in range(3):
            client.async_stream_infer("other", [tensor])
            said.append(answers.get(timeout=60))
        client.stop_stream()
        assert said == ["o", "o", "o"]

    await with_client(gateway, use)


async def test_grpc_needs_the_key_too(gateway, grpc_replica):
    a, b = grpc_replica("a"), grpc_replica("b")
    narrow = api_key("narrow", id="narrow", scopes=("digits",))
    slow = api_key("slow", id="slow", requests_per_second=0.1, burst=1)
    await gateway.start([served("digits", a), served("other", b)], [api_key(), narrow, slow])

    def use(client):
        assert status(infer, client, "digits")[0] == "StatusCode.UNAUTHENTICATED"
        assert status(infer, client, "digits", headers={"x-api-key": "no"}) == (
            "StatusCode.UNAUTHENTICATED",
            "this API key is unknown or revoked",
        )
        assert infer(client, "digits", headers={"authorization": f"Bearer {KEY}"}) == "a"
        assert status(infer, client, "other", headers={"x-api-key": "narrow"})[0] == "StatusCode.PERMISSION_DENIED"
        assert infer(client, "digits", headers={"x-api-key": "slow"}) == "a"
        assert status(infer, client, "digits", headers={"x-api-key": "slow"}) == (
            "StatusCode.RESOURCE_EXHAUSTED",
            "the rate limit of this API key, or of callers without one, is spent; see Retry-After",
        )
        assert client.is_server_ready()

    await with_client(gateway, use)
    assert a.metadata[0]["x-argosy-key-id"] == "k1"
    assert "authorization" not in a.metadata[0]


async def test_unavailable_is_tried_on_another_replica(gateway, grpc_replica):
    a, b = grpc_replica("a"), grpc_replica("b")
    a.fail = grpc.StatusCode.UNAVAILABLE
    ups = tuple(
        Upstream(replica=each.name, http=Address(path=f"{each.path}.http"), grpc=Address(path=each.path))
        for each in (a, b)
    )
    route = EndpointRoute(
        endpoint="digits",
        revisions=(RevisionRoute(revision="r1", version="1", weight=1, upstreams=ups),),
        auth=False,
    )
    await gateway.start([route])

    def use(client):
        assert {infer(client, "digits") for _ in range(20)} == {"b"}
        b.fail = grpc.StatusCode.UNAVAILABLE
        assert status(infer, client, "digits") == ("StatusCode.UNAVAILABLE", "no")

    await with_client(gateway, use)


async def test_a_body_over_the_cap_is_resource_exhausted(config, grpc_replica):
    import msgspec

    from argosy.gateway.gateway import Gateway

    a = grpc_replica("a")
    gateway = Gateway(msgspec.structs.replace(config, max_body_bytes=10_000))
    await gateway.start([served("digits", a, auth=False)])
    try:
        code, message = await with_client(gateway, lambda client: status(infer, client, "digits", size=5000))
        assert (code, message) == (
            "StatusCode.RESOURCE_EXHAUSTED",
            "the request body is larger than the 10000 bytes this gateway allows (gateway.max_body_bytes)",
        )
    finally:
        await gateway.stop(0.2)
