"""The worst of the cheap inputs, against a replica in a process of its own: it grows little, and answers others."""

import contextlib
import gzip

import grpc
import pytest

from attack.costs import PROBE, Victim
from attack.inputs import GRPC, REST, field, listed, message, post

MOST = 64
WORST_REST = [
    one for one in REST if one.name.startswith(("gzip: numbers", "gzip: strings", "gzip: 61", "gzip: inputs"))
]
WORST_GRPC = [one for one in GRPC if "gzip: 2 MB" in one.name or "typed" in one.name]
INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture
def victim():
    with Victim() as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("one", WORST_REST, ids=lambda one: one.name)
def test_a_body_grows_the_replica_little(victim, one):
    with victim.connect() as line:
        line.sendall(one.make())
        assert line.recv(65536).startswith(b"HTTP/1.1 ")
    victim.settled()
    assert victim.grown <= MOST


@pytest.mark.slow
@pytest.mark.parametrize("one", WORST_GRPC, ids=lambda one: one.name)
def test_a_message_grows_the_replica_little(victim, one):
    channel = grpc.insecure_channel(victim.grpc, [("grpc.max_receive_message_length", -1)])
    with channel, contextlib.suppress(grpc.RpcError):
        channel.unary_unary(INFER)(one.make(), timeout=60)
    victim.settled()
    assert victim.grown <= MOST


def test_bombs_of_every_kind_one_after_the_other(victim):
    """What made a replica 20 times as large, and its like, in one process: it is refused, and nothing stays."""
    floats = listed("FP32", b"0", 30_000_000)
    bombs = [
        post("floats", gzip.compress(floats, 1), "content-encoding: gzip\r\n"),
        post("texts", gzip.compress(listed("BYTES", b'""', 30_000_000), 1), "content-encoding: gzip\r\n"),
        post("floats", b'{"inputs":' + b"[" * 1_000_000),
        post("floats", b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1000000000,0],"data":[]}]}'),
    ]
    for bomb in bombs:
        with victim.connect() as line:
            line.sendall(bomb)
            assert line.recv(65536).split()[1] in (b"400", b"413")
    raw = message("floats", "FP32", [1, 10**7], b"", field(7, bytes(4 * 10**7)))
    for bomb in (gzip.compress(raw, 1), field(1, b"rows") + field(5, b"") * 400_000):
        with grpc.insecure_channel(victim.grpc) as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(INFER)(bomb, timeout=60)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    victim.settled()
    assert victim.grown <= MOST
    with victim.connect() as line:
        line.sendall(PROBE)
        assert line.recv(65536).startswith(b"HTTP/1.1 200")
