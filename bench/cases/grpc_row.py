"""One row over gRPC, raw contents, 32 calls in flight: Argosy and MLServer, the two that speak the protocol."""

import grpc

from bench import load, models, payload
from bench.results import Target
from bench.rounds import Bench, digits_server, expected_label
from bench.servers import ARGOSY, MLSERVER, Server, Unavailable

NAME = "grpc"
TARGETS = [Target(NAME, "calls/s, 32 in flight", ">=", 2, base="mlserver")]
SATURATED = 0.9


def check(port: int, message: bytes, label: int) -> None:
    """One call, whose first output must be the engine's own answer."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = channel.unary_unary(payload.METHOD)(message, timeout=10, wait_for_ready=True)
    if payload.grpc_label(answer)[0] != label:
        raise Unavailable(f"it answers {payload.grpc_label(answer)} over gRPC, the engine {label}")


def run(bench: Bench) -> None:
    case = models.digits(bench.folder)
    label = expected_label(case)
    message = payload.grpc_body(case.row, "digits")

    def measure(server: Server) -> None:
        with digits_server(server, case) as (r, _):
            check(r.ports.grpc, message, label)
            load.grpc(r.ports.grpc, message, 32, 1)
            many = load.grpc(r.ports.grpc, message, 32, bench.seconds)
            one = load.grpc(r.ports.grpc, message, 1, max(1, bench.seconds / 2))
        bench.results.add(NAME, "calls/s, 32 in flight", "1/s", server.name, many.rate)
        bench.results.add(NAME, "p50 at 1 in flight", "µs", server.name, one.p50_us)
        if many.client_cpu > SATURATED:
            bench.results.note(f"grpc: the client was the limit for {server.name}; its calls/s is a lower bound.")

    bench.interleave(NAME, [(s.name, lambda s=s: measure(s)) for s in [ARGOSY, *bench.wanted(MLSERVER)]])
