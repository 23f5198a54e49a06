"""Compute-bound networks, 32 connections of one row each, against the bare engine's loop on the same core.

The engine runs at every batch size of the sweep and its best counts; a server has to gather such batches by itself.
Argosy gets binary tensors; FastAPI, shown for scale, gets JSON, the only thing that its typed body takes.
"""

import json
import subprocess
import sys

from bench import envs, load, models, payload
from bench.results import Target
from bench.rounds import Bench
from bench.servers import ARGOSY, FASTAPI, INFER, SERVER_CORES, Server, Unavailable, running

NAME = "compute"
BATCHES = (1, 2, 4, 8, 16, 32)
TARGETS = [Target(NAME, f"{m} rows/s", ">=", 0.95, base="engine") for m in models.COMPUTE]


def sweep(name: str, seconds: float) -> dict[int, float]:
    """Rows a second of the engine alone by batch size, in a process pinned where servers are."""
    cores = ",".join(map(str, SERVER_CORES))
    argv = ["taskset", "-c", cores, sys.executable, "-m", "bench.engineloop", name, str(seconds)]
    done = subprocess.run([*argv, *map(str, BATCHES)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(done.stderr[-400:])
    return {int(k): v for k, v in json.loads(done.stdout).items()}


def run(bench: Bench) -> None:
    site = envs.site("models")
    for make in models.COMPUTE.values():
        measure_model(bench, make(site))


def measure_model(bench: Bench, case: models.Case) -> None:
    metric, best = f"{case.name} rows/s", []

    def engine() -> None:
        rates = sweep(case.name, max(0.5, bench.seconds / 3))
        batch = max(rates, key=rates.__getitem__)
        best.append(f"{batch} ({', '.join(f'{b}: {r:.0f}' for b, r in rates.items())})")
        bench.results.add(NAME, metric, "1/s", "engine", rates[batch])

    def measure(server: Server, body: bytes, headers: dict[str, str]) -> None:
        with running(server, case.path, body, headers) as r:
            seen = load.closed_loop(r.ports.http, INFER, body, headers, 32, 2 * bench.seconds)
        bench.results.add(NAME, metric, "1/s", server.name, seen.rate)

    subjects = [
        ("engine", engine),
        ("argosy", lambda: measure(ARGOSY, *payload.binary_body(case.row))),
        *((s.name, lambda s=s: measure(s, payload.json_body(case.row), payload.JSON)) for s in bench.wanted(FASTAPI)),
    ]
    bench.interleave(f"{NAME} {case.name}", subjects)
    bench.results.note(f"compute: best batch of the engine for {case.name}, a round each: {'; '.join(best)}.")
