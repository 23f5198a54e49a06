"""One row over gRPC, raw contents, 32 calls in flight: Argosy and MLServer, the two that speak the protocol."""

from bench import load, models, payload
from bench.results import Target
from bench.rounds import Bench, digits_server
from bench.servers import ARGOSY, MLSERVER, Server

NAME = "grpc"
TARGETS = [Target(NAME, "calls/s, 32 in flight", ">=", 2, base="mlserver")]
SATURATED = 0.9


def run(bench: Bench) -> None:
    case = models.digits(bench.folder)
    message = payload.grpc_body(case.row, "digits")

    def measure(server: Server) -> None:
        with digits_server(server, case) as (r, _):
            load.grpc(r.ports.grpc, message, 32, 1)
            many = load.grpc(r.ports.grpc, message, 32, bench.seconds)
            one = load.grpc(r.ports.grpc, message, 1, max(1, bench.seconds / 2))
        bench.results.add(NAME, "calls/s, 32 in flight", "1/s", server.name, many.rate)
        bench.results.add(NAME, "p50 at 1 in flight", "µs", server.name, one.p50_us)
        if many.client_cpu > SATURATED:
            bench.results.note(f"grpc: the client was the limit for {server.name}; its calls/s is a lower bound.")

    bench.interleave(NAME, [(s.name, lambda s=s: measure(s)) for s in [ARGOSY, *bench.wanted(MLSERVER)]])
