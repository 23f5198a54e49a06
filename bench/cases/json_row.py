"""One row of JSON to the digits MLP: server on one core, client on the other."""

from bench import load, models, payload
from bench.results import Target
from bench.rounds import Bench, digits_server
from bench.servers import ARGOSY, Server

NAME = "json"
TARGETS = [
    Target(NAME, "requests/s, 32 connections", ">=", 8, base="fastapi"),
    Target(NAME, "p50 at 1 connection", "<=", 0.6, base="fastapi"),
]


def run(bench: Bench) -> None:
    case = models.digits(bench.folder)

    def measure(server: Server) -> None:
        with digits_server(server, case) as (r, body):
            load.wrk(r.url, body, payload.JSON, 32, 1)
            many = load.wrk(r.url, body, payload.JSON, 32, bench.seconds)
            one = load.wrk(r.url, body, payload.JSON, 1, max(1, bench.seconds / 2))
        bench.results.add(NAME, "requests/s, 32 connections", "1/s", server.name, many.rate)
        bench.results.add(NAME, "p50 at 1 connection", "µs", server.name, one.p50_us)

    bench.interleave(NAME, [(s.name, lambda s=s: measure(s)) for s in [ARGOSY, *bench.peers]])
