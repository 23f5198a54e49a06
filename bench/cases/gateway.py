"""Through the gateway with key check, rate limit and access log; the platform has a home of its own, gone afterwards.

Gateway and replica are two processes, so everybody here gets both cores, the client included, which shares them.
FastAPI is shown as one process, which is the base, and with two workers, the most that it can make of two cores.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from bench import load, models, payload
from bench.results import Target
from bench.rounds import Bench, digits_server
from bench.servers import FASTAPI, FASTAPI_INLINE, FASTAPI_TWO, Server, Unavailable, argosy_program, free_ports

NAME = "gateway"
METRIC = "requests/s, 32 connections, both cores"
TARGETS = [Target(NAME, METRIC, ">=", 3, base="fastapi")]
BOTH = (0, 1)
LIMIT = "1000000"
"""Requests a second of a key: counted for every request, reached by none."""


def argosy(env: dict[str, str], *arguments: str) -> str:
    """Runs one command of the platform in that environment and gives what it printed."""
    argv, env = [argosy_program(), *arguments], os.environ | env
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise Unavailable(f"argosy {' '.join(arguments)} failed: {(done.stderr or done.stdout)[-600:]}")
    return done.stdout


@contextmanager
def platform(model: str) -> Iterator[tuple[str, dict[str, str]]]:
    """A platform with the model deployed on one replica: the endpoint's URL and the headers that open it."""
    ports = free_ports()
    with tempfile.TemporaryDirectory(prefix="argosy-bench-") as home:
        env = {"ARGOSY_HOME": home, "ARGOSY_GATEWAY_PORT": str(ports.http), "ARGOSY_CONTROL_PORT": str(ports.grpc)}
        env |= {"ARGOSY_GATEWAY_RATE_LIMIT": LIMIT, "ARGOSY_GATEWAY_RATE_BURST": LIMIT}
        try:
            argosy(env, "up", "-d")
            argosy(env, "push", model, "--name", "digits")
            found = argosy(env, "deploy", "digits:1", "--replicas", "1", "--threads", "1", "--json")
            endpoint = json.loads(found)
            yield endpoint["url"], payload.JSON | {"Authorization": f"Bearer {endpoint['key']}"}
        finally:
            argosy(env, "down")


def run(bench: Bench) -> None:
    case = models.digits(bench.folder)
    body = payload.json_body(case.row)

    def record(subject: str, url: str, headers: dict[str, str]) -> None:
        load.wrk(url, body, headers, 32, 1, BOTH)
        seen = load.wrk(url, body, headers, 32, bench.seconds, BOTH)
        one = load.wrk(url, body, headers, 1, max(1, bench.seconds / 2), BOTH)
        bench.results.add(NAME, METRIC, "1/s", subject, seen.rate)
        bench.results.add(NAME, "p50 at 1 connection, both cores", "µs", subject, one.p50_us)

    def ours() -> None:
        with platform(str(case.path)) as (url, headers):
            record("argosy", url, headers)

    def peer(server: Server) -> None:
        with digits_server(server, case, BOTH) as (r, _):
            record(server.name, r.url, payload.JSON)

    fastapis = [FASTAPI, FASTAPI_INLINE, FASTAPI_TWO] if bench.wanted(FASTAPI) else []
    bench.interleave(NAME, [("argosy", ours), *((s.name, lambda s=s: peer(s)) for s in fastapis)])
