"""From the command to the first answer, the memory of the server under load, and the weight of Argosy's own imports."""

import subprocess
import sys
import time

from bench import load, models, payload
from bench.results import Target
from bench.rounds import Bench, digits_server
from bench.servers import ARGOSY, Server, Unavailable, argosy_program

NAME = "start"
TARGETS = [
    Target(NAME, "command to first answer", "<=", 1.5),
    Target(NAME, "resident memory after load", "<=", 150),
    Target(NAME, "import argosy", "<=", 0.15),
    Target(NAME, "argosy --help", "<=", 0.3),
]
ROUNDS = 5
IMPORT = "import time; t = time.perf_counter(); import argosy; print(time.perf_counter() - t)"


def import_seconds() -> float:
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(done.stderr[-400:])
    return float(done.stdout)


def help_seconds() -> float:
    began = time.perf_counter()
    done = subprocess.run([argosy_program(), "--help"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(done.stderr[-400:])
    return time.perf_counter() - began


def run(bench: Bench) -> None:
    case = models.digits(bench.folder)
    add = bench.results.add

    def measure(server: Server) -> None:
        with digits_server(server, case, cores=(0, 1)) as (r, body):
            load.wrk(r.url, body, payload.JSON, 32, 1)
            add(NAME, "command to first answer", "s", server.name, r.started)
            add(NAME, "resident memory after load", "MiB", server.name, r.resident_mb())

    own = Bench(bench.seconds, max(bench.rounds, ROUNDS) if bench.rounds > 1 else 1, bench.peers, bench.results)
    own.interleave(NAME, [(s.name, lambda s=s: measure(s)) for s in [ARGOSY, *bench.peers]])
    for metric, seconds in (("import argosy", import_seconds), ("argosy --help", help_seconds)):
        try:
            seconds()
            for _ in range(ROUNDS):
                add(NAME, metric, "s", "argosy", seconds())
        except Unavailable as e:
            bench.results.failures[f"{NAME}: {metric}"] = str(e)
