"""Open-loop latency: requests at Poisson times at one fixed rate, latency counted from the intended time."""

from bench import load, models, payload
from bench.rounds import Bench, digits_server
from bench.servers import ARGOSY, FASTAPI, INFER, Server, Unavailable

NAME = "latency"
TARGETS = []
LOW, KEPT_UP = 300.0, 0.9


def capacity(bench: Bench, case: models.Case) -> float:
    """FastAPI's requests a second, from the JSON case if it has run, else measured now."""
    figure = bench.results.find("json", "requests/s, 32 connections", FASTAPI.name)
    if figure:
        return figure.value
    with digits_server(FASTAPI, case) as (r, body):
        load.wrk(r.url, body, payload.JSON, 32, 1)
        return load.wrk(r.url, body, payload.JSON, 32, bench.seconds).rate


def run(bench: Bench) -> None:
    case = models.digits(bench.folder)
    half = round(capacity(bench, case) / 2, -2)
    bench.results.note(f"latency: half of FastAPI's capacity is {half:.0f} requests/s in this run.")

    def measure(server: Server) -> None:
        with digits_server(server, case) as (r, body):
            load.wrk(r.url, body, payload.JSON, 8, 1)
            for label, rate in ((f"{LOW:.0f}/s", LOW), ("half of FastAPI's capacity", half)):
                try:
                    seen = load.open_loop(r.ports.http, INFER, body, payload.JSON, rate, bench.seconds)
                except Unavailable as e:
                    bench.results.failures[f"{NAME} at {label}: {server.name}"] = str(e)
                    continue
                if seen.rate < KEPT_UP * rate:
                    bench.results.note(f"latency: {server.name} could not keep up with {rate:.0f} requests/s.")
                bench.results.add(NAME, f"p50 at {label}", "µs", server.name, seen.p50_us)
                bench.results.add(NAME, f"p99 at {label}", "µs", server.name, seen.p99_us)

    bench.interleave(NAME, [(s.name, lambda s=s: measure(s)) for s in [ARGOSY, *bench.peers]])
