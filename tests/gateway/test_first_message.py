"""The first message of a gRPC call: who may have it read, how much of it is held, that it arrives as it was sent."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tritonclient.grpc import service_pb2

from argosy.gateway.model import EndpointRoute, RevisionRoute, Upstream
from argosy.spec.address import Address
from attack import http2
from tests.gateway.grpc_kit import infer, served, with_client
from tests.gateway.kit import KEY, api_key

SERVICE = "/inference.GRPCInferenceService/"
INFER, STREAM = f"{SERVICE}ModelInfer", f"{SERVICE}ModelStreamInfer"


class Bytes(grpc.GenericRpcHandler):
    """A replica that keeps each call's messages as they came."""

    def __init__(self, folder):
        self.path = str(folder / "bytes.sock")
        self.calls: list[list[bytes]] = []
        self.server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
        self.server.add_generic_rpc_handlers((self,))
        self.server.add_insecure_port(f"unix:{self.path}")
        self.server.start()

    def service(self, details):
        return grpc.stream_stream_rpc_method_handler(self.keep)

    def keep(self, requests, context):
        got = []
        self.calls.append(got)
        for each in requests:
            got.append(each)
            yield b""

    async def got(self, count):
        """The one call's messages, once there are so many."""
        async with asyncio.timeout(60):
            while not self.calls or len(self.calls[0]) < count:
                await asyncio.sleep(0.01)
        return self.calls[0]


@pytest.fixture
def replica(folder):
    there = Bytes(folder)
    yield there
    there.server.stop(None).wait()


def endpoint(there, **fields):
    ups = (Upstream(replica="a", http=Address(path=f"{there.path}.http"), grpc=Address(path=there.path)),)
    return EndpointRoute(
        endpoint="digits", revisions=(RevisionRoute(revision="r1", version="1", weight=1, upstreams=ups),), **fields
    )


def message(size, name="digits", version="", at="raw_input_contents"):
    fields = {"raw_input_contents": [b"x" * size]} if at == "raw_input_contents" else {"id": "i" * size}
    return service_pb2.ModelInferRequest(model_name=name, model_version=version, **fields).SerializeToString()


def framed(data):
    return bytes(1) + len(data).to_bytes(4, "big") + data


def parts(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


async def send(gateway, method, data, size, headers=()):
    """A call whose bytes come in frames of `size`."""
    connection = await asyncio.to_thread(http2.Connection, await gateway.address())
    stream = connection.open(http2.call(method, headers))
    for n, part in enumerate(parts(data, size)):
        connection.send(http2.frame(http2.DATA, 0, stream, part))
        if n % 3 == 0:
            await asyncio.sleep(0)
    return connection


@pytest.mark.parametrize("open_to_all", [True, False])
@pytest.mark.parametrize(
    ("sizes", "frame"),
    [
        ([0], 1),
        ([30], 1),
        ([30], 7),
        ([4070], 100),
        ([4080], 4000),
        ([4081, 4082], 4100),
        ([5000], 1),
        ([5000], 16384),
        ([20_000], 4095),
        ([300_000], 16384),
        ([10, 20, 30], 16384),
        ([10, 20_000, 30], 16384),
        ([10, 20_000, 30], 37),
        ([5000, 5000, 5000, 5000], 16384),
        ([100_000, 0, 9000, 1], 16000),
    ],
)
async def test_messages_arrive_as_they_were_sent(gateway, replica, sizes, frame, open_to_all):
    await gateway.start([endpoint(replica, auth=not open_to_all)], [api_key()])
    sent = [message(size, version="1" if n % 2 else "") for n, size in enumerate(sizes)]
    headers = [] if open_to_all else [("x-api-key", KEY)]
    connection = await send(gateway, STREAM, b"".join(map(framed, sent)), frame, headers)
    try:
        assert await replica.got(len(sent)) == sent
    finally:
        connection.close()


async def test_many_messages_in_one_frame_are_answered_by_a_replica_not_spoken_to_before(gateway, replica):
    """The replica sends WINDOW_UPDATE frames for each message, and Envoy counts those for each frame of its own."""
    await gateway.start([endpoint(replica, auth=False)])
    sent = [message(0)] * 1000
    connection = await send(gateway, STREAM, b"".join(map(framed, sent)), 16384)

    def answered() -> int:
        size = 0
        for kind, _, _, payload in connection.frames(patience=20.0):
            assert kind != http2.RESET
            size += len(payload) if kind == http2.DATA else 0
            if size == 5 * len(sent):
                break
        return size

    try:
        assert await asyncio.to_thread(answered) == 5 * len(sent)
        assert replica.calls == [sent]
    finally:
        connection.close()


async def test_a_message_whose_name_is_not_at_its_beginning_is_told_how_to_be_named(gateway, replica):
    await gateway.start([endpoint(replica, auth=False)])
    late = message(40_000, at="id", name="") + message(0)
    async with grpc.aio.insecure_channel("{}:{}".format(*await gateway.address())) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(INFER)(late)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "argosy-endpoint" in (caught.value.details() or "")
        await channel.unary_unary(INFER)(late, metadata=(("argosy-endpoint", "digits"),))
        assert replica.calls == [[late]]
        short = message(100, at="id", name="") + message(0)
        await channel.unary_unary(INFER)(short)
        assert replica.calls[1] == [short]


async def test_without_a_known_key_nothing_is_read(gateway, replica):
    """The call is over before its first message is asked for."""
    await gateway.start([endpoint(replica)], [api_key()])

    async def silent():
        await asyncio.Event().wait()
        yield b""

    async with grpc.aio.insecure_channel("{}:{}".format(*await gateway.address())) as channel:
        for key in ("", "wrong"):
            for method in ("ModelInfer", "ModelStreamInfer", "ModelReady", "Nothing"):
                call = channel.stream_unary(f"{SERVICE}{method}")(
                    silent(), metadata=(("x-api-key", key),) if key else ()
                )
                async with asyncio.timeout(60):
                    assert await call.code() == grpc.StatusCode.UNAUTHENTICATED
    assert replica.calls == []


async def test_a_large_message_is_sent_again_to_another_replica(gateway, grpc_replica):
    a, b = grpc_replica("a"), grpc_replica("b")
    a.fail = grpc.StatusCode.UNAVAILABLE
    ups = tuple(
        Upstream(replica=each.name, http=Address(path=f"{each.path}.http"), grpc=Address(path=each.path))
        for each in (a, b)
    )
    route = EndpointRoute(
        endpoint="digits", revisions=(RevisionRoute(revision="r1", version="1", weight=1, upstreams=ups),), auth=False
    )
    await gateway.start([route])

    def use(client):
        assert {infer(client, "digits", size=100_000) for _ in range(30)} == {"b"}

    await with_client(gateway, use)
    assert a.metadata


async def test_a_public_endpoint_beside_one_with_a_key(gateway, grpc_replica):
    a, b = grpc_replica("a"), grpc_replica("b")
    await gateway.start([served("open", a, auth=False), served("shut", b)], [api_key()])

    def use(client):
        for size in (4, 100_000):
            assert infer(client, "open", size=size) == "a"
            assert infer(client, "open", size=size, headers={"x-api-key": "of nobody"}) == "a"
            assert infer(client, "shut", size=size, headers={"x-api-key": KEY}) == "b"
            for name in ("shut", "nobody"):
                with pytest.raises(Exception, match="UNAUTHENTICATED"):
                    infer(client, name, size=size)
                with pytest.raises(Exception, match="UNAUTHENTICATED"):
                    infer(client, name, size=size, headers={"argosy-endpoint": name})

    await with_client(gateway, use)
